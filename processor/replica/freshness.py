"""How old each partition's oldest event is that is not committed; it grows while Kafka or Redis is away. Pure.

Takes what the loop commits and drops, and the ends that brokers give; gives ages, by the records' own timestamps. Asks
nobody: what is not known is bounded from above by what is.

    known of the partition                         its age is counted from
    an event at its next offset was handed over    that event's timestamp
    the brokers say that nothing waits             now: it is 0
    they say that events wait; or do not answer    the later of two moments: the timestamp of the last committed event,
                                                   and when the brokers last said that nothing waits
    they say so, and neither moment is known       when they first said so
    none of these                                  nothing: it has no age yet

The third is an upper bound if timestamps rise along a partition. If the brokers do not answer this replica, an event
may have come right after their last answer: so the age grows from there. The fourth is a lower bound, for a partition
with a backlog that was just assigned: it holds until the first event is handed over. A timestamp in the future counts
as the moment in which the event was met.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from processor.domain.records import Record

JOIN_S: Final = 30.0
_UNKNOWN: Final = float("-inf")


class Answer(msgspec.Struct, frozen=True):
    """What the brokers last said: when they were asked (wall clock, ms), and the partitions' committed ends then.

    `is_fresh`: it is young enough to be taken for the present.
    """

    asked_ms: float
    ends: Mapping[int, int]
    is_fresh: bool


class Place(msgspec.Struct, frozen=True):
    """Where a partition is: the next offset to commit, and up to where it holds no event that is not committed."""

    next: int
    reached: int


class _Known(msgspec.Struct, frozen=True):
    """What is known of a partition; moments are wall clock, in ms."""

    place: Place
    bound_ms: float = _UNKNOWN  # no event that waits is older
    first_ms: float | None = None  # the timestamp of the event at the next offset, if it was handed over
    waits_ms: float | None = None  # when the brokers first said that an event waits at the next offset

    @property
    def since_ms(self) -> float | None:
        """From when the age is counted if something waits; None if that is not known."""
        if self.first_ms is not None:
            return self.first_ms
        return self.bound_ms if self.bound_ms > _UNKNOWN else self.waits_ms

    @property
    def is_met(self) -> bool:
        """Whether more is known than that something waits."""
        return self.first_ms is not None or self.bound_ms > _UNKNOWN


class Freshness:
    """The partitions of one replica. The loop writes; `ages` may be called from any thread."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def look(self, places: Mapping[int, Place], kept: Collection[int], answer: Answer) -> None:
        """Note where partitions are, and which ones an answer shows to be read to the end; forget all but the `kept`.

        `places` holds those that have a place.
        """
        known = {number: _unplaced(old) for number, old in self._known.items() if number in kept}
        for number, place in places.items():
            old = known.get(number)
            if old is None or place.next < old.place.next:  # it begins, or its offset was moved back
                old = _Known(place)
            is_same = place.next == old.place.next
            known[number] = replace(old, place=place) if is_same else _Known(place, old.bound_ms)
        for number, found in known.items():
            if _is_all_read(number, found, answer):
                known[number] = replace(found, bound_ms=max(found.bound_ms, answer.asked_ms))
            elif found.since_ms is None and number in answer.ends:
                known[number] = replace(found, waits_ms=answer.asked_ms)
        self._known = known

    def committed(self, last: Mapping[int, Record], now_ms: float) -> None:
        """Note the last event of each partition in a batch that is committed now."""
        for number, record in last.items():
            old, after = self._known.get(number), record.offset + 1
            bound_ms = max(old.bound_ms if old else _UNKNOWN, _moment(record, now_ms))
            self._known[number] = _Known(Place(after, after), bound_ms)

    def met(self, records: Iterable[Record], starts: Mapping[int, int], now_ms: float) -> None:
        """Note the first event of each partition of which none was met; `starts` are the next offsets to commit.

        Call it with each batch that begins: mostly there is no such partition, and the records are not looked at.
        """
        known = self._known
        new = {number for number in starts if number not in known or not known[number].is_met}
        if not new:
            return
        for record in records:
            if (number := record.partition) in new:
                new.discard(number)
                if record.timestamp_ms >= 0:
                    at = starts[number]
                    known[number] = _Known(Place(at, at), first_ms=_moment(record, now_ms))

    def dropped(self, records: Iterable[Record], now_ms: float) -> None:
        """Note events that were handed over and not committed, each partition's in order, from its next offset on."""
        first: dict[int, Record] = {}
        for record in records:
            first.setdefault(record.partition, record)
        for number, record in first.items():
            old = self._known.get(number) or _Known(Place(record.offset, record.offset))
            if old.first_ms is None and record.timestamp_ms >= 0:
                self._known[number] = replace(_unplaced(old), first_ms=_moment(record, now_ms))

    def ages(self, answer: Answer, now_ms: float) -> dict[int, float]:
        """Return the age in seconds of the oldest event of each partition that is not committed; 0 if none waits."""
        ages = {}
        for number, known in self._known.copy().items():
            since_ms = known.since_ms
            if answer.is_fresh and _is_all_read(number, known, answer):
                ages[number] = 0.0
            elif since_ms is not None:
                ages[number] = max(0.0, now_ms - since_ms) / 1000
        return ages


class Lost:
    """Partitions that were lost with the session: this replica tells their age until somebody else may have them.

    While the brokers do not answer, that is nobody. Then the group has `JOIN_S` to answer this replica: a member that
    gets nothing may not hear of it.
    """

    def __init__(self) -> None:
        self._lost: frozenset[int] = frozenset()
        self._since_s = 0.0  # when the brokers did not answer, or partitions were lost, last

    def kept(self, lost: Collection[int], now_s: float, *, is_answered: bool) -> Collection[int]:
        """Return those of the `lost` partitions to tell the age of; `now_s` is monotonic."""
        if not is_answered or lost != self._lost:
            self._since_s, self._lost = now_s, frozenset(lost)
        return self._lost if now_s - self._since_s <= JOIN_S else ()


def _unplaced(known: _Known) -> _Known:
    """Return it without what only reading the partition shows: behind the next offset anything may wait."""
    return replace(known, place=Place(known.place.next, known.place.next))


def _is_all_read(number: int, known: _Known, answer: Answer) -> bool:
    end = answer.ends.get(number)
    return end is not None and end <= known.place.reached and known.first_ms is None


def _moment(record: Record, now_ms: float) -> float:
    return min(float(record.timestamp_ms), now_ms) if record.timestamp_ms >= 0 else _UNKNOWN
