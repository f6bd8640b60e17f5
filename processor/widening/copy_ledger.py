"""The copier's transactions: copies become visible together with the note of how far the copy is.

Whoever takes over fences every earlier copier, so that one at a time writes. Each transaction also looks whether its
copies stand where the last one's ended: if another producer wrote to the new topic, a copy would come behind an event
that is later than it, and an order's events would be out of order. Nothing is retried here.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Final

import msgspec
from confluent_kafka import KafkaError, Message, Producer, TopicPartition

from processor.domain.records import Record
from processor.errors import ProducerLostError, RetryError, StopError
from processor.kafka.bounded import Call
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader, transactional_producer
from processor.kafka.cluster import Cluster
from processor.kafka.deliveries import Deliveries, patient
from processor.kafka.failures import classify_consumer, failures
from processor.kafka.ranges import read_range
from processor.kafka.topics import batch_bytes
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S, Transactions
from processor.state.event_copies import Copied, Place, copied_of, copier_group, entries_of, new_partition, new_time_ms
from processor.widening.copy_options import Job
from processor.widening.new_names import copier_id

_MARKER: Final = 1  # offsets: the end of each transaction takes one in each partition that it wrote to


class OvertakenError(StopError):
    """Another copier has taken over: this one can write nothing any more."""


class _Landed(msgspec.Struct):
    """Where one transaction's copies are in a partition: the first offset, the last, how many."""

    first: int
    last: int
    count: int = 1


