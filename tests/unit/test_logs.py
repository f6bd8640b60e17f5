"""Log lines: their form, and that the published list of events is what the program says."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter

import pytest
import structlog

import processor
from processor import __version__, logs
from processor.logs import EVENTS, configure, dropped_lines, get_logger
from processor.logs.profiles import PROFILES
from processor.logs.published import COMMON, MESSAGES, NULLABLE, SOMETIMES, TYPES

PROGRAM = Path(processor.__file__).parent
METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log", "msg"}
UNITS = ("_ms", "_s", "_bytes", "_records")


@pytest.fixture(autouse=True)
def own_configuration():
    """Put the logging of other tests back as it was."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def lines_of(stream):
    """Give the lines written so far, each as JSON."""
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_a_line_is_json_with_the_contracts_fields_in_order():
    """Timestamp, level, event, service, version and instance come first, then the event's own fields in their order."""
    stream = io.StringIO()
    configure("json", "info", "replica-1", stream)
    get_logger().info("batch.dropped", cause="rebalance", records=3)
    get_logger().warning("service.resumed", waiting_for="redis", waited_ms=17)
    first, second = lines_of(stream)
    assert list(first) == [*COMMON, "cause", "records"]
    assert list(second) == [*COMMON, "waiting_for", "waited_ms"]
    del first["timestamp"]
    assert first == {
        "level": "info",
        "event": "batch.dropped",
        "message": "a batch of 3 is read again, because of a rebalance",
        "service": "order-facts",
        "version": __version__,
        "instance": "replica-1",
        "cause": "rebalance",
        "records": 3,
    }
    assert (second["level"], second["waited_ms"]) == ("warning", 17)


def test_a_timestamp_is_iso_8601_in_utc():
    """The line says when, in UTC, to less than a second."""
    stream = io.StringIO()
    configure("json", "info", "i", stream)
    get_logger().info("service.started")
    [line] = lines_of(stream)
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+Z", line["timestamp"])
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is UTC


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_left_out(level, seen):
    """`log_level` is the least level that is logged."""
    stream = io.StringIO()
    configure("json", level, "i", stream)
    for method in ("debug", "info", "warning", "error"):
        getattr(get_logger(), method)("service.stats")
    assert [line["level"] for line in lines_of(stream)] == ["debug", "info", "warning", "error"][-seen:]


def test_any_value_stays_on_one_line():
    """A field with line ends, other scripts or no JSON form never breaks the line nor stops the program."""
    stream = io.StringIO()
    configure("json", "info", "i\nj", stream)
    get_logger().warning(
        "batch.aborted", error="a\nb\u2028\x00ключ", step=Path("/x"), records={1: {2}}, recovery=b"\xff"
    )
    [line] = lines_of(stream)
    assert line["error"] == "a\nb\u2028\x00ключ"
    assert line["instance"] == "i\nj"


def test_a_logger_made_before_the_configuration_follows_it():
    """Modules take their logger when they are imported, before the settings are known."""
    log = get_logger()
    one, other = io.StringIO(), io.StringIO()
    configure("json", "info", "i", one)
    log.info("service.started")
    configure("json", "info", "i", other)
    log.info("service.stopped")
    assert [line["event"] for line in lines_of(one)] == ["service.started"]
    assert [line["event"] for line in lines_of(other)] == ["service.stopped"]


def test_the_console_form_says_the_same_to_a_reader():
    """With log_format=console there is a plain line, without colours where there is no terminal."""
    stream = io.StringIO()
    configure("console", "info", "replica-1", stream)
    get_logger().info("batch.dropped", cause="rebalance", records=3)
    [line] = stream.getvalue().splitlines()
    assert "\x1b" not in line
    assert all(part in line for part in ("batch.dropped", "cause=rebalance", "records=3", "replica-1"))


def test_every_event_is_dotted_with_fields_of_its_own():
    """Names are two lower-case words; no field hides a common one or stands twice; units stand last."""
    for event, fields in EVENTS.items():
        assert re.fullmatch(r"[a-z]+(\.[a-z]+(_[a-z]+)*)", event), event
        assert not {*fields} & {*COMMON}, event
        assert len(set(fields)) == len(fields), event
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", field) for field in fields), event
        assert [field for field in fields if any(f"{unit}_" in field for unit in UNITS)] == [], event


