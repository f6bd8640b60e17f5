"""The replay's transactions: copies for the events topic, and what was replayed, become visible together.

What was replayed is one committed offset for each partition of the rejected topic, in the group
`<group_id>-replay`, with a metadata string: by reason, the sweeps that earlier runs made. A sweep says in
three numbers which records a run dealt with, so that a later run with another selection leaves out
exactly those. An offset that somebody sets by hand (no metadata) says: all below was dealt with, nothing
above. Nothing is retried in here.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import ConfigResource, OffsetSpec, ResourceType  # type: ignore[attr-defined]
from msgspec.structs import replace

from processor.domain.records import Record
from processor.errors import OrderFactsError, RetryError, StopError
from processor.kafka import clients as kafka
from processor.kafka.clients import REQUEST_TIMEOUT_S
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.deliveries import Deliveries
from processor.settings import REPLAY, Settings

EVER: Final = -1  # since always: Kafka's own mark for a record without a timestamp, and so the least there is
ANY_REASON: Final = "*"
ANY_ROUNDS: Final = 1 << 53
PARTITIONS_AT_ONCE: Final = 100  # of one transaction: their metadata together stay far below a batch's limit
_TRANSACTION_TIMEOUT_S: Final = kafka.TRANSACTION_TIMEOUT_MS / 1000
_MOST_METADATA_BYTES: Final = 4_000  # a broker takes 4,096 by default
_BATCH_OVERHEAD_BYTES: Final = 1_000
_BATCH_BYTES: Final = 1 << 20
_VERSION: Final = 1
_PENDING_S: Final = 3.0  # for an answer that takes a tenth of a second where nothing is pending
_POLL_S: Final = 0.1
_NOT_YET: Final = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError.NOT_COORDINATOR,  # the first group of a new cluster: its offsets' topic is being made
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)
_ASK_ONCE: Final = {"retry.backoff.ms": 60_000, "retry.backoff.max.ms": 60_000}
_FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001
)


class Sweep(msgspec.Struct, frozen=True, array_like=True):
    """Records of one reason that need no replay any more, of one partition of the rejected topic.

    They are those below `end` (an offset) that were rejected at `since_ms` or later (ms since the epoch) and
    had been replayed fewer than `rounds` times before.
    """

    end: int
    since_ms: int
    rounds: int

    def covers(self, offset: int, rejected_ms: int, rounds: int) -> bool:
        """Tell whether a record is among them."""
        return offset < self.end and rejected_ms >= self.since_ms and rounds < self.rounds

    def includes(self, other: "Sweep") -> bool:
        """Tell whether everything that the other covers is covered by this one too."""
        return self.end >= other.end and self.since_ms <= other.since_ms and self.rounds >= other.rounds


Sweeps = Mapping[str, tuple[Sweep, ...]]  # of one partition: by reason, or for ANY_REASON


class Copy(msgspec.Struct, frozen=True):
    """A rejected record on its way back: where it goes, and under which headers."""

    rejected: Record
    partition: int
    headers: tuple[tuple[str, bytes | None], ...]


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in a committed offset's metadata string, as JSON."""

    v: int
    topic: str  # the id of the rejected topic
    swept: dict[str, tuple[Sweep, ...]]


def with_sweep(sweeps: tuple[Sweep, ...], new: Sweep) -> tuple[Sweep, ...]:
    """Return the sweeps with one more, without those that another one includes."""
    if any(sweep.includes(new) for sweep in sweeps):
        return sweeps
    return (*(sweep for sweep in sweeps if not new.includes(sweep)), new)


def offset_of(partition: int, sweeps: Sweeps, topic: Topic) -> TopicPartition:
    """Return what is committed for a partition of the rejected topic. Raises StopError where it is too long."""
    text = msgspec.json.encode(_Metadata(_VERSION, topic.topic_id, dict(sweeps)))
    if len(text) > _MOST_METADATA_BYTES:
        raise StopError(
            f"{topic.name}[{partition}]: too many replays with different --since, each leaving older records out, "
            "are on record; replay once with an earlier --since, or with none"
        )
    end = max((sweep.end for found in sweeps.values() for sweep in found), default=0)
    return TopicPartition(topic.name, partition, end, text.decode())