class CopyLedger:
    """The committed offsets of a copy, a transactional producer, and its open transaction, if any."""

    def __init__(self, job: Job, cluster: Cluster) -> None:
        self._job, self._cluster = job, cluster
        self._names, self._former, self._new = job.names, job.former, job.new
        self._transactions = Transactions(self._producer)
        self._group = {"group.id": copier_group(job.names.new)}
        self._offsets = reader(job.names.former, **self._group)  # only asks for offsets and names the group
        self._token = secrets.token_hex(8)
        self._has_claimed = False  # before that, an earlier copier may have left a transaction open
        self._tokens = {self._token}  # what is committed if no other copier has taken over
        self._copied = Copied()  # what is committed

    def take_over(self) -> None:
        """End and fence every earlier copier. Raises RetryError, ProducerLostError or StopError.

        After a failure, raise OvertakenError if another one has taken over since: two that take over from each other in
        turn would never end. Only what is committed tells: being fenced may look like any other failure (the broker may
        answer a commit with "unknown error"), and a broker also fences a producer whose transaction took too long.
        """
        if self._has_claimed and (found := self.copied()) is not None and found.token not in self._tokens:
            raise OvertakenError(
                "another `topics widen` with the same names has begun: the open transaction of this one was not "
                "written; let one of them run, it continues after what was copied"
            )
        self._transactions.ready("taking over from earlier copiers")

    def claim(self) -> Copied | None:
        """Return how far the copy is, and note that this one goes on with it; None if it never began."""
        found = self.copied()
        if found is not None:
            self._tokens.add(found.token)
            self.commit([], found.places)
        self._has_claimed = True
        return found

    def copied(self) -> Copied | None:
        """Return how far the copy is, None if it never began. Waits while a transaction is open.

        Raises RetryError or StopError.
        """
        asked = [TopicPartition(topic.name, p) for topic in (self._former, self._new) for p in range(topic.partitions)]
        with failures("asking how far the copy is", classify_consumer):
            entries = self._offsets.committed(asked, timeout=REQUEST_TIMEOUT_S)
        found = copied_of(entries, self._former, self._new)
        self._copied = found or Copied()
        return found

    def foreign(self) -> str | None:
        """Return the place of a record of the new topic that is no copy, None if there is none."""
        ends = self._cluster.ends(self._new.name, range(self._new.partitions))
        return self._foreign_in(ends)

    def commit(self, records: Sequence[Record], places: Mapping[int, Place], *, is_finished: bool = False) -> None:
        """Commit copies of records, and with them how far the copy is. What was finished stays so.

        Raises OvertakenError, RetryError or StopError, and ProducerLostError if the outcome is unknown; then call
        `abort`. Whatever the outcome, the next one finds it on the broker.
        """
        with self._transactions.writing("copying events"):
            landed = self._write(records, places) if records else {}
            ends = dict(self._copied.ends)
            if not self._job.accept_late:
                self._require_alone(landed)
                ends |= {partition: found.last + 1 for partition, found in landed.items()}
            noted = self._noted(places, ends, is_finished=is_finished)
            self._transactions.call(Call(partial(self._note, noted), TRANSACTION_TIMEOUT_S, "noting what is copied"))
        self._transactions.commit("copying events")
        self._tokens = {self._token}
        self._copied = noted

    def abort(self) -> None:
        """Leave no transaction open, and the producer to what comes next: a new one, if this one is lost."""
        try:
            self._transactions.abort("aborting a copy")
        except ProducerLostError:
            self._transactions.forget()

    def forget(self) -> None:
        """Drop a producer that is lost; the next `take_over` creates one that settles what it left open."""
        self._transactions.forget()

    def close(self) -> None:
        """Abort an open transaction. If that fails, the next copier ends it, or the broker's timeout."""
        self._offsets.close()
        with suppress(ProducerLostError):
            self._transactions.abort("aborting a copy")
        self._transactions.forget()

    def _write(self, records: Sequence[Record], places: Mapping[int, Place]) -> dict[int, _Landed]:
        """Write copies; return where they are once the brokers have all of them."""
        deliveries, producer = Deliveries(), self._transactions.producer
        landed: dict[int, _Landed] = {}
        too_large: list[Record] = []
        wrong_time: list[Record] = []

        def reported(record: Record, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                if deliveries.failed(error):
                    too_large.append(record)
                elif error.code() == KafkaError.INVALID_TIMESTAMP:
                    wrong_time.append(record)
                return
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            found = landed.get(partition)
            if found is None:
                landed[partition] = _Landed(offset, offset)
            else:
                found.first, found.last = min(found.first, offset), max(found.last, offset)
                found.count += 1

        produce = patient(producer, TRANSACTION_TIMEOUT_S)
        with deliveries.producing():
            for record in records:
                produce(
                    self._new.name,
                    record.value,
                    record.key,
                    new_partition(record.key, record.partition, self._new.partitions),
                    headers=list(record.headers),
                    timestamp=new_time_ms(record.timestamp_ms),
                    on_delivery=partial(reported, record),
                )

        def await_all() -> None:
            left = deliveries.await_reports(producer, TRANSACTION_TIMEOUT_S)
            self._require_taken(too_large, wrong_time)
            deliveries.require_open(lambda: self._note(self._noted(places, self._copied.ends)))
            if left:
                raise RetryError(f"Kafka did not take {left} records within {TRANSACTION_TIMEOUT_S:g} s")

        self._transactions.call(Call(await_all, TRANSACTION_TIMEOUT_S, "writing copies"))
        return landed

    def _require_taken(self, too_large: Sequence[Record], wrong_time: Sequence[Record]) -> None:
        """Raise StopError for the first copy that the brokers refused for what it is."""
        for record in too_large:
            raise StopError(
                f"the topic {self._new.name} does not take the copy of {self._former.name}[{record.partition}] "
                f"offset {record.offset} for its size; raise its max.message.bytes, then start again"
            )
        for record in wrong_time:
            raise StopError(
                f"the topic {self._new.name} does not take the copy of {self._former.name}[{record.partition}] "
                f"offset {record.offset} for its time; raise its message.timestamp.before.max.ms and "
                "message.timestamp.after.max.ms (before Kafka 3.6 message.timestamp.difference.max.ms), then start "
                "again"
            )

    def _require_alone(self, landed: Mapping[int, _Landed]) -> None:
        """Require that nobody else wrote to the new topic: no record between the last transaction's copies and these.

        Raises StopError if somebody did. Records between these copies may yet be aborted: then the next try finds out.
        """
        if (place := self._foreign_in({p: found.first for p, found in landed.items()})) is not None:
            raise StopError(
                f"{place} is no copy: producers write to {self._new.name} already, and what is still to be copied "
                "would come behind their events; to copy it all the same, start again "
                "with --accept-late"
            )
        for partition, found in landed.items():
            if found.last - found.first + 1 != found.count:
                raise RetryError(f"something else writes to {self._new.name}[{partition}] at the same time")

    def _foreign_in(self, ends: Mapping[int, int]) -> str | None:
        """Return the place of the first committed record of the new topic from the last copies up to these ends.

        A copy's marker takes the next offset, unless another producer wrote just before it.
        """
        copied = self._copied.ends
        ends = {p: end for p, end in ends.items() if end > (copied[p] + _MARKER if p in copied else 0)}
        if not ends:
            return None
        starts = {p: max(copied.get(p, 0), start) for p, start in self._cluster.starts(self._new.name, ends).items()}
        with closing(reader(self._names.former)) as consumer:
            for message in read_range(consumer, self._new.name, starts, ends, TRANSACTION_TIMEOUT_S):
                return f"{self._new.name}[{message.partition()}] offset {message.offset()}"
        return None

    def _noted(self, places: Mapping[int, Place], ends: Mapping[int, int], *, is_finished: bool = False) -> Copied:
        is_finished |= self._copied.is_finished
        before = partitions_before(self._job, self._copied)
        return Copied(places, ends, is_finished, self._names.former.group_id, self._token, before)

    def _note(self, copied: Copied) -> None:
        entries = entries_of(copied, self._former, self._new)
        metadata = self._offsets.consumer_group_metadata()
        self._transactions.producer.send_offsets_to_transaction(entries, metadata, TRANSACTION_TIMEOUT_S)

    def _producer(self) -> Producer:
        """Return a producer whose batches the new topic takes uncompressed."""
        limit = int(self._cluster.topic_settings(self._new.name)["max.message.bytes"])
        return transactional_producer(self._names.former, batch_bytes(limit), copier_id(self._names.new))


def partitions_before(job: Job, copied: Copied) -> int:
    """Return the least number of partitions that the old topic is known to have had."""
    known = (copied.partitions_before, job.partitions_before, job.former.partitions)
    return min(count for count in known if count is not None)
