"""A schema registry on paper: the program's reading of its answers, without a network.

Takes what the registry answers by path; gives what reads a record's value as `wire_format=confluent` does. Whatever is
asked and answered is the program's own code, from the answer's bytes on. Each schema and its decoders are timed once:
a deployment makes them once.
"""

import functools
import io
import time
from contextlib import suppress
from typing import Any, cast

import fastavro

from processor.domain.records import MAX_ELEMENTS, UndecodableError
from processor.errors import AwaitedSchemaError, RegistryError
from processor.registry.client import NotThereError, Registry
from processor.registry.framing import framing_of
from processor.registry.transport import MOST_BYTES, Answer, AnswerTooLargeError, Transport
from processor.registry.wire import Wire, _OfRegistry
from processor.registry.writers import NOT_KNOWN, AbsentSchemaError, Writers
from processor.settings import Settings
from tests.support import strict_avro
from tests.support.facts import with_decimal, without_logical_types

SETTINGS = Settings(instance_id="fuzz", wire_format="confluent", schema_registry_url="http://paper.example")
NO_SCHEMA = Answer(404, b'{"error_code": 40403, "message": "no"}')


class _Paper(Transport):
    """Answers from a table."""

    _answers: dict[str, bytes] = {}  # noqa: RUF012 - replaced for each case

    def ask(self, address, method, path, body=b""):
        """Give the answer at a path."""
        said = self._answers.get(path)
        if said is not None and len(said) > MOST_BYTES:
            raise (AnswerTooLargeError if said.startswith(b"{") else RegistryError)("too large")
        return NO_SCHEMA if said is None else Answer(200, said)


@functools.cache
def _made():
    """Give what takes long to make, once."""
    registry, wire = Registry(SETTINGS), Wire(SETTINGS)
    registry._transport = _Paper(SETTINGS)
    return registry, wire


class PaperRegistry:
    """Reads events as a replica does whose registry gives these answers; every question is answered at once."""

    def __init__(self, answers):
        self._registry, self._wire = _made()
        self._registry._transport._answers = dict(answers)
        self._known = {}
        own, here = self._wire._codec, cast(Writers, self)
        self._wire._events, self._wire._raw_events = _OfRegistry(own.events, here), _OfRegistry(own.raw_events, here)
        self._contacts = _OfRegistry(own.contacts, here)
        self.read_event, self.decode_event = self._wire.read_event, self._wire.decode_event

    def of(self, prefix):
        """Give the schema of a prefix, or raise what `Writers.of` raises."""
        if prefix not in self._known:
            try:
                self._known[prefix] = self._registry.writer(prefix, 0, lambda: None)
            except NotThereError as error:
                raise AbsentSchemaError(NOT_KNOWN) from error
            except RegistryError as error:
                raise AwaitedSchemaError(str(error), prefix) from error
        writer = self._known[prefix]
        if writer.refusal is not None:
            raise UndecodableError(writer.refusal)
        return writer

    def is_answered(self, record):
        """Tell whether a record's schema is known or refused: not where the registry's answers are none."""
        try:
            self.of(framing_of(record.value or b"", record.headers)[0])
        except UndecodableError:
            return True
        except AwaitedSchemaError:
            return False
        return True

    def prepared_ms(self, record):
        """Have a record's schema fetched and its decoders made; give the CPU time that the slowest of these took."""
        most_s = 0.0
        for decoders in (self._wire._events, self._wire._raw_events, self._contacts):
            begun = time.thread_time()
            with suppress(UndecodableError, AwaitedSchemaError):
                decoders[framing_of(record.value or b"", record.headers)[0]]
            most_s = max(most_s, time.thread_time() - begun)
        return most_s * 1_000

    def expected(self, record):
        """Give what fastavro reads where it is as strict as it must be, as our schema has it; else None.

        By the writer's schema alone: of a union fastavro would take a wider type before the same one.
        """
        try:
            prefix, start = framing_of(record.value or b"", record.headers)
            schema = without_logical_types(self.of(prefix).schema)
            body = record.value[start:]
            _, end = strict_avro.compile_decoder(schema, MAX_ELEMENTS)(body, 0)
            if end != len(body):
                return None
            read: Any = fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(schema), None)
            params = [{"name": one["name"], "value": with_decimal(one["value"])} for one in read["params"]]
            event_type = read["eventTypeKey"]
            event_type = event_type.decode() if isinstance(event_type, bytes) else event_type
        except Exception:  # noqa: BLE001 - both raise whatever comes to hand
            return None
        if any(one["value"] == b"" for one in read["params"]):
            return None  # no number, but fastavro takes it for 0
        return {"eventTypeKey": event_type, "keyValue": read.get("keyValue", ""), "params": params}
