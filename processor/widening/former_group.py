"""What the old deployment's group says: for how many partitions events were processed, and how many are left."""

from collections.abc import Mapping

from confluent_kafka import TopicPartition

from processor.kafka.cluster import Cluster, Topic
from processor.kafka.committed import committed_entries
from processor.settings import Settings
from processor.state.watermark import partitions_noted
from processor.widening.patience import patiently


class FormerGroup:
    """The committed offsets of a deployment's group, as they are now."""

    def __init__(self, settings: Settings, cluster: Cluster, events: Topic) -> None:
        self._settings, self._cluster, self._events = settings, cluster, events

    def partitions_before(self) -> int | None:
        """Return how many partitions the topic had when events were last processed; None if nothing is noted."""
        noted = [partitions_noted(entry) for entry in self._entries() if entry.offset >= 0]
        return max((count for count in noted if count is not None), default=None)

    def left(self, ends: Mapping[int, int] | None = None) -> int | None:
        """Return how many offsets below these ends (or below the topic's) are not processed.

        None if the group has no committed offset at all.
        """
        entries = {entry.partition: entry.offset for entry in self._entries() if entry.offset >= 0}
        if not entries:
            return None
        partitions = range(self._events.partitions)
        ends = self._cluster.ends(self._events.name, partitions) if ends is None else ends
        starts = self._cluster.starts(self._events.name, partitions)
        return sum(max(0, end - max(entries.get(p, 0), starts[p])) for p, end in ends.items())

    def _entries(self) -> list[TopicPartition]:
        return patiently(self._settings, lambda: committed_entries(self._settings, range(self._events.partitions)))
