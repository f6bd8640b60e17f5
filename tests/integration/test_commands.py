"""Proves what each command takes, prints and refuses: data on standard output, all else on standard error."""

import json
import os
import pty
import re
import secrets
import signal
import subprocess
from contextlib import closing
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import NewPartitions
from msgspec.structs import replace

from deploy.local.servers import HOST, free_ports
from processor import __version__
from processor.adapters import kafka
from processor.adapters.avro import codec
from processor.cli import cli
from processor.settings import IdentificationRule, Settings
from tests.support.deployment import PROJECT, PYTHON, Deployment, await_condition, deployed
from tests.support.refusals import REQUEST_S, refusal
from tests.support.traffic import CONTACTS, contacts, created

NOWHERE = f"{HOST}:{free_ports(1)[0]}"
COMMANDS = {
    "run": "Process order events until SIGTERM or SIGINT",
    "contacts index": "Keep the contact index in Redis up to date",
    "contacts import": "Send contacts from FILE",
    "contacts find": "Find the contact that an event's parameter NAME with VALUE means",
    "events send": "Send order events from FILE, or from standard input",
    "facts show": "Print facts as JSON lines",
    "rejected show": "Print rejected records as JSON lines",
    "topics create": "Create the topics that are missing",
    "check": "Check the configuration and what it needs",
}
VENDOR_EXAMPLE = """{
"eventTypeKey": "orderCreated",
"keyValue": "380501234567",
"params": [{
"name": "phone",
"value": "380501234567"
}, {
"name": "externalOrderId",
"value": "12345679"
}, {
"name": "externalCustomerId",
"value": "AV13760"
}, {
"name": "totalCost",
"value": "258.0"
}, {
"name": "status",
"value": "INITIALIZED"
}, {
"name": "date",
"value": "2020-05-14T10:11:00"
}, {
"name": "currency",
"value": "UAH"
}, {
"name": "items",
"value": [{
"externalItemId": "200600",
"name": "Super Device",
"category": "devices",
"quantity": 1,
"cost": 990,
"url": "http://example.com/item/200600",
"imageUrl": "http://example.com/item/200600/image.png",
"description": "High quality"
}]
}]
}
"""


@pytest.fixture
def idle(settings, tmp_path):
    """Give a deployment without topics; a test makes those it needs."""
    with closing(Idle(settings, tmp_path)) as running:
        yield running


class Idle(Deployment):
    """A deployment of which nothing runs."""

    close = Deployment.end


@pytest.fixture
def events(idle, create_topic):
    """Give a deployment with an events topic of seven partitions."""
    create_topic(idle.settings.events_topic, 7)
    return idle


@pytest.fixture(scope="module")
def shop(services, tmp_path_factory):
    """Give a deployment that did its work: 12 facts of 8 orders, 6 rejected records; the index is kept."""
    unique = secrets.token_hex(4)
    settings = Settings(
        bootstrap_servers=services.bootstrap_servers,
        redis_url=services.redis_url,
        group_id=f"group-{unique}",
        identifier_key="a secret of the tests",
        identification=(),
        **{f"{role}_topic": f"{role}-{unique}" for role in ("events", "contacts", "facts", "rejected")},
    )
    with deployed(settings, tmp_path_factory.mktemp("shop"), partitions=2) as running:
        running.send_contacts(contacts())
        running.index()
        orders = [f"order {number}" for number in range(8)]
        running.send([created(order, shipping=1.5, giftWrap=True) for order in orders])
        running.send([_status(order, "orderDelivered") for order in orders[:4]])
        running.send([_status(order, "orderDelivered") for order in orders[:2]])  # no_change
        running.send([created("nobody's", phone=f"+999{CONTACTS + 1:06}"), _status("unknown", "orderCancelled")])
        running.send([created("bad", totalCost="1,5"), created("bad", date="yesterday")])
        replica = running.replica("a")
        running.await_accounted()
        replica.stop()
        assert running.require_right_outputs() == {
            "fact": 12,
            "no_change": 2,
            "contact_not_found": 1,
            "order_unknown": 1,
            "invalid_parameter": 2,
        }
        yield running


def _status(order_id, event_type):
    return replace_value(created(order_id), _event(event_type, {"externalOrderId": order_id}))


