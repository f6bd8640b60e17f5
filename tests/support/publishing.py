"""A shop whose buyers tests choose, a folder of its snapshots, and the topic of segments' members."""

import io
import json
import random
from datetime import UTC, datetime

import fastavro
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.domain.records import Item, PlainItems, Record
from processor.kafka.partitioning import usual_partition
from processor.membership.publishing import members_of, publish, segments_of
from processor.segments.queries import query_of
from processor.snapshots.exporting import export
from tests.support.deployment import await_condition
from tests.support.exports import order, send
from tests.support.schemas import header_of, schema_of

PARTITIONS = 3
SCHEMA = schema_of("segment-member")
HEADER = header_of(SCHEMA)
PREFIX_BYTES = 5
SINGLE_OBJECT_BYTES = 10


class Shop:
    """Contacts and orders of a deployment, as records of its topics; `segment` writes the file of a query."""

    def __init__(self, idle, folder, snapshots=None):
        """With a folder of `snapshots` it asks those; else it has facts and contacts of its own."""
        self.idle, self.settings = idle, idle.settings
        self.folder, self.queries = snapshots or folder / "snapshots", folder / "queries"
        self.queries.mkdir()
        self._source = random.Random(1)
        for role in ("segment_members",) if snapshots else ("facts", "contacts", "segment_members"):
            idle.create(role, PARTITIONS)

    def stock(self):
        """Have five contacts, of whom three bought a lamp and one a chair, and a snapshot of that."""
        self.contacts(*"abcde")
        for buyer in "abc":
            self.buys(buyer, "lamp", f"lamp-{buyer}")
        self.buys("d", "chair", "chair-d")
        self.export()
        return self

    def contacts(self, *names, exist=True):
        """Write contacts, or their deletion."""
        values = {name: codec().encode_contact(_contact(name)) if exist else None for name in names}
        records = (Record(0, 0, 0, name.encode(), value) for name, value in values.items())
        send(self.settings, self.settings.contacts_topic, records)

    def buys(self, contact, item, order_id):
        """Write a delivered order of one item as a contact's; a second one of its id reassigns it."""
        line = PlainItems((Item(external_item_id=item, quantity=1.0),))
        changes = {"contact_id": contact, "status": "DELIVERED", "items": line, "date_ms": 1_600_000_000_000}
        fact = codec().encode_fact(order(self._source, order_id, 0, 0, **changes))
        send(self.settings, self.settings.facts_topic, [Record(0, 0, 0, order_id.encode(), fact)])

    def export(self):
        """Take a snapshot."""
        export(self.settings, self.folder, lambda *_: None, full=False, personal=False)

    def segment(self, name, sql):
        """Write a query's file; give its path."""
        file = self.queries / f"{name}.sql"
        file.write_text(sql, encoding="utf-8")
        return str(file)

    def arguments(self, *segments):
        """Give the arguments of `segments publish`."""
        return ("segments", "publish", *segments, "--data", str(self.folder))

    def command(self, *segments, check=True, **changes):
        """Run `segments publish`; give the finished process."""
        done = self.idle.command(*self.arguments(*segments), check=check, **changes)
        self.settle()
        return done

    def publish(self, *segments, as_of=None, tell=lambda *_: None, **changes):
        """Publish in this process; give by segment how many entered, and how many left."""
        settings, moment = replace(self.settings, **changes), as_of or datetime.now(UTC)
        asked = segments_of([query_of(one) for one in segments], {})
        done = publish(settings, members_of(settings, self.folder, asked, moment), moment, tell)
        self.settle()
        return {name: (done.entered[name], done.left[name]) for name in done.members}

    def settle(self):
        """Wait until readers see the last transaction: its markers come a moment after its end."""
        topic, partitions = self.settings.segment_members_topic, range(PARTITIONS)
        await_condition(lambda: not self.idle.cluster.held_back(topic, partitions), "no transaction is open")

    def records(self):
        """Give the topic's committed records."""
        return self.idle.read(self.settings.segment_members_topic)

    def ends(self):
        """Give the log ends of the topic: nothing at all can be written without a change here."""
        return self.idle.cluster.ends(self.settings.segment_members_topic, range(PARTITIONS), committed=False)

    def members(self):
        """Give by segment who is in it by the topic, as a consumer would."""
        last = {record.key: record.value for record in self.records()}
        found: dict[str, set[str]] = {}
        for key, value in last.items():
            if value is not None:
                segment, _, contact = key.decode().partition("/")
                found.setdefault(segment, set()).add(contact)
        return found

    def values(self):
        """Give the last values by key, as fastavro reads them, None of one that left; each is where murmur2 puts it."""
        found = {}
        for record in self.records():
            assert record.partition == usual_partition(record.key, PARTITIONS)
            found[record.key.decode()] = None if record.value is None else value_of(record.value)
        return found


def value_of(value):
    """Give a SegmentMember, whichever form it has."""
    start = SINGLE_OBJECT_BYTES if value.startswith(HEADER) else PREFIX_BYTES
    assert start == SINGLE_OBJECT_BYTES or value[0] == 0
    schema = json.loads(json.dumps(SCHEMA).replace('"logicalType": "timestamp-millis"', '"doc": ""'))
    body = io.BytesIO(value[start:])
    found = fastavro.schemaless_reader(body, schema, None)
    assert body.read() == b""
    return found


def _contact(name):
    return {"contactId": name, "pushTokens": [], "fields": {}} | dict.fromkeys(
        ("externalCustomerId", "email", "phone", "contactKey")
    )
