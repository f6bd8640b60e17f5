"""The world with a schema registry: `wire_format=confluent`, producers that write ids, schemas that come meanwhile.

The registry is a real one that keeps nothing: a restart empties it, and what was registered is registered again in the
same order, so that it has the same ids; that is required. Events are written by our schemas of both versions, by
Confluent's serializer, and by foreign schemas: ours with fields added. Every few seconds a foreign schema is new. Some
are registered right before their first event, others only some seconds after it.
"""

import http.client
import io
import json
import random
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack

import fastavro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from msgspec.structs import replace

from deploy.local.embedded_registry import EmbeddedRegistry
from processor.codec.avro import codec
from processor.kafka.clients import plain_producer
from tests.chaos.redis_setups import OneRedis
from tests.chaos.world import World
from tests.support.deployment import await_condition
from tests.support.registered import Registered
from tests.support.schemas import header_of, schema_of
from tests.support.traffic import created

GRACE_S = 600.0  # longer than any fault: what is not known is registered in the end
NEW_EVERY_S = 1.0
LATE_S = (1.0, 4.0)  # from the first events of a schema to its registration
UNUSED_S = (0.0, 5.0)  # from the registration to the events of all producers
ANSWER_S = 5.0
KEPT = 8  # of the foreign schemas that events are written by
NOT_THERE = "register it with: order-facts schemas register"


class RegistryWorld(World):
    """A world whose topics hold a registry's ids."""

    def __init__(self, settings, folder, seed, kafka, redis=OneRedis):
        self.registry = EmbeddedRegistry(folder / "registry")
        self.registry.start()
        confluent = {"wire_format": "confluent", "schema_registry_url": self.registry.url, "schema_grace_s": GRACE_S}
        super().__init__(replace(settings, **confluent), folder, seed, kafka, redis)
        self._whole = threading.Event()  # whether the registry has all schemas that it ever gave an id
        self._registering = threading.Lock()
        self._open = ExitStack()
        self._last_id = 0
        self._given: list[tuple[str, str, int]] = []  # path, text and id, in the order of registering
        self._ready: list[tuple[int, dict]] = []  # the foreign schemas that events may be written by
        self._serialize: AvroSerializer

    def made(self, settings, folder):
        """Give the deployment."""
        return Registered(settings, folder)

    def prepare(self):
        """Register our schemas, and have Confluent's serializer know its own before anything breaks."""
        self._last_id = max(self._registered_ours().values())
        self._whole.set()
        options = {"auto.register.schemas": False, "use.latest.version": True}
        client = self._open.enter_context(SchemaRegistryClient({"url": self.registry.url}))
        self._serialize = AvroSerializer(client, json.dumps(schema_of("order-event")), conf=options)
        assert self.value_by_serializer(created("x"))

    def workers(self):
        """Give what runs beside the producers, until it is told to stop."""
        return [self.bring_schemas]

    def value_of(self, record):
        """Give a record's value as one of the producers writes it; what is none of ours stays as it is."""
        if record.is_undecodable or record.value is None:
            return record.value
        by = self._traffic.random()
        if by < 0.2 and self._ready:
            schema_id, schema = self._traffic.choice(self._ready)
            return self.value_by(schema_id, schema, record)
        if by < 0.4:
            return self.value_by_serializer(record)
        if by < 0.6:
            return self.value_of_version_1(record)
        return self.deployment.framed(record.value)

    def value_by(self, schema_id, schema, record):
        """Give a record's value by a foreign schema."""
        value = codec().decode_event(record.value) | {"traceId": "t", "shop": {"a": schema_id}}
        return self.deployment.written(schema_id, "order-event", schema, value)

    def value_by_serializer(self, record):
        """Give a record's value as Confluent's serializer writes it."""
        at = SerializationContext(self.deployment.settings.events_topic, MessageField.VALUE)
        return self._serialize(codec().decode_event(record.value), at)

    def value_of_version_1(self, record):
        """Give a record's value by our first schema."""
        schema = schema_of("order-event", 1)
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema), codec().decode_event(record.value))
        return self.deployment.framed(header_of(schema) + body.getvalue())

    def bring_schemas(self, stop):
        """Register foreign schemas; half of them only after their first events were sent, under the id that comes."""
        producer, number = plain_producer(self.deployment.settings), 0
        source = random.Random(f"schemas {self.seed}")
        while not stop.wait(NEW_EVERY_S):
            number += 1
            schema, schema_id = foreign(number), self._last_id + 1
            if number % 2:
                for order in range(3):
                    record = created(f"new-{number}-{order}")
                    value = self.value_by(schema_id, schema, record)
                    producer.produce(self.deployment.settings.events_topic, value, record.key)
                    self.brought += 1
                assert producer.flush(120) == 0
                stop.wait(source.uniform(*LATE_S))
            given = self._register(f"/subjects/another-producer-{number}/versions", json.dumps(schema))
            self._last_id = given
            assert given == schema_id, f"the registry gives the id {given}, not {schema_id}"
            stop.wait(source.uniform(*UNUSED_S))
            self._ready = [*self._ready[1 - KEPT :], (schema_id, schema)]

    def _register(self, path, text):
        """Register a schema once the registry is there and whole, and give its id."""
        while True:
            self._whole.wait()
            with self._registering:
                if self._whole.is_set() and (given := self._ask(path, text)):
                    self._given.append((path, text, given))
                    return given

    def lose_registry(self):
        """Kill the registry: nothing is registered until it is `restored`."""
        with self._registering:
            self._whole.clear()
            self.registry.kill()

    def restore_registry(self):
        """Register everything again, in the same order; require the same ids."""
        before = dict(self.deployment.ids)
        self._registered_ours()
        assert self.deployment.ids == before, "our schemas have other ids now"
        for path, text, given in self._given:
            found = await_condition(lambda path=path, text=text: self._ask(path, text), f"{path} is registered")
            assert found == given, f"{path} has the id {found} now, not {given}"
        self._whole.set()

    def _registered_ours(self):
        """Register our schemas by the program's command; give their ids by header."""
        with SchemaRegistryClient({"url": self.registry.url}) as client:
            self.deployment.register(client)
        return {header: int.from_bytes(prefix[1:], "big") for header, prefix in self.deployment.ids.items()}

    def may_end(self, process, code):
        """Tell whether a process may end so: also where it was started while the registry was empty."""
        return super().may_end(process, code) or (code == 1 and NOT_THERE in process.tail(""))

    def end(self):
        """Leave nothing behind."""
        self._whole.set()
        super().end()
        self._open.close()
        self.registry.kill()

    def _ask(self, path, text):
        """Give the id that the registry gives a schema, None where it does not answer."""
        request = urllib.request.Request(
            f"{self.registry.url}{path}",
            json.dumps({"schema": text}).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                return json.loads(answer.read())["id"]
        except urllib.error.HTTPError as error:
            with error:
                if error.code < 500:
                    raise AssertionError(error.read()) from error
        except (OSError, http.client.HTTPException):
            pass
        return None


def foreign(number):
    """Give another team's schema: ours with two fields more, in another order, unlike that of any other number."""
    schema = schema_of("order-event", 1 + number % 2)
    more = [
        {"name": "traceId", "type": ["null", "string"], "default": None},
        {"name": "shop", "type": {"type": "map", "values": "long"}, "default": {}},
        {"name": f"of{number}", "type": ["null", "long"], "default": None},
    ]
    return schema | {"fields": [more[0], *reversed(schema["fields"]), *more[1:]]}