def replace_value(record, event):
    """Give a record with another event under the same key."""
    return type(record)(record.key, codec().encode_event(event))


def _event(event_type, params):
    named = [{"name": name, "value": value} for name, value in params.items()]
    return {"eventTypeKey": event_type, "keyValue": "", "params": named}


def output(done):
    """Give the JSON lines that a finished command printed; nothing may stand on standard error."""
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def sent(deployment):
    """Give the records of the events topic, decoded, in the order of their order ids."""
    records = deployment.read(deployment.settings.events_topic)
    return [(record.key, codec().decode_event(record.value), record.partition) for record in records]


# --- the command line ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_says_what_it_is_for(name):
    """A newcomer reads the purpose, the settings that matter with their defaults, and where they may stand."""
    shown = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert COMMANDS[name] in " ".join(shown.output.split())
    assert "--bootstrap-servers" in shown.output
    assert "--config" in shown.output


def test_help_and_version(idle):
    """`--help` shows a first session and all commands; `--version` the version; both leave with 0."""
    shown = idle.command("--help")
    assert {name.split()[0] for name in COMMANDS} <= set(re.findall(r"^  (\w+) ", shown.stdout, re.MULTILINE))
    assert "ORDER_FACTS_<NAME>" in shown.stdout
    assert idle.command("--version").stdout.strip() == f"order-facts, version {__version__}"


@pytest.mark.parametrize("arguments", [("events",), ("facts", "list"), ("events", "send"), ("facts", "show", "--all")])
def test_wrong_usage(idle, arguments):
    """An unknown command or option, or a missing argument, leaves with 2 and shows the usage on standard error."""
    done = idle.command(*arguments, check=False)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert done.stdout == ""


# --- topics create -------------------------------------------------------------------------------------


def test_topics_create(idle):
    """All four topics are made with the contract's settings; a second time all are left alone."""
    settings = idle.settings
    names = (settings.events_topic, settings.contacts_topic, settings.facts_topic, settings.rejected_topic)
    first = idle.command("topics", "create", partitions=3)
    assert first.stdout.splitlines() == [f"{name}: created, 3 partitions" for name in names]
    assert {topic.partitions for topic in idle.cluster.topics(names).values()} == {3}
    found = {name: idle.cluster.topic_settings(name) for name in names}
    policies = [found[name]["cleanup.policy"] for name in names]
    assert policies == ["delete", "compact", "compact", "delete"]
    assert found[settings.facts_topic]["min.compaction.lag.ms"] == str(7 * 24 * 3600 * 1000)
    assert 100_000_000 < int(found[settings.rejected_topic]["max.message.bytes"]) < 104_857_600
    again = idle.command("topics", "create", partitions=5)
    assert again.stdout.splitlines() == [f"{name}: exists, 3 partitions" for name in names]
    assert first.stderr == again.stderr == ""
    assert {topic.partitions for topic in idle.cluster.topics(names).values()} == {3}


def test_topics_create_makes_what_is_missing(events, create_topic):
    """The outputs take the partition count of an existing events topic; existing topics keep their settings."""
    settings = events.settings
    create_topic(settings.facts_topic, 7, cleanup_policy="compact", min_compaction_lag_ms="5")
    events.command("topics", "create", partitions=2)
    names = (settings.events_topic, settings.contacts_topic, settings.facts_topic, settings.rejected_topic)
    found = events.cluster.topics(names)
    assert [found[name].partitions for name in names] == [7, 2, 7, 7]
    assert events.cluster.topic_settings(settings.facts_topic)["min.compaction.lag.ms"] == "5"


# --- events send ---------------------------------------------------------------------------------------


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
    entries = [_event("orderCreated", {"externalOrderId": f"o{number}"}) for number in range(5)]
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
    with command:
        for count in (1, 2):
            line = json.dumps(_event("orderCreated", {"externalOrderId": f"typed{count}"}))
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
    entries = [_event("orderCreated", params | {"items": items}) for items in (nested, huge, flat)]
    file.write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    assert output(events.command("events", "send", str(file))) == [{"sent": 3, "refused": 0}]
    values = [{param["name"]: param["value"] for param in event["params"]} for _, event, _ in sent(events)]
    for value, items in zip(values, (nested, huge, flat), strict=True):
        found = value.pop("items")
        assert isinstance(found, list if items is flat else str)
        assert (found if items is flat else json.loads(found)) == items
        assert value == params
        assert [type(entry) for entry in value.values()] == [type(entry) for entry in params.values()]


