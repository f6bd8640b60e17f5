"""Avro values on the wire: bytes in, checked values out, and back. The one module that knows the codec.

Values are framed as Avro single-object encoding: C3 01, the CRC-64-AVRO fingerprint of the writer's
schema (little-endian), then the body. The newest version of each schema is `schemas/<subject>.<n>.avsc`
with the greatest n; values of older versions are resolved to it. Logical types stay raw: a timestamp is
its ms, a decimal its unscaled bytes.
"""

import functools
import importlib.resources
import io
import json
import struct
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from processor.codec import generated
from processor.codec.strict_avro import Decoder, MalformedAvro, compile_decoder
from processor.domain.records import MAX_ELEMENTS, Event, Item, Order, PlainItems, UndecodableError
from processor.errors import StopError

EVENT: Final = "order-event"
CONTACT: Final = "contact"
FACT: Final = "order-fact"
__all__ = ["Codec", "UndecodableError", "codec"]

_SUBJECTS: Final = (EVENT, CONTACT, FACT)
FRAMING: Final = b"\xc3\x01"
_HEADER_BYTES: Final = 10
_UNUSUAL: Final = (ValueError, IndexError, struct.error)


class _Subject:
    """All versions of one schema: how each is read, and how the newest is written."""

    def __init__(self, versions: Mapping[int, dict[str, Any]], most_elements: int | None = None) -> None:
        newest = versions[max(versions)]
        self._newest = fastavro.parse_schema(_raw(newest))
        self.header = FRAMING + _fingerprint(newest)
        self._decoders: dict[bytes, tuple[Decoder, Any]] = {}
        for schema in versions.values():
            header = FRAMING + _fingerprint(schema)
            older = None if header == self.header else fastavro.parse_schema(_raw(schema))
            self._decoders[header] = (compile_decoder(schema, most_elements), older)

    def decode(self, value: bytes) -> Any:
        """Return the record as the newest version has it. Raises UndecodableError."""
        decoder, older = self._decoders.get(value[:_HEADER_BYTES], (None, None))
        if decoder is None:
            known = value[:2] == FRAMING and len(value) >= _HEADER_BYTES
            raise UndecodableError("unknown schema fingerprint" if known else "not Avro single-object encoding")
        try:
            record, end = decoder(value, _HEADER_BYTES)
        except MalformedAvro as error:
            raise UndecodableError(str(error)) from error
        if end != len(value):
            raise UndecodableError(f"{len(value) - end} bytes are left over")
        if older is None:
            return record
        body = io.BytesIO(value[_HEADER_BYTES:])  # checked above, so that fastavro only resolves it
        return fastavro.schemaless_reader(body, older, self._newest)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Return the record's value, framed. Raises ValueError or TypeError where it does not fit."""
        return self.header + _written(self._newest, record)


