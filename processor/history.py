"""What a partition's outputs say of its past: the source offset up to which they account for events."""

from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message

from processor.adapters import kafka
from processor.adapters.avro import codec
from processor.adapters.kafka import Cluster
from processor.domain.records import UndecodableError
from processor.errors import StopError
from processor.settings import Settings

_FIRST_STEP: Final = 16


def next_source_offsets(settings: Settings, cluster: Cluster, partitions: Iterable[int]) -> dict[int, int | None]:
    """Return, by partition, one above the highest source offset in the last fact and the last rejected record.

    None where neither topic holds a committed record of the partition. One partition's outputs are written
    in the order of their sources, so that the last of each is the highest.
    """
    consumer = kafka.reader(settings)
    sources = ((settings.facts_topic, _fact_source), (settings.rejected_topic, _rejected_source))
    offsets: dict[int, int | None] = {}
    try:
        for partition in partitions:
            found = [_last(cluster, consumer, topic, partition, source) for topic, source in sources]
            offsets[partition] = max((offset + 1 for offset in found if offset is not None), default=None)
    except KafkaException as error:
        raise kafka.classify(error.args[0], "reading the last outputs") from error
    finally:
        consumer.close()
    return offsets


def next_source_offset(settings: Settings, cluster: Cluster, partition: int) -> int | None:
    """Return what `next_source_offsets` says of one partition."""
    return next_source_offsets(settings, cluster, [partition])[partition]


def _last(
    cluster: Cluster, consumer: Consumer, topic: str, partition: int, source: Callable[[Message], int | None]
) -> int | None:
    """Return the source offset of the partition's last record, reading backwards in growing steps."""
    begin = cluster.starts(topic, [partition])[partition]
    end = cluster.ends(topic, [partition])[partition]
    step = _FIRST_STEP
    while begin < end:
        start = max(begin, end - step)
        last = None
        for message in kafka.read_range(consumer, topic, {partition: start}, {partition: end}):
            last = source(message) if source(message) is not None else last
        if last is not None or start == begin:
            return last
        step *= 8
    return None


def _fact_source(message: Message) -> int | None:
    value = message.value()
    if value is None:
        return None
    try:
        return codec().decode_fact(value).source_offset
    except UndecodableError as error:
        place = f"{message.topic()}[{message.partition()}], offset {message.offset()}"
        raise StopError(f"{place} holds no fact: {error}") from error


def _rejected_source(message: Message) -> int | None:
    for name, value in kafka.record_of(message).headers:
        if name == "source.offset" and value is not None and value.isdigit():
            return int(value)
    return None
