"""Ends a dead predecessor's open transaction instead of waiting for its timeout.

A replica that is killed during a batch leaves a transaction open until it times out. Until then either its
partitions' offsets are unstable, so that the new owner cannot start, or readers of its facts are held back.

So a replica writes its transactional id beside the watermark before its first batch with a partition: the claim. If a
new owner finds the committed offset unstable, or outputs held back, for half a second, it ends the earlier claim's
transaction by taking its transactional id for a moment: never its own, and only if that replica is no longer in the
group.
"""

import time
from collections.abc import Collection, Mapping
from typing import Final

from processor.errors import RetryError
from processor.kafka.clients import transactional_id
from processor.kafka.cluster import Cluster
from processor.kafka.transactions import end_transaction
from processor.logs import get_logger
from processor.settings import Settings

SUSPICION_S: Final = 0.5
log = get_logger()


class Fence:
    """Watches partitions taken over from other replicas until their outputs can be read."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster
        self._own = transactional_id(settings.group_id, settings.instance_id)
        self._claims: dict[int, str] = {}
        self._unstable_since: float | None = None
        self._stuck: dict[tuple[str, int], int] = {}  # the committed end of each output partition held back
        self._looked_s = 0.0

    def watch(self, claims: Mapping[int, str | None]) -> None:
        """Note earlier owners' claims, by partition; own and unclaimed partitions need no watching."""
        others = {partition: claim for partition, claim in claims.items() if claim is not None and claim != self._own}
        self._claims = others | self._claims

    def forget(self, kept: Collection[int]) -> None:
        """Watch only these partitions from now on."""
        self._claims = {partition: claim for partition, claim in self._claims.items() if partition in kept}

    def offsets_unstable(self, partitions: Collection[int]) -> None:
        """Note that some partitions' committed offsets are unstable; end their earlier transactions if still so."""
        now = time.monotonic()
        if self._unstable_since is None:
            self._unstable_since = now
        elif now - self._unstable_since >= SUSPICION_S:
            self._unstable_since = None
            self._end(self._claims.keys() & set(partitions), "unstable offsets")

    def offsets_stable(self) -> None:
        """Note that the committed offsets are stable."""
        self._unstable_since = None

    def look(self) -> None:
        """Compare the outputs' committed ends with their log ends, twice, half a second apart."""
        now = time.monotonic()
        if not self._claims or now - self._looked_s < SUSPICION_S:
            return
        self._looked_s = now
        before, self._stuck = self._stuck, {}
        for topic in (self._settings.facts_topic, self._settings.rejected_topic):
            self._stuck |= {(topic, p): end for p, end in self._cluster.held_back(topic, self._claims).items()}
        stuck = {place[1] for place, end in self._stuck.items() if before.get(place) == end}
        self.forget({partition for _, partition in self._stuck})
        self._end(stuck & self._claims.keys(), "outputs held back")

    def _end(self, partitions: set[int], cause: str) -> None:
        """End the transactions of the partitions' earlier claims, except those of replicas in the group."""
        if not partitions:
            return
        present = self._cluster.instances(self._settings.group_id)
        if self._settings.instance_id not in present:
            raise RetryError("the group's members are not known yet")
        claims = {self._claims.pop(partition) for partition in partitions}
        alive = {transactional_id(self._settings.group_id, instance) for instance in present}
        for claim in sorted(claims - alive):
            end_transaction(self._settings, claim)
            log.warning("predecessor.fenced", transactional_id=claim, partitions=sorted(partitions), cause=cause)
