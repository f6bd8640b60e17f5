"""Looks at what is known of partitions, for `placing` to decide on. Reads outputs and events, and writes nothing."""

from collections.abc import Collection, Mapping, Sequence
from typing import cast

from confluent_kafka import TopicPartition

from processor.kafka.clients import reader
from processor.kafka.log_cuts import log_cuts
from processor.kafka.ranges import read_range
from processor.replica.placing import Placing, Situation, between
from processor.replica.startup import Found
from processor.settings import Settings
from processor.state.history import Outputs, last_outputs
from processor.state.watermark import Watermark


def look(
    settings: Settings,
    found: Found,
    committed: Sequence[TopicPartition],
    marks: Mapping[int, Watermark | None],
    asked: Collection[int],
) -> dict[int, Situation]:
    """Return what is known of each partition with an entry in `committed`; read the outputs of those in `asked`."""
    cluster, numbers = found.cluster, [entry.partition for entry in committed]
    outputs = last_outputs(settings, cluster, found.lineage, asked)
    strange = Placing(settings, found.lineage).strange(outputs)
    events, facts = cluster.ranges(settings.events_topic, numbers), cluster.ranges(settings.facts_topic, numbers)
    cuts = log_cuts(settings, cluster, committed)
    seen = {
        entry.partition: Situation(
            entry,
            marks[entry.partition],
            outputs.get(entry.partition, Outputs()),
            events[entry.partition],
            facts[entry.partition],
            strange,
            cuts.get(entry.partition),
        )
        for entry in committed
    }
    left_out = _first_events(settings, found, {partition: between(known) for partition, known in seen.items()})
    return seen | {partition: seen[partition].leaving_out(offset) for partition, offset in left_out.items()}


def _first_events(settings: Settings, found: Found, gaps: Mapping[int, range]) -> dict[int, int]:
    """Return the first event in each of these ranges of offsets that has one; markers of transactions are none."""
    topic, gaps = settings.events_topic, {partition: gap for partition, gap in gaps.items() if gap}
    if not gaps:
        return {}
    # Of a partition whose rejected records begin to expire, nobody can tell whether an event was rejected.
    begins = found.cluster.starts(settings.rejected_topic, gaps)
    ends = found.cluster.ends(topic, gaps)
    starts = {partition: gap.start for partition, gap in gaps.items() if not begins[partition]}
    bounds = {partition: min(gaps[partition].stop, ends[partition]) for partition in starts}
    first: dict[int, int] = {}
    with reader(settings) as consumer:
        for message in read_range(consumer, topic, starts, bounds):
            first.setdefault(cast("int", message.partition()), cast("int", message.offset()))
    return first
