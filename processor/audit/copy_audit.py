"""Compares the events of a widened topic with their copies: each event exactly one, as it was, in order.

Both topics are read once, partition by partition, into a temporary database of SQLite, which sorts them by key. They
are then read side by side, so that memory does not depend on how many events a key has.

In order means: a key's events of one old partition stay in its order. Where that topic was given partitions, all that
the key has in the partitions of before come before what it has in added ones, whatever the clocks of producers said.
Otherwise a key that is in several partitions is in the order of the times.

Retention may have removed events since they were copied, and copies. So a key's first copies may have no event left,
and its first events no copy, where the partitions that they were in begin above offset 0: these are counted apart.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, zip_longest
from operator import itemgetter
from typing import Final

from processor.audit.copy_match import CONTENT, Row
from processor.audit.findings import Findings, Kind, order_name
from processor.audit.key_audit import PART_BYTES, CopyTally, Cut, KeyAudit
from processor.domain.records import Record
from processor.state.event_copies import NO_TIME, new_partition, new_time_ms

# The table `late` is for the audit of facts: orders with copies behind those that the copier noted, which it writes
# with --accept-late; and whether producers' events are among them.
_SCHEMA: Final = """
CREATE TABLE former (id BLOB, is_added INTEGER, time_ms INTEGER, partition INTEGER, offset INTEGER, content BLOB);
CREATE TABLE copies (id BLOB, partition INTEGER, offset INTEGER, content BLOB, is_own INTEGER);
CREATE TABLE late (id BLOB PRIMARY KEY, is_mixed INTEGER) WITHOUT ROWID;
"""
_INDEXES: Final = """
CREATE INDEX former_sorted ON former (id, is_added, time_ms, partition, offset, content);
CREATE INDEX copies_sorted ON copies (id, partition, offset, content, is_own);
"""
_FORMER: Final = """SELECT id, partition, offset, content, is_added, time_ms FROM former
                    ORDER BY id, is_added, time_ms, partition, offset"""
_COPIES: Final = "SELECT id, partition, offset, content, is_own, 0 FROM copies ORDER BY id, partition, offset"


class CopyAudit:
    """Takes both topics' records, then compares."""

    def __init__(self, database: sqlite3.Connection, cut: Cut, findings: Findings) -> None:
        self._database, self._cut, self._findings = database, cut, findings
        self.tally = CopyTally()
        database.executescript(_SCHEMA)

    def add_former(self, records: Iterable[Record]) -> None:
        """Take the copied events of one old partition, from its start."""
        self._database.executemany("INSERT INTO former VALUES (?, ?, ?, ?, ?, ?)", self._former_rows(records))

    def add_new(self, records: Iterable[Record]) -> None:
        """Take the events of one new partition."""
        self._database.executemany("INSERT INTO copies VALUES (?, ?, ?, ?, ?)", self._new_rows(records))

    def compare(self) -> None:
        """Add what differs to the findings."""
        for statement in filter(str.strip, _INDEXES.split(";")):
            self._database.execute(statement)
        for key, events, copies in _by_key(self._database.execute(_FORMER), self._database.execute(_COPIES)):
            matched: set[int] = set()  # old partitions
            for event, copy in zip_longest(events, copies):
                if event is None or copy is None or event[CONTENT] != copy[CONTENT] or copy[4]:
                    others = (chain(filter(None, [one]), rest) for one, rest in ((event, events), (copy, copies)))
                    KeyAudit(self._database, self._cut, self._findings, self.tally, key, matched).compare(*others)
                    break
                matched.add(event[1])

    def _former_rows(self, records: Iterable[Record]) -> Iterator[tuple[bytes, bool, int, int, int, bytes]]:
        time_ms, cut = NO_TIME, self._cut
        for record in records:
            if record.key is None and record.value is None and record.timestamp_ms == -1:
                self.tally.unreadable += 1
                continue
            self.tally.events += 1
            time_ms = max(time_ms, record.timestamp_ms)
            is_added = cut.before is not None and cut.is_grown and record.partition >= cut.before
            yield _id(record), is_added, time_ms, record.partition, record.offset, _content(record)

    def _new_rows(self, records: Iterable[Record]) -> Iterator[tuple[bytes, int, int, bytes, bool]]:
        partitions = len(self._cut.new_starts)
        for record in records:
            is_own = record.offset >= self._cut.ends.get(record.partition, 0)
            self.tally.own += is_own
            if record.partition != new_partition(record.key, record.partition, partitions):
                place = f"{self._cut.new}[{record.partition}] offset {record.offset}"
                self._findings.add(
                    Kind.COPY_MISPLACED, f"{place}: not where murmur2 puts its key, {order_name(record.key)}"
                )
            yield _id(record), record.partition, record.offset, _content(record), is_own


def _by_key(events: Iterable[Row], copies: Iterable[Row]) -> Iterator[tuple[bytes, Iterator[Row], Iterator[Row]]]:
    """Yield each key with its events and its copies, both in their order. Each is to be read before the next key."""
    ones, others = (groupby(rows, itemgetter(0)) for rows in (events, copies))
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], one[1], iter(())
            one = next(ones, None)
        elif one is None or other[0] < one[0]:
            yield other[0], iter(()), other[1]
            other = next(others, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(ones, None), next(others, None)


def _id(record: Record) -> bytes:
    """Return what a record's order goes by: its key; without one, its partition, which the copy has too."""
    return b"p%d" % record.partition if record.key is None else b"k" + record.key


def _content(record: Record) -> bytes:
    """Return what an event and its copy have in common, eight bytes for each of PARTS."""
    headers = hashlib.blake2b(digest_size=PART_BYTES)
    for name, value in record.headers:
        encoded = name.encode()
        headers.update(b"%d %d " % (len(encoded), -1 if value is None else len(value)) + encoded + (value or b""))
    value = b"\0" if record.value is None else b"\1" + record.value
    time = new_time_ms(record.timestamp_ms).to_bytes(PART_BYTES, "big", signed=True)
    return hashlib.blake2b(value, digest_size=PART_BYTES).digest() + headers.digest() + time
