"""Step 4 of a session of the contact index's keeper (see `contacts.keeper`): reads on, and writes batch after batch."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
from confluent_kafka import KafkaException

from processor.contacts.changes import Batch, ContactReader, Source
from processor.contacts.shards import Mark, Position
from processor.contacts.writer import IndexWriter
from processor.domain.records import Identification
from processor.errors import OrderFactsError, RetryError
from processor.kafka.cluster import Cluster, Topic
from processor.logs import get_logger

log = get_logger()
_POLL_S: Final = 0.2
_BUILT_AT_ONCE: Final = 5_000  # records of a batch
_CHANGED_AT_ONCE: Final = 1_000  # of an index in use: Redis answers no look-up while it works on a batch's phase
_TELL_S: Final = 10.0
_CHECK_S: Final = 2.0  # also how exactly the index's age is known


class Totals(msgspec.Struct):
    """Totals since the start."""

    records: int = 0
    skipped: int = 0
    conflicting: int = 0


class Opened(msgspec.Struct, frozen=True):
    """The index at the start of a session: resumed, or just begun."""

    topic: Topic
    rules: Identification
    max_age_ms: float
    mark: Mark
    position: Position


class _Begun(msgspec.Struct, frozen=True):
    """A batch that is being written, and what its line is to say."""

    batch: Batch
    conflicting: int
    mark: Mark
    position: Position
    read_ms: int
    began_s: float


class Session:
    """The reading and writing of one session. Any failure raises and ends it.

    The next batch is read while Redis works on the last one (see `contacts.writer`).
    """

    def __init__(self, cluster: Cluster, source: Source, writer: IndexWriter, opened: Opened, totals: Totals) -> None:
        self._cluster = cluster
        self._reader = ContactReader(source, opened.topic, opened.position.offsets, opened.rules)
        self._writer = writer
        self._topic, self._max_age_ms = opened.topic, opened.max_age_ms
        self._mark, self._position = opened.mark, opened.position  # with the batch that is being written
        self._begun: _Begun | None = None
        self._settled = writer.settled  # when a batch was last counted
        self._is_ready, self._complete_at_ms = opened.mark.is_ready, opened.position.complete_at_ms
        # A time in ms, and the topic's ends then. Once they are reached, the index was complete at that time.
        self._goal: tuple[int, list[int]] | None = None
        self._totals = totals
        self._records_before = totals.records  # at the start
        self._conflicting_logged = totals.conflicting
        self._began_s = self._told_s = time.monotonic()
        self._checked_s = -_CHECK_S
        self.lag_records = 0  # at the last check

    @property
    def is_ready(self) -> bool:
        """Whether the index is complete."""
        return self._is_ready

    @property
    def complete_at_ms(self) -> int:
        """When the index last held the whole topic."""
        return self._complete_at_ms

    def step(self) -> None:
        """Read what is there, waiting at most _POLL_S if nothing is, and write it."""
        try:
            batch, read_ms = self._read()
        except (OrderFactsError, KafkaException):  # events may wait for the batch before to be settled
            with suppress(RetryError):
                self.finish()
            raise
        self._write(batch, read_ms)

    def finish(self) -> None:
        """Return once all that was read is written."""
        try:
            self._writer.finish()
        finally:
            self._written()

    def _read(self) -> tuple[Batch, int]:
        """Return the next batch, and the time in ms that it took to read it without the wait for it."""
        most = _CHANGED_AT_ONCE if self._is_ready else _BUILT_AT_ONCE
        found = self._reader.poll(most, 0.0 if self._begun else _POLL_S)
        began_s = time.monotonic()
        batch = self._reader.read(*found)
        if began_s - self._checked_s >= _CHECK_S:
            self.finish()  # Kafka may take seconds to answer
            self._check(began_s)
        return batch, _ms_since(began_s)

    def _write(self, batch: Batch, read_ms: int) -> None:
        """Begin to write a batch, even if it only moves the position: an idle partition moves over markers too."""
        complete_at_ms = self._position.complete_at_ms
        if self._goal is not None and self._has_reached(self._goal[1]):
            complete_at_ms, self._goal = self._goal[0], None
        mark = self._mark
        if not mark.is_ready and self._has_reached(mark.ends):
            mark = msgspec.structs.replace(mark, is_ready=True)
        position = Position(tuple(self._reader.offsets), complete_at_ms)
        if mark == self._mark and position == self._position:
            self.finish()
            return
        began_s = time.monotonic()
        try:
            written = self._writer.begin(batch.changes.values(), position, mark)
        finally:
            self._written()
        self._begun = _Begun(batch, written.conflicting, mark, position, read_ms, began_s)
        self._mark, self._position = mark, position

    def _written(self) -> None:
        """Count the batch that was being written, and log it, if it is written."""
        if self._begun is None or self._writer.settled == self._settled:
            return
        self._settled = self._writer.settled
        begun, self._begun = self._begun, None
        batch, mark, self._complete_at_ms = begun.batch, begun.mark, begun.position.complete_at_ms
        self._totals.records += batch.records
        self._totals.skipped += batch.skipped
        self._totals.conflicting += begun.conflicting
        if batch.records:
            deleted = sum(change.identifiers is None for change in batch.changes.values())
            log.info(
                "contacts.committed",
                records=batch.records,
                changed=len(batch.changes) - deleted,
                deleted=deleted,
                skipped=batch.skipped,
                read_ms=begun.read_ms,
                write_ms=_ms_since(begun.began_s),
            )
        if mark.is_ready and not self._is_ready:
            self._is_ready = True
            records = self._totals.records - self._records_before
            log.info("contacts.ready", build=mark.build, records=records, took_ms=_ms_since(self._began_s))
            self._log_conflicting()

    def _has_reached(self, ends: Sequence[int]) -> bool:
        return all(offset >= end for offset, end in zip(self._reader.offsets, ends, strict=True))

    def _check(self, now_s: float) -> None:
        """Check that the topic is the same and the index young enough; get the topic's ends.

        Asking Kafka also shows whether it is away: a consumer without brokers just reads nothing.
        """
        self._checked_s, now_ms = now_s, int(time.time() * 1000)
        if self._cluster.topics([self._topic.name]).get(self._topic.name) != self._topic:
            raise RetryError(f"the topic {self._topic.name} was deleted, recreated or given more partitions")
        if now_ms - self._position.complete_at_ms > self._max_age_ms:
            problem = "was not read to its end for too long: deletions may be lost"
            raise RetryError(f"the topic {self._topic.name} {problem}")
        found = self._cluster.ends(self._topic.name, range(self._topic.partitions))
        ends = [found[partition] for partition in range(self._topic.partitions)]
        self.lag_records = sum(max(0, end - offset) for end, offset in zip(ends, self._reader.offsets, strict=True))
        if self._goal is None:
            self._goal = now_ms, ends
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            self._log_conflicting()

    def _log_conflicting(self) -> None:
        """Log how many contacts came to another partition since the last such line, if any did."""
        conflicting = self._totals.conflicting - self._conflicting_logged
        self._conflicting_logged = self._totals.conflicting
        if conflicting:
            log.warning("contacts.conflicting", topic=self._topic.name, contacts=conflicting)


def _ms_since(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1000)
