"""`state prune`: which copies in Redis nobody uses any more, and their removal.

A mirror belongs to the past if its group's present mirror is another: the group's topics were recreated, or another
version of the program has another form. A contact index is read every few seconds by whoever uses it, so it belongs
to the past if none has touched it for long. Everything else may be another deployment's, and stays unless it is named.
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
        self._cluster_id = Cluster(settings).wait()
        topics = describe_topics(settings, Cluster(settings))
        self._partitions = range(topics.events.partitions)
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
        return Judged(copy, Use.PAST, f"not used for {copy.idle_s} s")

    def _of_mirror(self, copy: Copy) -> Judged:
        if not copy.groups:
            return Judged(copy, Use.UNKNOWN, "no group claims it")
        found = {group: self._lineage_of(group) for group in sorted(copy.groups)}
        if copy.lineage in found.values():
            return Judged(copy, Use.OTHERS, f"the group {_names(found)} has committed offsets for it")
        if None in found.values():
            return Judged(copy, Use.UNKNOWN, f"the group {_names(found)} has no committed offset on this topic")
        return Judged(copy, Use.PAST, f"the group {_names(found)} has another one now")

    def _lineage_of(self, group: str) -> str | None:
        """Return the name of the mirror that a group's committed offsets belong to, None if there are none of ours."""
        if group == self._settings.group_id:
            return self._mirror
        asked = msgspec.structs.replace(self._settings, group_id=group)
        for entry in committed_entries(asked, self._partitions):
            lineage = lineage_in(entry, self._cluster_id, group)
            if lineage is not None:
                return Mirror(self._servers, lineage, codec()).name
        return None


def _names(groups: Collection[str]) -> str:
    return ", ".join(groups)