def test_what_avro_cannot_hold_is_refused_by_its_place(events, tmp_path):
    """Each refusal is one line with its place; all other entries are sent, right or wrong; the exit code is 1."""
    good = [_event("orderCreated", {"externalOrderId": "good"}), _event("whatever", {}), {"eventTypeKey": ""}]
    refused = {
        "not JSON": "{",
        "a number": "5",
        "another field": '{"eventTypeKey": "orderCreated", "params": [], "time": 1}',
        "no type": '{"params": []}',
        "a type that is no text": '{"eventTypeKey": 5}',
        "a keyValue that is no text": '{"eventTypeKey": "a", "keyValue": 380501234567}',
        "params that are no array": '{"eventTypeKey": "a", "params": {"phone": "1"}}',
        "a param without a name": '{"eventTypeKey": "a", "params": [{"value": 1}]}',
        "an object as value": '{"eventTypeKey": "a", "params": [{"name": "b", "value": {"c": 1}}]}',
        "an array of texts": '{"eventTypeKey": "a", "params": [{"name": "tags", "value": ["x"]}]}',
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
    ids = ["12345679", "", " ", "null", "замовлення", "x" * 400, *(f"order-{number}" for number in range(40))]
    ids += [0, 7, -5, 1 << 62, True, 1.5, None, [{"a": 1}]]
    entries = [_event("orderCreated", {"phone": "1", "externalOrderId": value}) for value in ids]
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(map(json.dumps, [*entries, _event("orderCreated", {"phone": "1"})])), encoding="utf-8")
    assert output(events.command("events", "send", str(file)))[0]["sent"] == len(ids) + 1
    keyed = {value: value.encode() for value in ids if isinstance(value, str) and value.strip() not in {"", "null"}}
    keyed |= {number: str(number).encode() for number in (0, 7, -5, 1 << 62)}
    found = sent(events)
    assert sorted(key for key, _, _ in found if key is not None) == sorted(keyed.values())
    assert sum(key is None for key, _, _ in found) == len(ids) + 1 - len(keyed)
    for key, _, partition in found:
        assert key is None or partition == (murmur2(key) & 0x7FFFFFFF) % 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
    ],
)
def test_the_yardstick_of_partitions(text, expected):
    """The murmur2 of these tests gives the values of Kafka's own tests."""
    assert murmur2(text.encode()) == expected


def murmur2(data):
    """Give the hash of org.apache.kafka.common.utils.Utils.murmur2, a signed 32-bit integer."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    result = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        result = result * multiplier & mask ^ part
    if data[whole:]:
        result = (result ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    result = (result ^ result >> 13) * multiplier & mask
    result ^= result >> 15
    return result - (1 << 32) if result >> 31 else result


def test_events_send_without_file_topic_or_broker(idle, tmp_path, create_topic):
    """A missing file is wrong usage (2), a missing topic something wrong (1), no broker an outage (3)."""
    file = tmp_path / "events.jsonl"
    file.write_text('{"eventTypeKey": "a"}')
    settings = idle.settings
    assert refusal(idle.command("events", "send", str(file), check=False), 1) == (
        f"the topic {settings.events_topic} is missing; make it with: order-facts topics create"
    )
    create_topic(settings.events_topic, 1)
    missing = idle.command("events", "send", str(tmp_path / "none.json"), check=False)
    assert refusal(missing, 2) == f"{tmp_path / 'none.json'}: No such file or directory"
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


# --- contacts ------------------------------------------------------------------------------------------


def imported(deployment):
    """Give the contacts topic's records: key -> contact, None where deleted, the later record counting."""
    records = deployment.read(deployment.settings.contacts_topic)
    return {record.key.decode(): record.value and codec().decode_contact(record.value) for record in records}


