"""The replay's transactions: copies for the events topic become visible together with the note that they were replayed.

That note is the committed offsets of a group of its own (see `sweeps`), and for events that are sent back one by one
(see `healing`) a record each of the healed topic. Whoever replays first fences all others: `rejected replay`, with or
without `--follow`, is one producer. Nothing is retried here.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import ConfigResource, OffsetSpec, ResourceType
from msgspec.structs import replace

from processor.codec import healed
from processor.codec.healed import Healed, Place
from processor.domain.records import Record
from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka.bounded import Call
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader, transactional_producer
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.deliveries import Deliveries, patient
from processor.kafka.failures import FENCED, classify
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.kafka.topics import batch_bytes
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S, Transactions
from processor.replay.judging import Copy
from processor.replay.sweeps import Sweeps, offset_of, sweeps_of
from processor.settings import REPLAY, Settings

PARTITIONS_AT_ONCE: Final = 100  # in one transaction: keeps their metadata far below a batch's limit
_PENDING_S: Final = 3.0  # for an answer that takes a tenth of a second if nothing is pending
_POLL_S: Final = 0.1
# What a consumer fetches ahead: small records take several times their size in the client's memory.
SMALL_QUEUE: Final = {"queued.max.messages.kbytes": 4 << 10}
_NOT_YET: Final = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError.NOT_COORDINATOR,  # the first group of a new cluster: the topic of offsets is being created
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)
_ASK_ONCE: Final = {"retry.backoff.ms": 60_000, "retry.backoff.max.ms": 60_000}


class OvertakenError(StopError):
    """Another replay has taken over: this one can write nothing any more."""


class ReplayLedger:
    """The replay's consumer, its transactional producer, and its open transaction, if any.

    `healed_topic` is None if there is none: then no event was ever sent back by itself.
    """

    def __init__(self, settings: Settings, cluster: Cluster, rejected: Topic, healed_topic: Topic | None) -> None:
        self._settings = settings
        self._cluster = cluster
        self._topic = rejected
        self._healed_topic = healed_topic
        self._healed = Healed(settings.group_id, rejected.topic_id)
        self._transactions = Transactions(self._producer, _failure)
        self._has_taken_over = False
        self.group_id = f"{settings.group_id}-{REPLAY}"
        # Nobody joins this group: it only holds offsets.
        self.consumer = reader(settings, **{"group.id": self.group_id}, **SMALL_QUEUE)

    def swept(self) -> dict[int, Sweeps]:
        """Return what was replayed, by partition; partitions that no run has read are missing.

        Raises StopError while a transaction of another run is open, RetryError if no answer comes.
        """
        self._await_coordinator()
        # Now a missing answer means an open transaction; or, if this run has taken over and so ended all others, that
        # Kafka went away. Ask only once: repeated requests would meet a busy run between two of its transactions.
        stable = self._committed(_PENDING_S, **_ASK_ONCE)
        if stable is None and self._has_taken_over:
            raise self._unanswered(_PENDING_S)
        if stable is None:
            raise StopError(
                f"a transaction of an earlier `rejected replay` of {self._topic.name} is open: it is running, or it "
                f"was killed less than {2 * TRANSACTION_TIMEOUT_S:.0f} s ago; wait until it ends"
            )
        return {entry.partition: sweeps_of(entry, self._topic) for entry in stable if entry.offset >= 0}

    def healed(self) -> dict[int, dict[int, int]]:
        """Return what was sent back one by one: by partition and offset of the record, the copy's offset.

        Complete once earlier runs are fenced. Raises RetryError, or StopError for a record that cannot be read.
        """
        found: dict[int, dict[int, int]] = {}
        topic = self._healed_topic
        if topic is None:
            return found
        partitions = range(topic.partitions)
        starts, ends = self._cluster.starts(topic.name, partitions), self._cluster.ends(topic.name, partitions)
        for message in read_range(self.consumer, topic.name, starts, ends):
            record = record_of(message)
            place = self._healed.place(record.key)
            if place is None:
                continue
            offsets = found.setdefault(place.partition, {})
            if record.value is None:
                offsets.pop(place.offset, None)
                continue
            try:
                offsets[place.offset] = healed.event_offset(record.value)
            except ValueError as error:
                raise StopError(
                    f"{topic.name}[{record.partition}], offset {record.offset}, was not written by this version of the "
                    f"program ({error}); run the version that wrote it"
                ) from error
        return found

    def noted(self) -> list[tuple[int, int, str | None]] | None:
        """Return the replay's committed offsets as they are, to see whether another run moves; None if one is pending.

        A transaction of another run may be open then.
        """
        found = self._committed(_PENDING_S, **_ASK_ONCE)
        return None if found is None else [(entry.partition, entry.offset, entry.metadata) for entry in found]

    def take_over(self) -> None:
        """End and fence every earlier run, so that only this one can replay. Raises RetryError or StopError."""
        self._transactions.ready("taking over from earlier replays")
        self._has_taken_over = True

    def commit(self, copies: Collection[Copy], swept: Mapping[int, Sweeps]) -> None:
        """Commit copies, and in the same transaction what is replayed by now, by partition.

        Raises RetryError or StopError; then call `close`. Whatever the outcome, the next run finds on the broker what
        was replayed.
        """
        with self._committing(swept):
            self._write(copies, swept)

    def send_back(self, copies: Sequence[Copy], swept: Mapping[int, Sweeps]) -> list[int]:
        """Commit copies of single events, and in the same transaction a healed record of each.

        `swept` is what replays have noted, noted again: Kafka forgets what is old. Returns the copies' offsets in the
        events topic. Raises as `commit`, and OvertakenError.
        """
        with self._committing(swept):
            offsets = self._write(copies, swept)
            places = (Place(copy.rejected.partition, copy.rejected.offset) for copy in copies)
            self._mark({place: healed.value(at) for place, at in zip(places, offsets, strict=True)}, swept)
        return offsets

    def forget(self, places: Iterable[Place], swept: Mapping[int, Sweeps]) -> None:
        """Commit that healed records are no longer needed. Raises as `send_back`."""
        with self._committing(swept):
            self._mark(dict.fromkeys(places), swept)

    @contextmanager
    def _committing(self, swept: Mapping[int, Sweeps]) -> Iterator[None]:
        """Note what is replayed, and commit that with what the block writes."""
        try:
            with self._transactions.writing("replaying"):
                # The offsets come first, so that whoever asks for them sees the open transaction.
                self._transactions.call(
                    Call(lambda: self._note(swept), TRANSACTION_TIMEOUT_S, "noting what is replayed")
                )
                yield
            self._transactions.commit("replaying")
        except ProducerLostError as lost:
            raise RetryError(f"{lost}; run it again, it continues after what was replayed") from lost

    def settle(self) -> None:
        """Wait until the next request sees the last commit: the broker finishes it a moment later."""
        self._committed(REQUEST_TIMEOUT_S)

    def kept_ms(self) -> int | None:
        """Return how long the brokers keep the offsets of a group without members, in ms; None if they do not say."""
        with self._cluster.asking("reading the brokers' offsets.retention.minutes"):
            broker = str(min(self._cluster.admin.list_topics(timeout=REQUEST_TIMEOUT_S).brokers))
            asked = [ConfigResource(ResourceType.BROKER, broker)]
            (future,) = self._cluster.admin.describe_configs(asked, request_timeout=REQUEST_TIMEOUT_S).values()
            try:
                entry = future.result().get("offsets.retention.minutes")
            except KafkaException as error:
                if error.args[0].code() != KafkaError.CLUSTER_AUTHORIZATION_FAILED:
                    raise
                return None
        return None if entry is None or not entry.value else int(entry.value) * 60_000

    def first_since(self, partitions: Iterable[int], time_ms: int) -> dict[int, int]:
        """Return by partition the offset of the first record rejected at `time_ms` or later, if there is one."""
        asked = {TopicPartition(self._topic.name, p): OffsetSpec.for_timestamp(time_ms) for p in partitions}
        with self._cluster.asking(f"asking which records of {self._topic.name} are new enough"):
            futures = self._cluster.admin.list_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
            found = {entry.partition: future.result().offset for entry, future in futures.items()}
        return {partition: offset for partition, offset in found.items() if offset >= 0}

    def close(self) -> None:
        """Abort an open transaction and close both clients. If the abort fails, the broker's timeout ends it."""
        self.consumer.close()
        with suppress(ProducerLostError):
            self._transactions.abort("aborting a replay")
        self._transactions.forget()

    def _note(self, swept: Mapping[int, Sweeps]) -> None:
        offsets = [offset_of(partition, sweeps, self._topic) for partition, sweeps in swept.items()]
        metadata = self.consumer.consumer_group_metadata()
        self._transactions.producer.send_offsets_to_transaction(offsets, metadata, TRANSACTION_TIMEOUT_S)

    def _write(self, copies: Collection[Copy], swept: Mapping[int, Sweeps]) -> list[int]:
        """Write copies; return their offsets."""
        deliveries, producer = Deliveries(), self._transactions.producer
        refused: list[Record] = []
        offsets = [-1] * len(copies)

        def reported(number: int, rejected: Record, error: KafkaError | None, message: Message) -> None:
            if error is None:
                offsets[number] = cast("int", message.offset())
            elif deliveries.failed(error):
                refused.append(rejected)

        produce = patient(producer, TRANSACTION_TIMEOUT_S)
        with deliveries.producing():
            for number, copy in enumerate(copies):
                produce(
                    self._settings.events_topic,
                    copy.rejected.value,
                    copy.rejected.key,
                    copy.partition,
                    headers=list(copy.headers),
                    on_delivery=partial(reported, number, copy.rejected),
                )

        def require_taken() -> None:
            if refused:
                raise StopError(
                    f"the topic {self._settings.events_topic} refuses the record of {self._topic.name}"
                    f"[{refused[0].partition}] at offset {refused[0].offset} for its size; raise its max.message.bytes"
                )

        self._await_reports(deliveries, swept, require_taken, "writing events")
        return offsets

    def _mark(self, values: Mapping[Place, bytes | None], swept: Mapping[int, Sweeps]) -> None:
        """Write records of the healed topic; a null one forgets."""
        assert self._healed_topic is not None
        deliveries = Deliveries()

        def reported(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                deliveries.failed(error)

        produce = patient(self._transactions.producer, TRANSACTION_TIMEOUT_S)
        with deliveries.producing():
            for place, value in values.items():
                produce(self._healed_topic.name, value, self._healed.key(place), 0, on_delivery=reported)
        self._await_reports(deliveries, swept, lambda: None, "noting which events are sent back")

    def _await_reports(
        self, deliveries: Deliveries, swept: Mapping[int, Sweeps], require_taken: Callable[[], None], doing: str
    ) -> None:
        """Wait until the brokers have all records; raise why they have not."""
        producer = self._transactions.producer

        def await_all() -> None:
            left = deliveries.await_reports(producer, TRANSACTION_TIMEOUT_S)
            require_taken()
            deliveries.require_open(lambda: self._note(swept))
            if left:
                raise RetryError(f"Kafka did not take {left} records within {TRANSACTION_TIMEOUT_S:g} s")

        self._transactions.call(Call(await_all, TRANSACTION_TIMEOUT_S, doing))

    def _producer(self) -> Producer:
        """Return a producer whose batches the events topic takes uncompressed."""
        limit = int(self._cluster.topic_settings(self._settings.events_topic)["max.message.bytes"])
        return transactional_producer(replace(self._settings, instance_id=REPLAY), batch_bytes(limit))

    def _committed(self, timeout_s: float, **properties: Any) -> list[TopicPartition] | None:
        """Return the committed offsets, -1001 for none; None if no answer comes (yet).

        The admin client could report pending offsets at once, but crashes the process with a segmentation fault if
        the group's coordinator is not there yet (librdkafka issue 5040).
        """
        asked = [TopicPartition(self._topic.name, partition) for partition in range(self._topic.partitions)]
        with closing(reader(self._settings, **{"group.id": self.group_id, **properties})) as client:
            try:
                return client.committed(asked, timeout_s)
            except KafkaException as error:
                if error.args[0].code() in _NOT_YET:
                    return None
                raise _failure(error.args[0], "asking what was replayed") from error

    def _await_coordinator(self) -> None:
        """Return once Kafka answers a request for the group's offsets. Raises RetryError after REQUEST_TIMEOUT_S."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while self._committed(REQUEST_TIMEOUT_S, **{"isolation.level": "read_uncommitted"}) is None:
            if time.monotonic() >= deadline:
                raise self._unanswered(REQUEST_TIMEOUT_S)
            time.sleep(_POLL_S)

    def _unanswered(self, waited_s: float) -> RetryError:
        return RetryError(f"Kafka did not return the offsets of group {self.group_id} in {waited_s:g} s")


def _failure(error: KafkaError, doing: str) -> OrderFactsError:
    if error.code() in FENCED:
        return OvertakenError(
            "another `rejected replay` has begun, or this one was paused for too long: its open transaction was not "
            "written; run it again, it continues after what was replayed"
        )
    return classify(error, doing)
