"""Proves that `events send` takes the vendor's JSON as printed, and sends it as a Java producer would."""

import json
import os
import pty
import subprocess
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from processor.codec.avro import codec
from processor.kafka.partitioning import usual_partition
from tests.support.commands import NOWHERE, VENDOR_EXAMPLE, event, output
from tests.support.deployment import PROJECT, PYTHON, REQUEST_S, await_condition
from tests.support.events import exact
from tests.support.refusals import refusal


@pytest.fixture
def events(idle):
    """Give a deployment with an events topic of seven partitions."""
    idle.create("events", 7)
    return idle


def sent(deployment):
    """Give the records of the events topic by partition and offset: key, event, partition."""
    records = deployment.read(deployment.settings.events_topic)
    return [(record.key, codec().decode_event(record.value), record.partition) for record in records]


def test_the_vendors_example_is_sent_as_printed(events, tmp_path):
    """One object over many lines, copied from the page: every value with its type, the key its order id."""
    file = tmp_path / "example.json"
    file.write_text(VENDOR_EXAMPLE, encoding="utf-8")
    assert output(events.command("events", "send", str(file))) == [{"sent": 1, "refused": 0}]
    ((key, event, _),) = sent(events)
    assert key == b"12345679"
    assert event == json.loads(VENDOR_EXAMPLE)
    item = event["params"][-1]["value"][0]
    assert type(item["quantity"]) is type(item["cost"]) is int


@pytest.mark.parametrize("form", ["array", "array over lines", "lines", "lines with blanks and a mark"])
def test_forms_of_a_file(events, tmp_path, form):
    """An array, on one line or many, and JSON lines give the same events; blank lines and a mark are fine."""
    entries = [event("orderCreated", {"externalOrderId": f"o{number}"}) for number in range(5)]
    lines = [json.dumps(entry) for entry in entries]
    text = {
        "array": json.dumps(entries),
        "array over lines": json.dumps(entries, indent=2),
        "lines": "\n".join(lines),
        "lines with blanks and a mark": "\ufeff" + "\r\n\n".join(lines) + "\n\n",
    }[form]
    file = tmp_path / "events.json"
    file.write_text(text, encoding="utf-8", newline="")
    assert output(events.command("events", "send", str(file))) == [{"sent": 5, "refused": 0}]
    assert sorted((key, event["params"][0]["value"]) for key, event, _ in sent(events)) == [
        (f"o{number}".encode(), f"o{number}") for number in range(5)
    ]


