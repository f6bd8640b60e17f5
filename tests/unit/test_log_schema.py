"""The published schema of the log lines: what it holds for right, and what it refuses."""

import io
import json

import pytest
from jsonschema import Draft202012Validator

from deploy.build.log_schema import schema
from processor.logs import EVENTS, configure, get_logger
from processor.logs.published import TYPES
from tests.support.log_lines import problems, published
from tests.unit.test_logs import own_configuration  # noqa: F401 - a fixture for all tests here

EXAMPLES = {
    "string": "word",
    "boolean": True,
    "integer": 7,
    "number": 0.5,
    "integers": [1],
    "strings": ["a"],
    "counts": {"a": 1},
}


def line_of(event, **changes):
    """Give a line of an event as the program writes it, with values of its fields' types."""
    stream = io.StringIO()
    configure("json", "info", "i", stream)
    get_logger().info(event, **{field: EXAMPLES[TYPES[field]] for field in EVENTS[event]} | changes)
    return json.loads(stream.getvalue())


def test_the_published_file_is_a_json_schema():
    """It is valid itself, and what the code makes."""
    Draft202012Validator.check_schema(published())
    assert published() == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("event", EVENTS)
def test_a_line_of_each_event_is_valid(event):
    """With values of the types that the list gives."""
    assert problems(line_of(event)) == []


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        ("service.stats", {"lag_records": None, "waiting_for": None}),
        ("batch.committed", {"reasons": {}, "partitions": []}),
        ("breaker.paused", {"pause_s": None}),
        ("service.started", {"repeated": 3, "dropped_lines": 1}),
    ],
)
def test_the_whole_schema_takes_what_may_be(event, changes):
    """Validators of others read the whole file, not one event's part."""
    assert list(Draft202012Validator(published()).iter_errors(line_of(event, **changes))) == []


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        ("batch.committed", {"partitions": 3}),
        ("batch.committed", {"partitions": ["3"]}),
        ("batch.committed", {"records": None}),
        ("batch.committed", {"poll_ms": "1"}),
        ("batch.committed", {"reasons": {"no_identifier": "1"}}),
        ("batch.aborted", {"partition": 1}),
        ("batch.aborted", {"email": "x"}),
        ("service.started", {"event": "service.begun"}),
        ("service.started", {"level": "loud"}),
        ("service.started", {"timestamp": 1}),
    ],
)
def test_a_wrong_line_is_refused(event, changes):
    """Another type, an unknown field, another event's field: the tests' reader says so, as the whole schema does."""
    line = line_of(event) | changes
    assert problems(line)
    assert list(Draft202012Validator(published()).iter_errors(line))


@pytest.mark.parametrize("missing", ["message", "instance", "cause"])
def test_a_line_without_one_of_its_fields_is_refused(missing):
    """Every field of an event is in each of its lines."""
    line = line_of("batch.dropped")
    del line[missing]
    assert problems(line)