def test_every_field_has_one_type():
    """The list of types has each field of each event once, and nothing else."""
    own = {field for fields in EVENTS.values() for field in fields}
    assert own | {*COMMON, *SOMETIMES} == TYPES.keys()
    assert own > NULLABLE
    assert not own & {*SOMETIMES}


def test_every_message_fills_in_its_own_events_fields():
    """A message is one line, whose holes are fields of its event."""
    for event, message in MESSAGES.items():
        holes = {name for _, name, _, _ in Formatter().parse(message) if name is not None}
        assert holes <= {*EVENTS[event]}, event
        assert re.fullmatch(r"[^\n]*[^.\n ]", message), event


@pytest.mark.parametrize("event", ["service.failed", "partition.unreadable", "breaker.paused"])
def test_an_errors_message_repeats_what_to_do(event):
    """What stops something says how to go on, in the sentence that people see first."""
    stream = io.StringIO()
    configure("json", "info", "i", stream)
    get_logger().error(event, **dict.fromkeys(EVENTS[event], "start it"))
    [line] = lines_of(stream)
    assert line["message"].endswith(": start it")


def test_a_message_shows_lists_and_nulls_in_words():
    """People read no brackets and no null; a field that a line should have and has not does not stop the program."""
    stream = io.StringIO()
    configure("json", "info", "i", stream)
    get_logger().info("partition.revoked", partitions=[0, 12], lost=False)
    get_logger().info("partition.revoked", partitions=(), lost=False)
    get_logger().info("segments.published", publish_ms=3, members={"vip": 2, "lost": 0})
    get_logger().info("service.stats", events=1, events_per_s=0.1, lag_records=None)
    assert [line["message"] for line in lines_of(stream)] == [
        "gave up partitions 0, 12",
        "gave up partitions none",
        "published a round in 3 ms; members: vip 2, lost 0",
        "0.1 events/s, lag unknown, the oldest waits for ? s; since the start 1 events: ? facts, ? ignored, ? invalid",
    ]


