"""Reads the contacts topic: batches of changes, and the offsets after them.

A partition that the Kafka client cannot read on waits alone, and is tried again. Only an operator can have that place
stepped over: the contacts in it stay as they were until they are sent again.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, cast

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from processor.domain.claims import ContactChange, identifiers_of
from processor.domain.records import Headers, Identification, Record, UndecodableError
from processor.errors import AwaitedSchemaError, UnreadableError
from processor.kafka.cluster import Topic
from processor.kafka.failures import failure_of
from processor.kafka.holds import Holds
from processor.kafka.messages import take
from processor.kafka.sight import Sight
from processor.kafka.unreadable import first_unreadable
from processor.logs import get_logger
from processor.registry.wire import Wire

log = get_logger()
DecodeContact = Callable[[bytes, Headers], dict[str, Any]]
"""Gives a Contact from a record's value and headers. Raises UndecodableError."""
_MAX_BATCH_BYTES: Final = 16 << 20
MAX_CONTACT_ID_BYTES: Final = 65_535
_RETRY_S: Final = 30.0


class Batch(msgspec.Struct):
    """The result of one poll. `changes` has the newest change of each contact in each partition."""

    changes: dict[tuple[bytes, int], ContactChange]
    records: int = 0
    skipped: int = 0


class Source(msgspec.Struct, frozen=True):
    """How the contacts topic is read: its records by `consumer`, their values by `wire`.

    `skips` are places (partition, offset) to step over if they cannot be read; `prober` returns another consumer, to
    find their ends.
    """

    consumer: Consumer
    wire: Wire
    skips: frozenset[tuple[int, int]]
    prober: Callable[[], Consumer]