class Codec:
    """Reads and writes the values of all topics. Made once, by `codec`.

    Orders and their events go the quick way where the generated codec is that of the newest schemas and takes
    the value; else the plain way, which judges everything unusual, and gives the same where both do.
    """

    def __init__(self, folder: Traversable | Path) -> None:
        versions = _read_schemas(folder)
        self._events = _Subject(versions[EVENT], MAX_ELEMENTS)
        self._contacts, self._facts = _Subject(versions[CONTACT]), _Subject(versions[FACT])
        fact = _raw(versions[FACT][max(versions[FACT])])
        (items,) = (field["type"] for field in fact["fields"] if field["name"] == "items")
        self._items = fastavro.parse_schema(items, named_schemas={})
        self._read_items = compile_decoder(items)
        self._quick_events = self._events.header == generated.EVENT_HEADER
        self._quick_facts = self._facts.header == generated.FACT_HEADER

    def read_event(self, value: bytes) -> Event:
        """Return an OrderEvent as the domain takes it. Raises UndecodableError."""
        if self._quick_events and value[:_HEADER_BYTES] == generated.EVENT_HEADER:
            try:
                event, end = generated.event_at(value, _HEADER_BYTES)
            except _UNUSUAL:
                end = -1
            if end == len(value):
                return event
        record = self._events.decode(value)
        params = ((param["name"], param["value"]) for param in record["params"])
        return Event.of(record["eventTypeKey"], record["keyValue"], params)

    def decode_event(self, value: bytes) -> dict[str, Any]:
        """Return an OrderEvent: eventTypeKey, keyValue, params. Raises UndecodableError."""
        event: dict[str, Any] = self._events.decode(value)
        return event

    def encode_event(self, event: Mapping[str, Any]) -> bytes:
        """Return an OrderEvent's value. Raises ValueError or TypeError where Avro cannot hold it."""
        return self._events.encode(event)

    def decode_contact(self, value: bytes) -> dict[str, Any]:
        """Return a Contact by its Avro names. Raises UndecodableError."""
        contact: dict[str, Any] = self._contacts.decode(value)
        return contact

    def encode_contact(self, contact: Mapping[str, Any]) -> bytes:
        """Return a Contact's value. Raises ValueError or TypeError where Avro cannot hold it."""
        return self._contacts.encode(contact)

    def encode_fact(self, order: Order) -> bytes:
        """Return the OrderFact of an order's latest change."""
        if self._quick_facts:
            try:
                return generated.fact_bytes(order)
            except IndexError:
                return self.encode_fact_plainly(order)
        return self.encode_fact_plainly(order)

    @property
    def fact_header(self) -> bytes:
        """What stands before the newest facts' bodies: it tells their schema, and so that of packed items."""
        return self._facts.header

    def pack_items(self, items: tuple[Item, ...]) -> bytes:
        """Return an order's items the way a fact holds them."""
        if self._quick_facts:
            try:
                return generated.packed_items(items)
            except IndexError:
                return self.pack_items_plainly(items)
        return self.pack_items_plainly(items)

    def pack_items_plainly(self, items: tuple[Item, ...]) -> bytes:
        """Return the same as `pack_items`, the plain way."""
        return _written(self._items, _item_records(items))

    def unpack_items(self, packed: bytes) -> tuple[Item, ...]:
        """Return what `pack_items` was given. Raises UndecodableError."""
        if self._quick_facts:
            try:
                items, end = generated.items_at(packed, 0)
            except _UNUSUAL:
                end = -1
            if end == len(packed):
                return tuple(items)
        return self.unpack_items_plainly(packed)

    def unpack_items_plainly(self, packed: bytes) -> tuple[Item, ...]:
        """Return the same as `unpack_items`, the plain way."""
        try:
            records, end = self._read_items(packed, 0)
        except MalformedAvro as error:
            raise UndecodableError(f"packed items that are none: {error}") from error
        if end != len(packed):
            raise UndecodableError(f"packed items that are none: {len(packed) - end} bytes are left over")
        return _items(records)

    def encode_fact_plainly(self, order: Order) -> bytes:
        """Return the same as `encode_fact`, the plain way."""
        return self._facts.encode(_fact_record(order))

    def decode_fact(self, value: bytes) -> Order:
        """Return the order that an OrderFact holds. Raises UndecodableError."""
        if self._quick_facts and value[:_HEADER_BYTES] == generated.FACT_HEADER:
            try:
                order, end = generated.fact_at(value, _HEADER_BYTES)
            except _UNUSUAL:
                end = -1
            if end == len(value):
                return order
        return self.decode_fact_plainly(value)

    def decode_fact_plainly(self, value: bytes) -> Order:
        """Return the same as `decode_fact`, the plain way."""
        return _order(self._facts.decode(value))


@functools.cache
def codec() -> Codec:
    """Return the codec of the schemas that came with the program. Raises StopError where they are broken."""
    return Codec(_schema_folder())


def newest_schemas() -> dict[str, Any]:
    """Return the newest schema of each subject, as its JSON text gives it."""
    return {name: versions[max(versions)] for name, versions in _read_schemas(_schema_folder()).items()}


def newest_headers() -> dict[str, bytes]:
    """Return the framing before a value of each subject's newest schema."""
    return {name: FRAMING + _fingerprint(schema) for name, schema in newest_schemas().items()}


def _schema_folder() -> Traversable | Path:
    packaged = importlib.resources.files("processor") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"


