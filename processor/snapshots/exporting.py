"""`facts export`: reads what both topics hold, or hold since the snapshot before, and puts the next snapshot in place.

1. Take where the topics end (committed records only), and the time.
2. Decide whether the snapshot before can be built on (`why_whole`).
3. Read both topics up to those ends into staged files.
4. Merge them with the snapshot before.
5. Put the result in place.
"""

import shutil
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from processor.codec.schemas import CONTACT, FACT, read_schemas, schema_folder
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.ranges import Tell, read_telling
from processor.kafka.topics import RETENTION_MARGIN
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.snapshots import engine
from processor.snapshots.columns import CONTACTS, ORDERS, TABLES
from processor.snapshots.merging import Merge, ScatteredError
from processor.snapshots.rows import ContactRows, FactRows, RowOf
from processor.snapshots.snapshot import (
    Manifest,
    ReadTopic,
    Snapshot,
    current_snapshot,
    put_in_place,
    work_folder,
)
from processor.snapshots.staging import Staging, staging_of

_SCATTERED: Final = "orders have facts in several partitions (`order-facts verify` names them)"


class Sight(msgspec.Struct, frozen=True):
    """A topic as it is now: where its partitions begin and end, and for how many ms deletions can be read."""

    topic: Topic
    starts: Mapping[int, int]
    ends: Mapping[int, int]
    kept_ms: int

    @property
    def read(self) -> ReadTopic:
        """What a snapshot of it says of it."""
        return ReadTopic(self.topic.name, self.topic.topic_id, dict(self.ends))


class Plan(msgspec.Struct, frozen=True):
    """What the next snapshot is to hold: both topics up to their ends at a time, and personal columns or none."""

    time: datetime
    cluster_id: str
    facts: Sight
    contacts: Sight
    personal: bool


class Exported(msgspec.Struct, frozen=True):
    """A snapshot put in place. `whole` says why everything was read, None if it builds on the one before.

    `read` are the records that were read, by topic; `skipped` those that are no contacts, `first_skipped` the first.
    `may_have_missed` names a topic that keeps deletions for less than reading took.
    """

    snapshot: Snapshot
    whole: str | None
    read: Mapping[str, int]
    skipped: int
    first_skipped: str
    may_have_missed: str


def export(settings: Settings, folder: Path, tell: Tell, *, full: bool, personal: bool) -> Exported:
    """Make the next snapshot in a folder, and put it in place.

    With `full`, everything is read; else only what is new, unless something is in the way. Raises UsageError for a
    folder of something else, or without DuckDB; StopError for a record that is no fact, or what the disk refuses.
    """
    engine.library()
    with work_folder(folder) as work, closing(Wire(settings, settings.startup_timeout_s)) as wire:
        before = current_snapshot(folder)
        plan = _plan(settings, personal=personal)
        whole = _why(before, plan, full=full)
        if whole is None:
            try:
                return _Export(settings, wire, plan, before, tell).run(folder, work / "new", None)
            except ScatteredError:
                whole = _SCATTERED
        return _Export(settings, wire, plan, None, tell).run(folder, work / "whole", whole)


def why_whole(before: Manifest, plan: Plan) -> str | None:
    """Return why the next snapshot cannot be the one before with what is new, None if it can."""
    if not before.one_place_an_order:
        return _SCATTERED
    if before.personal != plan.personal:
        return f"the snapshot before was made with{'' if before.personal else 'out'} --personal"
    if (before.fact_schema, before.contact_schema) != schemas():
        return "the schemas have changed since the snapshot before"
    if before.cluster_id != plan.cluster_id:
        return "the snapshot before is of another Kafka cluster"
    for then, sight in ((before.facts, plan.facts), (before.contacts, plan.contacts)):
        if problem := _gap(then, sight, (plan.time - before.time).total_seconds() * 1000):
            return problem
    return None


def schemas() -> tuple[str, str]:
    """Return the newest schemas of facts and contacts, which decide a snapshot's columns: `order-fact.2`."""
    versions = read_schemas(schema_folder())
    return f"{FACT}.{max(versions[FACT])}", f"{CONTACT}.{max(versions[CONTACT])}"


def _gap(then: ReadTopic, sight: Sight, age_ms: float) -> str | None:
    name = sight.topic.name
    if then.name != name:
        return f"the snapshot before is of the topic {then.name}"
    if then.topic_id != sight.topic.topic_id:
        return f"the topic {name} was recreated"
    if not 0 <= age_ms <= sight.kept_ms * RETENTION_MARGIN:
        return f"the snapshot before is older than deletions in {name} are kept (delete.retention.ms={sight.kept_ms})"
    if any(end > sight.ends.get(partition, 0) for partition, end in then.ends.items()):
        return f"the topic {name} ends before the snapshot before does: its brokers lost records"
    if any(then.ends.get(partition, 0) < start for partition, start in sight.starts.items()):
        return f"records were deleted from the topic {name}"
    return None