def test_contacts_import_of_csv(idle, tmp_path, create_topic):
    """Columns by their names in any order; further columns are fields; empty cells are absent; bad rows are named."""
    create_topic(idle.settings.contacts_topic, 2, cleanup_policy="compact")
    file = tmp_path / "Contacts.CSV"
    file.write_text(
        "\ufeffemail,contactId,loyaltyToken,pushTokens,phone\r\n"
        "ann@shop.example,1,gold,t1 t2,380501234567\r\n"
        '"quoted, ""name""\nover lines",2,,,\r\n'
        "\r\n"
        "too few,3\r\n"
        "no id,,,,\r\n"
        '"broken" quote,4,,,\r\n'
        "bob@shop.example,5,,,\r\n",
        encoding="utf-8",
        newline="",
    )
    done = idle.command("contacts", "import", str(file), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": 3, "refused": 3}
    few, no_id, quote = done.stderr.splitlines()
    assert few == f"order-facts: {file}, line 6: expected 5 columns, found 2"
    assert no_id == f"order-facts: {file}, line 7: contactId: expected a text that is not blank"
    assert quote.startswith(f"order-facts: {file}, line 8: ")
    empty = {"externalCustomerId": None, "email": None, "phone": None, "contactKey": None, "pushTokens": []}
    assert imported(idle) == {
        "1": empty
        | {"contactId": "1", "email": "ann@shop.example", "phone": "380501234567", "pushTokens": ["t1", "t2"]}
        | {"fields": {"loyaltyToken": "gold"}},
        "2": empty | {"contactId": "2", "email": 'quoted, "name"\nover lines', "fields": {}},
        "5": empty | {"contactId": "5", "email": "bob@shop.example", "fields": {}},
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: expected a header"),
        (b"id,email\n1,a\n", "line 1: expected a header"),
        (b"contactId,email,email\n1,a,b\n", "line 1: expected a header"),
        ("contactId,email\n1,é\n".encode("latin-1"), "line 2: expected UTF-8"),
    ],
)
def test_contacts_import_of_a_file_that_is_none(idle, tmp_path, create_topic, content, problem):
    """A wrong header or another encoding is a wrong file, not a wrong row: 2, and nothing is sent."""
    create_topic(idle.settings.contacts_topic, 1, cleanup_policy="compact")
    file = tmp_path / "contacts.csv"
    file.write_bytes(content)
    assert refusal(idle.command("contacts", "import", str(file), check=False), 2).startswith(f"{file}, {problem}")
    assert imported(idle) == {}


def test_contacts_import_of_json_lines(idle, tmp_path, create_topic):
    """A line replaces its contact as a whole, or deletes it; a line of wrong types is named and changes nothing."""
    create_topic(idle.settings.contacts_topic, 1, cleanup_policy="compact")
    file = tmp_path / "contacts.jsonl"
    good = [
        {"contactId": "1", "email": "old@shop.example", "phone": "1"},
        {"contactId": "1", "email": "new@shop.example", "pushTokens": ["t"], "fields": {"city": "Київ"}},
        {"contactId": "2", "contactKey": "k"},
        {"contactId": "2", "deleted": True},
        {"contactId": "3", "deleted": False},
    ]
    bad = [
        {"contactId": 1},
        {"contactId": " "},
        {"contactId": "1", "phone": 380501234567},
        {"contactId": "1", "pushTokens": "t"},
        {"contactId": "1", "pushTokens": {"t": 1}},
        {"contactId": "1", "fields": ["a"]},
        {"contactId": "1", "fields": {"a": 1}},
        {"contactId": "1", "city": "Київ"},
        {"contactId": "1", "deleted": "true"},
        ["1"],
    ]
    file.write_text("\n".join(map(json.dumps, [*good, *bad])), encoding="utf-8")
    done = idle.command("contacts", "import", str(file), check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"sent": len(good), "refused": len(bad)}
    lines = done.stderr.splitlines()
    assert len(lines) == len(bad), lines
    for number, line in enumerate(lines, len(good) + 1):
        assert line.startswith(f"order-facts: {file}, line {number}: ")
    found = imported(idle)
    assert found["1"]["email"] == "new@shop.example"
    assert found["1"]["phone"] is None
    assert found["1"]["fields"] == {"city": "Київ"}
    assert found["2"] is None
    assert found["3"] == found["3"] | {"contactId": "3", "email": None}


