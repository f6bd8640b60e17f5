"""What a partition's outputs say of its past: how far events were processed, and by which lineage.

Only outputs that can be this lineage's are taken: others may write to the same rejected topic.
"""

from collections.abc import Callable, Collection, Mapping
from functools import reduce
from typing import Final, cast

import msgspec

from processor.codec import rejected
from processor.codec.lineage import lineage_of, partitions_of
from processor.domain.records import Record, UndecodableError, UnknownSchemaError
from processor.domain.rejections import Reason
from processor.errors import StopError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.state.watermark import Lineage, Watermark, greatest

_FIRST_STEP: Final = 16


class LastOutput(msgspec.Struct, frozen=True):
    """An output topic's last record in a partition: its offset, its event's offset and key, who wrote it.

    `lineage` is None if the record does not say: a version before the header wrote it.
    """

    offset: int
    source_offset: int
    key: bytes | None
    lineage: str | None = None
    partitions: int | None = None  # of the events topic then; None if it does not say
    is_unreadable: bool = False  # it stands in for an event that could not be read


class Outputs(msgspec.Struct, frozen=True):
    """A partition's last fact, whoever wrote it, and its last rejected record that can be this lineage's.

    `are_all` says that no later one can be missing: an open transaction holds none back, and retention took none.
    """

    fact: LastOutput | None = None
    rejected: LastOutput | None = None
    are_all: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is neither."""
        return self.fact is None and self.rejected is None

    def processed(self, *, facts: bool = True, rejected: bool = True) -> Watermark | None:
        """Return how far events were processed, by these outputs; None if they say nothing.

        `facts` and `rejected` say whether those count that do not say whose they are.
        """
        found: list[Watermark | None] = []
        if self.fact is not None and (facts or self.fact.lineage is not None):
            found.append(Watermark(self.fact.source_offset + 1, self.fact.offset + 1))
        if self.rejected is not None and (rejected or self.rejected.lineage is not None):
            found.append(Watermark(self.rejected.source_offset + 1, 0))
        return reduce(greatest, found, None)


def last_outputs(
    settings: Settings, wire: Wire, cluster: Cluster, lineage: Lineage, partitions: Collection[int]
) -> dict[int, Outputs]:
    """Return the last outputs of each partition. A partition's outputs are written in the order of their sources.

    Raises StopError for a fact that is not valid.
    """
    own = lineage.digest()

    def can_be_own(record: Record) -> bool:
        said = rejected.read(record)
        is_of_here = said.topic == settings.events_topic and said.partition == record.partition
        return is_of_here and said.offset is not None and said.lineage in {own, None}

    facts_held, rejected_held = (_held(cluster, t, partitions) for t in (settings.facts_topic, settings.rejected_topic))
    facts = _last_records(settings, settings.facts_topic, facts_held, lambda _: True)
    rejections = _last_records(settings, settings.rejected_topic, rejected_held, can_be_own)
    facts_ends, rejected_ends = (
        cluster.ends(topic, partitions, committed=False) for topic in (settings.facts_topic, settings.rejected_topic)
    )
    found = {}
    for p in partitions:
        fact = _of_fact(settings, wire, facts[p]) if p in facts else None
        rejection = _of_rejected(rejections[p]) if p in rejections else None
        are_kept = (fact or facts_held[p].start == 0) and (
            rejected_held[p].start == 0 or (rejection is not None and rejection.lineage == own)
        )
        are_readable = facts_ends[p] == facts_held[p].stop and rejected_ends[p] == rejected_held[p].stop
        found[p] = Outputs(fact, rejection, bool(are_kept) and are_readable)
    return found


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


def _held(cluster: Cluster, topic: str, partitions: Collection[int]) -> dict[int, range]:
    """Return the offsets that each partition holds, as far as committed records can be read."""
    begins, ends = cluster.starts(topic, partitions), cluster.ends(topic, partitions)
    return {partition: range(begins[partition], ends[partition]) for partition in partitions}


def _last_records(
    settings: Settings, topic: str, held: Mapping[int, range], counts: Callable[[Record], bool]
) -> dict[int, Record]:
    """Return the last record of each partition that counts, if any, reading backwards in growing steps."""
    begins = {partition: offsets.start for partition, offsets in held.items()}
    tops = {partition: offsets.stop for partition, offsets in held.items()}
    left = {partition for partition in held if begins[partition] < tops[partition]}
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


def _of_fact(settings: Settings, wire: Wire, record: Record) -> LastOutput:
    try:
        source = wire.decode_fact(record.value or b"").source_offset
    except UnknownSchemaError as error:
        raise StopError(
            f"{settings.facts_topic}[{record.partition}]: offset {record.offset} is a fact of a schema version that "
            "this program does not know; run the newer version of the program"
        ) from error
    except UndecodableError as error:
        raise StopError(
            f"{settings.facts_topic}[{record.partition}]: offset {record.offset} is not a valid fact ({error}): "
            "another program writes to the topic; take a new group_id with a new facts_topic and rejected_topic"
        ) from error
    return LastOutput(record.offset, source, record.key, lineage_of(record), partitions_of(record))


def _of_rejected(record: Record) -> LastOutput:
    said = rejected.read(record)
    is_unreadable = said.known_reason is Reason.UNREADABLE
    return LastOutput(
        record.offset, cast("int", said.offset), record.key, said.lineage, partitions_of(record), is_unreadable
    )
