"""What a partition's outputs say of its past: up to where they account for events, and of which events topic."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from confluent_kafka import Consumer, Message

from processor.adapters import kafka
from processor.adapters.avro import codec
from processor.adapters.cluster import Cluster
from processor.adapters.messages import record_of
from processor.domain.records import Record, UndecodableError
from processor.errors import StopError
from processor.settings import Settings

_FIRST_STEP: Final = 16


class LastOutput(msgspec.Struct, frozen=True):
    """The event that the last output of a partition accounts for: its offset and key."""

    source_offset: int
    key: bytes | None


def last_outputs(settings: Settings, cluster: Cluster, partitions: Iterable[int]) -> dict[int, LastOutput]:
    """Return the output with the highest source offset of each partition that has any.

    One partition's outputs are written in the order of their sources, so that it is the last fact or the last
    rejected record. Committed records only. Raises StopError for a fact that is none.
    """
    consumer = kafka.reader(settings)
    kinds = ((settings.facts_topic, _of_fact), (settings.rejected_topic, _of_rejected))
    outputs: dict[int, LastOutput] = {}
    try:
        with kafka.failures("reading the last outputs"):
            for partition in partitions:
                found = [_last(cluster, consumer, topic, partition, kind) for topic, kind in kinds]
                known = [output for output in found if output is not None]
                if known:
                    outputs[partition] = max(known, key=lambda output: output.source_offset)
    finally:
        consumer.close()
    return outputs


def is_same_events_topic(settings: Settings, cluster: Cluster, partition: int, last: LastOutput) -> bool:
    """Tell whether the events topic is the one that an output was made from, as far as it still shows.

    A topic made anew has no event at the output's source offset, or one with another key. Where retention
    removed the event this cannot be told, and a topic that retention has reached is an old one.
    """
    topic = settings.events_topic
    with kafka.failures(f"reading {topic}"):
        start, end = cluster.starts(topic, [partition])[partition], cluster.ends(topic, [partition])[partition]
    if last.source_offset < start:
        return True
    if last.source_offset >= end:
        return False
    consumer = kafka.reader(settings)
    try:
        bounds = ({partition: last.source_offset}, {partition: last.source_offset + 1})
        with kafka.failures(f"reading {topic}"):
            keys = [message.key() for message in kafka.read_range(consumer, topic, *bounds)]
    finally:
        consumer.close()
    return keys == [last.key]


def _last(
    cluster: Cluster, consumer: Consumer, topic: str, partition: int, kind: Callable[[Record], LastOutput | None]
) -> LastOutput | None:
    """Return what the partition's last record accounts for, reading backwards in growing steps."""
    begin = cluster.starts(topic, [partition])[partition]
    end = cluster.ends(topic, [partition])[partition]
    step = _FIRST_STEP
    while begin < end:
        start = max(begin, end - step)
        last: Message | None = None
        for message in kafka.read_range(consumer, topic, {partition: start}, {partition: end}):
            last = message
        if last is not None:
            return kind(record_of(last))
        if start == begin:
            return None
        step *= 8
    return None


def _of_fact(record: Record) -> LastOutput:
    try:
        return LastOutput(codec().decode_fact(record.value or b"").source_offset, record.key)
    except UndecodableError as error:
        raise StopError(f"the facts topic, partition {record.partition}, offset {record.offset}: {error}") from error


def _of_rejected(record: Record) -> LastOutput | None:
    offset = dict(record.headers).get("source.offset") or b""
    return LastOutput(int(offset), record.key) if offset.isdigit() else None