@pytest.mark.parametrize(
    ("identifier", "found_by"),
    [
        ("ContactId=c7", "contactId"),
        ("contact_ID= c7 ", "contactId"),
        ("EXTERNALCUSTOMERID=AV7", "externalCustomerId"),
        ("userEmail=BUYER.7@shop.EXAMPLE", "email"),
        ("sms=+999000007", "phone"),
        ("PushToken=token-7", "pushToken"),
    ],
)
def test_contacts_find(shop, identifier, found_by):
    """D12: names in any case, values trimmed, an e-mail without regard to case; the line says how it was found."""
    found = output(shop.command("contacts", "find", identifier))
    assert found == [{"contactId": "c7", "identifiedBy": found_by}]


@pytest.mark.parametrize("identifier", ["phone=+99", "phone=", "externalCustomerId=av7", "contactKey=c7"])
def test_contacts_find_nobody(shop, identifier):
    """Nobody found is 1; the value, personal as it may be, is not repeated."""
    line = refusal(shop.command("contacts", "find", identifier, check=False), 1)
    assert line == f"no contact is found by {identifier.partition('=')[0]}"


@pytest.mark.parametrize("identifier", ["phone", "", "=c7", "totalCost=5", "loyaltyToken=gold"])
def test_contacts_find_needs_a_name_that_identifies(shop, identifier):
    """What is not NAME=VALUE, or identifies nobody by the rules, is wrong usage."""
    line = refusal(shop.command("contacts", "find", identifier, check=False), 2)
    assert line.startswith("expected NAME=VALUE with a name that identifies a contact, such as ")


def test_contacts_find_by_a_configured_rule(settings, tmp_path):
    """D14: a rule's parameter finds by its contact field; before the index is built the line says so (3)."""
    rules = (IdentificationRule("token", "loyaltyToken"),)
    with deployed(replace(settings, identification=rules), tmp_path, partitions=1) as deployment:
        empty = deployment.command("contacts", "find", "Token=gold", check=False)
        assert refusal(empty, 3) == "the contact index is empty; `order-facts contacts index` builds it"
        deployment.send_contacts([{"contactId": "c1", "email": "a@shop.example", "fields": {"loyaltyToken": "gold"}}])
        deployment.index()
        assert output(deployment.command("contacts", "find", "TOKEN=gold")) == [
            {"contactId": "c1", "identifiedBy": "loyaltyToken"}
        ]
        assert refusal(deployment.command("contacts", "find", "email=a@shop.example", check=False), 2).endswith("token")
        other = deployment.command("contacts", "find", "x=1", check=False, identifier_key="another secret of the tests")
        assert other.returncode == 2
        wrong = deployment.command(
            "contacts", "find", "token=gold", check=False, identifier_key="another secret of the tests"
        )
        assert refusal(wrong, 3) == "the contact index was made with another identifier_key"


# --- facts show, rejected show -------------------------------------------------------------------------


