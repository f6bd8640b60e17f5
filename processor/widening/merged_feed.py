"""Reads all partitions of a topic as one stream, by time: what is merged does not hang on when it is read.

The order is that of (time, partition, offset), where a record's time is the latest timestamp up to it in its
partition. So each partition stays in its own order, and where a key is in several, which happens if the number of
partitions was raised, its records are in the order of their timestamps. But all of the added partitions comes after the
others: what a key has there is later, whatever the clocks of its producers said. A round of merging goes up to given
ends: a record comes out when every partition that is not at its end has one ready.

Memory is bounded: a partition that has enough ready is not read until others have caught up; and if all together have
enough, only those are read that have nothing ready, since merging waits for them.
"""

import time
from collections import deque
from collections.abc import Mapping
from heapq import heapify, heappop, heapreplace
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from processor.domain.records import Record
from processor.errors import RetryError, UnreadableError
from processor.kafka.failures import failure_of, failures
from processor.kafka.messages import hides_headers, record_of
from processor.kafka.sight import Sight
from processor.state.event_copies import Place

_READY_BYTES: Final = 64 << 20  # of all partitions together
_LEAST_READY_BYTES: Final = 1 << 20
_RECORD_BYTES: Final = 400  # what a small record takes besides its key, value and headers
_PART_RECORDS: Final = 64  # each message that the client hands over is a copy, and some are large
_TURN_BYTES: Final = 4 << 20
_IDLE_S: Final = 30.0


class _Lane:
    """One partition: what is ready of it, each with its time, and the next offset to read."""

    def __init__(self, place: Place) -> None:
        self.ready: deque[tuple[int, Record]] = deque()
        self.ready_bytes = 0
        self.next_offset = place.offset
        self.read_ms = self.taken_ms = place.time_ms
        self.is_read = True
        self.unreadable: UnreadableError | None = None  # what comes after `ready`; the lane is read no further

    def add(self, record: Record) -> None:
        """Take a record that was read."""
        if record.offset < self.next_offset:
            return
        self.read_ms = max(self.read_ms, record.timestamp_ms)
        self.ready.append((self.read_ms, record))
        self.ready_bytes += record.size_bytes + _RECORD_BYTES
        self.next_offset = record.offset + 1

    def has_ready(self, end: int) -> bool:
        """Whether a record below an end is ready."""
        return bool(self.ready) and self.ready[0][1].offset < end

    def take(self) -> Record:
        """Hand out the first record that is ready."""
        self.taken_ms, record = self.ready.popleft()
        self.ready_bytes -= record.size_bytes + _RECORD_BYTES
        return record

    @property
    def place(self) -> Place:
        """The next offset to hand out, behind markers if there are any."""
        return Place(self.ready[0][1].offset if self.ready else self.next_offset, self.taken_ms)


