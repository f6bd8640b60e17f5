"""Step 5: commits one batch in one Kafka transaction. Facts, rejected records and offsets become visible together.

The offsets are committed with the consumer group's metadata (KIP-447), so that a member that lost its partitions is
refused. Each offset's metadata holds where the partition's facts end; both together are the watermark.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from confluent_kafka import KafkaError, Message, TopicPartition

from processor.codec import rejected
from processor.codec.lineage import marked
from processor.domain.batch import Output
from processor.domain.records import Record
from processor.domain.rejections import Rejection
from processor.errors import FactsMovedError, RetryError, StopError
from processor.kafka.bounded import Call
from processor.kafka.deliveries import Deliveries, patient
from processor.kafka.messages import produce_facts
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S, Transactions
from processor.settings import Settings
from processor.state.watermark import EventsLog, Lineage, Notes, Watermark, metadata_text, offset_entry

# How long to wait for the call that hangs if a coordinator goes away: at first, and at most if that was too short.
OFFSETS_TIMEOUT_S: Final = (1.0, TRANSACTION_TIMEOUT_S)


class _Reports(Deliveries):
    """The delivery reports of one batch, as far as they were requested."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = 0  # how many were produced
        self.facts_due: set[int] = set()  # partitions with facts: each must have a report
        self.facts_offsets: dict[int, int] = {}  # by partition: the offset of the last fact reported
        self.too_large: set[tuple[int, int]] = set()  # partition and offset of refused records that can be cut
        self.refused_by: str | None = None  # the topic that refused a record, for its size, that cannot be cut

    def fact(self, error: KafkaError | None, message: Message) -> None:
        """Take a fact's report."""
        offset, partition = message.offset(), message.partition()
        if error is not None:
            self.whole(error, message)
        elif offset is not None and partition is not None and offset >= 0:
            self.facts_offsets[partition] = offset
        else:
            self.failed(KafkaError(KafkaError._BAD_MSG, "a delivery report without an offset"))  # noqa: SLF001

    def whole(self, error: KafkaError | None, message: Message) -> None:
        """Take the report of a record that cannot be cut."""
        if error is not None and self.failed(error):
            self.refused_by = message.topic()

    def large(self, place: tuple[int, int], error: KafkaError | None, _message: Message) -> None:
        """Take the report of a rejected record that can be cut."""
        if error is not None and self.failed(error):
            self.too_large.add(place)


