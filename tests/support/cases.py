"""Loads tests/data/cases.json: examples of every rule, with expectations written by hand from the rules.

A case is {"rule", "name", "rules", "contacts", "events", "expect"} and, where the size of facts matters,
"fact_bytes". Only what differs from these defaults is written down:

- an event entry is {"event": OrderEvent, or null for a value that cannot be decoded} with "partition" 0,
  "offset" the number of earlier entries, "timestamp" in ms (1000, 2000, ...), "size" of the value 1000 bytes,
  and "key" the UTF-8 of its externalOrderId (null where it has none);
- a contact entry is {"id", "contact": Contact's fields that are not empty, or null for deleted} with
  "partition" 0, "offset" the number of earlier entries, "timestamp" 0, and "since" 0: the number of the first event
  that finds it there;
- "fact_bytes" gives, for each event, what a fact made by it would weigh;
- "expect" has one entry for each event: {"fact": the fields to compare, money as text} or {"reason", and
  "detail": the names that the detail has to mention, none where left out}.

What JSON cannot hold or should not repeat: {"$double": "nan"}, {"$decimal": "12.5000"}, {"$bytes": "ff00"} in hex,
and {"$text": ["a", ["b", 300]]}, the parts joined, a part with a number repeated. An integer of the file is Avro's
long, a number with a point or an exponent its double.
"""

import json
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.reference import ContactRecord, Input, Rules

CASES_PATH = Path(__file__).parents[1] / "data" / "cases.json"
EMPTY_CONTACT: dict[str, Any] = {
    **dict.fromkeys(("externalCustomerId", "email", "phone", "contactKey")),
    "pushTokens": [],
    "fields": {},
}


@dataclass(frozen=True)
class Case:
    """One example: the records that go in and, for each event in turn, what has to come out."""

    rule: str
    name: str
    rules: Rules
    contacts: tuple[ContactRecord, ...]
    since: tuple[int, ...]  # of each contact's record
    inputs: tuple[Input, ...]
    fact_bytes: tuple[int, ...] | None
    expect: tuple[dict, ...]

    @property
    def id(self):
        """The case's name in a test report."""
        return f"{self.rule}: {self.name}"

    @property
    def stages(self):
        """Yield the events between two changes of contacts, as a slice, and the contacts' records until then."""
        for start, stop in pairwise(sorted({0, *self.since, len(self.inputs)})):
            told = zip(self.contacts, self.since, strict=True)
            yield slice(start, stop), tuple(record for record, since in told if since <= start)

    @property
    def encoded_size(self):
        """The function that says what a fact weighs (by the event that made it), or None."""
        if self.fact_bytes is None:
            return None
        weights = {(i.partition, i.offset): w for i, w in zip(self.inputs, self.fact_bytes, strict=True)}
        return lambda fact: weights[fact["sourcePartition"], fact["sourceOffset"]]


def load_cases(path=CASES_PATH):
    """Give all cases of the corpus, in its order."""
    return [_case(raw) for raw in json.loads(path.read_text(encoding="utf-8"), object_hook=_unmark)]


@contextmanager
def noted(note):
    """Add a note to whatever fails in the block: which case it was, or how it was run."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise


def fact_differences(expected, fact):
    """Say, field by field, where a fact is not as a case expects it; an empty list: it is."""
    actual = {name: _money_as_text(fact.get(name, "missing")) for name in expected}
    return [
        f"{name}: expected {expected[name]!r}, got {actual[name]!r}"
        for name in expected
        if not _identical(expected[name], actual[name])
    ]


def _case(raw):
    rules = raw.get("rules", {})
    if "identification" in rules:
        rules = {**rules, "identification": tuple((r["parameter"], r["field"]) for r in rules["identification"])}
    if "statuses" in rules:
        rules = {**rules, "statuses": tuple(rules["statuses"].items())}
    return Case(
        rule=raw["rule"],
        name=raw["name"],
        rules=Rules(**rules),
        contacts=tuple(_contact(entry, number) for number, entry in enumerate(raw["contacts"])),
        since=tuple(entry.get("since", 0) for entry in raw["contacts"]),
        inputs=tuple(_input(entry, number) for number, entry in enumerate(raw["events"])),
        fact_bytes=tuple(raw["fact_bytes"]) if "fact_bytes" in raw else None,
        expect=tuple(raw["expect"]),
    )


def _contact(entry, number):
    contact = entry["contact"]
    return ContactRecord(
        partition=entry.get("partition", 0),
        offset=entry.get("offset", number),
        timestamp_ms=entry.get("timestamp", 0),
        contact_id=entry["id"],
        contact=None if contact is None else {"contactId": entry["id"], **EMPTY_CONTACT, **contact},
    )


def _input(entry, number):
    key = entry.get("key", _default_key(entry["event"]))
    return Input(
        partition=entry.get("partition", 0),
        offset=entry.get("offset", number),
        timestamp_ms=entry.get("timestamp", 1000 * (number + 1)),
        key=key.encode() if isinstance(key, str) else key,
        size=entry.get("size", 1000),
        event=entry["event"],
    )


def _default_key(event):
    for param in (event or {}).get("params", ()):
        if param["name"] == "externalOrderId" and param["value"] is not None:
            return key_text(param["value"])
    return None


def key_text(order_id):
    """Give the key, as text, that belongs to an order's id: its digits where it is a whole double (D5)."""
    return str(int(order_id)) if isinstance(order_id, float) and order_id.is_integer() else str(order_id)


def _unmark(raw):
    match raw:
        case {"$double": text}:
            return float(text)
        case {"$decimal": text}:
            return Decimal(text)
        case {"$bytes": text}:
            return bytes.fromhex(text)
        case {"$text": parts}:
            return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts)
    return raw


def _money_as_text(value):
    match value:
        case Decimal():
            return format(value, "f")
        case list():
            return [_money_as_text(element) for element in value]
        case dict():
            return {name: _money_as_text(element) for name, element in value.items()}
    return value


def _identical(expected, actual):
    """Compare with types: 1, 1.0 and true are three values."""
    if type(expected) is not type(actual):
        return False
    if isinstance(expected, dict):
        return expected.keys() == actual.keys() and all(_identical(expected[k], actual[k]) for k in expected)
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(_identical, expected, actual))
    return expected == actual