def calls_of_loggers():
    """Give (place, call) of every logging call in the program: on `log`, `self._log` or `get_logger()`."""
    for file in sorted(PROGRAM.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                owner = node.func.value.func if isinstance(node.func.value, ast.Call) else node.func.value
                name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                if name.lstrip("_") in {"log", "logger", "get_logger"}:
                    yield f"{file.relative_to(PROGRAM.parent)}:{node.lineno}", node


def events_of(call):
    """Give the events that a call may log: one literal, or one of two by a condition; None: something else."""
    positional = call.args[1:] if call.func.attr == "log" else call.args  # behind the level
    first = positional[0] if len(positional) == 1 else None
    options = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
    names = [option.value for option in options if isinstance(option, ast.Constant)]
    return names if len(names) == len(options) else None


def test_every_log_call_is_of_the_published_list():
    """What the program logs is an event of EVENTS with none but its fields: dashboards build on the list."""
    wrong, seen = [], 0
    for place, call in calls_of_loggers():
        seen += 1
        events = events_of(call)
        if events is None:
            wrong.append(f"{place}: the event has to be a literal, and the only positional argument")
            continue
        fields = {keyword.arg for keyword in call.keywords} - {None}  # None: **figures, seen at run time only
        for event in events:
            if event not in EVENTS:
                wrong.append(f"{place}: {event} is not in EVENTS")
            elif unknown := fields - {*EVENTS[event]}:
                wrong.append(f"{place}: {event} has no field {', '.join(sorted(unknown))}")
    assert wrong == []
    assert seen


def test_every_published_event_is_logged_with_all_its_fields():
    """No event or field of the list is one that never comes."""
    fields: defaultdict[str, set[str]] = defaultdict(set)
    open_ended = set()
    for _, call in calls_of_loggers():
        for event in events_of(call) or ():
            fields[event] |= {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            if any(keyword.arg is None for keyword in call.keywords):
                open_ended.add(event)
    wanting = {event: sorted({*EVENTS[event]} - fields[event]) for event in EVENTS if event not in open_ended}
    never_logged = sorted(EVENTS.keys() - fields.keys())
    assert (never_logged, {event: names for event, names in wanting.items() if names}) == ([], {})


def test_nothing_else_in_the_program_writes_logs():
    """There is one way to log: no standard logging, no own structlog, outside of `logs` and its import of structlog."""
    others = []
    for file in sorted(PROGRAM.rglob("*.py")):
        if file.parent == Path(logs.__file__).parent:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            imported = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if {"logging", "structlog"} & {name.split(".")[0] for name in imported}:
                others.append(f"{file.relative_to(PROGRAM)}:{node.lineno}")
    assert others == []


def test_the_next_line_after_dropped_ones_says_how_many(tmp_path):
    """A pipe that nobody reads from takes nothing; a file that can be written again has whole lines, and the count."""
    before, (reading, writing) = dropped_lines(), os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", closefd=False) as stream, (tmp_path / "log").open("w") as file:
        configure("json", "info", "i", stream)
        for _ in range(3):
            get_logger().info("service.started")
        os.dup2(file.fileno(), writing)
        get_logger().info("service.stopping")
        get_logger().info("service.stopping")
    os.close(writing)
    first, second = map(json.loads, (tmp_path / "log").read_text(encoding="utf-8").splitlines())
    assert (first["event"], first["dropped_lines"]) == ("service.stopping", 3)
    assert "dropped_lines" not in second
    assert dropped_lines() == before + 3


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_renames_every_field_and_loses_none(profile):
    """No two fields get one name, and the values are those of the default, but for what the profile's text says."""
    default, renamed = io.StringIO(), io.StringIO()
    for stream, name in ((default, "default"), (renamed, profile)):
        configure("json", "info", "i", stream, name)
        get_logger().error("service.failed", error="no", exit_code=3)
    [before], [after] = lines_of(default), lines_of(renamed)
    constants = PROFILES[profile].constants
    assert len(after) == len(before) + len(constants)
    changed = {before["timestamp"], before["level"]}  # two moments; two ways to write the level
    assert {*before.values(), *constants.values()} - changed <= {*after.values()}


def test_profiles_have_the_names_that_their_readers_look_for():
    """ECS wants `@timestamp`, `log.level` and `message` first and its version; Google a severity in capital letters."""
    lines = {}
    for profile in PROFILES:
        stream = io.StringIO()
        configure("json", "info", "one", stream, profile)
        get_logger().warning("batch.aborted", recovery="retry", error="no", step="commit", records=3)
        [lines[profile]] = lines_of(stream)
    ecs, gcp, otel = lines["ecs"], lines["gcp"], lines["otel"]
    assert list(ecs)[:3] == ["@timestamp", "log.level", "message"]
    assert (ecs["event.action"], ecs["error.message"], ecs["order_facts.records"]) == ("batch.aborted", "no", 3)
    assert (ecs["service.node.name"], ecs["ecs.version"]) == ("one", "8.11.0")
    assert (gcp["severity"], gcp["event"], gcp["records"]) == ("WARNING", "batch.aborted", 3)
    assert {"time", "message", "instance"} <= gcp.keys()
    assert (otel["SeverityText"], otel["EventName"], otel["order_facts.error"]) == ("warning", "batch.aborted", "no")
    assert (otel["service.instance.id"], otel["Body"]) == ("one", ecs["message"])


def test_what_was_left_out_is_written_at_the_end():
    """A process that ends writes its sums, in the form of its other lines."""
    script = (
        "import sys; from processor.logs import configure, get_logger; configure('json', 'info', 'i', sys.stdout)\n"
        "for number in range(9): get_logger().warning('mirror.not_written', error='no', partitions=[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROGRAM.parent
    )
    first, rest = map(json.loads, done.stdout.splitlines())
    assert ("repeated" in first, rest["repeated"]) == (False, 7)
    assert rest["message"] == f"{first['message']} (and 7 more like this)"


def test_services_log_to_the_stream_that_is_set():
    """`log_stream=stdout` moves the lines of a command that runs until a signal; the line for people stays."""
    command = (*(sys.executable, "-m", "processor", "run", "--identifier-key", "0123456789abcdef"), "--http-port", "0")
    there = ("--bootstrap-servers", "localhost:1", "--startup-timeout-s", "0.2", "--log-stream", "stdout")
    done = subprocess.run([*command, *there], capture_output=True, text=True, check=False, cwd=PROGRAM.parent)
    assert done.returncode == 3, done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[-1] == "service.failed"
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["order-facts"]
