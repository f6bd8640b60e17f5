"""Step 5: one batch, one Kafka transaction. Facts, rejected records and source offsets become visible together.

The offsets are committed with the consumer group's metadata (KIP-447), so that a member that lost its
partitions is refused, and each carries in its metadata where the partition's facts end: the watermark.
Nothing is retried in here. Whatever fails raises an error whose class says what to do (see `errors`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processor.codec.rejected import CUT_BYTES
from processor.domain.batch import Output
from processor.domain.records import Record
from processor.domain.rejections import Rejection
from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka import clients as kafka
from processor.kafka.bounded import BoundedCalls, Call
from processor.kafka.deliveries import BatchDeliveries
from processor.kafka.messages import produce_facts
from processor.settings import Settings
from processor.state.watermark import ContactsPosition, Lineage, Watermark, metadata_text

TRANSACTION_TIMEOUT_S: Final = kafka.TRANSACTION_TIMEOUT_MS / 1000
# How long the call is waited for that hangs when a coordinator goes away: at first, and at most where it was too short.
OFFSETS_TIMEOUT_S: Final = (1.0, TRANSACTION_TIMEOUT_S)
# the headers that this program sets; those of the original record are kept but for these
_OWN_HEADERS: Final = frozenset(
    {
        *("reason", "outcome", "detail", "truncated"),
        *("source.topic", "source.partition", "source.offset", "source.timestamp"),
    }
)


class Ledger:
    """This replica's transactional producer and the transaction it has open, if any."""

    def __init__(self, settings: Settings, lineage: Lineage, batch_bytes: int) -> None:
        self._settings = settings
        self._lineage = lineage
        self._batch_bytes = batch_bytes
        self._producer: Producer | None = None
        self._open = False
        self._calls = BoundedCalls()
        self._offsets_timeout_s = OFFSETS_TIMEOUT_S[0]
        self._too_large: set[tuple[int, int]] = set()  # rejected records that the broker refused whole
        self._has_failed = False  # since the last commit; then each record's report is asked for, to find the reason

    def ready(self) -> None:
        """Have a producer whose earlier transaction, if any, is settled."""
        if self._producer is not None:
            return
        producer = kafka.transactional_producer(self._settings, self._batch_bytes)
        kafka.start_transactions(producer, "starting transactions")
        self._producer = producer

    def commit(
        self,
        outputs: Sequence[Output],
        before: Mapping[int, Watermark],
        next_offsets: Mapping[int, int],
        contacts: ContactsPosition | None,
        group_metadata: Any,
        beside: Callable[[], None] | None = None,
    ) -> dict[int, Watermark]:
        """Commit a batch and return each partition's new watermark: on return the outcome is definite.

        `before` holds each partition's watermark so far, `next_offsets` its next source offset, `contacts`
        how far the contact index was. `beside` is done while the brokers take what was produced; where it raises
        nothing is committed.
        Raises RetryError, ProducerLostError or StopError; then `abort` must be called.
        """
        producer = self._producer
        if producer is None:
            raise ProducerLostError("there is no producer")
        try:
            producer.begin_transaction()
            self._open = True
            reports = self._produce(producer, outputs)
            self._has_failed = True  # until it is committed
            after: dict[int, Watermark] = {}
            timeout_s = self._offsets_timeout_s

            def send_offsets(watermarks: Mapping[int, Watermark]) -> None:
                producer.send_offsets_to_transaction(self._offsets(watermarks, contacts), group_metadata, timeout_s)

            def flush() -> None:
                self._flush(producer, reports, lambda: send_offsets(before))
                after.update(self._watermarks(reports, before, next_offsets))

            def add_offsets() -> None:
                self._offsets_timeout_s = min(timeout_s * 2, OFFSETS_TIMEOUT_S[1])  # the next time, if this fails
                send_offsets(after)
                self._offsets_timeout_s = OFFSETS_TIMEOUT_S[0]

            with kafka.fatal_errors():
                self._calls.call(
                    Call(flush, TRANSACTION_TIMEOUT_S, "writing facts"),
                    Call(add_offsets, timeout_s, "adding offsets"),
                    beside=beside,
                )
        except KafkaException as error:
            raise kafka.classify(error.args[0], "writing a batch") from error
        except BufferError as error:
            raise RetryError("the producer's queue is full") from error
        self._commit(producer)
        self._too_large.clear()
        self._has_failed = False
        return after

    def abort(self) -> None:
        """Abort the open transaction, if any. Raises ProducerLostError where its outcome is unknown."""
        if not self._open or self._producer is None:
            return
        self._open = False
        try:
            with kafka.fatal_errors():
                producer = self._producer
                self._call(lambda: producer.abort_transaction(TRANSACTION_TIMEOUT_S), "aborting a batch")
        except KafkaException as error:
            raise ProducerLostError(f"aborting a batch: {error.args[0].str()}") from error

    def forget_producer(self) -> None:
        """Drop the producer; the next `ready` makes one that settles what this one left open."""
        self._open = False
        if self._producer is not None:
            self._producer.purge(in_flight=False)
            self._producer = None
            self._calls.close()
            self._calls = BoundedCalls()  # the old one may be held up for ever by the old producer

    def _call(self, work: Callable[[], None], what: str) -> None:
        self._calls.call(Call(work, TRANSACTION_TIMEOUT_S, what))

    def _produce(self, producer: Producer, outputs: Sequence[Output]) -> BatchDeliveries:
        reports = BatchDeliveries()
        topic, each = self._settings.facts_topic, self._has_failed
        with reports.producing():
            for output in produce_facts(producer.produce, topic, outputs, reports.fact, each=each):
                self._produce_rejected(producer, output.record, cast("Rejection", output.result), reports)
        return reports

    def _produce_rejected(
        self, producer: Producer, record: Record, rejection: Rejection, reports: BatchDeliveries
    ) -> None:
        value, key = record.value, record.key
        kept: list[tuple[str, str | bytes | None]] = [h for h in record.headers if h[0] not in _OWN_HEADERS]
        own = _rejected_headers(self._settings.events_topic, record, rejection)
        headers_bytes = sum(len(name) + len(text or b"") for name, text in record.headers)
        place = (record.partition, record.offset)
        report: Callable[..., None] | None = reports.whole if self._has_failed else None
        if place in self._too_large:
            # Cut to what every topic takes that passed the start: the value first of all, but the rest as well.
            own.append(("truncated", str(len(value or b"")).encode()))
            value, key = value and value[:CUT_BYTES], key and key[:CUT_BYTES]
            kept = kept if headers_bytes <= CUT_BYTES else []
        elif record.size_bytes + headers_bytes > CUT_BYTES:
            report = partial(reports.large, place)
        producer.produce(
            self._settings.rejected_topic, value, key, record.partition, headers=[*kept, *own], on_delivery=report
        )

    def _flush(self, producer: Producer, reports: BatchDeliveries, further_call: Callable[[], None]) -> None:
        left = reports.await_reports(producer, TRANSACTION_TIMEOUT_S)
        if reports.too_large:
            self._too_large |= reports.too_large
            raise RetryError(f"{len(reports.too_large)} rejected records are too large for the topic and will be cut")
        if reports.refused_by is not None:
            raise StopError(
                f"the topic {reports.refused_by} refuses an output for its size: its max.message.bytes was lowered "
                "while this ran; raise it again (the start says how far)"
            )
        if reports.reason is not None:
            raise kafka.classify(reports.reason, "writing a batch")
        reports.require_open(further_call)
        if left:
            raise RetryError(f"{left} records of a batch were not taken within {TRANSACTION_TIMEOUT_S:g} s")

    def _watermarks(
        self, reports: BatchDeliveries, before: Mapping[int, Watermark], next_offsets: Mapping[int, int]
    ) -> dict[int, Watermark]:
        after = {}
        for partition, source in next_offsets.items():
            facts = reports.facts_offsets.get(partition, before[partition].facts - 1) + 1
            if facts < before[partition].facts:
                raise RetryError(f"the facts of partition {partition} were reported below their previous end")
            after[partition] = Watermark(source, facts)
        return after

    def _offsets(self, after: Mapping[int, Watermark], contacts: ContactsPosition | None) -> list[TopicPartition]:
        topic, lineage = self._settings.events_topic, self._lineage
        return [
            TopicPartition(topic, partition, watermark.source, metadata_text(watermark, lineage, contacts))
            for partition, watermark in after.items()
        ]

    def _commit(self, producer: Producer) -> None:
        started = time.monotonic()
        try:
            with kafka.fatal_errors():
                self._call(lambda: producer.commit_transaction(TRANSACTION_TIMEOUT_S), "committing a batch")
        except KafkaException as error:
            failure: KafkaError = error.args[0]
            text = f"committing a batch, after {time.monotonic() - started:.1f} s"
            raised: OrderFactsError = kafka.classify(failure, text)
            # Anything but a definite "abort it" leaves the outcome open: only a new producer settles that.
            if not failure.txn_requires_abort() and not isinstance(raised, StopError):
                raised = ProducerLostError(str(raised))
            raise raised from error
        self._open = False


def _rejected_headers(topic: str, record: Record, rejection: Rejection) -> list[tuple[str, bytes | None]]:
    texts = {
        "reason": rejection.reason.value,
        "outcome": rejection.reason.outcome.value,
        "detail": rejection.detail,
        "source.topic": topic,
        "source.partition": str(record.partition),
        "source.offset": str(record.offset),
        "source.timestamp": str(record.timestamp_ms),
    }
    return [(name, text.encode()) for name, text in texts.items()]
