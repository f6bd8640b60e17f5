"""A deployment with `wire_format=confluent`, and what its topics hold as the reference reads it.

Values of ours are framed by the ids of a registry when they are sent. What is read is given in single-object encoding
again, a foreign writer's values resolved by fastavro: the comparison with the reference then is that of any deployment.
"""

import functools
import io
import json

import fastavro
from msgspec.structs import replace

from tests.support.deployment import Deployment
from tests.support.schemas import header_of, schema_of, versions_of

SUBJECTS = {"order-event": "events_topic", "contact": "contacts_topic", "order-fact": "facts_topic"}
SUBJECTS |= {"segment-member": "segment_members_topic"}
HEADER_BYTES = 10
PREFIX_BYTES = 5


def prefix_of(schema_id):
    """Give the framing of an id."""
    return b"\0" + schema_id.to_bytes(4, "big")


class Registered(Deployment):
    """A deployment whose producers use a registry, asked for by Confluent's own client.

    Once `register` has been called, values of ours are sent with their ids.
    """

    def __init__(self, settings, folder):
        super().__init__(settings, folder)
        self.ids = {}  # header -> prefix
        self.headers = {}  # prefix -> header
        self.foreign = {}  # prefix -> (subject, a writer's parsed schema that is none of ours)

    def register(self, client):
        """Register all schemas by the program's command; `client` is Confluent's client of the registry."""
        done = self.command("schemas", "register")
        for subject, topic in SUBJECTS.items():
            for version in versions_of(subject):
                schema = schema_of(subject, version)
                self.know(header_of(schema), id_of(client, f"{getattr(self.settings, topic)}-value", schema))
        return done

    def know(self, header, schema_id):
        """Note the id of a schema of ours."""
        self.ids[header], self.headers[prefix_of(schema_id)] = prefix_of(schema_id), header

    def framed(self, value):
        """Give a value of ours with its id; any other as it is."""
        prefix = self.ids.get((value or b"")[:HEADER_BYTES])
        return value if prefix is None else prefix + value[HEADER_BYTES:]

    def written(self, schema_id, subject, schema, value):
        """Give a value as a foreign writer's schema has it, which is read as a subject's from now on."""
        prefix, body = prefix_of(schema_id), io.BytesIO()
        if prefix not in self.foreign:
            self.foreign[prefix] = subject, fastavro.parse_schema(schema)
        fastavro.schemaless_writer(body, self.foreign[prefix][1], value)
        return prefix + body.getvalue()

    def send(self, records):
        """Send records to the events topic, those of ours with their ids."""
        super().send([_with_value(record, self.framed(record.value)) for record in records])

    def read(self, topic):
        """Give all committed records of a topic, in single-object encoding."""
        return [replace(record, value=self.plain(record.value)) for record in super().read(topic)]

    def plain(self, value):
        """Give a value in single-object encoding, where its id is known here."""
        prefix = (value or b"")[:PREFIX_BYTES]
        if prefix in self.headers:
            return self.headers[prefix] + value[PREFIX_BYTES:]
        if prefix in self.foreign:
            subject, writer = self.foreign[prefix]
            return _resolved(subject, writer, value[PREFIX_BYTES:])
        return value


def id_of(client, subject, schema):
    """Give the id of the version of a subject that has a schema."""
    wanted = fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(schema))
    for version in client.get_versions(subject):
        found = client.get_version(subject, version)
        text = json.loads(found.schema.schema_str)
        if fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(text)) == wanted:
            return found.schema_id
    raise LookupError(f"{subject} has no such version")


def _with_value(record, value):
    return type(record)(record.key, value, record.is_undecodable)


def _resolved(subject, writer, body):
    header, schema = _newest(subject)
    value = fastavro.schemaless_reader(io.BytesIO(body), writer, schema, return_record_name=True)
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema, value)
    return header + written.getvalue()


@functools.cache
def _newest(subject):
    schema = schema_of(subject)
    return header_of(schema), fastavro.parse_schema(schema)
