"""What a partition's outputs say of its past: how far events were processed, and by which lineage.

Only outputs that can be this lineage's are taken: others may write to the same rejected topic.
"""

from collections.abc import Callable, Collection
from typing import Final, cast

import msgspec

from processor.codec import rejected
from processor.codec.avro import codec
from processor.codec.lineage import lineage_of
from processor.domain.records import Record, UndecodableError
from processor.domain.rejections import Reason
from processor.errors import StopError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.settings import Settings
from processor.state.watermark import Lineage

_FIRST_STEP: Final = 16


class LastOutput(msgspec.Struct, frozen=True):
    """An output topic's last record in a partition: its offset, its event's offset and key, who wrote it.

    `lineage` is None if the record does not say: a version before the header wrote it.
    """

    offset: int
    source_offset: int
    key: bytes | None
    lineage: str | None = None
    is_unreadable: bool = False  # it stands in for an event that could not be read


class Outputs(msgspec.Struct, frozen=True):
    """A partition's last fact, whoever wrote it, and its last rejected record that can be this lineage's."""

    fact: LastOutput | None = None
    rejected: LastOutput | None = None


def last_outputs(
    settings: Settings, cluster: Cluster, lineage: Lineage, partitions: Collection[int]
) -> dict[int, Outputs]:
    """Return the last outputs of each partition. A partition's outputs are written in the order of their sources.

    Raises StopError for a fact that is not valid.
    """
    own = lineage.digest()

    def can_be_own(record: Record) -> bool:
        said = rejected.read(record)
        is_of_here = said.topic == settings.events_topic and said.partition == record.partition
        return is_of_here and said.offset is not None and said.lineage in {own, None}

    facts = _last_records(settings, cluster, settings.facts_topic, partitions, lambda _: True)
    rejections = _last_records(settings, cluster, settings.rejected_topic, partitions, can_be_own)
    return {
        partition: Outputs(
            _of_fact(settings, facts[partition]) if partition in facts else None,
            _of_rejected(rejections[partition]) if partition in rejections else None,
        )
        for partition in partitions
    }


def is_same_events_topic(settings: Settings, cluster: Cluster, partition: int, last: LastOutput) -> bool:
    """Return whether the events topic is the one that an unmarked output was made from, as far as it can be seen.

    A recreated topic has no event at the output's source offset, or one with another key. If retention removed the
    event, return True: a topic that retention has reached is an old one.
    """
    topic = settings.events_topic
    if last.is_unreadable or last.source_offset < cluster.starts(topic, [partition])[partition]:
        return True
    if last.source_offset >= cluster.ends(topic, [partition])[partition]:
        return False
    bounds = ({partition: last.source_offset}, {partition: last.source_offset + 1})
    with reader(settings) as consumer:
        keys = [message.key() for message in read_range(consumer, topic, *bounds)]
    return keys == [last.key]


def _last_records(
    settings: Settings, cluster: Cluster, topic: str, partitions: Collection[int], counts: Callable[[Record], bool]
) -> dict[int, Record]:
    """Return the last record of each partition that counts, if any, reading backwards in growing steps."""
    begins, tops = cluster.starts(topic, partitions), cluster.ends(topic, partitions)
    left = {partition for partition in partitions if begins[partition] < tops[partition]}
    records: dict[int, Record] = {}
    if not left:
        return records
    step = _FIRST_STEP
    with reader(settings) as consumer:  # one for each topic: a client takes a second to learn where another topic is
        while left:
            starts = {partition: max(begins[partition], tops[partition] - step) for partition in left}
            for message in read_range(consumer, topic, starts, {partition: tops[partition] for partition in left}):
                record = record_of(message)
                if counts(record):
                    records[record.partition] = record
            tops |= starts
            left = {partition for partition in left - records.keys() if tops[partition] > begins[partition]}
            step *= 8
    return records


def _of_fact(settings: Settings, record: Record) -> LastOutput:
    try:
        source = codec().decode_fact(record.value or b"").source_offset
    except UndecodableError as error:
        raise StopError(
            f"{settings.facts_topic}[{record.partition}]: offset {record.offset} is not a valid fact ({error}): "
            "another program writes to the topic; take a new group_id with a new facts_topic and rejected_topic"
        ) from error
    return LastOutput(record.offset, source, record.key, lineage_of(record))


def _of_rejected(record: Record) -> LastOutput:
    said = rejected.read(record)
    is_unreadable = said.known_reason is Reason.UNREADABLE
    return LastOutput(record.offset, cast("int", said.offset), record.key, said.lineage, is_unreadable)
