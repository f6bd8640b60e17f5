"""Compares a deployment with the one whose events were copied for it by `topics widen`.

Takes what the copier committed: how far it copied, and where its copies end. Below that each old event must have
exactly one copy, and each order's last fact of copies must be as the former deployment has it.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Final

import msgspec
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from processor.audit.copy_audit import CopyAudit
from processor.audit.findings import Findings, Kind
from processor.audit.former_facts import FactsTally, FormerFacts
from processor.audit.key_audit import CopyTally, Cut
from processor.audit.reading import Advance, Reading
from processor.domain.records import Record
from processor.errors import StopError, UnreadableError
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.committed import committed_entries
from processor.kafka.failures import classify_consumer, failures
from processor.kafka.ranges import read_range
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.state.event_copies import Copied, Place, copied_of, copier_group
from processor.state.watermark import Lineage, partitions_noted

_CACHE_KBYTES: Final = 64 << 10


class Former(msgspec.Struct, frozen=True):
    """The topics of the deployment that was before."""

    events: str
    facts: str
    rejected: str | None = None


class Compared(msgspec.Struct, frozen=True):
    """What was compared; `facts` is None where the former group never processes all that was copied."""

    copies: CopyTally
    facts: FactsTally | None
    not_copied: int
    is_finished: bool
    headers_lost: int  # events with headers that the client cannot read, so that their copies have none


class Across:
    """One comparison. Creating it takes the cut; `run` does the work.

    Creating it raises StopError if nothing says how far the copy is, or if a group has not processed all copies.
    """

    def __init__(self, settings: Settings, former: Former) -> None:
        self._settings, self._former = settings, former
        self._cluster = Cluster(settings)
        names = [settings.events_topic, settings.facts_topic, settings.rejected_topic, former.events, former.facts]
        found = self._cluster.required(list(dict.fromkeys([*names, *filter(None, [former.rejected])])))
        self._events, self._old = found[settings.events_topic], found[former.events]
        self._topics = found
        self._copied = self._noted()
        self._places = {p: self._copied.places.get(p, Place(0)) for p in range(self._old.partitions)}
        self._before = self._count_before()
        self._has_facts = self._is_processed()
        self._bounds = {
            topic.name: (
                self._cluster.starts(topic.name, range(topic.partitions)),
                self._cluster.ends(topic.name, range(topic.partitions)),
            )
            for topic in found.values()
        }

    @property
    def offsets(self) -> int:
        """How many offsets there are to read."""
        return sum(sum(ends.values()) - sum(starts.values()) for starts, ends in self._bounds.values())

    def run(self, advance: Advance, findings: Findings) -> Compared:
        """Compare, and add what differs to the findings; `advance` is called with the number of records read.

        Raises RetryError if Kafka stops answering, StopError if the disk is full.
        """
        nobody = Lineage("", "", "", "", "", 0)
        reading = Reading(replace(self._settings, events_topic=self._former.events), nobody)
        reading.advance = advance
        try:
            with closing(reading), closing(sqlite3.connect("", isolation_level=None)) as database:
                database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{_CACHE_KBYTES};")
                database.execute("BEGIN")
                not_copied = self._count_left(reading, findings)
                reading.hidden_headers.clear()
                copies = self._compare_copies(reading, database, findings)
                headers_lost = reading.hidden_headers[self._old.name]
                self._require_processed(self._settings, copies.late_ends)
                facts = self._compare_facts(reading, database, findings) if self._has_facts else None
        except sqlite3.Error as error:
            problem = f"the temporary database: {error}; name a folder with more room in SQLITE_TMPDIR"
            raise StopError(problem) from error
        return Compared(copies, facts, not_copied, self._copied.is_finished, headers_lost)

    def _compare_copies(self, reading: Reading, database: sqlite3.Connection, findings: Findings) -> CopyTally:
        old, new = self._old.name, self._events.name
        before = self._copied.partitions_before or self._before
        cut = Cut(old, new, self._bounds[old][0], self._bounds[new][0], self._copied.ends, before)
        audit = CopyAudit(database, cut, findings)
        for partition, place in self._places.items():
            audit.add_former(self._records(reading, self._old, partition, 0, place.offset))
        for partition in range(self._events.partitions):
            audit.add_new(self._records(reading, self._events, partition))
        audit.compare()
        return audit.tally

    def _compare_facts(self, reading: Reading, database: sqlite3.Connection, findings: Findings) -> FactsTally:
        with closing(Wire(self._settings, self._settings.startup_timeout_s)) as wire:
            audit = FormerFacts(database, wire, self._copied.ends, self._bounds[self._old.name][0], findings)
            adders: list[tuple[str | None, Callable[[Iterator[Record]], None]]] = [
                (self._former.rejected, audit.add_former_rejected),
                (self._settings.rejected_topic, audit.add_new_rejected),
                (self._former.facts, audit.add_former),
                (self._settings.facts_topic, audit.add_new),
            ]
            for name, add in adders:
                if name is not None:
                    topic = self._topics[name]
                    for partition in range(topic.partitions):
                        add(self._records(reading, topic, partition))
            audit.compare()
            return audit.tally

    def _count_left(self, reading: Reading, findings: Findings) -> int:
        """Return how many old events are not copied; they are findings if the copy was finished."""
        count = 0
        for partition, place in self._places.items():
            for record in self._records(reading, self._old, partition, place.offset):
                count += 1
                if self._copied.is_finished:
                    text = f"{self._old.name}[{partition}] offset {record.offset} came after the copy was finished"
                    findings.add(Kind.NOT_COPIED, text)
        return count

    def _records(
        self, reading: Reading, topic: Topic, partition: int, first: int = 0, end: int | None = None
    ) -> Iterator[Record]:
        starts, ends = self._bounds[topic.name]
        start = max(first, starts[partition])
        return reading.records(topic.name, partition, start, ends[partition] if end is None else end)

    def _noted(self) -> Copied:
        """Return what the copier committed."""
        group = copier_group(self._settings)
        topics = (self._old, self._events)
        asked = [TopicPartition(topic.name, partition) for topic in topics for partition in range(topic.partitions)]
        asking = failures("asking how far the copy is", classify_consumer)
        with reader(self._settings, **{"group.id": group}) as consumer, asking:
            entries = consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
        copied = copied_of(entries, *topics)
        if copied is None:
            raise StopError(
                f"no copy of {self._old.name} to {self._events.name} is on record in the group {group}: use the "
                "settings of the new deployment, soon after `topics widen` (Kafka forgets it after some days)"
            )
        return copied

    def _count_before(self) -> int | None:
        """Return how many partitions the former topic had when its events were processed; None if nothing says so."""
        entries = committed_entries(self._former_group(), range(self._old.partitions))
        return max(filter(None, map(partitions_noted, entries)), default=None)

    def _former_group(self) -> Settings:
        return replace(self._settings, group_id=self._copied.former_group, events_topic=self._old.name)

    def _is_processed(self) -> bool:
        """Return whether last facts can be compared. Raises StopError where they can be later."""
        self._require_processed(self._settings, self._copied.ends)
        if self._before not in {None, self._old.partitions}:
            return False  # its topic was given partitions, and it stopped for that
        self._require_processed(self._former_group(), {p: place.offset for p, place in self._places.items()})
        return True

    def _require_processed(self, settings: Settings, ends: Mapping[int, int]) -> None:
        """Raise StopError if a group has not processed all events below these ends."""
        entries = {entry.partition: max(0, entry.offset) for entry in committed_entries(settings, ends)}
        behind = {partition: offset for partition, offset in entries.items() if offset < ends[partition]}
        left = sum(ends[partition] - offset for partition, offset in behind.items())
        if any(self._has_events(settings, partition, offset, ends[partition]) for partition, offset in behind.items()):
            whose = "that was copied" if settings.events_topic == self._old.name else "copies"
            raise StopError(
                f"the group {settings.group_id} has not processed all {whose}, {left} are left; try again later"
            )

    def _has_events(self, settings: Settings, partition: int, start: int, end: int) -> bool:
        """Say whether there is an event between two offsets, and not only markers of transactions."""
        topic = settings.events_topic
        start = max(start, self._cluster.starts(topic, [partition])[partition])
        with closing(reader(settings)) as consumer:
            try:
                return any(True for _ in read_range(consumer, topic, {partition: start}, {partition: end}))
            except UnreadableError:
                return True
