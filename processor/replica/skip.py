"""`state skip`: steps over events that the Kafka client cannot read, with a rejected record in place of each.

In one transaction it writes the stand-ins (reason `unreadable`, no key, no value) and commits the offset behind them,
so that facts and rejected records together stay as many as the events. The group must have no members.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Final

import msgspec
from confluent_kafka import Consumer

from processor.domain.batch import Output
from processor.domain.records import Record
from processor.domain.rejections import Reason, Rejection, shown
from processor.errors import OrderFactsError, ProducerLostError, StopError, UsageError
from processor.kafka.clients import reader, transactional_producer
from processor.kafka.transactions import Transactions
from processor.kafka.unreadable import first_unreadable
from processor.replica import startup
from processor.replica.ledger import Ledger
from processor.replica.recover import committed_offsets, require_quiet
from processor.settings import Settings
from processor.state.history import last_outputs
from processor.state.watermark import EventsLog, Notes, Watermark, contacts_of, log_of, watermark_of

_CHUNK: Final = 10_000  # stand-ins of one transaction
_NO_TIMESTAMP: Final = -1


class Skip(msgspec.Struct, frozen=True):
    """What is stepped over: a partition's offsets, and why they cannot be read."""

    partition: int
    offsets: range
    problem: str


class Skipper:
    """Steps over one place of one partition. Creating it checks the place and changes nothing.

    Creating it raises UsageError for a partition or an offset at which nothing is to be skipped, and StopError if
    replicas run, a transaction is open, or the group's offsets are not those of the topics.
    """

    def __init__(self, settings: Settings, partition: int, offset: int, to_offset: int | None) -> None:
        self._settings = settings
        self._found = found = startup.check(settings, settings.startup_timeout_s)
        require_quiet(settings, found)
        if partition not in range(found.topics.events.partitions):
            raise UsageError(f"--partition: {settings.events_topic} has {found.topics.events.partitions} partitions")
        self._before, self._notes = self._committed(partition)
        start = found.cluster.starts(settings.events_topic, [partition])[partition]
        place = f"{settings.events_topic}[{partition}]"
        if self._before.source < start:
            raise StopError(
                f"{place}: the events from the committed offset {self._before.source} to {start} were lost to "
                "retention; to continue without them: order-facts state recover --accept-loss"
            )
        with closing(reader(settings)) as consumer:
            self.skip = self._checked(consumer, place, partition, offset, to_offset)

    def run(self) -> Iterator[int]:
        """Write the stand-ins and commit the offset; yield the offset that is committed after each transaction."""
        settings, found, skip = self._settings, self._found, self.skip
        transactions = Transactions(lambda: transactional_producer(settings, found.batch_bytes))
        ledger, before = Ledger(settings, found.lineage, transactions), self._before
        with closing(reader(settings, **{"group.id": settings.group_id})) as member:
            for start in range(skip.offsets.start, skip.offsets.stop, _CHUNK):
                offsets = skip.offsets[start - skip.offsets.start :][:_CHUNK]
                transactions.ready("starting transactions")
                outputs = [stand_in(skip.partition, offset, skip.problem) for offset in offsets]
                at = {skip.partition: before}, {skip.partition: offsets.stop}
                try:
                    after = ledger.commit(outputs, *at, self._notes, member.consumer_group_metadata())
                except OrderFactsError as error:
                    if not isinstance(error, ProducerLostError):
                        transactions.abort("aborting the skip")
                    raise
                before = after[skip.partition]
                yield before.source
        transactions.forget()

    def _committed(self, partition: int) -> tuple[Watermark, Notes]:
        """Return the committed place and what is beside it; the topic's start if nothing was ever processed."""
        entry = committed_offsets(self._settings, self._found).get(partition)
        if entry is not None:
            watermark, log = watermark_of(entry, self._found.lineage), EventsLog(earlier=log_of(entry).earlier)
            return watermark, Notes(contacts_of(entry), {partition: log})
        found = self._found
        outputs = last_outputs(self._settings, found.wire, found.cluster, found.lineage, [partition])
        if not outputs[partition].is_empty:
            raise StopError("the group's offsets are lost, set them first: order-facts state recover")
        return Watermark(found.cluster.starts(self._settings.events_topic, [partition])[partition], 0), Notes()

    def _checked(self, consumer: Consumer, place: str, partition: int, offset: int, to_offset: int | None) -> Skip:
        found = first_unreadable(consumer, self._settings.events_topic, partition, self._before.source)
        if found is None:
            raise UsageError(
                f"{place}: the next event, at offset {self._before.source} or later, can be read, or there is none: "
                "there is nothing to skip; start the replicas"
            )
        first, stop = found.offsets.start, found.offsets.stop
        if offset != first:
            raise UsageError(f"--offset: {place} cannot be read from offset {first} on, put {first} there")
        last = stop - 1 if to_offset is None else to_offset
        if not first <= last < stop:
            raise UsageError(
                f"--to-offset: {place} cannot be read from offset {first} to {stop - 1}, put a number of these there; "
                f"what can be read is never skipped"
            )
        return Skip(partition, range(first, last + 1), found.problem)


def stand_in(partition: int, offset: int, problem: str) -> Output:
    """Return the rejected record in place of an event that cannot be read."""
    record = Record(partition, offset, _NO_TIMESTAMP, None, None)
    return Output(record, Rejection(Reason.UNREADABLE, shown(problem)))
