"""Compares the events of a widened topic with their copies: each event exactly one, as it was, in order.

Both topics are read once, partition by partition, into a temporary database of SQLite, which sorts them by key. So the
memory is that of one key's events.
"""

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeVar

import msgspec

from processor.audit.findings import Findings, Kind, order_name
from processor.domain.records import Record
from processor.state.event_copies import NO_TIME, new_partition, new_time_ms

_PARTS: Final = ("value", "headers", "timestamp")
_PART_BYTES: Final = 8
_SCHEMA: Final = """
CREATE TABLE former (id BLOB, time_ms INTEGER, partition INTEGER, offset INTEGER, content BLOB);
CREATE TABLE copies (id BLOB, partition INTEGER, offset INTEGER, content BLOB, is_own INTEGER);
"""
_FORMER: Final = "SELECT id, partition, offset, content FROM former ORDER BY id, time_ms, partition, offset"
_COPIES: Final = "SELECT id, partition, offset, content, is_own FROM copies ORDER BY id, partition, offset"
Row = tuple[bytes, int, int, bytes]
CopyRow = tuple[bytes, int, int, bytes, int]
AnyRow = TypeVar("AnyRow", Row, CopyRow)


class CopyTally(msgspec.Struct):
    """What was compared: events, offsets that cannot be read, and events of the new topic that are no copies."""

    events: int = 0
    unreadable: int = 0
    own: int = 0


class CopyAudit:
    """Takes both topics' records, then compares. `ends` are the offsets behind the last copies, by new partition."""

    def __init__(
        self, database: sqlite3.Connection, topics: tuple[str, str], ends: Mapping[int, int], findings: Findings
    ) -> None:
        self._database, self._former, self._new = database, *topics
        self._ends, self._findings = ends, findings
        self.tally = CopyTally()
        database.executescript(_SCHEMA)

    def add_former(self, records: Iterable[Record]) -> None:
        """Take the copied events of one old partition, from its start."""
        rows = self._former_rows(records)
        self._database.executemany("INSERT INTO former VALUES (?, ?, ?, ?, ?)", rows)

    def add_new(self, records: Iterable[Record], partitions: int) -> None:
        """Take the events of one new partition, of so many."""
        rows = self._new_rows(records, partitions)
        self._database.executemany("INSERT INTO copies VALUES (?, ?, ?, ?, ?)", rows)

    def compare(self) -> None:
        """Add what differs to the findings."""
        pairs = _by_key(self._database.execute(_FORMER), self._database.execute(_COPIES))
        for key, events, copies in pairs:
            if [row[3] for row in events] != [row[3] for row in copies]:
                self._compare_key(key, events, copies)

    def _former_rows(self, records: Iterable[Record]) -> Iterator[tuple[bytes, int, int, int, bytes]]:
        time_ms = NO_TIME
        for record in records:
            if record.key is None and record.value is None and record.timestamp_ms == -1:
                self.tally.unreadable += 1
                continue
            self.tally.events += 1
            time_ms = max(time_ms, record.timestamp_ms)
            yield _id(record), time_ms, record.partition, record.offset, _content(record)

    def _new_rows(self, records: Iterable[Record], partitions: int) -> Iterator[tuple[bytes, int, int, bytes, bool]]:
        for record in records:
            is_own = record.offset >= self._ends.get(record.partition, 0)
            self.tally.own += is_own
            if record.partition != new_partition(record.key, record.partition, partitions):
                place = f"{self._new}[{record.partition}] offset {record.offset}"
                self._findings.add(
                    Kind.COPY_MISPLACED, f"{place}: not where murmur2 puts its key, {order_name(record.key)}"
                )
            yield _id(record), record.partition, record.offset, _content(record), is_own

    def _compare_key(self, key: bytes, events: list[Row], copies: list[CopyRow]) -> None:
        """Find which event of a key has no copy, which copy is no event's, and whether the rest is in order."""
        name, known = _name(key), {row[3] for row in events}
        found, others = _matched(copies, events)
        kept, missing = _matched(events, copies)
        for copy in others:
            if copy[3] in known:
                self._add(Kind.COPY_DOUBLED, self._new, copy, f"is a second copy, {name}")
        strangers = [copy for copy in others if copy[3] not in known and not copy[4]]
        for event, copy in zip(missing, strangers, strict=False):
            text = f"has another {_differing(event[3], copy[3])} than {self._former}[{event[1]}] offset {event[2]}"
            self._add(Kind.COPY_CHANGED, self._new, copy, f"{text}, {name}")
        for event in missing[len(strangers) :]:
            self._add(Kind.COPY_MISSING, self._former, event, f"has no copy, {name}")
        for copy in strangers[len(missing) :]:
            self._add(Kind.NO_COPY, self._new, copy, f"is no copy, and copies come behind it, {name}")
        for event, copy in zip(kept, found, strict=True):
            if event[3] != copy[3]:
                text = f"is out of order: {self._former}[{event[1]}] offset {event[2]} comes here, {name}"
                self._add(Kind.COPY_OUT_OF_ORDER, self._new, copy, text)
                break

    def _add(self, kind: Kind, topic: str, row: Row | CopyRow, text: str) -> None:
        self._findings.add(kind, f"{topic}[{row[1]}] offset {row[2]} {text}")


def _matched(rows: Sequence[AnyRow], others: Iterable[Row | CopyRow]) -> tuple[list[AnyRow], list[AnyRow]]:
    """Return the rows that have one of the same content among others, each its own, and those that have none."""
    left = Counter(row[3] for row in others)
    found, rest = [], []
    for row in rows:
        if left[row[3]] > 0:
            left[row[3]] -= 1
            found.append(row)
        else:
            rest.append(row)
    return found, rest


def _by_key(former: Iterable[Row], copies: Iterable[CopyRow]) -> Iterator[tuple[bytes, list[Row], list[CopyRow]]]:
    """Yield each key with its rows of both sides; both are sorted by key."""
    ones, others = groupby(former, itemgetter(0)), groupby(copies, itemgetter(0))
    one, other = next(ones, None), next(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0], list(one[1]), []
            one = next(ones, None)
        elif one is None or other[0] < one[0]:
            yield other[0], [], list(other[1])
            other = next(others, None)
        else:
            yield one[0], list(one[1]), list(other[1])
            one, other = next(ones, None), next(others, None)


def _id(record: Record) -> bytes:
    """Return what a record's order goes by: its key; without one, its partition, which the copy has too."""
    return b"p%d" % record.partition if record.key is None else b"k" + record.key


def _name(key: bytes) -> str:
    return order_name(key[1:] if key[:1] == b"k" else None)


def _content(record: Record) -> bytes:
    """Return what an event and its copy have in common, eight bytes for each of _PARTS."""
    headers = hashlib.blake2b(digest_size=_PART_BYTES)
    for name, value in record.headers:
        encoded = name.encode()
        headers.update(b"%d %d " % (len(encoded), -1 if value is None else len(value)) + encoded + (value or b""))
    value = b"\0" if record.value is None else b"\1" + record.value
    time = new_time_ms(record.timestamp_ms).to_bytes(_PART_BYTES, "big", signed=True)
    return hashlib.blake2b(value, digest_size=_PART_BYTES).digest() + headers.digest() + time


def _differing(one: bytes, other: bytes) -> str:
    at = [part * _PART_BYTES for part in range(len(_PARTS))]
    pairs = zip(_PARTS, at, strict=True)
    return ", ".join(name for name, i in pairs if one[i : i + _PART_BYTES] != other[i : i + _PART_BYTES])
