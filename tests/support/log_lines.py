"""Log lines as the published schema has them: whoever reads one in a test gets it checked."""

import functools
import json
import re
from bisect import bisect_right
from datetime import datetime

from jsonschema import Draft202012Validator

from processor.logs.published import LOUD
from tests.support.schemas import SCHEMAS

MOST_LOUD = 50  # in ten seconds
PERSONAL = re.compile(r"shop\.example|\+?999\d{6}|Super Device|nobody's")  # of the contacts and events of `traffic`


@functools.cache
def published():
    """Give the published schema of the log lines."""
    return json.loads((SCHEMAS / "logs.schema.json").read_text(encoding="utf-8"))


@functools.cache
def _validators(event):
    """Give what checks the types of a line's fields, and its event's own fields; none if there is no such event."""
    schema = {name: value for name, value in published().items() if name not in {"oneOf", "$defs"}}
    own = published()["$defs"].get(event)
    return (Draft202012Validator(schema), Draft202012Validator(own)) if own else ()


def _shape(value):
    """Give all that the schema looks at in a value, apart from texts: its types."""
    if isinstance(value, dict):
        return frozenset((name, type(inner)) for name, inner in value.items())
    return frozenset(map(type, value)) if isinstance(value, list) else type(value)


_checked: dict[tuple[object, ...], list[str]] = {}


def problems(line):
    """Give what is wrong with a line (a dictionary) by the published schema. Lines of one shape are checked once.

    A saboteur's own line, which says that it struck, is none of the program's.
    """
    if line["event"].startswith("test."):
        return []
    shape = (line["event"], line.get("level"), *((name, _shape(value)) for name, value in line.items()))
    if shape not in _checked:
        validators = _validators(line["event"])
        errors = [error.message for validator in validators for error in validator.iter_errors(line)]
        _checked[shape] = errors if validators else ["is no published event"]
    return [f"{line['event']}: {error}" for error in _checked[shape]]


def lines_in(text):
    """Give the log lines of a process's standard error, each as a dictionary; other lines are for people."""
    found = []
    for written in text.splitlines():
        try:
            line = json.loads(written)
        except ValueError:
            continue
        if isinstance(line, dict) and "event" in line:
            found.append(line)
    return found


def busiest(lines):
    """Give the most warnings and errors, and lines of the Kafka client, of any ten seconds: none fails faster."""
    loud = (line for line in lines if line["level"] in LOUD or line["event"] == "kafka.client")
    seconds = sorted(datetime.fromisoformat(line["timestamp"]).timestamp() for line in loud)
    return max((bisect_right(seconds, begun + 10) - at for at, begun in enumerate(seconds)), default=0)


def check(text):
    """Require of the log lines in a process's standard error what holds for all.

    They are as the published schema has them, repeat nothing of contacts and events, and are few, whatever
    failed: the Kafka client at level debug says more.
    """
    lines = lines_in(text)
    found = {problem for line in lines for problem in problems(line)}
    assert not found, "\n".join(sorted(found))
    private = [str(line) for line in lines if PERSONAL.search(str(line))]
    assert not private, "\n".join(private[:5])
    is_quiet = all(line["level"] != "debug" for line in lines)
    assert not is_quiet or busiest(lines) <= MOST_LOUD, f"{busiest(lines)} loud lines in ten seconds"
