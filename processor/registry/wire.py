"""The values of the topics as the setting `wire_format` frames them: what a program that has settings reads and writes.

Events have that form alone; it is never guessed. Contacts, and facts and members that are read back, are taken in both:
their first bytes, or a contact's header, tell them apart, so that a deployment can change its form while compacted
topics hold the other. Inside the program a fact is always in single-object encoding (`plain_fact`), so nothing but this
module and what it asks depends on a registry: mirrors and audits hold no ids.

A registry's prefix is looked up in a dictionary, once an event. The first value of a prefix has its decoder made: ours
of that version; or, for a foreign writer's schema that has our record's full name and resolves to ours, one of its own.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from processor.codec.avro import Decoders, codec, event_of
from processor.codec.decoders import compile_decoder
from processor.codec.schemas import CONTACT, EVENT, FACT, MEMBER, SINGLE_OBJECT_BYTES, header_of, name_of, schema_texts
from processor.domain.batch import DecodeEvent, EncodeFact
from processor.domain.records import Event, Headers, Order, Record, UndecodableError
from processor.domain.rejections import shown
from processor.errors import RegistryError, StopError
from processor.registry.client import Registry
from processor.registry.framing import HEADER, ID_BYTES, framing_of, is_framed, prefix_of
from processor.registry.framing import shown as shown_prefix
from processor.registry.subjects import subject_of
from processor.registry.writer_schema import Writer
from processor.registry.writers import NOT_KNOWN, AbsentSchemaError, Writers
from processor.settings import Settings

T = TypeVar("T")
_MOST_DECODERS: Final = 1_000


class _OfRegistry(dict[bytes, Callable[[bytes, int], T]], Generic[T]):
    """The decoders of one subject's values by a registry's prefix; each is made when first needed."""

    def __init__(self, own: Decoders[T], writers: Writers) -> None:
        self._own = own
        self._writers = writers

    def __missing__(self, prefix: bytes) -> Callable[[bytes, int], T]:
        """Make a decoder. Raises what `Writers.of` raises."""
        writer = self._writers.of(prefix)
        if len(self) >= _MOST_DECODERS:
            self.clear()
        self[prefix] = decoder = self._made(prefix, writer)
        return decoder

    def _made(self, prefix: bytes, writer: Writer) -> Callable[[bytes, int], T]:
        own, what = self._own, f"{shown_prefix(prefix)} is of {writer.name}"
        if writer.name != own.name or writer.header is None:
            return partial(_refuse, f"{what}, not of {own.name}")
        if own.are_of(writer.header, writer.schema):
            return own[writer.header]
        try:
            return compile_decoder(writer.schema, own.newest, own.shape)
        except ValueError as error:
            return partial(_refuse, f"{what}, and cannot be read as ours: {shown(str(error))}")


def _refuse(detail: str, _value: bytes, _start: int) -> Any:
    raise UndecodableError(detail)


class Wire:
    """Reads and writes the values of one deployment's topics.

    What decodes raises UndecodableError. With a registry it raises AwaitedSchemaError as well, while the registry is
    asked for a writer's schema; with `patience_s` it waits so long first. What encodes raises ValueError or TypeError
    where Avro cannot hold a value, and asks the registry once: see `fact_encoder`.
    """

    read_event: DecodeEvent
    """Returns an OrderEvent as the domain takes it, from a record's value and headers."""

    def __init__(self, settings: Settings, patience_s: float = 0.0) -> None:
        """Raise UsageError if a file of the settings cannot be used. Asks nothing yet."""
        self._settings = settings
        self._codec = own = codec()
        self.is_patient = patience_s > 0
        self.writers = None if settings.schema_registry_url is None else Writers(settings, patience_s)
        self._prefixes: dict[tuple[str, int | None], bytes] = {}  # of our schemas, by name and version
        self._is_confluent = settings.wire_format == "confluent"
        self.read_event = own.read_event
        if self.writers is not None:
            self._events, self._raw_events = (
                _OfRegistry(own.events, self.writers),
                _OfRegistry(own.raw_events, self.writers),
            )
            self._contacts = _OfRegistry(own.contacts, self.writers)
            self._members = _OfRegistry(own.members, self.writers)
            if self._is_confluent:
                self.read_event = self._event_reader()

    def _event_reader(self) -> DecodeEvent:
        known, any_form = self._events.get, self._read_event

        def read(value: bytes, headers: Headers) -> Event:
            """Read an event of a known schema at once."""
            decoder = None if headers else known(value[:ID_BYTES])
            event = None if decoder is None else decoder(value, ID_BYTES)
            return any_form(value, headers) if event is None else event

        return read

    def _read_event(self, value: bytes, headers: Headers) -> Event:
        prefix, start = framing_of(value, headers)
        event = self._events[prefix](value, start)
        return event_of(self.decode_event(value, headers)) if event is None else event  # None: a name occurs twice (D1)

    def decode_event(self, value: bytes, headers: Headers) -> dict[str, Any]:
        """Return an OrderEvent: eventTypeKey, keyValue, params."""
        if not self._is_confluent:
            return self._codec.decode_event(value)
        prefix, start = framing_of(value, headers)
        return self._raw_events[prefix](value, start)

    def decode_contact(self, value: bytes, headers: Headers) -> dict[str, Any]:
        """Return a Contact, whichever form it has."""
        if self.writers is None:
            return self._codec.decode_contact(value)
        is_of_registry = is_framed(value) or any(name == HEADER and given is not None for name, given in headers)
        if not is_of_registry:
            return self._codec.decode_contact(value)
        prefix, start = framing_of(value, headers)
        return self._contacts[prefix](value, start)

    def decode_member(self, value: bytes) -> dict[str, Any]:
        """Return a SegmentMember, whichever form it has."""
        if self.writers is None or not is_framed(value):
            return self._codec.decode_member(value)
        prefix, start = framing_of(value)
        return self._members[prefix](value, start)

    def decode_fact(self, value: bytes) -> Order:
        """Return the order that an OrderFact holds, whichever form it has."""
        return self._codec.decode_fact(self.plain_fact(value))

    def plain_fact(self, value: bytes) -> bytes:
        """Return an OrderFact in single-object encoding. Raises RegistryError, too, if the registry lost its schema."""
        if self.writers is None or not is_framed(value):
            return value
        prefix, start = framing_of(value)
        try:
            writer = self.writers.of(prefix)
        except AbsentSchemaError as error:
            raise RegistryError(
                f"{error}, and the facts topic holds facts of it: restore the registry's schemas"
            ) from error
        if writer.name != self._codec.facts.name or writer.header is None:
            raise UndecodableError(f"{shown_prefix(prefix)} is of {writer.name}, not of {self._codec.facts.name}")
        return writer.header + value[start:]

    def fact_encoder(self, version: int) -> EncodeFact:
        """Return what writes an order as a fact of a version.

        With wire_format=confluent it asks the registry for the schema's id. Raises StopError where that is not
        registered or the registry refuses the program; RegistryError if it does not answer within startup_timeout_s.
        """
        encode = self._codec.fact_encoders[version]
        return partial(encode, header=self._prefix(FACT, version)) if self._is_confluent else encode

    def encode_event(self, event: Mapping[str, Any]) -> bytes:
        """Return the value of an OrderEvent. Raises as `fact_encoder` does, too."""
        return self._framed(EVENT, self._codec.encode_event(event))

    def encode_contact(self, contact: Mapping[str, Any]) -> bytes:
        """Return the value of a Contact. Raises as `fact_encoder` does, too."""
        return self._framed(CONTACT, self._codec.encode_contact(contact))

    def encode_member(self, member: Mapping[str, Any]) -> bytes:
        """Return the value of a SegmentMember. Raises as `fact_encoder` does, too."""
        return self._framed(MEMBER, self._codec.encode_member(member))

    def prefix_of(self, event: Record) -> bytes | None:
        """Return the registry's prefix of an event, None for one that has none."""
        return self.prefix_of_contact(event) if self._is_confluent else None

    def prefix_of_contact(self, contact: Record) -> bytes | None:
        """Return the registry's prefix of a contact, None for one that has none."""
        try:
            return None if contact.value is None else framing_of(contact.value, contact.headers)[0]
        except UndecodableError:
            return None

    def require_contacts(self) -> None:
        """Require that the registry, if the form needs one, has our schema of contacts. Raises as `fact_encoder` does.

        An index built while the registry is empty would skip every contact, and no order would find its own (C4).
        """
        if self._is_confluent:
            self._prefix(CONTACT)

    def is_settled(self, prefix: bytes) -> bool:
        """Return whether values of a prefix can be decoded or rejected, without a question to the registry."""
        return prefix in self._events or self.awaited.is_settled(prefix)

    @property
    def awaited(self) -> Writers:
        """The schemas of the registry, where one was awaited."""
        assert self.writers is not None, "only a registry's schemas are awaited"
        return self.writers

    def may_have_been_unknown(self, event: Record, detail: str) -> bool:
        """Return whether an event's rejection says that the registry did not know its schema then."""
        return self._is_confluent and detail.endswith(NOT_KNOWN) and self.prefix_of(event) is not None

    def close(self) -> None:
        """Ask the registry no more."""
        if self.writers is not None:
            self.writers.close()

    def know_events(self) -> None:
        """Look our schemas of events up, so that no partition waits at its first event of one.

        What the registry does not tell now it is asked for when it is needed.
        """
        if self._is_confluent:
            with suppress(RegistryError, StopError):
                for version, text in schema_texts(EVENT).items():
                    self._found(EVENT, f"{EVENT}.{version}", text)

    def _framed(self, schema: str, value: bytes) -> bytes:
        return self._prefix(schema) + value[SINGLE_OBJECT_BYTES:] if self._is_confluent else value

    def _prefix(self, schema: str, version: int | None = None) -> bytes:
        """Return the prefix of one of our schemas, the newest if none is named, as it is registered."""
        wanted = schema, version
        if wanted not in self._prefixes:
            texts = schema_texts(schema)
            number = max(texts) if version is None else version
            self._prefixes[wanted] = self._registered(schema, f"{schema}.{number}", texts[number])
        return self._prefixes[wanted]

    def _registered(self, schema: str, name: str, text: str) -> bytes:
        prefix = self._found(schema, name, text)
        if prefix is None:
            raise StopError(
                f"the schema registry has no {name} under the subject {self._subject(schema)}; register it with: "
                "order-facts schemas register"
            )
        return prefix

    def _found(self, schema: str, name: str, text: str) -> bytes | None:
        """Return the prefix of one of our schemas, None if it is not registered."""
        subject = self._subject(schema)
        found = Registry(self._settings, self._settings.startup_timeout_s).find(subject, text)
        if found is None:
            return None
        own = json.loads(text)
        header = header_of(own)
        if _header_of(found.text) != header:
            raise RegistryError(f"the schema registry finds another schema for {name} under {subject}: {found.id}")
        prefix = prefix_of(found.id)
        if self.writers is not None:
            self.writers.add(prefix, Writer(name_of(own), len(text), own, header))
        return prefix

    def _subject(self, schema: str) -> str:
        settings = self._settings
        topics = {EVENT: settings.events_topic, CONTACT: settings.contacts_topic}
        topics |= {FACT: settings.facts_topic, MEMBER: settings.segment_members_topic}
        return subject_of(topics[schema])


def _header_of(text: str) -> bytes | None:
    """Return the header of a schema's text, None where that is none."""
    try:
        return header_of(json.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
