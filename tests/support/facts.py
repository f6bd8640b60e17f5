"""Reads facts without the program's own codec: fastavro and the schema file, nothing else."""

import io
import json
from decimal import Decimal

import fastavro

from tests.support.schemas import SCHEMAS

AMOUNTS = ("totalCost", "shipping", "discount", "taxes")


def without_logical_types(schema):
    """Give a schema whose decimals are bytes and whose timestamps are ms."""
    if isinstance(schema, dict):
        return {name: without_logical_types(value) for name, value in schema.items() if name != "logicalType"}
    return [without_logical_types(branch) for branch in schema] if isinstance(schema, list) else schema


def raw_schema(subject, version=1):
    """Give the parsed schema of a subject such as order-fact, without logical types."""
    text = (SCHEMAS / f"{subject}.{version}.avsc").read_text(encoding="utf-8")
    return fastavro.parse_schema(without_logical_types(json.loads(text)))


FACT = raw_schema("order-fact")


def read_raw(body, schema):
    """Read a record of a schema by fastavro: its fields by their names."""
    record = fastavro.schemaless_reader(body, schema, schema)
    assert isinstance(record, dict)
    return record


def fact_of(value):
    """Give the fact that a record's value holds as the reference writes it: amounts as Decimal, times in ms."""
    body = io.BytesIO(value[10:])
    fact = read_raw(body, FACT)
    assert not body.read(), "bytes are left over"
    for holder, names in ((fact, AMOUNTS), *((item, ("cost",)) for item in fact["items"])):
        for name in names:
            holder[name] = _amount(holder[name])
    return fact


def _amount(unscaled):
    return None if unscaled is None else Decimal(int.from_bytes(unscaled, "big", signed=True)).scaleb(-4)
