"""Reads the rejected topic: from a start on as it grows, and single records again by their places."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, cast

from confluent_kafka import Consumer, TopicPartition

from processor.codec.healed import Place
from processor.domain.records import Record
from processor.kafka.failures import failure_of, failures
from processor.kafka.messages import record_of, take
from processor.kafka.ranges import read_range
from processor.kafka.sight import Sight

_AT_ONCE: Final = 1_000  # records
_AT_ONCE_BYTES: Final = 16 << 20
_GAP: Final = 1_000  # offsets: to read over so many is cheaper than to look for the next place


class RejectedFeed:
    """Reads all partitions from given offsets on, and knows when they were read up to their `ends`."""

    def __init__(self, consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]) -> None:
        self._consumer, self._topic = consumer, topic
        self._doing = f"reading {topic}"
        self._sight = Sight(consumer, topic)
        self._ends = ends
        self._behind: dict[int, int] = {}  # the ends of those that are read and have not come so far
        self._next: dict[int, int] = {}
        self.read_on(starts)
        self.offsets = sum(end - starts[partition] for partition, end in self._behind.items())

    @property
    def is_caught_up(self) -> bool:
        """Whether every partition that is read has come to the end that it had at the beginning."""
        return not self._behind

    def give_up(self, offsets: Mapping[int, int]) -> None:
        """Read partitions no further, each from its offset on."""
        with failures(self._doing):
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition) for partition in offsets])
        self._next |= offsets
        for partition in offsets:
            self._behind.pop(partition, None)

    def read_on(self, offsets: Mapping[int, int]) -> None:
        """Read partitions, each from its offset on."""
        with failures(self._doing):
            self._consumer.incremental_assign([TopicPartition(self._topic, *place) for place in offsets.items()])
        self._next |= offsets
        ends = self._ends
        self._behind |= {
            partition: ends[partition] for partition, offset in offsets.items() if offset < ends[partition]
        }

    def lag_records(self, ends: Mapping[int, int]) -> int:
        """Return how many offsets are left to these ends."""
        return sum(max(0, end - self._next[partition]) for partition, end in ends.items())

    def poll(self, timeout_s: float) -> list[Record]:
        """Return the records that are there; waits `timeout_s` at most, for the first. Raises as a consumer's error."""
        with failures(self._doing):
            first = self._consumer.poll(timeout_s)
            self._sight.polled(is_empty=first is None)
            if first is None:
                return []
            records, others = take(self._consumer.consume, first, _AT_ONCE, _AT_ONCE_BYTES)
        for record in records:
            self._reached(record.partition, record.offset + 1)
        for message in others:
            if (failure := failure_of(message, self._doing)) is not None:
                raise failure
            self._reached(cast("int", message.partition()), cast("int", message.offset()))
        return records

    def _reached(self, partition: int, offset: int) -> None:
        self._next[partition] = max(offset, self._next[partition])
        if offset >= self._behind.get(partition, offset + 1):
            del self._behind[partition]


def read_again(consumer: Consumer, topic: str, places: Collection[Place]) -> Iterator[list[Record]]:
    """Yield the records at places that are still there, each partition's in order, some at a time."""
    left = {partition: list(_ranges(offsets)) for partition, offsets in _by_partition(places).items()}
    while left:
        now = {partition: ranges.pop(0) for partition, ranges in left.items()}
        left = {partition: ranges for partition, ranges in left.items() if ranges}
        starts = {partition: offsets[0] for partition, offsets in now.items()}
        ends = {partition: offsets[-1] + 1 for partition, offsets in now.items()}
        wanted = {Place(partition, offset) for partition, offsets in now.items() for offset in offsets}
        found: list[Record] = []
        size_bytes = 0
        for message in read_range(consumer, topic, starts, ends):
            record = record_of(message)
            if Place(record.partition, record.offset) in wanted:
                found.append(record)
                size_bytes += record.size_bytes
            if len(found) >= _AT_ONCE or size_bytes >= _AT_ONCE_BYTES:
                yield found
                found, size_bytes = [], 0
        if found:
            yield found


def _by_partition(places: Iterable[Place]) -> dict[int, list[int]]:
    offsets: dict[int, list[int]] = {}
    for partition, offset in sorted(places):
        offsets.setdefault(partition, []).append(offset)
    return offsets


def _ranges(offsets: list[int]) -> Iterator[list[int]]:
    """Yield runs of offsets, each without a wide gap."""
    first = 0
    for at in range(1, len(offsets) + 1):
        if at == len(offsets) or offsets[at] - offsets[at - 1] > _GAP:
            yield offsets[first:at]
            first = at
