"""A fact as people and programs read it: JSON with the names of the Avro schema."""

import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec

from processor.codec.fields import STRUCTS, fields_of
from processor.codec.schemas import FACT, newest_schemas
from processor.domain.instants import instant_text
from processor.domain.records import Order
from processor.domain.values import money_text

_ENCODER: Final = msgspec.json.Encoder()
_Write = Callable[[Any], Any] | None  # None: the value is the same in JSON
_Fields = list[tuple[str, str, _Write]]  # the name in the schema, that in the record, how a value is written


def fact_json(order: Order) -> bytes:
    """Return one JSON object: money as text with four places, times as ISO 8601 in UTC."""
    return _ENCODER.encode(fact_object(order))


def fact_object(order: Order) -> dict[str, Any]:
    """Return a fact's fields by their Avro names, in the schema's order, ready for JSON."""
    return _object(order, _fields_of_facts())


@functools.cache
def _fields_of_facts() -> _Fields:
    return _fields(newest_schemas()[FACT])


def _fields(schema: Any) -> _Fields:
    names = fields_of(STRUCTS[schema["name"]])
    return [(field["name"], names[field["name"]], _write(field["type"])) for field in schema["fields"]]


def _write(schema: Any) -> _Write:
    match schema:
        case ["null", branch]:
            return _write(branch)
        case {"logicalType": "decimal"}:
            return money_text
        case {"logicalType": "timestamp-millis"}:
            return instant_text
        case {"type": "array", "items": item}:
            fields = _fields(item)
            return lambda items: [_object(line, fields) for line in items.lines]
        case _:
            return None


def _object(record: Any, fields: _Fields) -> dict[str, Any]:
    found = {}
    for name, field, write in fields:
        value = getattr(record, field)
        found[name] = value if write is None or value is None else write(value)
    return found
