"""What a partition's outputs say of its past: how far events were processed, and from which events topic."""

from collections.abc import Collection
from typing import Final, cast

import msgspec

from processor.codec import rejected
from processor.codec.avro import codec
from processor.domain.records import Record, UndecodableError
from processor.domain.rejections import Reason
from processor.errors import StopError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.settings import Settings

_FIRST_STEP: Final = 16


class LastOutput(msgspec.Struct, frozen=True):
    """The event of a partition's last output: its offset and key."""

    source_offset: int
    key: bytes | None
    is_unreadable: bool = False  # it stands in for an event that could not be read


def last_outputs(settings: Settings, cluster: Cluster, partitions: Collection[int]) -> dict[int, LastOutput]:
    """Return the output with the highest source offset of each partition that has any: a last fact or rejected record.

    A partition's outputs are written in the order of their sources. Raises StopError for a fact that is not valid.
    """
    kinds = ((settings.facts_topic, _of_fact), (settings.rejected_topic, _of_rejected))
    outputs: dict[int, LastOutput] = {}
    for topic, kind in kinds:
        for partition, record in _last_records(settings, cluster, topic, partitions).items():
            output, known = kind(record), outputs.get(partition)
            if output is not None and (known is None or output.source_offset > known.source_offset):
                outputs[partition] = output
    return outputs


def is_same_events_topic(settings: Settings, cluster: Cluster, partition: int, last: LastOutput) -> bool:
    """Return whether the events topic is the one that an output was made from, as far as it can be seen.

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


def _last_records(settings: Settings, cluster: Cluster, topic: str, partitions: Collection[int]) -> dict[int, Record]:
    """Return the last record of each partition that has any, reading backwards in growing steps."""
    begins, ends = cluster.starts(topic, partitions), cluster.ends(topic, partitions)
    left = {partition for partition in partitions if begins[partition] < ends[partition]}
    records: dict[int, Record] = {}
    if not left:
        return records
    step = _FIRST_STEP
    with reader(settings) as consumer:  # one for each topic: a client takes a second to learn where another topic is
        while left:
            starts = {partition: max(begins[partition], ends[partition] - step) for partition in left}
            bounds = starts, {partition: ends[partition] for partition in left}
            found = {cast("int", message.partition()): message for message in read_range(consumer, topic, *bounds)}
            records |= {partition: record_of(message) for partition, message in found.items()}
            left = {partition for partition in left - found.keys() if starts[partition] > begins[partition]}
            step *= 8
    return records


def _of_fact(record: Record) -> LastOutput:
    try:
        return LastOutput(codec().decode_fact(record.value or b"").source_offset, record.key)
    except UndecodableError as error:
        raise StopError(
            f"the facts topic, partition {record.partition}, offset {record.offset} is not a valid fact: {error}"
        ) from error


def _of_rejected(record: Record) -> LastOutput | None:
    said = rejected.read(record)
    return None if said.offset is None else LastOutput(said.offset, record.key, said.known_reason is Reason.UNREADABLE)