class ContactReader:
    """Reads all partitions from given offsets on; `offsets` has each partition's next offset.

    `rules` say which of a contact's fields identify it.
    """

    def __init__(self, source: Source, topic: Topic, offsets: Sequence[int], rules: Identification) -> None:
        self._consumer, self._wire = source.consumer, source.wire
        self._skips, self._prober = source.skips, source.prober
        self._topic = topic
        self._rules = rules
        self._unread: set[int] = set()  # partitions that wait, unassigned
        self._attempts: Counter[tuple[int, int]] = Counter()  # how often each place could not be read
        self._retry_s = 0.0  # when they are tried again
        self._holds = Holds(source.wire)  # partitions that wait, too, each for a schema
        self._sight = Sight(source.consumer, topic.name)
        self.offsets = list(offsets)
        self._assign()

    def poll(self, most: int, timeout_s: float) -> tuple[list[Record], list[Message]]:
        """Return up to `most` records that are there, and other messages; waits `timeout_s` at most, for the first."""
        is_due = bool(self._unread) and time.monotonic() >= self._retry_s
        if is_due:
            self._unread.clear()
        if self._holds.released() or is_due:
            self._assign()
        first = self._consumer.poll(timeout_s)  # `consume` alone would wait for a whole batch
        self._sight.polled(is_empty=first is None)
        return ([], []) if first is None else take(self._consumer.consume, first, most, _MAX_BATCH_BYTES)

    def read(self, records: Sequence[Record], others: Iterable[Message]) -> Batch:
        """Decode what `poll` returned, and move the offsets past it.

        Records and end-of-partition messages move them: compaction leaves gaps, and transactions leave markers that
        no record shows. A contact's newer change replaces its older one; a record that cannot be read is skipped (C1).
        A partition whose next record's schema is still asked for waits there. Raises what a consumer's error asks for.
        """
        batch, unread = Batch({}), self._note(others)
        first: dict[str, int | str] = {}
        awaited: dict[int, tuple[int, bytes]] = {}
        for record in records:
            partition, offset = record.partition, record.offset
            if partition in awaited or (partition in unread and offset >= unread[partition].offset):
                continue  # the client may have gone on behind what it could not read
            try:
                change = change_of(record, self._rules, self._wire.decode_contact)
            except UndecodableError as problem:
                batch.skipped += 1
                first = first or {"partition": partition, "offset": offset, "problem": str(problem)}
            except AwaitedSchemaError as error:
                awaited[partition] = offset, error.prefix
                continue
            else:
                batch.changes[change.contact_id, partition] = change
            batch.records += 1
            self.offsets[partition] = max(self.offsets[partition], offset + 1)
        if first:
            log.warning("contacts.skipped", records=batch.skipped, **first)
        self._hold(awaited, records)
        unread = {partition: error for partition, error in unread.items() if partition not in awaited}
        if unread:
            batch.skipped += sum(self._pass(error) for error in unread.values())
            self._assign()
        return batch

    def _hold(self, awaited: Mapping[int, tuple[int, bytes]], records: Iterable[Record]) -> None:
        """Have partitions wait at these offsets, even if they were read to their ends."""
        if not awaited:
            return
        for partition, (offset, _) in awaited.items():
            self.offsets[partition] = offset
        prefixes = (self._wire.prefix_of_contact(record) for record in records if record.partition in awaited)
        self._holds.add(awaited, (prefix for prefix in prefixes if prefix is not None))
        self._assign()

    def _note(self, others: Iterable[Message]) -> dict[int, UnreadableError]:
        """Note ends of partitions; return what cannot be read, by partition. Raises any other error."""
        unread: dict[int, UnreadableError] = {}
        for message in others:
            partition, offset = cast("int", message.partition()), cast("int", message.offset())
            match failure_of(message, f"reading {self._topic.name}"):
                case None:  # an end has the next offset
                    if partition not in unread:
                        self.offsets[partition] = max(self.offsets[partition], offset)
                case UnreadableError() as error:
                    unread.setdefault(partition, error)
                case failure:
                    raise failure
        return unread

    def _pass(self, error: UnreadableError) -> int:
        """Step over a place that cannot be read, if that is allowed, and return how many offsets; else let it wait."""
        topic, partition = self._topic.name, error.partition
        offset = max(error.offset, self.offsets[partition])
        if (partition, offset) in self._skips:
            with closing(self._prober()) as consumer:
                found = first_unreadable(consumer, topic, partition, offset)
            if found is not None:
                self.offsets[partition] = found.offsets.stop
                problem = f"offsets {offset} to {found.offsets.stop - 1}: {found.problem}"
                log.warning("contacts.skipped", records=1, partition=partition, offset=offset, problem=problem)
            return int(found is not None)
        how = f"the other partitions go on; to go on without it: order-facts contacts index --skip {partition}:{offset}"
        told = UnreadableError(topic, partition, offset, f"{error.problem}; {how}")
        self._unread.add(partition)
        self._retry_s = time.monotonic() + _RETRY_S
        self._attempts[partition, offset] += 1
        attempts = self._attempts[partition, offset]
        place = {"topic": topic, "partition": partition, "offset": offset}
        log.error("partition.unreadable", **place, error=str(told), attempts=attempts)
        return 0

    def _assign(self) -> None:
        """Assign all partitions but those that wait, each at its next offset."""
        places = [TopicPartition(self._topic.name, *entry) for entry in enumerate(self.offsets)]
        self._consumer.assign([place for place in places if not self._waits(place.partition)])

    def _waits(self, partition: int) -> bool:
        return partition in self._unread or partition in self._holds


def change_of(record: Record, rules: Identification, decode: DecodeContact) -> ContactChange:
    """Return what a record changes.

    Raises UndecodableError if the record must be skipped: what was known of the contact stays (C1).
    """
    key, value = record.key, record.value
    if key is None:
        raise UndecodableError("the record has no key")
    if len(key) > MAX_CONTACT_ID_BYTES:
        raise UndecodableError(f"the key has {len(key)} bytes, more than {MAX_CONTACT_ID_BYTES}")
    try:
        contact_id = key.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError("the key is not UTF-8") from error
    identifiers = None
    if value is not None:
        identifiers = identifiers_of(contact_id, decode(value, record.headers), rules)
    return ContactChange(key, record.partition, record.offset, record.timestamp_ms, identifiers)