class Ledger:
    """Commits batches in this replica's transactions: each as a whole, or not at all."""

    def __init__(self, settings: Settings, lineage: Lineage, transactions: Transactions) -> None:
        self._settings = settings
        self._lineage = lineage
        self._mark = marked(lineage.digest(), lineage.partitions)
        self._transactions = transactions
        self._offsets_timeout_s = OFFSETS_TIMEOUT_S[0]
        self._too_large: set[tuple[int, int]] = set()  # rejected records that the broker refused uncut
        self._is_queue_small = False  # the setting kafka made the producer's queue too small for a batch
        self._has_failed = False  # since the last commit; then every record reports, to find the reason
        self._committed: dict[int, Watermark] = {}  # by partition: what this replica last committed, since a failure

    def commit(
        self,
        outputs: Sequence[Output],
        before: Mapping[int, Watermark],
        next_offsets: Mapping[int, int],
        notes: Notes,
        group_metadata: Any,
        beside: Callable[[], None] | None = None,
    ) -> dict[int, Watermark]:
        """Commit a batch and return each partition's new watermark; on return the outcome is definite.

        `before` holds each partition's watermark so far, `next_offsets` its next source offset. `beside` runs while
        the brokers take the records; if it raises, nothing is committed.
        Raises RetryError, ProducerLostError or StopError; then abort the transaction.
        """
        after: dict[int, Watermark] = {}
        timeout_s = self._offsets_timeout_s

        def send_offsets(watermarks: Mapping[int, Watermark]) -> None:
            offsets = [self._entry(partition, watermark, notes) for partition, watermark in watermarks.items()]
            self._transactions.producer.send_offsets_to_transaction(offsets, group_metadata, timeout_s)

        with self._transactions.writing("writing a batch"):
            reports = self._produce(outputs)
            committed, self._committed = self._committed, {}
            self._has_failed = True  # until the commit

            def flush() -> None:
                self._flush(reports, lambda: send_offsets(before))  # only where that has to fail, to hear why
                after.update(_watermarks(reports, before, next_offsets))
                if all(committed.get(partition) == before[partition] for partition in reports.facts_due):
                    _require_alone(reports, before)

            def add_offsets() -> None:
                self._offsets_timeout_s = min(timeout_s * 2, OFFSETS_TIMEOUT_S[1])  # for the next batch, if this fails
                send_offsets(after)
                self._offsets_timeout_s = OFFSETS_TIMEOUT_S[0]

            self._transactions.call(
                Call(flush, TRANSACTION_TIMEOUT_S, "writing facts"),
                Call(add_offsets, timeout_s, "adding offsets"),
                beside=beside,
            )
        self._transactions.commit("committing a batch")
        self._too_large.clear()
        self._has_failed = False
        self._committed = committed | after
        return after

    def _entry(self, partition: int, watermark: Watermark, notes: Notes) -> TopicPartition:
        log = notes.logs.get(partition, EventsLog())
        version = self._settings.fact_version
        text = metadata_text(watermark, self._lineage, notes.contacts, log.earlier, fact_version=version)
        return offset_entry(self._settings.events_topic, partition, watermark.source, log.epoch, text)

    def _produce(self, outputs: Sequence[Output]) -> _Reports:
        reports, producer = _Reports(), self._transactions.producer
        produce = patient(producer, TRANSACTION_TIMEOUT_S) if self._is_queue_small else producer.produce
        topic, each = self._settings.facts_topic, self._has_failed
        try:
            with reports.producing():
                others, reports.facts_due = produce_facts(produce, topic, outputs, self._mark, reports.fact, each=each)
                reports.facts = len(outputs) - len(others)
                for output in others:
                    self._produce_rejected(produce, output.record, cast("Rejection", output.result), reports)
        except BufferError:
            self._is_queue_small = True  # from now on wait for room, which costs something for each record
            raise
        return reports

    def _produce_rejected(
        self, produce: Callable[..., None], record: Record, rejection: Rejection, reports: _Reports
    ) -> None:
        own = rejected.written(self._settings.events_topic, self._mark, record, rejection)
        key, value, kept = record.key, record.value, rejected.kept(record)
        place = (record.partition, record.offset)
        report: Callable[..., None] | None = reports.whole if self._has_failed else None
        if place in self._too_large or record.size_bytes > rejected.COPY_BYTES:
            key, value, kept = rejected.cut(record)
            own += rejected.truncated(record)
        elif record.size_bytes > rejected.CUT_BYTES:
            report = partial(reports.large, place)
        produce(self._settings.rejected_topic, value, key, record.partition, headers=[*kept, *own], on_delivery=report)

    def _flush(self, reports: _Reports, further_call: Callable[[], None]) -> None:
        left = reports.await_reports(self._transactions.producer, TRANSACTION_TIMEOUT_S)
        if reports.too_large:
            self._too_large |= reports.too_large
            raise RetryError(f"{len(reports.too_large)} rejected records are too large for the topic and will be cut")
        if reports.refused_by is not None:
            raise StopError(
                f"the topic {reports.refused_by} refuses an output for its size: its max.message.bytes was lowered "
                "while this ran; raise it again (the next start says how far)"
            )
        reports.require_open(further_call)
        if left:
            raise RetryError(f"Kafka did not take {left} records of a batch within {TRANSACTION_TIMEOUT_S:g} s")


def _require_alone(reports: _Reports, before: Mapping[int, Watermark]) -> None:
    """Raise FactsMovedError if the facts topic used more offsets than this replica's facts and markers.

    `before` is what this replica's last transactions committed, each with a marker in the partitions of its facts.
    """
    used = sum(last + 1 - before[partition].facts for partition, last in reports.facts_offsets.items())
    if used > reports.facts + len(reports.facts_offsets):
        raise FactsMovedError("another writer used the facts topic between two batches")


def _watermarks(
    reports: _Reports, before: Mapping[int, Watermark], next_offsets: Mapping[int, int]
) -> dict[int, Watermark]:
    """Return the new watermarks. Raises RetryError unless each partition's facts go on where they ended."""
    after = {}
    for partition, source in next_offsets.items():
        facts = before[partition].facts
        if partition in reports.facts_due:
            offset = reports.facts_offsets.get(partition)
            if offset is None or offset < facts:
                raise RetryError(
                    f"partition {partition}: facts ended at {facts}, and the last new one was reported at {offset}"
                )
            facts = offset + 1
        after[partition] = Watermark(source, facts)
    return after
