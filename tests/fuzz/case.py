"""One input of the fuzz: records in turn, the rules they are read by, and the contacts that are known."""

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from processor.domain.records import Record
from tests.reference import ContactRecord, Rules
from tests.support.avro_writer import text, write
from tests.support.cases import EMPTY_CONTACT
from tests.support.events import RIGHT, RIGHT_ITEM
from tests.support.facts import without_decimal
from tests.support.schemas import header_of, schema_of

OLDER_SCHEMA = Path(__file__).parents[1] / "data" / "schemas" / "order-event.0.avsc"
FIRST, NEWEST = schema_of("order-event", 1), schema_of("order-event")
OLDER = json.loads(OLDER_SCHEMA.read_text(encoding="utf-8"))
MAX_EVENT_BYTES = Rules().max_event_bytes
RESOLVABLE = "resolvable"  # the name of cases whose values must be read, by a foreign writer's schema
KEY = RIGHT["externalOrderId"].encode()
CONTACTS = (
    ContactRecord(0, 0, 0, "c-1", {**EMPTY_CONTACT, "email": RIGHT["email"], "phone": "+999000001"}),
    ContactRecord(0, 1, 0, "c-2", {**EMPTY_CONTACT, "externalCustomerId": "77", "contactKey": "key-2"}),
)


class Case(msgspec.Struct, frozen=True):
    """Records that follow each other in one topic; `name` says where the case comes from.

    `answers` are what a schema registry answers by path; the records then are framed as its clients do.
    """

    records: tuple[Record, ...]
    rules: Rules = Rules()
    contacts: tuple[ContactRecord, ...] = CONTACTS
    name: str = ""
    answers: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self):
        """How many bytes the records and the registry's answers take."""
        return sum(record.size_bytes for record in self.records) + sum(len(said) for _, said in self.answers)


HEADER, NEWEST_HEADER = header_of(FIRST), header_of(NEWEST)
OLDER_HEADER = header_of(OLDER)


def value_of(event_type, params, cut=lambda _length: []):
    """Give an event's value for params, by name or as pairs, in blocks cut as told, by the newest schema."""
    pairs = params.items() if isinstance(params, Mapping) else params
    named = [{"name": name, "value": value} for name, value in pairs]
    return written({"eventTypeKey": event_type, "keyValue": "", "params": named}, cut)


def written(event, cut=lambda _length: []):
    """Give an event's value by the newest schema."""
    params = [{**param, "value": without_decimal(param["value"])} for param in event["params"]]
    return NEWEST_HEADER + write(NEWEST, {**event, "params": params}, cut)


def records_of(values, key=KEY):
    """Give one partition's records for these values."""
    return tuple(Record(0, offset, 1_000 + offset, key, value) for offset, value in enumerate(values))


def right(**params):
    """Give the value of an orderCreated that is right, with more parameters or others."""
    return value_of("orderCreated", RIGHT | params)


def right_item(**attributes):
    """Give an item that is right, with more attributes or others."""
    return RIGHT_ITEM | attributes


def string(value):
    """Write the string branch of a value."""
    return b"\x02" + text(value)


def as_json(case):
    """Write a case as one line of JSON, bytes in base64."""
    return msgspec.json.encode(case)


def of_json(line):
    """Read a case again."""
    return msgspec.json.decode(line, type=Case)
