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
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby, zip_longest
from operator import itemgetter
from typing import Final

import msgspec

from processor.audit.copy_match import CONTENT, Row, pairs
from processor.audit.findings import Findings, Kind, order_name
from processor.domain.records import Record
from processor.kafka.partitioning import usual_partition
from processor.state.event_copies import NO_TIME, new_partition, new_time_ms

_PARTS: Final = ("value", "headers", "timestamp")
_PART_BYTES: Final = 8
_LEFT: Final = 100_000  # rows of one key without their other, until they are looked at together
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


class Cut(msgspec.Struct, frozen=True):
    """What is compared: names, where the topics begin, by partition, and `ends`, the offsets behind the last copies.

    `before` is how many partitions the former topic had when its events were processed; None if nothing says so.
    """

    former: str
    new: str
    former_starts: Mapping[int, int]
    new_starts: Mapping[int, int]
    ends: Mapping[int, int]
    before: int | None = None

    @property
    def is_grown(self) -> bool:
        """Whether the former topic was given partitions."""
        return self.before is not None and self.before < len(self.former_starts)


class CopyTally(msgspec.Struct):
    """What was compared: events, offsets that cannot be read, and events of the new topic that are no copies.

    And what retention left without its other: copies whose events it removed, and events whose copies it removed; and
    how many copies are behind those that the copier noted.
    """

    events: int = 0
    unreadable: int = 0
    own: int = 0
    expired_events: int = 0
    expired_copies: int = 0
    late: int = 0
    late_ends: dict[int, int] = {}  # behind the last of these, by new partition


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
                    _KeyAudit(self._database, self._cut, self._findings, self.tally, key, matched).compare(*others)
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


class _KeyAudit:
    """Finds which event of a key has no copy, which copy is no event's, and whether the rest is in order.

    `matched` are the old partitions of events that had their copies before what it is given.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        cut: Cut,
        findings: Findings,
        tally: CopyTally,
        key: bytes,
        matched: set[int],
    ) -> None:
        self._database, self._cut, self._findings, self._tally = database, cut, findings, tally
        self._key, self._name = key, order_name(_order(key))
        self._events_begun, self._copies_begun = bool(matched), matched
        self._missing: list[Row] = []
        self._left: list[Row] = []
        self._order = _Order(cut)
        self._places: set[int] | None = None
        self._is_late = self._is_mixed = False

    def compare(self, events: Iterable[Row], copies: Iterable[Row]) -> None:
        """Add what differs to the findings."""
        for matched in pairs(events, copies):
            if matched.is_event:
                self._take_event(matched.row, has_copy=matched.other is not None)
            else:
                self._take_copy(matched.row, matched.other)
            if len(self._missing) + len(self._left) >= _LEFT:
                self._settle()
        self._settle()
        if self._is_late and (order := _order(self._key)) is not None:
            self._database.execute("INSERT INTO late VALUES (?, ?)", (order, self._is_mixed))

    def _take_event(self, event: Row, *, has_copy: bool) -> None:
        if has_copy:
            self._events_begun = True
        elif not self._events_begun and self._cut.new_starts[self._new_partition(event)] > 0:
            self._tally.expired_events += 1
        else:
            self._missing.append(event)

    def _take_copy(self, copy: Row, event: Row | None) -> None:
        _, partition, offset, _, is_own, _ = copy
        if event is None:
            if not is_own and self._has_expired():
                self._tally.expired_copies += 1
            else:
                self._left.append(copy)
            return
        self._copies_begun.add(event[1])
        if is_own:
            self._is_late = True
            self._tally.late += 1
            self._tally.own -= 1
            self._tally.late_ends[partition] = max(offset + 1, self._tally.late_ends.get(partition, 0))
        if not self._order.is_kept(event):
            text = f"is out of order: of {self._cut.former}[{event[1]}] offset {event[2]}, behind a later one's"
            self._add(Kind.COPY_OUT_OF_ORDER, self._cut.new, copy, f"{text}, {self._name}")

    def _has_expired(self) -> bool:
        """Say whether the next copy's event may have expired: it was in a partition of which none that is left came."""
        starts = self._cut.former_starts
        if self._tally.expired_copies >= sum(starts.values()):
            return False
        if self._places is None:
            self._places = {place for place in self._all_places() if starts[place] > 0}
        return not self._places <= self._copies_begun

    def _all_places(self) -> set[int]:
        """Return the old partitions that the key may have been in."""
        found = self._database.execute("SELECT DISTINCT partition FROM former WHERE id = ?", (self._key,))
        held, order = {partition for (partition,) in found}, _order(self._key)
        if not held:
            return set(self._cut.former_starts)
        if not self._cut.is_grown or order is None:
            return held
        counts = (self._cut.before, len(self._cut.former_starts))
        return held | {usual_partition(order, count) for count in counts if count is not None}

    def _settle(self) -> None:
        """Add what has no other so far to the findings."""
        known = self._known({row[CONTENT] for row in self._left})
        strangers = []
        for copy in self._left:
            if copy[CONTENT] in known:
                self._add(Kind.COPY_DOUBLED, self._cut.new, copy, f"is a second copy, {self._name}")
            elif copy[4]:
                self._is_mixed = True
            else:
                strangers.append(copy)
        for event, copy in zip(self._missing, strangers, strict=False):
            parts = _differing(event[CONTENT], copy[CONTENT])
            text = f"has another {parts} than {self._cut.former}[{event[1]}] offset {event[2]}"
            self._add(Kind.COPY_CHANGED, self._cut.new, copy, f"{text}, {self._name}")
        for event in self._missing[len(strangers) :]:
            self._add(Kind.COPY_MISSING, self._cut.former, event, f"has no copy, {self._name}")
        for copy in strangers[len(self._missing) :]:
            self._add(Kind.NO_COPY, self._cut.new, copy, f"is no copy, and copies come behind it, {self._name}")
        self._missing, self._left = [], []

    def _known(self, contents: set[bytes]) -> set[bytes]:
        """Return which of these contents an event of the key has."""
        if not contents:
            return set()
        found = self._database.execute("SELECT content FROM former WHERE id = ?", (self._key,))
        return {content for (content,) in found if content in contents}

    def _new_partition(self, event: Row) -> int:
        return new_partition(_order(self._key), event[1], len(self._cut.new_starts))

    def _add(self, kind: Kind, topic: str, row: Row, text: str) -> None:
        self._findings.add(kind, f"{topic}[{row[1]}] offset {row[2]} {text}")


class _Order:
    """Whether a key's events come in order; only the first that does not is told of."""

    def __init__(self, cut: Cut) -> None:
        self._has_times = cut.before == len(cut.former_starts)
        self._last: dict[int, int] = {}  # offsets by old partition
        self._is_added = 0
        self._time = (NO_TIME, 0)
        self._is_broken = False

    def is_kept(self, event: Row) -> bool:
        """Take the event of the next copy."""
        _, partition, offset, _, is_added, time_ms = event
        time = (time_ms, partition) if self._has_times else self._time
        is_kept = offset > self._last.get(partition, -1) and is_added >= self._is_added and time >= self._time
        self._last[partition], self._is_added, self._time = offset, is_added, time
        is_first, self._is_broken = not self._is_broken, self._is_broken or not is_kept
        return is_kept or not is_first


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


def _order(key: bytes) -> bytes | None:
    return key[1:] if key[:1] == b"k" else None


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
