"""`state recover`: sets the group's offsets to where the outputs and the mirror say that events were processed.

For a group whose offsets were lost, moved back, or written by another tool. It processes nothing and writes no output.
The group must have no members, and no transaction may be open.
"""

from collections.abc import Iterator

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from processor.codec.avro import codec
from processor.errors import StopError
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader
from processor.kafka.failures import classify, failures
from processor.replica import startup
from processor.replica.startup import Found
from processor.settings import Settings
from processor.state.history import is_same_events_topic, last_outputs
from processor.state.mirror import Mirror
from processor.state.watermark import Watermark, is_own_metadata, metadata_text, watermark_of


class Recovered(msgspec.Struct, frozen=True):
    """A partition's committed offset before and after; `before` is None if there was none that can be used."""

    partition: int
    before: Watermark | None
    after: Watermark | None
    lost_events: int = 0


def recover(settings: Settings, *, accept_loss: bool) -> Iterator[Recovered]:
    """Set what is missing or too low, partition by partition.

    With `accept_loss` an offset that the events topic no longer holds is moved up to its start. Raises StopError if
    replicas run, a transaction is open, a topic was recreated, or events would be lost without that flag.
    """
    found = startup.check(settings)
    require_quiet(settings, found)
    partitions = range(found.topics.events.partitions)
    marks = Mirror(found.redis, found.lineage, codec()).marks(partitions)
    starts = found.cluster.starts(settings.events_topic, partitions)
    facts_ends = found.cluster.ends(settings.facts_topic, partitions)
    outputs = last_outputs(settings, found.cluster, partitions)
    for partition, last in outputs.items():
        if not is_same_events_topic(settings, found.cluster, partition, last):
            raise StopError(
                f"{settings.events_topic}[{partition}] is not the topic that the outputs were made from (it was "
                "deleted and recreated); take a new group_id with a new facts_topic and rejected_topic"
            )
    committed = {p: watermark_of(entry, found.lineage) for p, entry in committed_offsets(settings, found).items()}
    for partition in partitions:
        before, mark, output = committed.get(partition), marks[partition].watermark, outputs.get(partition)
        processed = max(output.source_offset + 1 if output else -1, mark.source if mark else -1)  # -1: nothing is known
        after = before if before and before.source >= processed else Watermark(processed, facts_ends[partition])
        if after.source < 0:
            yield Recovered(partition, None, None)
            continue
        lost = max(0, starts[partition] - after.source)
        if lost and not accept_loss:
            raise StopError(
                f"{settings.events_topic}[{partition}]: up to {lost} events from offset {after.source} were lost to "
                "retention before they were processed; to continue without them: "
                "order-facts state recover --accept-loss"
            )
        after = Watermark(after.source + lost, after.facts)
        if after != before:
            _set(settings, found, partition, after)
        yield Recovered(partition, before, after, lost)


def require_quiet(settings: Settings, found: Found) -> None:
    """Raise StopError if replicas run, or a transaction on the outputs is open."""
    members = found.cluster.instances(settings.group_id)
    if members:
        raise StopError(f"replicas run in the group {settings.group_id}: {', '.join(sorted(members))}; stop them first")
    partitions = range(found.topics.events.partitions)
    for topic in (settings.facts_topic, settings.rejected_topic):
        if found.cluster.held_back(topic, partitions):
            raise StopError(f"a transaction on {topic} is still open; try again in half a minute")


def committed_offsets(settings: Settings, found: Found) -> dict[int, TopicPartition]:
    """Return each partition's committed offset, without those of another tool."""
    # A consumer that never joins asks for them: the admin client's own request for offsets can crash the process
    # while the group's coordinator starts (librdkafka issue 5040).
    asked = [TopicPartition(settings.events_topic, p) for p in range(found.topics.events.partitions)]
    with reader(settings, **{"group.id": settings.group_id}) as consumer, failures("fetching committed offsets"):
        entries = consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
    return {entry.partition: entry for entry in entries if entry.offset >= 0 and is_own_metadata(entry)}


def _set(settings: Settings, found: Found, partition: int, watermark: Watermark) -> None:
    entry = TopicPartition(settings.events_topic, partition, watermark.source, metadata_text(watermark, found.lineage))
    asked = ConsumerGroupTopicPartitions(settings.group_id, [entry])
    with found.cluster.asking("setting offsets"):
        (future,) = found.cluster.admin.alter_consumer_group_offsets([asked]).values()
        (changed,) = future.result(REQUEST_TIMEOUT_S).topic_partitions
    if changed.error is not None:
        raise classify(changed.error, f"setting the offset of partition {partition}")
