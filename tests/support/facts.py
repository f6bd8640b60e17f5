"""Reads facts without the program's own codec: fastavro and the schema file, nothing else."""

import io
from decimal import Decimal

import fastavro

from tests.support.schemas import header_of, schema_of, versions_of

AMOUNTS = ("totalCost", "shipping", "discount", "taxes")


def without_logical_types(schema):
    """Give a schema whose decimals are bytes and whose timestamps are ms."""
    if isinstance(schema, dict):
        return {name: without_logical_types(value) for name, value in schema.items() if name != "logicalType"}
    return [without_logical_types(branch) for branch in schema] if isinstance(schema, list) else schema


def raw_schema(subject, version=None):
    """Give the parsed schema of a subject such as order-fact, without logical types; without a version the newest."""
    return fastavro.parse_schema(without_logical_types(schema_of(subject, version)))


def writers(subject):
    """Give the parsed schemas of a subject's versions, without logical types, by the header of their values."""
    return {header_of(schema_of(subject, version)): raw_schema(subject, version) for version in versions_of(subject)}


EVENTS, CONTACTS, FACTS = (writers(subject) for subject in ("order-event", "contact", "order-fact"))


def read_raw(value, schemas):
    """Read a whole value by fastavro: its fields by their names; `schemas` are the writers' by header."""
    body, schema = io.BytesIO(value[10:]), schemas[value[:10]]
    record = fastavro.schemaless_reader(body, schema, None)
    assert isinstance(record, dict)
    assert not body.read(), "bytes are left over"
    return record


def event_of(value):
    """Give the event that a record's value holds, of whatever version; decimals as Decimal."""
    event = read_raw(value, EVENTS)
    return event | {"params": [{**param, "value": with_decimal(param["value"])} for param in event["params"]]}


def contact_of(value):
    """Give the contact that a record's value holds."""
    return read_raw(value, CONTACTS)


def without_decimal(value):
    """Give a parameter's value with the bytes instead of a decimal."""
    if not isinstance(value, Decimal):
        return value
    units = int(f"{value:f}".replace(".", ""))  # four places: exact, however many digits it has
    return units.to_bytes(units.bit_length() // 8 + 1, "big", signed=True)


def versions_of_facts(records):
    """Give the schema version of each fact."""
    by_header = {header_of(schema_of("order-fact", version)): version for version in versions_of("order-fact")}
    return [by_header[record.value[:10]] for record in records]


def with_decimal(value):
    """Give a parameter's value with the number instead of a decimal's bytes."""
    return Decimal(f"{int.from_bytes(value, 'big', signed=True)}E-4") if isinstance(value, bytes) else value


def fact_of(value):
    """Give the fact that a record's value holds as the reference writes it: amounts as Decimal, times in ms."""
    fact = {"occurredAt": None} | read_raw(value, FACTS)
    for holder, names in ((fact, AMOUNTS), *((item, ("cost",)) for item in fact["items"])):
        for name in names:
            holder[name] = _amount(holder[name])
    return fact


def _amount(unscaled):
    return None if unscaled is None else Decimal(int.from_bytes(unscaled, "big", signed=True)).scaleb(-4)