def test_standard_input_is_sent_line_by_line(events):
    """What somebody types arrives before the next line; the summary comes at the end."""
    command = subprocess.Popen(
        (*PYTHON, "processor", "events", "send", "-"),
        env=events.environment(),
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert command.stdin is not None
    assert command.stdout is not None
    with command:
        for count in (1, 2):
            line = json.dumps(event("orderCreated", {"externalOrderId": f"typed{count}"}))
            command.stdin.write(f"{line}\n")
            command.stdin.flush()
            await_condition(lambda count=count: len(sent(events)) == count, f"line {count} has arrived")
        command.stdin.close()
        assert json.loads(command.stdout.read()) == {"sent": 2, "refused": 0}
    assert command.returncode == 0


def test_values_keep_their_types_and_nested_items_become_text(events, tmp_path):
    """What an Avro map cannot hold is sent in the page's other form, a JSON string; flat items stay an array."""
    nested = [{"externalItemId": "1", "sizes": ["S", {"EU": 40}], "name": "Плаття"}]
    huge = [{"externalItemId": 10**30, "cost": 1.5}]
    flat = [{"externalItemId": "1", "quantity": 2, "cost": 1.5, "isGift": True, "note": None}]
    params = {
        "externalOrderId": "types",
        "text": "Їжа",
        "long": -(1 << 63),
        "double": 1.5,
        "boolean": False,
        "nothing": None,
        "tags": [{"name": "new"}],
    }
    file = tmp_path / "events.jsonl"
    entries = [event("orderCreated", params | {"items": items}) for items in (nested, huge, flat)]
    file.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    assert output(events.command("events", "send", str(file))) == [{"sent": 3, "refused": 0}]
    values = [{param["name"]: param["value"] for param in event["params"]} for _, event, _ in sent(events)]
    for value, items in zip(values, (nested, huge, flat), strict=True):
        found = value.pop("items")
        assert isinstance(found, list if items is flat else str)
        assert (json.loads(found) if isinstance(found, str) else found) == items
        assert value == params
        assert [type(entry) for entry in value.values()] == [type(entry) for entry in params.values()]


NO_DECIMALS: tuple[Any, ...] = (
    *(1.5, 1, "1.00005", "1e3", "1,5", "+1", ".5", "5.", "\u0663", "100000000000000", "", None, []),
)


def typed_decimal(value):
    """Give an event whose only parameter has a value that should be a decimal."""
    return json.dumps({"eventTypeKey": "a", "params": [{"name": "n", "value": value, "type": "decimal"}]})


def test_what_avro_cannot_hold_is_refused_by_its_place(events, tmp_path):
    """Each refusal is one line with its place; all other entries are sent, right or wrong; the exit code is 1."""
    good = [event("orderCreated", {"externalOrderId": "good"}), event("whatever", {}), {"eventTypeKey": ""}]
    refused = {
        "not JSON": "{",
        "a number": "5",
        "another field": '{"eventTypeKey": "orderCreated", "params": [], "time": 1}',
        "no type": '{"params": []}',
        "a type that is no text": '{"eventTypeKey": 5}',
        "a keyValue that is no text": '{"eventTypeKey": "a", "keyValue": 380501234567}',
        "params that are no array": '{"eventTypeKey": "a", "params": {"phone": "1"}}',
        "a param without a name": '{"eventTypeKey": "a", "params": [{"value": 1}]}',
        "an object in an object": '{"eventTypeKey": "a", "params": [{"name": "b", "value": {"c": {"d": 1}}}]}',
        "an array in an array": '{"eventTypeKey": "a", "params": [{"name": "tags", "value": [["x"]]}]}',
        "an array in an object in an array": '{"eventTypeKey": "a", "params": [{"name": "b", "value": [{"c": []}]}]}',
        "a huge integer in an array": json.dumps(event("a", {"n": [1 << 63]})),
        **{f"the decimal {value!r}": typed_decimal(value) for value in NO_DECIMALS},
        "another type": '{"eventTypeKey": "a", "params": [{"name": "n", "value": "1", "type": "double"}]}',
        "a huge integer": '{"eventTypeKey": "a", "params": [{"name": "n", "value": 9223372036854775808}]}',
        "NaN": '{"eventTypeKey": "a", "params": [{"name": "n", "value": NaN}]}',
        "half a surrogate pair": '{"eventTypeKey": "a", "params": [{"name": "n", "value": "\\ud800"}]}',
    }
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join([*refused.values(), *map(json.dumps, good)]), encoding="utf-8")
    done = events.command("events", "send", str(file), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": len(good), "refused": len(refused)}
    lines = done.stderr.splitlines()
    for number, (kind, line) in enumerate(zip(refused, lines, strict=True), 1):
        assert line.startswith(f"order-facts: {file}, line {number}: "), kind
    assert sorted(event["eventTypeKey"] for _, event, _ in sent(events)) == ["", "orderCreated", "whatever"]


def test_objects_arrays_and_decimals_are_sent_as_the_schema_has_them(events, tmp_path):
    """By version 2 of the schema: flat objects, arrays of texts, and exact decimals where their type is given."""
    params = {
        "externalOrderId": "native",
        "additionalInfo": {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None},
        "tags": ["new", "Їжа"],
        "mixed": [1, 1.0, None, True, "x", {"a": 1}],
        "items": {"externalItemId": "1", "quantity": 1},
        "double": 258.9,
    }
    entry = event("orderCreated", params)
    for text in ("258.90", "-0.0001", "99999999999999.9999", "0012"):
        entry["params"].append({"name": f"decimal {text}", "value": text, "type": "decimal"})
    file = tmp_path / "events.json"
    file.write_text(json.dumps(entry), encoding="utf-8")
    assert output(events.command("events", "send", str(file))) == [{"sent": 1, "refused": 0}]
    ((_, found, _),) = sent(events)
    values = {param["name"]: param["value"] for param in found["params"]}
    decimals = {name.split()[1]: values.pop(name) for name in list(values) if name.startswith("decimal")}
    assert exact(values) == exact(params)
    assert {text: str(number) for text, number in decimals.items()} == {
        "258.90": "258.9000",
        "-0.0001": "-0.0001",
        "99999999999999.9999": "99999999999999.9999",
        "0012": "12.0000",
    }


def test_a_backfills_records_have_the_times_of_a_parameter(events, tmp_path):
    """The dates of D8, in the zone of the settings; a missing or bad one refuses the line, and says where."""
    dates = {
        "2021-05-14T10:11:00": 1_620_976_260_000,
        "2021-05-14T10:11:00Z": 1_620_987_060_000,
        "1970-01-01T00:00:00.001Z": 1,
    }
    wrong = {
        "now": "params[1] (date): expected",
        "": "date: is missing, and --timestamp-from needs it",
        "1970-01-01T00:00:00Z": "params[1] (date): a record's timestamp has to be after 1970-01-01T00:00:00Z",
    }
    entries = [event("orderCreated", {"externalOrderId": "o", "date": date}) for date in (*dates, *wrong)]
    entries.append(event("orderCreated", {"externalOrderId": "o", "Date": "2021-05-14T10:11:00"}))
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    options = ("--timestamp-from", "date", "--time-zone", "Europe/Kyiv")
    done = events.command("events", "send", str(file), *options, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": len(dates), "refused": len(wrong) + 1}
    lines = done.stderr.splitlines()
    for number, (problem, line) in enumerate(zip([*wrong.values(), wrong[""]], lines, strict=True), len(dates) + 1):
        assert line.startswith(f"order-facts: {file}, line {number}: {problem}")
    records = events.read(events.settings.events_topic)
    assert sorted(record.timestamp_ms for record in records) == sorted(dates.values())


def test_a_topic_that_does_not_keep_a_backfills_times_says_so(events, tmp_path):
    """One that stamps records itself stops the command; a time that the topic refuses refuses the line."""
    file = tmp_path / "events.jsonl"
    far = {"externalOrderId": "o", "date": "2999-01-01T00:00:00"}
    file.write_text(json.dumps(event("orderCreated", far)), encoding="utf-8")
    done = events.command("events", "send", str(file), "--timestamp-from", "date", check=False)
    assert json.loads(done.stdout) == {"sent": 0, "refused": 1}
    assert "its timestamp is further from now than the topic" in done.stderr
    set_topic(events, "message.timestamp.type", "LogAppendTime")
    file.write_text(file.read_text().replace("2999", "2021"))
    done = events.command("events", "send", str(file), "--timestamp-from", "date", check=False)
    assert refusal(done, 1).startswith(f"the topic {events.settings.events_topic} gives records its own time: ")
    assert output(events.command("events", "send", str(file))) == [{"sent": 1, "refused": 0}]


def set_topic(deployment, name, value):
    """Set a property of the events topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, deployment.settings.events_topic, incremental_configs=[entry])
    deployment.cluster.admin.incremental_alter_configs([resource])[resource].result(REQUEST_S)


def test_refusals_in_an_array_are_placed_by_entry(events, tmp_path):
    """Where lines say nothing, the entry's number does; a file that is no JSON at all is one refusal."""
    file = tmp_path / "events.json"
    file.write_text(json.dumps([{"eventTypeKey": "a"}, {"eventTypeKey": 5}, []], indent=1))
    done = events.command("events", "send", str(file), check=False)
    assert json.loads(done.stdout) == {"sent": 1, "refused": 2}
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [f"{file}, entry 2", f"{file}, entry 3"]
    file.write_text(VENDOR_EXAMPLE.replace("}]\n}]", "}]"))
    done = events.command("events", "send", str(file), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": 0, "refused": 1}
    assert done.stderr.startswith(f"order-facts: {file}: not JSON: ")


def test_key_and_partition(events, tmp_path):
    """The key is the order id, an integer's digits, or null where there is none; the partition is Java's (murmur2)."""
    texts = ["12345679", "", " ", "null", "замовлення", "x" * 400, *(f"order-{number}" for number in range(40))]
    ids: list[Any] = [*texts, 0, 7, -5, 1 << 62, True, 1.5, None, [{"a": 1}]]
    entries = [event("orderCreated", {"phone": "1", "externalOrderId": value}) for value in ids]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, [*entries, event("orderCreated", {"phone": "1"})])), encoding="utf-8")
    assert output(events.command("events", "send", str(file)))[0]["sent"] == len(ids) + 1
    keyed = [text.encode() for text in texts if text.strip() not in {"", "null"}]
    keyed += [str(number).encode() for number in (0, 7, -5, 1 << 62)]
    found = sent(events)
    assert sorted(key for key, _, _ in found if key is not None) == sorted(keyed)
    assert sum(key is None for key, _, _ in found) == len(ids) + 1 - len(keyed)
    for key, _, partition in found:
        assert key is None or partition == usual_partition(key, 7)