def sweeps_of(committed: TopicPartition, topic: Topic) -> Sweeps:
    """Return the sweeps that a committed offset holds. Raises StopError where it is not this topic's."""
    place = f"the committed offset of {topic.name}[{committed.partition}] in the replay's group"
    if not committed.metadata:
        return {ANY_REASON: (Sweep(committed.offset, EVER, ANY_ROUNDS),)}
    try:
        metadata = msgspec.json.decode(committed.metadata, type=_Metadata)
    except msgspec.MsgspecError as error:
        raise StopError(f"{place} was not written by this program: its metadata is unreadable") from error
    if metadata.v != _VERSION:
        raise StopError(f"{place} was written by another version of this program (format {metadata.v}); run that one")
    if metadata.topic != topic.topic_id:
        raise StopError(
            f"{place} belongs to another topic of that name (it was deleted and made anew); delete the offsets of "
            "that group with Kafka's own tools to begin anew"
        )
    return metadata.swept


class ReplayLedger:
    """The replay's consumer, its transactional producer, and the transaction it has open, if any."""

    def __init__(self, settings: Settings, cluster: Cluster, rejected: Topic) -> None:
        self._settings = settings
        self._cluster = cluster
        self._topic = rejected
        self._producer: Producer | None = None
        self._open = False
        self.group_id = f"{settings.group_id}-{REPLAY}"
        # The group is joined by nobody: it only holds offsets.
        self.consumer = kafka.reader(settings, **{"group.id": self.group_id})

    def swept(self) -> dict[int, Sweeps]:
        """Return what was replayed, by partition; those that no run has looked at are missing.

        Raises StopError while a transaction of another run is open, RetryError where no answer comes.
        """
        self._await_coordinator()
        # So an answer that does not come waits for a transaction to end. It is asked for once: asked again and
        # again, a run that is busy would be found between two of its transactions.
        stable = self._committed(_PENDING_S, **_ASK_ONCE)
        if stable is None:
            raise StopError(
                f"a transaction of an earlier `rejected replay` of {self._topic.name} is open: it is running, or it "
                f"was killed less than {2 * _TRANSACTION_TIMEOUT_S:.0f} s ago; wait until it ends"
            )
        return {entry.partition: sweeps_of(entry, self._topic) for entry in stable if entry.offset >= 0}

    def take_over(self) -> None:
        """Be the only one who can replay: end and fence every earlier run. Raises RetryError or StopError."""
        properties = replace(self._settings, instance_id=REPLAY)
        try:
            self._producer = kafka.transactional_producer(properties, self._batch_bytes())
            self._producer.init_transactions(_TRANSACTION_TIMEOUT_S)
        except KafkaException as error:
            raise _failure(error.args[0]) from error

    def commit(self, copies: Collection[Copy], swept: Mapping[int, Sweeps]) -> None:
        """Commit copies, and in the same transaction what has been replayed now, by partition.

        Raises RetryError, ProducerLostError or StopError; then `close` must be called. Whatever the outcome,
        the next run finds on the broker what was replayed.
        """
        producer = self._producer
        assert producer is not None, "take_over comes first"
        try:
            with kafka.fatal_errors():
                producer.begin_transaction()
                self._open = True
                # The offsets come first, so that the open transaction is seen by whoever asks for them.
                self._note(producer, swept)
                self._write(producer, copies, swept)
                self._end(producer)
        except KafkaException as error:
            raise _failure(error.args[0]) from error
        self._open = False

    def settle(self) -> None:
        """Wait until the last commit is in force for whoever asks next: the broker is done a moment later."""
        self._committed(REQUEST_TIMEOUT_S)

    def kept_ms(self) -> int:
        """Return how long the brokers keep the offsets of a group that nobody is in, in ms."""
        try:
            broker = str(min(self._cluster.admin.list_topics(timeout=REQUEST_TIMEOUT_S).brokers))
            asked = [ConfigResource(ResourceType.BROKER, broker)]
            (future,) = self._cluster.admin.describe_configs(asked, request_timeout=REQUEST_TIMEOUT_S).values()
            return int(future.result()["offsets.retention.minutes"].value) * 60_000
        except KafkaException as error:
            raise kafka.classify(error.args[0], "reading the brokers' offsets.retention.minutes") from error

    def first_since(self, partitions: Iterable[int], time_ms: int) -> dict[int, int]:
        """Return by partition the offset of the first record rejected at `time_ms` or later; missing: there is none."""
        asked = {TopicPartition(self._topic.name, p): OffsetSpec.for_timestamp(time_ms) for p in partitions}
        futures = self._cluster.admin.list_offsets(asked, request_timeout=REQUEST_TIMEOUT_S)
        found = {entry.partition: future.result().offset for entry, future in futures.items()}
        return {partition: offset for partition, offset in found.items() if offset >= 0}

    def close(self) -> None:
        """Abort what is open and let go of the consumer. An abort that fails is left to the broker."""
        self.consumer.close()
        if self._open and self._producer is not None:
            self._open = False
            with suppress(KafkaException), kafka.fatal_errors():
                self._producer.abort_transaction(_TRANSACTION_TIMEOUT_S)

    def _note(self, producer: Producer, swept: Mapping[int, Sweeps]) -> None:
        offsets = [offset_of(partition, sweeps, self._topic) for partition, sweeps in swept.items()]
        metadata = self.consumer.consumer_group_metadata()
        producer.send_offsets_to_transaction(offsets, metadata, _TRANSACTION_TIMEOUT_S)

    def _write(self, producer: Producer, copies: Iterable[Copy], swept: Mapping[int, Sweeps]) -> None:
        deliveries = Deliveries()
        refused: list[Record] = []

        def reported(rejected: Record, error: KafkaError | None, _message: Message) -> None:
            if error is not None and deliveries.failed(error):
                refused.append(rejected)

        with deliveries.producing():
            for copy in copies:
                producer.produce(
                    self._settings.events_topic,
                    copy.rejected.value,
                    copy.rejected.key,
                    copy.partition,
                    headers=list(copy.headers),
                    on_delivery=partial(reported, copy.rejected),
                )
        left = deliveries.await_reports(producer, _TRANSACTION_TIMEOUT_S)
        if refused:
            raise StopError(
                f"the topic {self._settings.events_topic} refuses the record of {self._topic.name}"
                f"[{refused[0].partition}] at offset {refused[0].offset} for its size; raise its max.message.bytes"
            )
        if deliveries.reason is not None:
            raise _failure(deliveries.reason)
        deliveries.require_open(lambda: self._note(producer, swept))
        if left:
            raise RetryError(f"{left} records were not taken within {_TRANSACTION_TIMEOUT_S:g} s")

    def _end(self, producer: Producer) -> None:
        producer.commit_transaction(_TRANSACTION_TIMEOUT_S)

    def _batch_bytes(self) -> int:
        """Return how large a produce batch may be so that the events topic takes it uncompressed."""
        limit = self._cluster.topic_settings(self._settings.events_topic).get("max.message.bytes", _BATCH_BYTES)
        return min(_BATCH_BYTES, int(limit) - _BATCH_OVERHEAD_BYTES)

    def _committed(self, timeout_s: float, **properties: Any) -> list[TopicPartition] | None:
        """Return the committed offsets, -1001 for none; None where they are not told (yet).

        The administrator's client could tell pending offsets at once, but ends the process with a segmentation
        fault where the group's coordinator is not there yet (librdkafka issue 5040).
        """
        asked = [TopicPartition(self._topic.name, partition) for partition in range(self._topic.partitions)]
        client = kafka.reader(self._settings, **{"group.id": self.group_id, **properties})
        try:
            return client.committed(asked, timeout_s)
        except KafkaException as error:
            if error.args[0].code() in _NOT_YET:
                return None
            raise _failure(error.args[0]) from error
        finally:
            client.close()

    def _await_coordinator(self) -> None:
        """Return once the group's offsets are told at all. Raises RetryError after REQUEST_TIMEOUT_S."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while self._committed(REQUEST_TIMEOUT_S, **{"isolation.level": "read_uncommitted"}) is None:
            if time.monotonic() >= deadline:
                raise RetryError(f"the offsets of the group {self.group_id} were not told in {REQUEST_TIMEOUT_S:g} s")
            time.sleep(_POLL_S)


def _failure(error: KafkaError) -> OrderFactsError:
    if error.code() in _FENCED:
        return StopError(
            "another `rejected replay` has begun, or this one stood still for too long: what was open was not "
            "written; run it again, it goes on behind what was replayed"
        )
    return kafka.classify(error, "replaying")