def _read_schemas(folder: Traversable | Path) -> dict[str, dict[int, dict[str, Any]]]:
    versions: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _SUBJECTS}
    for file in folder.iterdir():
        name, _, version = file.name.removesuffix(".avsc").rpartition(".")
        if not file.name.endswith(".avsc"):
            continue
        if name not in versions or not version.isdecimal():
            raise StopError(f"{file}: expected <subject>.<version>.avsc, subject one of {', '.join(_SUBJECTS)}")
        try:
            schema = json.loads(file.read_text(encoding="utf-8"))
            fastavro.parse_schema(schema)
            compile_decoder(schema)
        except (ValueError, TypeError, KeyError, RecursionError, fastavro.schema.SchemaParseException) as error:
            raise StopError(f"{file}: not an Avro schema that is read here: {error}") from error
        versions[name][int(version)] = schema
    for name, found in versions.items():
        if not found:
            raise StopError(f"{folder}: no schema {name}.<version>.avsc")
    return versions


def _fingerprint(schema: Any) -> bytes:
    """Return the CRC-64-AVRO fingerprint as it stands in a header: 8 bytes, little-endian."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(fastavro.parse_schema(schema)), "CRC-64-AVRO"))


def _raw(schema: Any) -> Any:
    """Return the schema without its logical types, so that values stay as they are on the wire."""
    if isinstance(schema, dict):
        return {name: _raw(value) for name, value in schema.items() if name != "logicalType"}
    if isinstance(schema, list):
        return [_raw(value) for value in schema]
    return schema


# An order's fields by their Avro names; amounts, items and times are converted besides.
PLAIN_FIELDS: Final = {
    "externalOrderId": "external_order_id",
    "contactId": "contact_id",
    "identifiedBy": "identified_by",
    "status": "status",
    "date": "date_ms",
    "currency": "currency",
    "externalCustomerId": "external_customer_id",
    "email": "email",
    "phone": "phone",
    "firstName": "first_name",
    "lastName": "last_name",
    "statusDescription": "status_description",
    "restoreUrl": "restore_url",
    "storeId": "store_id",
    "source": "source",
    "deliveryMethod": "delivery_method",
    "paymentMethod": "payment_method",
    "deliveryAddress": "delivery_address",
    "additionalInfo": "additional_info",
    "cartId": "cart_id",
    "custom": "custom",
    "eventTypeKey": "event_type",
    "createdAt": "created_at_ms",
    "updatedAt": "updated_at_ms",
    "statusChangedAt": "status_changed_at_ms",
    "revision": "revision",
    "sourcePartition": "source_partition",
    "sourceOffset": "source_offset",
}
AMOUNTS: Final = {"totalCost": "total_cost", "shipping": "shipping", "discount": "discount", "taxes": "taxes"}
ITEM_FIELDS: Final = {
    "externalItemId": "external_item_id",
    "name": "name",
    "category": "category",
    "url": "url",
    "imageUrl": "image_url",
    "description": "description",
    "quantity": "quantity",
    "custom": "custom",
}


def _fact_record(order: Order) -> dict[str, Any]:
    record = {name: getattr(order, field) for name, field in PLAIN_FIELDS.items()}
    for name, field in AMOUNTS.items():
        record[name] = _amount_bytes(getattr(order, field))
    record["items"] = _item_records(order.items.lines)
    return record


def _item_records(items: tuple[Item, ...]) -> list[dict[str, Any]]:
    return [
        {name: getattr(item, field) for name, field in ITEM_FIELDS.items()} | {"cost": _amount_bytes(item.cost)}
        for item in items
    ]


def _written(schema: Any, value: Any) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, value, strict_allow_default=True)
    return buffer.getvalue()


def _order(record: Mapping[str, Any]) -> Order:
    fields = {field: record[name] for name, field in PLAIN_FIELDS.items()}
    for name, field in AMOUNTS.items():
        fields[field] = _amount(record[name])
    fields["items"] = PlainItems(_items(record["items"]))
    return Order(**fields)


def _items(records: Iterable[Mapping[str, Any]]) -> tuple[Item, ...]:
    return tuple(
        Item(**{field: item[name] for name, field in ITEM_FIELDS.items()}, cost=_amount(item["cost"]))
        for item in records
    )


def _amount_bytes(units: int | None) -> bytes | None:
    """Return a decimal's unscaled bytes: two's complement, big-endian, as short as they can be."""
    return None if units is None else units.to_bytes(units.bit_length() // 8 + 1, "big", signed=True)


def _amount(unscaled: bytes | None) -> int | None:
    return None if unscaled is None else int.from_bytes(unscaled, "big", signed=True)
