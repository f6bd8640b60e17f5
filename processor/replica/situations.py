"""Looks at what is known of partitions, for `placing` to decide on. Reads outputs and events, and writes nothing.

A mirror's mark that is ahead of the committed offset tells of the past only if it can be true. It is doubted, and
counts as missing, if it is beyond the end of a topic; or if no output can be missing, and it is beyond the last fact or
says that an event was processed that has no output.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, cast

from confluent_kafka import TopicPartition
from msgspec.structs import replace

from processor.errors import StopError, UnreadableError
from processor.kafka.clients import reader
from processor.kafka.log_cuts import log_cuts
from processor.kafka.ranges import read_range
from processor.replica.known import Situation, between
from processor.replica.placing import Placing
from processor.replica.startup import Found
from processor.settings import Settings
from processor.state.history import Outputs, last_outputs
from processor.state.mirror import Mark
from processor.state.watermark import Lineage, Watermark, is_below, watermark_of

_FIRST_STEP: Final = 100


def look(
    settings: Settings,
    found: Found,
    committed: Sequence[TopicPartition],
    marks: Mapping[int, Mark],
    *,
    all_outputs: bool = False,
) -> dict[int, Situation]:
    """Return what is known of each partition with an entry in `committed`.

    Where the mirror does not have the committed offset, the outputs say how far events were processed. Without a
    committed offset, or with `all_outputs`, this looks at the outputs of all partitions.
    """
    cluster, numbers = found.cluster, [entry.partition for entry in committed]
    watermarks = {entry.partition: _watermark(entry, found.lineage) for entry in committed}
    asked: Collection[int] = range(found.topics.facts.partitions)
    if not all_outputs and all(entry.offset >= 0 for entry in committed):
        asked = [partition for partition in numbers if watermarks[partition] != marks[partition].watermark]
    outputs = last_outputs(settings, found.wire, cluster, found.lineage, asked)
    placing = Placing(settings, found.lineage)
    strange, then = placing.strange(outputs), placing.partitions_then(outputs)
    events, facts = cluster.ranges(settings.events_topic, numbers), cluster.ranges(settings.facts_topic, numbers)
    cuts = log_cuts(settings, cluster, committed)
    seen = {
        p: Situation(
            entry, marks[p].watermark, outputs.get(p, Outputs()), events[p], facts[p], strange, then, cuts.get(p)
        )
        for p, entry in zip(numbers, committed, strict=True)
    }
    doubts = {p: doubt for p, known in seen.items() if (doubt := _beyond(known, watermarks[p]))}
    gaps = {p: _gap(known, watermarks[p]) for p, known in seen.items() if known.outputs.are_all and p not in doubts}
    for p, offset in _first_events(settings, found, gaps).items():
        if _is_ahead(seen[p], watermarks[p]):
            doubts[p] = f"{_said(seen[p].mark)} is beyond the event at offset {offset}, which has no output"
        else:
            seen[p] = seen[p].leaving_out(offset)
    return seen | {p: replace(seen[p], mark=None, doubt=doubt) for p, doubt in doubts.items()}


def _is_ahead(seen: Situation, committed: Watermark | None) -> bool:
    return seen.mark is not None and is_below(committed, seen.mark)


def _beyond(seen: Situation, committed: Watermark | None) -> str | None:
    """Return why a mark that is ahead of the committed offset cannot be true, by the topics' ends; None if it can."""
    mark = seen.mark
    if mark is None or not _is_ahead(seen, committed):
        return None
    if mark.source > seen.events.stop or mark.facts > seen.facts.stop:
        return f"{_said(mark)} is beyond the ends of the topics, {seen.events.stop} and {seen.facts.stop}"
    known = seen.outputs.processed()
    if seen.outputs.are_all and mark.facts > (known.facts if known else 0):
        return f"{_said(mark)} is beyond the last fact"
    return None


def _said(mark: Watermark | None) -> str:
    return f"its watermark {mark.source} {mark.facts}" if mark else "its watermark"


def _gap(seen: Situation, committed: Watermark | None) -> range:
    """Return the offsets of events that must have an output and have none: up to the mark, or the committed offset."""
    if seen.mark is None or not _is_ahead(seen, committed):
        return between(seen)
    known = seen.outputs.processed()
    return range(max(known.source if known else 0, seen.events.start), seen.mark.source)


def _first_events(settings: Settings, found: Found, gaps: Mapping[int, range]) -> dict[int, int]:
    """Return the first event in each of these ranges of offsets that has one; markers of transactions are none."""
    gaps = {partition: gap for partition, gap in gaps.items() if gap}
    if not gaps:
        return {}
    ends = found.cluster.ends(settings.events_topic, gaps)
    left = {partition: range(gap.start, min(gap.stop, ends[partition])) for partition, gap in gaps.items()}
    first: dict[int, int] = {}
    step = _FIRST_STEP
    with reader(settings) as consumer:
        while left:
            starts = {partition: gap.start for partition, gap in left.items()}
            stops = {partition: gap[:step].stop for partition, gap in left.items()}
            try:
                for message in read_range(consumer, settings.events_topic, starts, stops):
                    first.setdefault(cast("int", message.partition()), cast("int", message.offset()))
            except UnreadableError as error:  # an event, whatever it is
                first[error.partition] = error.offset
            else:
                left = {partition: gap[step:] for partition, gap in left.items()}
                step *= 8
            left = {partition: gap for partition, gap in left.items() if gap and partition not in first}
    return first


def _watermark(entry: TopicPartition, lineage: Lineage) -> Watermark | None:
    """Return the watermark of a committed offset; None if there is none of this lineage."""
    try:
        return None if entry.offset < 0 else watermark_of(entry, lineage)
    except StopError:
        return None
