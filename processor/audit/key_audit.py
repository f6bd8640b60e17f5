"""Compares one key's events with its copies, where they are not the same one by one. Memory is bounded.

Of each event without a copy, each copy without an event and each copy out of order it says what it is: a difference, or
explained by retention, or of producers.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from processor.audit.copy_match import CONTENT, Row, pairs
from processor.audit.findings import Findings, Kind, order_name
from processor.kafka.partitioning import usual_partition
from processor.state.event_copies import NO_TIME, new_partition

PARTS: Final = ("value", "headers", "timestamp")  # of an event's content, each of PART_BYTES
PART_BYTES: Final = 8
_LEFT: Final = 100_000  # rows of one key without their other, until they are looked at together
# What both hold of a key, from a row on: its first rows of one side are left out.
_FORMER_REST: Final = """SELECT content FROM former WHERE id = ? ORDER BY is_added, time_ms, partition, offset
                         LIMIT -1 OFFSET ?"""
_COPIES_REST: Final = """SELECT content FROM copies WHERE id = ? AND NOT is_own ORDER BY partition, offset
                         LIMIT -1 OFFSET ?"""
_COUNTS: Final = """SELECT (SELECT count(*) FROM former WHERE id = ?1),
                           (SELECT count(*) FROM copies WHERE id = ?1 AND NOT is_own)"""


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


class KeyAudit:
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
        if self._is_rest():
            return
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

    def _is_rest(self) -> bool:
        """Say whether one side's last rows are all of the other's, and count those before them, which expired.

        To pair rows from the first on would not do: of two events that are the same, to the millisecond, one may be
        left.
        """
        if not (any(self._cut.former_starts.values()) or any(self._cut.new_starts.values())):
            return False
        ((events, copies),) = self._database.execute(_COUNTS, (self._key,))
        gone = copies - events
        if gone > 0:
            is_known = bool(self._expires()) and self._tally.expired_copies + gone <= sum(
                self._cut.former_starts.values()
            )
        else:
            home = self._database.execute("SELECT min(partition) FROM former WHERE id = ?", (self._key,)).fetchone()
            is_known = gone < 0 and self._cut.new_starts[self._new_partition(home[0])] > 0
        if not is_known:
            return False
        ones = self._database.execute(_FORMER_REST, (self._key, max(0, -gone)))
        others = self._database.execute(_COPIES_REST, (self._key, max(0, gone)))
        if any(one != other for one, other in zip(ones, others, strict=True)):
            return False
        self._tally.expired_copies += max(0, gone)
        self._tally.expired_events += max(0, -gone)
        return True

    def _take_event(self, event: Row, *, has_copy: bool) -> None:
        if has_copy:
            self._events_begun = True
        elif not self._events_begun and self._cut.new_starts[self._new_partition(event[1])] > 0:
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
        is_full = self._tally.expired_copies >= sum(self._cut.former_starts.values())
        return not is_full and not self._expires() <= self._copies_begun

    def _expires(self) -> set[int]:
        """Return which of the old partitions that the key may have been in have lost their beginning."""
        if self._places is None:
            self._places = {place for place in self._all_places() if self._cut.former_starts[place] > 0}
        return self._places

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

    def _new_partition(self, partition: int) -> int:
        return new_partition(_order(self._key), partition, len(self._cut.new_starts))

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


def _order(key: bytes) -> bytes | None:
    return key[1:] if key[:1] == b"k" else None


def _differing(one: bytes, other: bytes) -> str:
    at = [part * PART_BYTES for part in range(len(PARTS))]
    pairs = zip(PARTS, at, strict=True)
    return ", ".join(name for name, i in pairs if one[i : i + PART_BYTES] != other[i : i + PART_BYTES])
