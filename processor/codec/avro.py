"""Avro values on the wire: bytes in, checked values out, and back.

Values are framed as Avro single-object encoding: C3 01, the CRC-64-AVRO fingerprint of the writer's schema
(little-endian), then the body. Values of older versions are read as the newest version has them.
"""

import functools
import io
from collections.abc import Callable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import fastavro

from processor.codec import generated
from processor.codec.appearance import looks_like
from processor.codec.decoders import AS_DICTIONARY, AS_EVENT, AS_ORDER, AS_PLAIN_EVENT, Shape, compile_decoder
from processor.codec.resolution import scales_of
from processor.codec.schemas import (
    CONTACT,
    EVENT,
    FACT,
    FRAMING,
    MEMBER,
    SINGLE_OBJECT_BYTES,
    canonical,
    header_of,
    name_of,
    read_schemas,
    schema_folder,
)
from processor.domain.records import Event, Headers, Order, UndecodableError, UnknownSchemaError

__all__ = ["Codec", "UndecodableError", "codec"]

T = TypeVar("T")


class Decoders(dict[bytes, Callable[[bytes, int], T]], Generic[T]):
    """The decoders of one subject's values by the header of the writer's schema; each is made when first needed.

    They give values as the `newest` version has them, in a `shape`; `name` is their record's full name.
    """

    def __init__(self, versions: Mapping[int, Any], shape: Shape) -> None:
        self._writers = {header_of(schema): schema for schema in versions.values()}
        self.newest = versions[max(versions)]
        self.name = name_of(self.newest)
        self.shape = shape

    def are_of(self, header: bytes, schema: Any) -> bool:
        """Return whether a schema with a header is one of these writers', its decimals too: no fingerprint has them."""
        own = self._writers.get(header)
        return own is not None and scales_of(own) == scales_of(schema)

    def __missing__(self, header: bytes) -> Callable[[bytes, int], T]:
        """Make a decoder. Raises UndecodableError where the schema is not known."""
        if header not in self._writers:
            is_framed = header.startswith(FRAMING) and len(header) == SINGLE_OBJECT_BYTES
            raise (UnknownSchemaError if is_framed else UndecodableError)(_problem(header))
        self[header] = compile_decoder(self._writers[header], self.newest, self.shape)
        return self[header]


class Codec:
    """Reads and writes the values of all topics in single-object encoding. Created once, by `codec`.

    `decode_event`, `decode_contact` and `decode_member` give dictionaries by the Avro names, and `encode_event`,
    `encode_contact` and `encode_member` take them. What decodes takes every version, and raises UndecodableError; what
    encodes writes the newest one, and raises ValueError or TypeError where Avro cannot hold it.
    """

    fact_encoders: Final = generated.FACT_ENCODERS
    """What writes an order as a fact, by the schema's version; of an older one, without the fields that it lacks."""
    encode_fact = staticmethod(generated.FACT_ENCODERS[max(generated.FACT_ENCODERS)])

    def __init__(self, folder: Traversable | Path) -> None:
        versions = read_schemas(folder)
        newest = {name: found[max(found)] for name, found in versions.items()}
        self.packed_form = _packed_form(versions[FACT])
        """Identifies the schema that packed items have: the header of the first version of facts with such items."""
        self.events: Decoders[Event | None] = Decoders(versions[EVENT], AS_EVENT)
        self.raw_events: Decoders[dict[str, Any]] = Decoders(versions[EVENT], AS_PLAIN_EVENT)
        self.contacts: Decoders[dict[str, Any]] = Decoders(versions[CONTACT], AS_DICTIONARY)
        self.facts: Decoders[Order] = Decoders(versions[FACT], AS_ORDER)
        self.members: Decoders[dict[str, Any]] = Decoders(versions[MEMBER], AS_DICTIONARY)
        # The generated decoders give the values of the version that was the newest then.
        if header_of(newest[EVENT]) == [*generated.EVENT_HEADERS.values()][-1]:
            self.events.update(generated.EVENT_DECODERS)
        if header_of(newest[FACT]) == [*generated.FACT_HEADERS.values()][-1]:
            self.facts.update(generated.FACT_DECODERS)
        self.encode_event, self.encode_contact = _writer(newest[EVENT]), _writer(newest[CONTACT])
        self.encode_member = _writer(newest[MEMBER])

    def read_event(self, value: bytes, _headers: Headers = ()) -> Event:
        """Return an OrderEvent as the domain takes it. A record's headers say nothing about its value here."""
        event = self.events[value[:SINGLE_OBJECT_BYTES]](value, SINGLE_OBJECT_BYTES)
        return event_of(self.decode_event(value)) if event is None else event  # None: a name occurs twice (D1)

    def decode_event(self, value: bytes) -> dict[str, Any]:
        """Return an OrderEvent: eventTypeKey, keyValue, params."""
        return self.raw_events[value[:SINGLE_OBJECT_BYTES]](value, SINGLE_OBJECT_BYTES)

    def decode_contact(self, value: bytes, _headers: Headers = ()) -> dict[str, Any]:
        """Return a Contact. A record's headers say nothing about its value here."""
        return self.contacts[value[:SINGLE_OBJECT_BYTES]](value, SINGLE_OBJECT_BYTES)

    def decode_member(self, value: bytes) -> dict[str, Any]:
        """Return a SegmentMember."""
        return self.members[value[:SINGLE_OBJECT_BYTES]](value, SINGLE_OBJECT_BYTES)

    def decode_fact(self, value: bytes) -> Order:
        """Return the order that an OrderFact holds."""
        return self.facts[value[:SINGLE_OBJECT_BYTES]](value, SINGLE_OBJECT_BYTES)


def event_of(raw: Mapping[str, Any]) -> Event:
    """Return the event of an OrderEvent as a dictionary."""
    return Event.of(raw["eventTypeKey"], raw["keyValue"], ((one["name"], one["value"]) for one in raw["params"]))


def _packed_form(facts: Mapping[int, Any]) -> bytes:
    items = {version: canonical(_field(schema, "items")) for version, schema in facts.items()}
    return header_of(facts[min(version for version in items if items[version] == items[max(items)])])


def _field(record: Any, name: str) -> Any:
    return next(field["type"] for field in record["fields"] if field["name"] == name)


def _problem(header: bytes) -> str:
    """Say what is wrong with a header that is none of the known ones."""
    if not header:
        return "the value is empty"
    if header.startswith(FRAMING) and len(header) == SINGLE_OBJECT_BYTES:
        return "unknown schema fingerprint"
    appearance = looks_like(header)
    return "not Avro single-object encoding" + (f"; it looks like {appearance}" if appearance else "")


def _writer(schema: Any) -> Callable[[Mapping[str, Any]], bytes]:
    """Return what writes dictionaries, framed, as a schema has them."""
    header, parsed = header_of(schema), fastavro.parse_schema(schema)

    def write(record: Mapping[str, Any]) -> bytes:
        buffer = io.BytesIO()
        buffer.write(header)
        fastavro.schemaless_writer(buffer, parsed, record, strict_allow_default=True)
        return buffer.getvalue()

    return write


@functools.cache
def codec() -> Codec:
    """Return the codec of the schemas that came with the program. Raises StopError where they are broken."""
    return Codec(schema_folder())
