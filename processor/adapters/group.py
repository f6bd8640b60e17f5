"""Step 1: this replica's place in the consumer group, and the records it is handed.

A partition is either *placed* (its next offset and watermark are known, it is read) or *owed* (assigned,
but paused until it is placed). The rebalance callbacks only note what changed and pause what is new;
nothing is fetched or decided in them.

No record handed over is ever forgotten: it is in the batch that `take` returns, or its partition is owed.
A batch during which a callback ran is dropped, and its partitions are owed again: the generation that its
offsets would be committed with is not the one its records were read in. After a rewind a partition's
first record must be the dropped batch's first one.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from processor.adapters import kafka
from processor.adapters.ledger import Watermark
from processor.domain.records import Record
from processor.errors import RetryError, StopError
from processor.logs import get_logger
from processor.settings import Settings

_LEAVE_POLLS: Final = 100  # of 50 ms: how long a stop waits for its partitions to be taken back
log = get_logger()


class Placed(msgspec.Struct, frozen=True):
    """Where a partition is: its watermark, and the one that its mirror must hold (None before the first batch)."""

    watermark: Watermark
    mark: Watermark | None


class Group:
    """The group's consumer, and what this member knows of the partitions it is assigned."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.events_topic
        self._consumer: Consumer = kafka.group_consumer(settings)
        self._changes = 0
        self._first_due: dict[int, int] = {}
        self.assigned: set[int] = set()
        self.placed: dict[int, Placed] = {}
        self.generation: Any = None  # group metadata of the batch in hand

    @property
    def owed(self) -> set[int]:
        """The assigned partitions that wait to be placed."""
        return self.assigned - self.placed.keys()

    def join(self) -> None:
        """Join the group; partitions arrive in later polls."""
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def take(self, most: int, wait_s: float) -> list[Record]:
        """Wait for a first record, then take what is already there, `most` records at most.

        Returns nothing where a rebalance came between. Raises what a consumer's error asks for.
        """
        changes = self._changes
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        self.generation = self._consumer.consumer_group_metadata()
        messages = [first, *(self._consumer.consume(most - 1, 0) if most > 1 else ())]
        failed = next((message.error() for message in messages if message.error() is not None), None)
        records = [kafka.record_of(message) for message in messages if message.error() is None]
        if failed is not None:
            self.rewind(records)
            raise kafka.classify(failed, f"reading {self._topic}")
        if changes != self._changes:
            self.rewind(records)
            log.info("batch.dropped", cause="rebalance", records=len(records))
            return []
        records = [record for record in records if record.partition in self.placed]
        self._check_first(records)
        return records

    def serve(self, wait_s: float) -> bool:
        """Serve callbacks without taking records; tell whether a rebalance came. Whatever is handed over is owed."""
        changes = self._changes
        message: Message | None = self._consumer.poll(wait_s)
        if message is not None and message.error() is None:
            self.rewind([kafka.record_of(message)])
        elif message is not None and message.error() is not None:
            raise kafka.classify(message.error(), f"reading {self._topic}")  # type: ignore[arg-type]
        return changes != self._changes

    def committed(self, partitions: Collection[int], wait_s: float) -> list[TopicPartition] | None:
        """Return the committed offsets; None where a predecessor's transaction keeps them open all the while."""
        asked = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            found = self._consumer.committed(asked, timeout=wait_s)
        except KafkaException as error:
            failure = error.args[0]
            if failure.retriable() or isinstance(kafka.classify(failure, ""), RetryError):
                return None
            raise kafka.classify(failure, "fetching committed offsets") from error
        for entry in found:
            if entry.error is not None:
                raise kafka.classify(entry.error, "fetching committed offsets")
        return found

    def place(self, partition: int, placed: Placed) -> None:
        """Read a partition from its watermark on. An explicit assignment: a seek can fail for one partition."""
        position = [TopicPartition(self._topic, partition, placed.watermark.source)]
        try:
            self._consumer.incremental_unassign(position)
            self._consumer.incremental_assign(position)
            self._consumer.resume(position)
        except KafkaException as error:
            raise kafka.classify(error.args[0], f"placing partition {partition}") from error
        self.placed[partition] = placed

    def advance(self, watermarks: dict[int, Watermark]) -> None:
        """Note what a batch committed; its mirror must hold the same from now on."""
        for partition, watermark in watermarks.items():
            self.placed[partition] = Placed(watermark, watermark)

    def rewind(self, in_hand: Iterable[Record] = (), *, everything: bool = False) -> None:
        """Owe the partitions of the records in hand, or all, a new position; pause them until then."""
        for record in in_hand:
            if record.partition in self.assigned:
                known = self._first_due.get(record.partition, record.offset)
                self._first_due[record.partition] = min(known, record.offset)
                self.placed.pop(record.partition, None)
        if everything:
            self.placed.clear()
        self._pause(self.owed)

    def ping(self, wait_s: float) -> None:
        """Ask a broker for the topic's metadata. Raises what its silence asks for."""
        try:
            self._consumer.list_topics(self._topic, timeout=wait_s)
        except KafkaException as error:
            raise kafka.classify(error.args[0], "asking for metadata") from error

    def lag_records(self) -> int | None:
        """Return how many records are committed in the topic beyond this member's watermarks, as last heard."""
        lag = 0
        for partition, placed in self.placed.items():
            ends = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            if ends is None or ends[1] < 0:
                return None
            lag += max(0, ends[1] - placed.watermark.source)
        return lag

    def leave(self) -> None:
        """Leave for good: unsubscribe and let go of all partitions first, or they wait for the session's end."""
        try:
            with suppress(KafkaException):  # a member that was fenced has nothing to leave; why it ends is told
                self._consumer.unsubscribe()
                for _ in range(_LEAVE_POLLS):
                    if not self.assigned:
                        break
                    self._consumer.poll(0.05)
        finally:
            self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._changes += 1
        if not partitions:
            return
        numbers = sorted(entry.partition for entry in partitions)
        # Any offset will do, as nothing is fetched while paused: `place` gives the right one.
        consumer.incremental_assign([TopicPartition(self._topic, number, 0) for number in numbers])
        self.assigned |= set(numbers)
        self._pause(numbers)
        log.info("partition.assigned", partitions=numbers)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget(consumer, partitions, lost=False)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget(consumer, partitions, lost=True)

    def _forget(self, consumer: Consumer, partitions: list[TopicPartition], *, lost: bool) -> None:
        self._changes += 1
        if not partitions:
            return
        consumer.incremental_unassign(partitions)
        numbers = sorted(entry.partition for entry in partitions)
        for number in numbers:
            self.assigned.discard(number)
            self.placed.pop(number, None)
            self._first_due.pop(number, None)
        log.info("partition.revoked", partitions=numbers, lost=lost)

    def _pause(self, partitions: Iterable[int]) -> None:
        entries = [TopicPartition(self._topic, partition) for partition in partitions]
        if entries:
            self._consumer.pause(entries)

    def _check_first(self, records: Iterable[Record]) -> None:
        for record in records:
            due = self._first_due.pop(record.partition, None)
            if due is not None and record.offset != due:
                raise StopError(
                    f"{self._topic}[{record.partition}]: offset {due} was read once and is gone, the next is "
                    f"{record.offset}; records were deleted while they were processed: start again to be told more"
                )
