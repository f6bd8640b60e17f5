"""`state prune`: which copies in Redis nobody uses any more, and their removal.

A mirror notes its topics: it belongs to the past if its group works with other ones now. A contact index is read every
few seconds by whoever uses it: one of our contacts topic belongs to the past if none touched it for long. All else may
be another deployment's, another Kafka cluster's or another version's, and stays unless it is named.
"""

import time
from collections.abc import Collection, Sequence
from enum import StrEnum

import msgspec

from processor.codec.avro import codec
from processor.contacts.shards import lineage_of
from processor.copies.listing import Copy, copies
from processor.errors import StopError
from processor.kafka.cluster import Cluster
from processor.kafka.committed import committed_entries
from processor.kafka.topics import describe_topics
from processor.settings import Settings
from processor.state import connection
from processor.state.line import ask
from processor.state.mirror import Mirror
from processor.state.watermark import Lineage, lineage_in

_UNLINK_AT_ONCE = 100


class Use(StrEnum):
    """Who uses a copy."""

    OURS = "this deployment's"
    OTHERS = "in use"
    PAST = "past"
    UNKNOWN = "unknown"


class Judged(msgspec.Struct, frozen=True):
    """A copy, who uses it, and why that is believed."""

    copy: Copy
    use: Use
    why: str


class Pruning:
    """Lists the copies in the Redis of these settings.

    Creating it raises UnreachableError if a service does not answer, StopError if the topics are not as they must be.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        cluster = Cluster(settings)
        self._cluster_id = cluster.wait()
        self._topics = topics = describe_topics(settings, cluster)
        self._groups: dict[str, tuple[str, str] | None] = {}
        lineage = Lineage.of(self._cluster_id, settings.group_id, topics.events, topics.facts, topics.rejected)
        self._servers = connection.connect(settings)
        connection.wait(self._servers, settings)
        self._mirror = Mirror(self._servers, lineage, codec()).name
        self._index = lineage_of(self._cluster_id, settings)

    def judged(self, idle_s: float) -> list[Judged]:
        """Return every copy, and who uses it; `idle_s` is how long the past ones were not touched at least."""
        return [self._judge(copy, idle_s) for copy in copies(self._servers)]

    def chosen(self, found: Sequence[Judged], named: Collection[str]) -> list[Judged]:
        """Return the copies of the past, or those whose lineage is named.

        Raises StopError if one of the named ones is not there or is this deployment's.
        """
        for name in named:
            uses = [judged.use for judged in found if judged.copy.lineage == name]
            if not uses:
                raise StopError(f"no copy in Redis has the lineage {name}")
            if Use.OURS in uses:
                raise StopError(f"the lineage {name} is this deployment's own: it would only be rebuilt")
        return [one for one in found if (one.copy.lineage in named if named else one.use is Use.PAST)]

    def remove(self, gone: Sequence[Judged]) -> None:
        """Remove copies; the memory is freed beside the server's work."""
        keys = [key for judged in gone for key in judged.copy.keys]
        for first in range(0, len(keys), _UNLINK_AT_ONCE):
            ask(self._servers, [("UNLINK", key) for key in keys[first : first + _UNLINK_AT_ONCE]])

    def _judge(self, copy: Copy, idle_s: float) -> Judged:
        if copy.lineage == (self._mirror if copy.kind == "mirror" else self._index):
            return Judged(copy, Use.OURS, "by these settings")
        if copy.idle_s is None:
            return Judged(copy, Use.UNKNOWN, "Redis does not say when it was last used")
        if copy.idle_s < idle_s:
            return Judged(copy, Use.OTHERS, f"used {copy.idle_s} s ago")
        return self._of_index(copy, idle_s) if copy.kind == "contact index" else self._of_mirror(copy)

    def _of_index(self, copy: Copy, idle_s: float) -> Judged:
        if copy.complete_at_ms is not None and time.time() - copy.complete_at_ms / 1000 < idle_s:
            return Judged(copy, Use.OTHERS, "kept up to date")
        if copy.topic_id != self._topics.contacts.topic_id:
            return Judged(copy, Use.UNKNOWN, "of another contacts topic")
        return Judged(copy, Use.PAST, f"of this contacts topic, and not used for {copy.idle_s} s")

    def _of_mirror(self, copy: Copy) -> Judged:
        names = ", ".join(sorted(copy.groups))
        if len(copy.groups) != 1 or len(copy.topics) != 1:
            return Judged(copy, Use.UNKNOWN, f"it does not say of which topics{names and f' of {names}'}")
        (group,), ((cluster_id, *topics),) = copy.groups, copy.topics
        if cluster_id != self._cluster_id:
            return Judged(copy, Use.UNKNOWN, f"of the group {group} on another Kafka cluster")
        present = self._topics_of(group)
        if present is None:
            return Judged(copy, Use.UNKNOWN, f"the group {group} has no committed offset on this topic")
        if present == tuple(topics):
            return Judged(copy, Use.OTHERS, f"the group {group} works with these topics, maybe in another version")
        return Judged(copy, Use.PAST, f"the group {group} works with other topics now")

    def _topics_of(self, group: str) -> tuple[str, str] | None:
        """Return the ids of the events and facts topics that a group committed offsets with; None if it has none."""
        if group not in self._groups:
            self._groups[group] = self._asked_of(group)
        return self._groups[group]

    def _asked_of(self, group: str) -> tuple[str, str] | None:
        if group == self._settings.group_id:
            return self._topics.events.topic_id, self._topics.facts.topic_id
        asked = msgspec.structs.replace(self._settings, group_id=group)
        try:
            entries = committed_entries(asked, range(self._topics.events.partitions))
        except StopError:  # no right to ask, or no name of a group
            return None
        found = (lineage_in(entry, self._cluster_id, group) for entry in entries)
        return next(((one.events_topic_id, one.facts_topic_id) for one in found if one is not None), None)