def _why(before: Snapshot | None, plan: Plan, *, full: bool) -> str | None:
    if full:
        return "--full"
    return "there is no snapshot yet" if before is None else why_whole(before.manifest, plan)


def _plan(settings: Settings, *, personal: bool) -> Plan:
    cluster = Cluster(settings)
    cluster_id = cluster.wait()
    topics = cluster.required([settings.facts_topic, settings.contacts_topic])
    now = datetime.now(UTC)
    facts, contacts = (_sight(cluster, topics[name]) for name in (settings.facts_topic, settings.contacts_topic))
    return Plan(now, cluster_id, facts, contacts, personal)


def _sight(cluster: Cluster, topic: Topic) -> Sight:
    partitions = range(topic.partitions)
    ends = cluster.ends(topic.name, partitions)
    kept_ms = int(cluster.topic_settings(topic.name)["delete.retention.ms"])
    return Sight(topic, cluster.starts(topic.name, partitions), ends, kept_ms)


class _Export:
    """One way through steps 3 to 5, building on a snapshot or on nothing."""

    def __init__(self, settings: Settings, wire: Wire, plan: Plan, before: Snapshot | None, tell: Tell) -> None:
        self._settings = settings
        self._plan = plan
        self._before = before
        self._tell = tell
        self._facts = FactRows(wire, plan.facts.topic.name, personal=plan.personal)
        self._contacts = ContactRows(wire, personal=plan.personal)
        self._read: dict[str, int] = {}

    def run(self, folder: Path, work: Path, whole: str | None) -> Exported:
        """Read, merge and put in place, working in a folder that does not exist yet. Raises ScatteredError."""
        made = work / "made"
        with engine.doing(f"making {made}"):
            made.mkdir(parents=True)
        with engine.database(work) as connection:
            before = None if self._before is None else self._before.path
            merge = Merge(connection, made, before, personal=self._plan.personal)
            with staging_of(connection, work, ORDERS, personal=self._plan.personal) as staging:
                self._fill(staging, self._plan.facts, self._facts.row)
            facts = staging.files
            with staging_of(connection, work, CONTACTS, personal=self._plan.personal) as staging:
                self._fill(staging, self._plan.contacts, self._contacts.row)
            may_have_missed = self._may_have_missed()
            self._tell("Writing", 0, len(TABLES))
            rows = merge.orders(facts)
            self._tell("Writing", 2, len(TABLES))
            plan = self._plan
            rows |= merge.contacts(staging.files, int(plan.time.timestamp() * 1000) - plan.contacts.kept_ms)
            self._tell("Writing", 3, len(TABLES))
        fact_schema, contact_schema = schemas()
        manifest = Manifest(
            time=plan.time,
            cluster_id=plan.cluster_id,
            facts=plan.facts.read,
            contacts=plan.contacts.read,
            fact_schema=fact_schema,
            contact_schema=contact_schema,
            personal=plan.personal,
            one_place_an_order=merge.one_place_an_order,
            currencies=merge.currencies,
            rows=rows,
        )
        with engine.doing(f"putting a snapshot in place in {folder}"):
            snapshot = put_in_place(folder, made, manifest)
            shutil.rmtree(work, ignore_errors=True)
        contacts = self._contacts
        return Exported(snapshot, whole, self._read, contacts.skipped, contacts.first_skipped, may_have_missed)

    def _fill(self, staging: Staging, sight: Sight, row_of: RowOf) -> None:
        """Read a topic from where the snapshot before ends, or its beginning, to its end, and stage its rows."""
        name, then = sight.topic.name, None
        if self._before is not None:
            manifest = self._before.manifest
            then = manifest.facts if sight is self._plan.facts else manifest.contacts
        starts = {
            partition: start if then is None else then.ends.get(partition, start)
            for partition, start in sight.starts.items()
        }
        count = 0
        with closing(reader(self._settings)) as consumer:
            for record in read_telling(consumer, name, starts, sight.ends, self._tell):
                row = row_of(record)
                if row is not None:
                    staging.add(row)
                count += 1
        self._read[name] = count

    def _may_have_missed(self) -> str:
        """Return the topic whose deletions may have gone before they were read, if reading took so long, else ""."""
        begun = self._plan.time if self._before is None else self._before.manifest.time
        taken_ms = (datetime.now(UTC) - begun).total_seconds() * 1000
        slow = (sight.topic.name for sight in (self._plan.facts, self._plan.contacts) if taken_ms > sight.kept_ms)
        return next(slow, "")
