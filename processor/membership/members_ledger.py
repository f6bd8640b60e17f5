"""The topic of segments' members: read whole, changed by one transaction, by one publisher at a time.

A publisher takes the topic's transactional id first (`take_over`), which ends and fences every earlier one, whatever
its settings. Then it reads up to the log end, behind all that earlier ones wrote. So a difference is never taken
against a state that another publisher still changes.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from processor.domain.records import UndecodableError, UnknownSchemaError
from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka.bounded import Call
from processor.kafka.clients import reader, transactional_producer
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.deliveries import Deliveries, patient
from processor.kafka.failures import FENCED, classify
from processor.kafka.ranges import Tell, read_telling
from processor.kafka.topics import batch_bytes, require_compact
from processor.kafka.transactions import Transactions
from processor.membership.membership import Change, Held, key_of
from processor.registry.framing import is_framed
from processor.registry.wire import Wire
from processor.registry.writers import AbsentSchemaError
from processor.settings import Settings

PATIENCE_S: Final = 120.0
"""How long one transaction may take. Readers wait so long for one that was killed, unless another starts."""
_QUEUE_KBYTES: Final = 64 << 10  # of records that wait to be sent
ValueOf = Callable[[str, str], bytes]
"""Returns a member's value, of a segment's name and a contact's id."""


class OvertakenError(StopError):
    """Another publisher has taken over: this one can write nothing any more."""


class MembersLedger:
    """The topic, a transactional producer, and its open transaction, if any."""

    def __init__(self, settings: Settings, cluster: Cluster, wire: Wire) -> None:
        self._settings = settings
        self._cluster = cluster
        self._wire = wire
        self._name = settings.segment_members_topic
        self._transactions = Transactions(self._producer, self._failure)
        self._was_there = False

    def topic(self) -> Topic:
        """Return the topic. Raises StopError if it is missing, or not compacted; RetryError if it was there before."""
        topic = self._cluster.topics([self._name]).get(self._name)
        if topic is None:
            problem = f"the topic {self._name} is missing; create it with: order-facts topics create"
            raise RetryError(problem) if self._was_there else StopError(problem)
        self._was_there = True
        require_compact(self._name, self._cluster.topic_settings(self._name), "it says who is in which segment")
        return topic

    def take_over(self) -> None:
        """End and fence every earlier publisher. Raises RetryError, ProducerLostError or StopError."""
        self._transactions.ready("taking over from earlier publishers")

    def held(self, topic: Topic, segments: Collection[str], tell: Tell) -> Held:
        """Return what the topic says of some segments. Raises RetryError if an open transaction holds readers back."""
        held, partitions = Held(segments, self._is_sound), range(topic.partitions)
        starts = self._cluster.starts(topic.name, partitions)
        ends = self._cluster.ends(topic.name, partitions, committed=False)
        with closing(reader(self._settings)) as consumer:
            for record in read_telling(consumer, topic.name, starts, ends, tell):
                held.note(record)
        return held

    def write(self, changes: Iterator[Change], value_of: ValueOf) -> None:
        """Write all changes in one transaction, and commit it.

        Raises OvertakenError, RetryError or StopError, and ProducerLostError if the outcome is unknown; then call
        `abort`. Whatever the outcome, the next publisher finds it in the topic.
        """
        deliveries, doing = Deliveries(), f"writing to {self._name}"

        def reported(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                deliveries.failed(error)

        with self._transactions.writing(doing):
            producer = self._transactions.producer
            produce = patient(producer, PATIENCE_S)
            with deliveries.producing():
                for change in changes:
                    value = None if change.contact_id is None else value_of(change.segment, change.contact_id)
                    produce(self._name, value, change.key, change.partition, on_delivery=reported)
                    if deliveries.is_given_up:
                        break

            def await_all() -> None:
                left = deliveries.await_reports(producer, PATIENCE_S)
                deliveries.require_open(lambda: producer.commit_transaction(PATIENCE_S))
                if left:
                    raise RetryError(f"Kafka did not take {left} records within {PATIENCE_S:g} s")

            self._transactions.call(Call(await_all, 2 * PATIENCE_S, doing))
        self._transactions.commit(doing)

    def abort(self) -> None:
        """Leave no transaction open, and the producer to what comes next: a new one, if this one is lost."""
        try:
            self._transactions.abort(f"aborting what was written to {self._name}")
        except ProducerLostError:
            self._transactions.forget()

    def forget(self) -> None:
        """Drop a producer that is lost; the next `take_over` creates one that settles what it left open."""
        self._transactions.forget()

    def close(self) -> None:
        """Abort an open transaction. If that fails, the next publisher ends it, or the broker's timeout."""
        with suppress(ProducerLostError):
            self._transactions.abort(f"aborting what was written to {self._name}")
        self._transactions.forget()

    def _is_sound(self, key: bytes, value: bytes) -> bool:
        """Return whether a value may stand. One of a schema that is not known here does: all would enter once more."""
        try:
            member = self._wire.decode_member(value)
        except (UnknownSchemaError, AbsentSchemaError):
            return True
        except UndecodableError:
            return self._wire.writers is None and is_framed(value)
        return key_of(member["segment"], member["contactId"]) == key

    def _producer(self) -> Producer:
        """Return a producer under the topic's own transactional id: publishers of any settings share it."""
        limit = int(self._cluster.topic_settings(self._name)["max.message.bytes"])
        tuned = {
            "partitioner": "murmur2_random",
            "queue.buffering.max.kbytes": _QUEUE_KBYTES,
            "transaction.timeout.ms": round(PATIENCE_S * 1000),
        }
        return transactional_producer(self._settings, batch_bytes(limit), publisher_id(self._name), **tuned)

    def _failure(self, error: KafkaError, doing: str) -> OrderFactsError:
        if error.code() in FENCED:
            return OvertakenError(
                f"another `segments publish` writes to {self._name}, or this one was paused for longer than "
                "transaction.timeout.ms: it wrote nothing; let one of them run, with all segments"
            )
        return classify(error, doing)


def publisher_id(topic: str) -> str:
    """Return the transactional id of a topic's publisher. It ends in a slash, so it is no replica's."""
    return f"{topic}/publish/"
