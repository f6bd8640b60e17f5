"""Asks for a group's committed offsets from outside the group."""

from collections.abc import Iterable

from confluent_kafka import TopicPartition

from processor.kafka.clients import REQUEST_TIMEOUT_S, reader
from processor.kafka.failures import classify_consumer, failures
from processor.settings import Settings


def committed_entries(
    settings: Settings, partitions: Iterable[int], *, must_be_stable: bool = False
) -> list[TopicPartition]:
    """Return what the group last committed for partitions of the events topic; an offset below 0 means nothing.

    Waits for open transactions that would move an offset only if that must be: some replica's is always open. A
    consumer that never joins asks: the admin client's own request can crash the process while the group's coordinator
    starts (librdkafka issue 5040).
    """
    asked = [TopicPartition(settings.events_topic, partition) for partition in partitions]
    level = "read_committed" if must_be_stable else "read_uncommitted"  # it reads no record
    own = {"group.id": settings.group_id, "isolation.level": level}
    with reader(settings, **own) as consumer, failures("fetching committed offsets", classify_consumer):
        return consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
