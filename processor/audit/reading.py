"""Reads for an audit from Kafka: the group's committed offsets, and committed records."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from processor.domain.records import Record
from processor.errors import UnreadableError
from processor.kafka.clients import reader
from processor.kafka.failures import classify_consumer, failures
from processor.kafka.messages import hides_headers, record_of
from processor.kafka.ranges import read_range
from processor.kafka.unreadable import first_unreadable
from processor.settings import Settings
from processor.state.watermark import Lineage, Watermark, watermark_of

_COMMITTED_WAIT_S: Final = 30.0  # an offset is unstable while a transaction is open, even a dead member's
_QUEUE_KBYTES: Final = 16 << 10
_ADVANCE_EVERY: Final = 1_000

Advance = Callable[[int], None]


class Reading:
    """Reads one deployment's topics and offsets; joins no group and writes nothing.

    `advance` is called after every 1,000 records or so, with their number.
    """

    def __init__(self, settings: Settings, lineage: Lineage) -> None:
        self._settings = settings
        self.facts_topic = settings.facts_topic
        self._lineage = lineage
        self._consumers: dict[str, Consumer] = {}
        self._offsets = reader(settings, **{"group.id": settings.group_id})  # asks for offsets only
        self.advance: Advance = lambda _: None
        self.hidden_headers: Counter[str] = Counter()  # by topic: records whose headers the client does not show

    def close(self) -> None:
        """Close all connections."""
        for consumer in (self._offsets, *self._consumers.values()):
            consumer.close()

    def committed(self, partition: int) -> Watermark | None:
        """Return a partition's committed watermark, None if there is none.

        Waits while a transaction that would move it is open. Raises StopError if it belongs to other topics.
        """
        asked = [TopicPartition(self._settings.events_topic, partition)]
        with failures("asking for the committed offsets", classify_consumer):
            (entry,) = self._offsets.committed(asked, timeout=_COMMITTED_WAIT_S)
        return None if entry.offset < 0 else watermark_of(entry, self._lineage)

    def records(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Yield a partition's committed records from `start` up to (not with) `end`; one range a topic at a time."""
        if topic not in self._consumers:
            self._consumers[topic] = reader(self._settings, **{"queued.max.messages.kbytes": _QUEUE_KBYTES})
        count = 0
        for count, record in enumerate(self._read(topic, partition, start, end), start=1):
            yield record
            if count % _ADVANCE_EVERY == 0:
                self.advance(_ADVANCE_EVERY)
        self.advance(count % _ADVANCE_EVERY)

    def _read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """Yield records; in place of each event that the client cannot read, one without key and value."""
        while True:
            try:
                for message in read_range(self._consumers[topic], topic, {partition: start}, {partition: end}):
                    record = record_of(message)
                    if not record.headers and hides_headers(message):
                        self.hidden_headers[topic] += 1
                    yield record
                    start = record.offset + 1
            except UnreadableError as error:
                if topic != self._settings.events_topic:
                    raise
                with closing(reader(self._settings)) as consumer:
                    gap = first_unreadable(consumer, topic, partition, max(start, error.offset))
                for offset in gap.offsets if gap is not None else ():
                    if offset < end:
                        yield Record(partition, offset, -1, None, None)
                    start = offset + 1
            else:
                return