def test_without_file_topic_or_broker(idle, tmp_path):
    """A missing file is wrong usage (2), a missing topic something wrong (1), no broker an outage (3)."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"eventTypeKey": "a"}')
    settings = idle.settings
    assert refusal(idle.command("events", "send", str(file), check=False), 1) == (
        f"the topic {settings.events_topic} is missing; create it with: order-facts topics create"
    )
    idle.create("events")
    missing = idle.command("events", "send", str(tmp_path / "none.json"), check=False)
    assert refusal(missing, 2).startswith(f"{tmp_path / 'none.json'}: ")
    away = idle.command("events", "send", str(file), check=False, bootstrap_servers=NOWHERE, startup_timeout_s=0.4)
    assert refusal(away, 3).startswith(f"Kafka at {NOWHERE} did not answer within 0.4 s")


def test_progress_is_shown_on_a_terminal_only(events, tmp_path):
    """With a terminal as standard error there is a bar; data goes to standard output all the same."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"eventTypeKey": "a"}\n' * 2_000)
    terminal, end = pty.openpty()
    done = subprocess.run(
        (*PYTHON, "processor", "events", "send", str(file)),
        env=events.environment() | {"TERM": "xterm"},
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=end,
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert "Sending events" in shown
    assert json.loads(done.stdout) == {"sent": 2_000, "refused": 0}
