"""What the old deployment says: for how many partitions events were processed, and how many are left."""

from contextlib import closing

from confluent_kafka import TopicPartition

from processor.kafka.cluster import Cluster, Topic
from processor.kafka.committed import committed_entries
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.state.history import last_outputs
from processor.state.watermark import Lineage, partitions_noted
from processor.widening.patience import patiently


class FormerGroup:
    """A deployment's group and outputs, as they are now. `cluster_id` is that of its cluster."""

    def __init__(self, settings: Settings, cluster: Cluster, cluster_id: str, events: Topic) -> None:
        self._settings, self._cluster, self._cluster_id, self._events = settings, cluster, cluster_id, events

    def partitions_before(self) -> int | None:
        """Return how many partitions the topic had when events were last processed; None if nothing says so.

        Raises UnreachableError, or StopError for a fact that is not valid.
        """
        noted = [partitions_noted(entry) for entry in self._entries() if entry.offset >= 0]
        if found := [count for count in noted if count is not None]:
            return max(found)
        return patiently(self._settings, self._partitions_of_outputs)

    def left(self) -> int | None:
        """Return how many offsets are not processed; None if the group has no committed offset at all."""
        entries = {entry.partition: entry.offset for entry in self._entries() if entry.offset >= 0}
        if not entries:
            return None
        partitions = range(self._events.partitions)
        ends = patiently(self._settings, lambda: self._cluster.ends(self._events.name, partitions))
        starts = patiently(self._settings, lambda: self._cluster.starts(self._events.name, partitions))
        return sum(max(0, end - max(entries.get(p, 0), starts[p])) for p, end in ends.items())

    def _entries(self) -> list[TopicPartition]:
        return patiently(self._settings, lambda: committed_entries(self._settings, range(self._events.partitions)))

    def _partitions_of_outputs(self) -> int | None:
        """Return what the last outputs say: the offsets may be lost."""
        settings = self._settings
        topics = self._cluster.required([settings.facts_topic, settings.rejected_topic])
        facts, rejected = topics[settings.facts_topic], topics[settings.rejected_topic]
        lineage = Lineage.of(self._cluster_id, settings.group_id, self._events, facts, rejected)
        partitions = range(min(facts.partitions, rejected.partitions, self._events.partitions))
        with closing(Wire(settings, settings.startup_timeout_s)) as wire:
            outputs = last_outputs(settings, wire, self._cluster, lineage, partitions)
        lasts = [last for found in outputs.values() for last in (found.fact, found.rejected) if last is not None]
        counts = [last.partitions for last in lasts if last.lineage == lineage.digest()]
        return max((count for count in counts if count is not None), default=None)
