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
from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka.bounded import Call
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader, transactional_producer
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.deliveries import Deliveries, patient
from processor.kafka.failures import FENCED, classify, classify_consumer, failures
from processor.kafka.ranges import read_range
from processor.kafka.topics import batch_bytes
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S, Transactions
from processor.state.event_copies import Copied, Place, copied_of, copier_group, entries_of, new_partition, new_time_ms
from processor.widening.new_names import Widened, copier_id

_MARKER: Final = 1  # offsets: the end of each transaction takes one in each partition that it wrote to


class OvertakenError(StopError):
    """Another copier has taken over: this one can write nothing any more."""


class _Landed(msgspec.Struct):
    """Where one transaction's copies are in a partition: the first offset, the last, how many."""

    first: int
    last: int
    count: int = 1


class CopyLedger:
    """The committed offsets of a copy, a transactional producer, and its open transaction, if any.

    With `accept_late` copies may come behind what producers wrote.
    """

    def __init__(self, names: Widened, cluster: Cluster, former: Topic, new: Topic, *, accept_late: bool) -> None:
        self._names, self._cluster, self._former, self._new = names, cluster, former, new
        self._accept_late = accept_late
        self._transactions = Transactions(self._producer, _failure)
        self._group = {"group.id": copier_group(names.new)}
        self._offsets = reader(names.former, **self._group)  # only asks for offsets and names the group
        self._token = secrets.token_hex(8)
        self._has_claimed = False  # it has committed with its token
        self._ends: dict[int, int] = {}  # committed: behind the last copy
        self._seen: dict[int, int] = {}  # up to here the new topic holds copies and markers only

    def take_over(self) -> None:
        """End and fence every earlier copier. Raises RetryError, ProducerLostError or StopError.

        After a failure, raise OvertakenError if another one has taken over since: being fenced may look like any other
        failure (the broker may answer a commit with "unknown error"), and two that take over from each other in turn
        would never end.
        """
        if self._has_claimed:
            found = self.copied()
            if found is not None and found.token != self._token:
                raise _overtaken()
        self._transactions.ready("taking over from earlier copiers")

    def claim(self) -> Copied | None:
        """Return how far the copy is, and note that this one goes on with it; None if it never began."""
        found = self.copied()
        if found is not None:
            self.commit([], found.places, is_finished=found.is_finished)
        return found

    def copied(self) -> Copied | None:
        """Return how far the copy is, None if it never began. Waits while a transaction is open.

        Raises RetryError or StopError.
        """
        asked = [TopicPartition(topic.name, p) for topic in (self._former, self._new) for p in range(topic.partitions)]
        with failures("asking how far the copy is", classify_consumer):
            entries = self._offsets.committed(asked, timeout=REQUEST_TIMEOUT_S)
        found = copied_of(entries, self._former, self._new)
        self._ends = dict(found.ends) if found is not None else {}
        self._seen = dict(self._ends)
        return found

    def foreign(self) -> str | None:
        """Return the place of a record of the new topic that is no copy, None if there is none."""
        ends = self._cluster.ends(self._new.name, range(self._new.partitions))
        return self._foreign_in({partition: (self._seen.get(partition, 0), end) for partition, end in ends.items()})

    def commit(self, records: Sequence[Record], places: Mapping[int, Place], *, is_finished: bool = False) -> None:
        """Commit copies of records, and with them how far the copy is.

        Raises OvertakenError, RetryError or StopError, and ProducerLostError if the outcome is unknown; then call
        `abort`. Whatever the outcome, the next one finds it on the broker.
        """
        with self._transactions.writing("copying events"):
            landed = self._write(records, places) if records else {}
            ends = dict(self._ends)
            if not self._accept_late:
                self._require_alone(landed)
                ends |= {partition: found.last + 1 for partition, found in landed.items()}
            noted = Copied(places, ends, is_finished, self._names.former.group_id, self._token)
            self._transactions.call(Call(partial(self._note, noted), TRANSACTION_TIMEOUT_S, "noting what is copied"))
        self._transactions.commit("copying events")
        self._has_claimed = True
        self._ends = ends
        self._seen |= {partition: found.last + 1 + _MARKER for partition, found in landed.items()}

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
        refused: list[Record] = []

        def reported(record: Record, error: KafkaError | None, message: Message) -> None:
            if error is not None:
                if deliveries.failed(error):
                    refused.append(record)
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
            if refused:
                raise StopError(
                    f"the topic {self._new.name} does not take the copy of {self._former.name}[{refused[0].partition}] "
                    f"offset {refused[0].offset} for its size; raise its max.message.bytes, then start again"
                )
            deliveries.require_open(lambda: self._note(Copied(places, self._ends)))
            if left:
                raise RetryError(f"Kafka did not take {left} records within {TRANSACTION_TIMEOUT_S:g} s")

        self._transactions.call(Call(await_all, TRANSACTION_TIMEOUT_S, "writing copies"))
        return landed

    def _require_alone(self, landed: Mapping[int, _Landed]) -> None:
        """Require that nobody else wrote to the new topic: no record between the last transaction's copies and these.

        Raises StopError if somebody did. Records between these copies may yet be aborted: then the next try finds out.
        """
        gaps = {p: (self._seen.get(p, 0), found.first) for p, found in landed.items()}
        if (place := self._foreign_in(gaps)) is not None:
            raise StopError(
                f"{place} is no copy: producers write to {self._new.name} already, and what is still to be copied "
                "would come behind their events; to copy it all the same, start again "
                "with --accept-late"
            )
        for partition, found in landed.items():
            if found.last - found.first + 1 != found.count:
                raise RetryError(f"something else writes to {self._new.name}[{partition}] at the same time")

    def _foreign_in(self, gaps: Mapping[int, tuple[int, int]]) -> str | None:
        """Return the place of the first committed record in these ranges of the new topic."""
        ends = {partition: end for partition, (start, end) in gaps.items() if start < end}
        if not ends:
            return None
        kept = self._cluster.starts(self._new.name, ends)
        starts = {partition: max(gaps[partition][0], start) for partition, start in kept.items()}
        with closing(reader(self._names.former)) as consumer:
            for message in read_range(consumer, self._new.name, starts, ends, TRANSACTION_TIMEOUT_S):
                return f"{self._new.name}[{message.partition()}] offset {message.offset()}"
        return None

    def _note(self, copied: Copied) -> None:
        entries = entries_of(copied, self._former, self._new)
        metadata = self._offsets.consumer_group_metadata()
        self._transactions.producer.send_offsets_to_transaction(entries, metadata, TRANSACTION_TIMEOUT_S)

    def _producer(self) -> Producer:
        """Return a producer whose batches the new topic takes uncompressed."""
        limit = int(self._cluster.topic_settings(self._new.name)["max.message.bytes"])
        return transactional_producer(self._names.former, batch_bytes(limit), copier_id(self._names.new))


def _failure(error: KafkaError, doing: str) -> OrderFactsError:
    return _overtaken() if error.code() in FENCED else classify(error, doing)


def _overtaken() -> OvertakenError:
    return OvertakenError(
        "another `topics widen` with the same names has begun, or this one was paused for too long: its open "
        "transaction was not written; let one of them run, it continues after what was copied"
    )
