"""Avro values on the wire: bytes in, checked values out, and back.

Values are framed as Avro single-object encoding: C3 01, the CRC-64-AVRO fingerprint of the writer's schema
(little-endian), then the body. Values of older versions are read as the newest version has them.
"""

import functools
import io
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import fastavro

from processor.codec import generated
from processor.codec.decoders import (
    AS_BOUNDED_DICTIONARY,
    AS_DICTIONARY,
    AS_EVENT,
    AS_ORDER,
    Decoder,
    Shape,
    compile_decoder,
)
from processor.codec.schemas import CONTACT, EVENT, FACT, FRAMING, header_of, read_schemas, schema_folder
from processor.domain.records import Event, Order, UndecodableError

__all__ = ["Codec", "UndecodableError", "codec"]

_HEADER_BYTES: Final = 10


class _Decoders(dict[bytes, Decoder]):
    """The decoders of one subject's values by the header of the writer's schema; each is made when first needed."""

    def __init__(self, versions: Mapping[int, Any], shape: Shape) -> None:
        self._writers = {header_of(schema): schema for schema in versions.values()}
        self._newest = versions[max(versions)]
        self._shape = shape

    def __missing__(self, header: bytes) -> Decoder:
        """Make a decoder. Raises UndecodableError where the schema is not known."""
        if header not in self._writers:
            is_framed = header.startswith(FRAMING) and len(header) == _HEADER_BYTES
            raise UndecodableError("unknown schema fingerprint" if is_framed else "not Avro single-object encoding")
        made = self[header] = compile_decoder(self._writers[header], self._newest, self._shape)
        return made


class Codec:
    """Reads and writes the values of all topics. Made once, by `codec`."""

    def __init__(self, folder: Traversable | Path) -> None:
        versions = read_schemas(folder)
        newest = {name: found[max(found)] for name, found in versions.items()}
        self.fact_header = header_of(newest[FACT])
        """What stands before the newest facts' bodies: it tells their schema, and so that of packed items."""
        self._events = _Decoders(versions[EVENT], AS_EVENT)
        self._raw_events = _Decoders(versions[EVENT], AS_BOUNDED_DICTIONARY)
        self._contacts = _Decoders(versions[CONTACT], AS_DICTIONARY)
        self._facts = _Decoders(versions[FACT], AS_ORDER)
        if header_of(newest[EVENT]) == generated.EVENT_HEADER:
            self._events[generated.EVENT_HEADER] = generated.event_at
        if self.fact_header == generated.FACT_HEADER:
            self._facts[generated.FACT_HEADER] = generated.fact_at
        self._write_event, self._write_contact = _Writer(newest[EVENT]), _Writer(newest[CONTACT])

    def read_event(self, value: bytes) -> Event:
        """Return an OrderEvent as the domain takes it. Raises UndecodableError."""
        event: Event | None = self._events[value[:_HEADER_BYTES]](value, _HEADER_BYTES)
        return self._repeating(value) if event is None else event

    def _repeating(self, value: bytes) -> Event:
        """Return an OrderEvent in which a name stands twice (D1)."""
        event = self.decode_event(value)
        params = ((param["name"], param["value"]) for param in event["params"])
        return Event.of(event["eventTypeKey"], event["keyValue"], params)

    def decode_event(self, value: bytes) -> dict[str, Any]:
        """Return an OrderEvent: eventTypeKey, keyValue, params. Raises UndecodableError."""
        event: dict[str, Any] = self._raw_events[value[:_HEADER_BYTES]](value, _HEADER_BYTES)
        return event

    def encode_event(self, event: Mapping[str, Any]) -> bytes:
        """Return an OrderEvent's value. Raises ValueError or TypeError where Avro cannot hold it."""
        return self._write_event(event)

    def decode_contact(self, value: bytes) -> dict[str, Any]:
        """Return a Contact by its Avro names. Raises UndecodableError."""
        contact: dict[str, Any] = self._contacts[value[:_HEADER_BYTES]](value, _HEADER_BYTES)
        return contact

    def encode_contact(self, contact: Mapping[str, Any]) -> bytes:
        """Return a Contact's value. Raises ValueError or TypeError where Avro cannot hold it."""
        return self._write_contact(contact)

    def decode_fact(self, value: bytes) -> Order:
        """Return the order that an OrderFact holds. Raises UndecodableError."""
        order: Order = self._facts[value[:_HEADER_BYTES]](value, _HEADER_BYTES)
        return order

    def encode_fact(self, order: Order) -> bytes:
        """Return the OrderFact of an order's latest change."""
        return generated.fact_bytes(order)


class _Writer:
    """Writes dictionaries, framed, as a schema has them."""

    def __init__(self, schema: Any) -> None:
        self._header, self._schema = header_of(schema), fastavro.parse_schema(schema)

    def __call__(self, record: Mapping[str, Any]) -> bytes:
        """Return a record's value. Raises ValueError or TypeError where it does not fit."""
        buffer = io.BytesIO()
        buffer.write(self._header)
        fastavro.schemaless_writer(buffer, self._schema, record, strict_allow_default=True)
        return buffer.getvalue()


@functools.cache
def codec() -> Codec:
    """Return the codec of the schemas that came with the program. Raises StopError where they are broken."""
    return Codec(schema_folder())