class MergedFeed:
    """All partitions of a topic, each from its place on; `before` is how many it had before it was given more."""

    def __init__(self, consumer: Consumer, topic: str, places: Mapping[int, Place], before: int | None = None) -> None:
        self._consumer, self._topic, self._doing = consumer, topic, f"reading {topic}"
        self._before = len(places) if before is None else before
        self._lanes = {partition: _Lane(place) for partition, place in places.items()}
        self._most_bytes = max(_LEAST_READY_BYTES, _READY_BYTES // max(1, len(places)))
        self._sight = Sight(consumer, topic)
        self._heard_s = time.monotonic()
        self.hidden_headers: list[Record] = []  # records whose headers the client cannot show: a name is not UTF-8
        with failures(self._doing):
            consumer.assign([TopicPartition(topic, partition, place.offset) for partition, place in places.items()])

    @property
    def places(self) -> dict[int, Place]:
        """The next place of each partition."""
        return {partition: lane.place for partition, lane in self._lanes.items()}

    def has_reached(self, ends: Mapping[int, int]) -> bool:
        """Whether everything below these ends was handed out."""
        return all(lane.place.offset >= ends[partition] for partition, lane in self._lanes.items())

    def read(self, timeout_s: float) -> None:
        """Read what is there, or wait for it. Raises RetryError if no broker answers."""
        with failures(self._doing):
            first = self._consumer.poll(timeout_s)
            self._sight.polled(is_empty=first is None)
            messages = [] if first is None else [first]
            read_bytes = 0
            while messages and read_bytes < _TURN_BYTES:
                read_bytes += sum([self._note(message) for message in messages])
                messages = self._consumer.consume(_PART_RECORDS, timeout=0)
            for message in messages:
                self._note(message)
        self._pace()

    def merged(self, ends: Mapping[int, int], most: int, most_bytes: int) -> list[Record]:
        """Hand out what is ready below these ends, in order: about so many records and bytes at most."""
        taken: list[Record] = []
        heads: list[tuple[bool, int, int]] = []
        for partition, lane in self._lanes.items():
            if lane.has_ready(ends[partition]):
                heads.append(self._rank(lane, partition))
            elif self._is_missing(lane, ends[partition]):
                return taken
        heapify(heads)
        size_bytes = 0
        while heads and len(taken) < most and size_bytes < most_bytes:
            partition = heads[0][2]
            lane, end = self._lanes[partition], ends[partition]
            record = lane.take()
            taken.append(record)
            size_bytes += record.size_bytes
            if lane.has_ready(end):
                heapreplace(heads, self._rank(lane, partition))
            elif self._is_missing(lane, end):
                break
            else:
                heappop(heads)
        return taken

    def unreadable(self) -> UnreadableError | None:
        """Return what cannot be read, once everything before it was handed out."""
        found = (lane.unreadable for lane in self._lanes.values() if not lane.ready)
        return next((error for error in found if error is not None), None)

    def require_life(self, ends: Mapping[int, int]) -> None:
        """Raise RetryError if something must come and nothing does."""
        if self.has_reached(ends):
            self._heard_s = time.monotonic()
        elif time.monotonic() - self._heard_s > _IDLE_S:
            raise RetryError(f"{self._topic}: read nothing for {_IDLE_S:g} s")

    def _rank(self, lane: _Lane, partition: int) -> tuple[bool, int, int]:
        return partition >= self._before, lane.ready[0][0], partition

    def _is_missing(self, lane: _Lane, end: int) -> bool:
        return not lane.ready and lane.next_offset < end

    def _note(self, message: Any) -> int:
        """Take a message; return the size of its record in bytes."""
        self._heard_s = time.monotonic()
        lane = self._lanes[message.partition()]
        if lane.unreadable is not None:
            return 0  # the client goes on behind what it could not read
        failure = failure_of(message, self._doing)
        if isinstance(failure, UnreadableError):
            lane.unreadable = failure
            return 0
        if failure is not None:
            raise failure
        if message.error() is not None:  # the partition's end
            lane.next_offset = max(lane.next_offset, message.offset())
            return 0
        record = record_of(message)
        if not record.headers and hides_headers(message):
            self.hidden_headers.append(record)
        lane.add(record)
        return record.size_bytes

    def _pace(self) -> None:
        """Read no further what has enough ready, and read on what has not.

        By assignments: a pause could be lost beside one (see kafka/README.md).
        """
        is_full = sum(lane.ready_bytes for lane in self._lanes.values()) > _READY_BYTES
        most_bytes = 0 if is_full else self._most_bytes
        left, begun = [], []
        for partition, lane in self._lanes.items():
            if lane.is_read and (lane.ready_bytes > most_bytes or lane.unreadable is not None):
                left.append(TopicPartition(self._topic, partition))
                lane.is_read = False
            elif not lane.is_read and lane.unreadable is None and lane.ready_bytes <= most_bytes // 4:
                begun.append(TopicPartition(self._topic, partition, lane.next_offset))
                lane.is_read = True
        with failures(self._doing):
            if left:
                self._consumer.incremental_unassign(left)
            if begun:
                self._consumer.incremental_assign(begun)