def test_facts_show(shop):
    """Every fact is a line in each partition's order: money as text, times in ISO 8601 Z, types kept in custom."""
    facts = output(shop.command("facts", "show"))
    assert len(facts) == 12
    revisions = [fact["revision"] for fact in facts if fact["externalOrderId"] == "order 1"]
    assert revisions == [1, 2]
    fact = next(fact for fact in facts if fact["externalOrderId"] == "order 1")
    assert fact["totalCost"] == "258.0000"
    assert fact["shipping"] == "1.5000"
    assert fact["date"] == "2026-05-14T10:11:00.000Z"
    assert fact["custom"] == {"giftWrap": True}
    assert fact["contactId"] == "c1"
    for name in ("createdAt", "updatedAt", "statusChangedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fact[name])
        assert abs((datetime.now(UTC) - datetime.fromisoformat(fact[name])).total_seconds()) < 3600
    names = [field["name"] for field in json.loads((PROJECT / "schemas" / "order-fact.1.avsc").read_text())["fields"]]
    assert list(fact) == names


def test_facts_show_latest_and_one_order(shop):
    """`--latest` gives one fact an order, its newest; `--order` that order's only; both together its newest."""
    latest = output(shop.command("facts", "show", "--latest"))
    statuses = {fact["externalOrderId"]: (fact["revision"], fact["status"]) for fact in latest}
    expected = {f"order {number}": (2, "DELIVERED") if number < 4 else (1, "INITIALIZED") for number in range(8)}
    assert len(latest) == 8
    assert statuses == expected
    history = output(shop.command("facts", "show", "--order", "order 2"))
    assert [(fact["externalOrderId"], fact["revision"]) for fact in history] == [("order 2", 1), ("order 2", 2)]
    assert output(shop.command("facts", "show", "--order", "order 2", "--latest")) == history[1:]
    assert output(shop.command("facts", "show", "--order", "order")) == []
    assert refusal(shop.command("facts", "show", "--latest", "--follow", check=False), 2).startswith("--latest and")


def test_rejected_show(shop):
    """Every rejected record with its reason, where it came from, and the event itself."""
    lines = output(shop.command("rejected", "show"))
    assert sorted(line["reason"] for line in lines) == [
        *("contact_not_found", "invalid_parameter", "invalid_parameter", "no_change", "no_change", "order_unknown"),
    ]
    bad = output(shop.command("rejected", "show", "--reason", "invalid_parameter"))
    assert [line["detail"].split(":")[0] for line in bad] == ["totalCost", "date"]
    for line in bad:
        assert (line["outcome"], line["key"], line["sourceTopic"]) == ("invalid", "bad", shop.settings.events_topic)
        assert line["partition"] == line["sourcePartition"]
        assert line["event"]["eventTypeKey"] == "orderCreated"
        assert isinstance(line["sourceTimestamp"], int)
    assert refusal_of_choice(shop.command("rejected", "show", "--reason", "wrong", check=False))


def refusal_of_choice(done):
    """Tell whether a command refused a value that is none of an option's choices, and showed them."""
    return done.returncode == 2 and "contact_not_found" in done.stderr


def test_rejected_show_since(shop):
    """`--since` takes ISO 8601, in UTC without a zone; what is no time is wrong usage."""
    assert len(output(shop.command("rejected", "show", "--since", "2020-01-01"))) == 6
    assert output(shop.command("rejected", "show", "--since", "2100-01-01T00:00:00+02:00")) == []
    line = refusal(shop.command("rejected", "show", "--since", "yesterday", check=False), 2)
    assert line == "--since yesterday: expected a time such as 2026-01-31T10:00:00Z"


@pytest.mark.parametrize("command", [("facts", "show"), ("rejected", "show")])
def test_show_without_topic(idle, command):
    """A missing topic is named, with the command that makes it."""
    line = refusal(idle.command(*command, check=False), 1)
    assert line.endswith("is missing; make it with: order-facts topics create")


@pytest.mark.parametrize("options", [(), ("--latest",)])
def test_facts_show_of_something_else(idle, create_topic, options):
    """A record that is no fact is named by its place, not a crash."""
    create_topic(idle.settings.facts_topic, 1)
    producer = kafka.plain_producer(idle.settings)
    producer.produce(idle.settings.facts_topic, b"no fact", b"key")
    assert producer.flush(REQUEST_S) == 0
    line = refusal(idle.command("facts", "show", *options, check=False), 1)
    assert line.startswith("partition 0, offset 0 holds no fact: ")


class Follower:
    """A command that follows, its output in a file."""

    def __init__(self, deployment, *arguments):
        self._path = deployment.folder / f"follower-{secrets.token_hex(4)}"
        with self._path.open("wb") as stream:
            self.popen = subprocess.Popen(
                (*PYTHON, "processor", *arguments, "--follow"),
                env=deployment.environment(),
                cwd=PROJECT,
                stdout=stream,
                stderr=subprocess.PIPE,
                text=True,
            )

    def lines(self):
        """Give what was printed so far."""
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

    def await_count(self, count):
        """Wait for so many lines and give them."""
        await_condition(lambda: len(self.lines()) >= count, lambda: f"{count} lines: {self.lines()}")
        return self.lines()

    def interrupt(self):
        """Press Ctrl-C; give the exit code, and what was not a log line on standard error."""
        self.popen.send_signal(signal.SIGINT)
        _, errors = self.popen.communicate(timeout=REQUEST_S)
        return self.popen.returncode, [line for line in errors.splitlines() if not line.startswith("{")]


def test_follow_prints_what_is_committed_as_it_comes(shop):
    """Facts come as they are committed, none of an open or an aborted transaction. Ctrl-C ends with 0."""
    follower = Follower(shop, "facts", "show", "--order", "followed")
    try:
        source = shop.read(shop.settings.facts_topic)[0].value
        other = replace(shop.settings, instance_id="other")
        producer = _write_in_transaction(other, shop.settings.facts_topic, source)
        producer.abort_transaction(REQUEST_S)
        producer = _write_in_transaction(other, shop.settings.facts_topic, source)
        assert output(shop.command("facts", "show", "--order", "followed")) == []
        assert len(output(shop.command("facts", "show"))) == 12
        assert follower.lines() == []
        producer.commit_transaction(REQUEST_S)
        assert len(follower.await_count(1)) == 1
        assert len(output(shop.command("facts", "show", "--order", "followed"))) == 1
        assert follower.interrupt() == (0, [])
    finally:
        follower.popen.kill()


def test_follow_of_rejected_records(shop):
    """`rejected show --follow` begins with what is there and goes on with what comes, by the same filters."""
    follower = Follower(shop, "rejected", "show", "--reason", "order_unknown")
    try:
        assert [line["key"] for line in follower.await_count(1)] == ["unknown"]
        shop.send([_status("unknown too", "orderCancelled"), created("bad", totalCost="-1")])
        replica = shop.replica("b")
        assert [line["key"] for line in follower.await_count(2)] == ["unknown", "unknown too"]
        replica.stop()
        assert follower.interrupt() == (0, [])
    finally:
        follower.popen.kill()


def _write_in_transaction(settings, topic, value):
    """Write a fact in a transaction, which is left open; give its producer."""
    producer = kafka.transactional_producer(settings, 1 << 20)
    producer.init_transactions(REQUEST_S)
    producer.begin_transaction()
    producer.produce(topic, value, b"followed", 0)
    assert producer.flush(REQUEST_S) == 0
    return producer


def test_output_piped_into_head_ends_quietly(idle, tmp_path, create_topic):
    """The reader has enough after one line: the command ends at once, without a word, and not as a failure."""
    create_topic(idle.settings.rejected_topic, 1)
    producer = kafka.plain_producer(idle.settings)
    for _ in range(3_000):
        producer.produce(idle.settings.rejected_topic, b"x", b"key", headers={"detail": b"x" * 200})
    assert producer.flush(REQUEST_S) == 0
    command = f"set -o pipefail; {' '.join(PYTHON)} processor rejected show | head -n 1"
    done = subprocess.run(
        ("bash", "-c", command), env=idle.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["key"] == "key"


# --- check ---------------------------------------------------------------------------------------------


def test_check_of_a_good_deployment(shop):
    """A line for each finding, all of them good, and 0."""
    done = shop.command("check")
    assert done.stderr == ""
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    subjects = ("settings", "Kafka at ", "Redis, ", "topics: ", "the contact index ")
    assert [line[9:].startswith(subject) for line, subject in zip(done.stdout.splitlines(), subjects, strict=True)]


def test_check_names_what_is_wrong(idle):
    """The finding stands on standard output, as data; the exit code is that of `run`; what is mended is passed."""

    def problem(code, **changes):
        done = idle.command("check", check=False, **changes)
        lines = done.stdout.splitlines()
        assert (done.returncode, done.stderr) == (code, "")
        assert [line[:9] for line in lines] == ["ok       "] * (len(lines) - 1) + ["problem  "]
        return len(lines) - 1, lines[-1][9:]

    settings = idle.settings
    assert problem(2, identifier_key=None) == (0, problem(2, identifier_key=None)[1])
    assert problem(3, bootstrap_servers=NOWHERE, startup_timeout_s=0.4)[1].startswith(f"Kafka at {NOWHERE} did not")
    assert problem(3, redis_url=f"redis://{NOWHERE}/0", startup_timeout_s=0.4)[1].startswith("Redis did not answer")
    assert problem(1)[1].startswith("the topics are missing: ")
    idle.command("topics", "create", partitions=2)
    name = settings.events_topic
    assert problem(1)[1].startswith("the contact index is empty")
    idle.cluster.admin.create_partitions([NewPartitions(name, 3)])[name].result(REQUEST_S)
    assert problem(1)[1].startswith(f"{name} has 3 partitions, {settings.facts_topic} has 2")
