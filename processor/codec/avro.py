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
from processor.codec.schemas import CONTACT, EVENT, FACT, FRAMING, canonical, header_of, read_schemas, schema_folder
from processor.domain.batch import EncodeFact
from processor.domain.records import Event, Order, UndecodableError, UnknownSchemaError

__all__ = ["Codec", "UndecodableError", "codec"]

T = TypeVar("T")
_HEADER_BYTES: Final = 10


class _Decoders(dict[bytes, Callable[[bytes, int], T]], Generic[T]):
    """The decoders of one subject's values by the header of the writer's schema; each is made when first needed."""

    def __init__(self, versions: Mapping[int, Any], shape: Shape) -> None:
        self._writers = {header_of(schema): schema for schema in versions.values()}
        self._newest = versions[max(versions)]
        self._shape = shape

    def __missing__(self, header: bytes) -> Callable[[bytes, int], T]:
        """Make a decoder. Raises UndecodableError where the schema is not known."""
        if header not in self._writers:
            is_framed = header.startswith(FRAMING) and len(header) == _HEADER_BYTES
            raise (UnknownSchemaError if is_framed else UndecodableError)(_problem(header))
        self[header] = compile_decoder(self._writers[header], self._newest, self._shape)
        return self[header]


class Codec:
    """Reads and writes the values of all topics. Created once, by `codec`.

    `decode_event` and `decode_contact` give dictionaries by the Avro names, and `encode_event` and `encode_contact`
    take them. What decodes takes every version, and raises UndecodableError; what encodes writes the newest one, and
    raises ValueError or TypeError where Avro cannot hold it.
    """

    fact_encoders: Final[Mapping[int, EncodeFact]] = generated.FACT_ENCODERS
    """What writes an order as a fact, by the schema's version; of an older one, without the fields that it lacks."""
    encode_fact = staticmethod(generated.FACT_ENCODERS[max(generated.FACT_ENCODERS)])

    def __init__(self, folder: Traversable | Path) -> None:
        versions = read_schemas(folder)
        newest = {name: found[max(found)] for name, found in versions.items()}
        self.packed_form = _packed_form(versions[FACT])
        """Identifies the schema that packed items have: the header of the first version of facts with such items."""
        self._events: _Decoders[Event | None] = _Decoders(versions[EVENT], AS_EVENT)
        self._raw_events: _Decoders[dict[str, Any]] = _Decoders(versions[EVENT], AS_PLAIN_EVENT)
        self._contacts: _Decoders[dict[str, Any]] = _Decoders(versions[CONTACT], AS_DICTIONARY)
        self._facts: _Decoders[Order] = _Decoders(versions[FACT], AS_ORDER)
        # The generated decoders give the values of the version that was the newest then.
        if header_of(newest[EVENT]) == [*generated.EVENT_HEADERS.values()][-1]:
            self._events.update(generated.EVENT_DECODERS)
        if header_of(newest[FACT]) == [*generated.FACT_HEADERS.values()][-1]:
            self._facts.update(generated.FACT_DECODERS)
        self.encode_event, self.encode_contact = _writer(newest[EVENT]), _writer(newest[CONTACT])

    def read_event(self, value: bytes) -> Event:
        """Return an OrderEvent as the domain takes it."""
        event = self._events[value[:_HEADER_BYTES]](value, _HEADER_BYTES)
        if event is not None:
            return event
        raw = self.decode_event(value)  # a name occurs twice (D1)
        return Event.of(raw["eventTypeKey"], raw["keyValue"], ((one["name"], one["value"]) for one in raw["params"]))

    def decode_event(self, value: bytes) -> dict[str, Any]:
        """Return an OrderEvent: eventTypeKey, keyValue, params."""
        return self._raw_events[value[:_HEADER_BYTES]](value, _HEADER_BYTES)

    def decode_contact(self, value: bytes) -> dict[str, Any]:
        """Return a Contact."""
        return self._contacts[value[:_HEADER_BYTES]](value, _HEADER_BYTES)

    def decode_fact(self, value: bytes) -> Order:
        """Return the order that an OrderFact holds."""
        return self._facts[value[:_HEADER_BYTES]](value, _HEADER_BYTES)


def _packed_form(facts: Mapping[int, Any]) -> bytes:
    items = {version: canonical(_field(schema, "items")) for version, schema in facts.items()}
    return header_of(facts[min(version for version in items if items[version] == items[max(items)])])


def _field(record: Any, name: str) -> Any:
    return next(field["type"] for field in record["fields"] if field["name"] == name)


def _problem(header: bytes) -> str:
    """Say what is wrong with a header that is none of the known ones."""
    if not header:
        return "the value is empty"
    if header.startswith(FRAMING) and len(header) == _HEADER_BYTES:
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
