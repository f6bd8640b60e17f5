"""Decides where each partition starts, from the committed watermark, the mirror and the topics' ends.

This places partitions that are owed a place (just assigned, or rewound). It reads the mirror first and the committed
offset second, so that in a healthy deployment the mirror is never the newer of the two.

    committed offset   mirror             then
    none               none               start at the earliest record, if the partition has no output
    W                  W                  continue; no fact is read
    W                  older or missing   catch up from the facts, then continue
    W                  newer              stop: offsets were moved back, restored or lost

Any other contradiction is a StopError whose line says what to do.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from confluent_kafka import TopicPartition

from processor.errors import RetryError, StopError
from processor.kafka.clients import transactional_id
from processor.kafka.committed import committed_entries
from processor.kafka.topics import describe_topics, repartitioned
from processor.logs import get_logger
from processor.replica.catchup import CatchUp
from processor.replica.fencing import Fence
from processor.replica.group import Group
from processor.replica.partitions import Partitions, Placed, Tenure
from processor.replica.startup import Found
from processor.settings import Settings
from processor.state.connection import Line
from processor.state.history import last_outputs
from processor.state.mirror import Mirror
from processor.state.watermark import Watermark, check_metadata_fits, contacts_of, watermark_of

_COMMITTED_WAIT_S: Final = (0.3, 3.0)  # first, and at most: a distant coordinator needs longer
_PACE_S: Final = 0.3
_CATCH_UP_WAIT_S: Final = 0.1
_LOOK_EVERY_S: Final = 1.0
_LOOK_WAIT_S: Final = 0.2
log = get_logger()


class Positions:
    """Places the partitions that are owed a place."""

    def __init__(self, settings: Settings, partitions: Partitions, group: Group, mirror: Mirror, found: Found) -> None:
        self._settings = settings
        self._partitions = partitions
        self._group = group
        self._mirror = mirror
        self._found = found
        self._topics = found.topics
        self._catchup = CatchUp(settings, partitions, mirror, Line(found.redis))
        self._fence = Fence(settings, found.cluster)
        self._claimed: set[int] = set()
        self._logged: dict[int, tuple[Tenure | None, Watermark]] = {}  # each partition's last logged place
        self._not_before = 0.0
        self._wait_s = _COMMITTED_WAIT_S[0]
        self._look_due_s = 0.0
        self._has_checked_all = False  # that all committed offsets are of a topic with as many partitions

    @property
    def events_wait_s(self) -> float:
        """How long to wait for events: short enough for catch-ups that read, long enough to leave a core idle."""
        if self._partitions.catching_up:
            return 0.01 if self._catchup.is_waiting else 0.0
        return 0.1 if self._partitions.placed else 0.02  # a poll that assigns partitions lasts its whole timeout

    def settle(self) -> None:
        """Place the owed partitions that can be placed now. Returns soon; call it before each batch."""
        owed = sorted(self._partitions.owed - self._partitions.catching_up)
        if owed and time.monotonic() >= self._not_before:
            self._place(owed)
        for partition, watermark in self._catchup.step(0.0 if self._partitions.placed else _CATCH_UP_WAIT_S).items():
            self._put(partition, Placed(watermark, watermark), "caught_up")
        self._catchup.tidy()
        self._claimed &= self._partitions.assigned
        new = self._partitions.placed.keys() - self._claimed
        if new:  # claim them before the first batch with them
            self._mirror.claim(new, transactional_id(self._settings.group_id, self._settings.instance_id))
            self._claimed |= new
        self._fence.forget(self._partitions.assigned)
        self._fence.look()

    def catch_up(self) -> None:
        """Continue only the catch-ups; a partition that has caught up stays owed until the next `settle`."""
        self._catchup.step(_CATCH_UP_WAIT_S)
        self._catchup.tidy()

    def require_partition_count(self, wait_s: float) -> None:
        """Stop if partitions were added. The group alone notices minutes later, when its client looks again.

        Raises RetryError if no broker answers within `wait_s`.
        """
        self._look_due_s = time.monotonic() + _LOOK_EVERY_S
        if self._group.partition_count(wait_s) != self._topics.events.partitions:
            self._check_topics()

    def look_at_partition_count(self) -> None:
        """Do that once a second; whether a broker is away is for the commit that follows to find out."""
        if time.monotonic() >= self._look_due_s:
            with suppress(RetryError):
                self.require_partition_count(_LOOK_WAIT_S)

    def drop(self, *, catch_ups: bool = True) -> None:
        """Forget all claims and, unless they had no part in a failure, all catch-ups: everything is placed again."""
        if catch_ups:
            self._catchup.close()
        self._claimed.clear()

    def _place(self, owed: list[int]) -> None:
        self._check_topics()
        marks = self._mirror.sound_marks(owed)
        self._fence.watch({partition: mark.claim for partition, mark in marks.items()})
        committed = self._group.committed(owed, self._wait_s)
        if committed is None:  # a predecessor's transaction is pending: wait, while other partitions continue
            if self._wait_s == _COMMITTED_WAIT_S[0]:
                log.info("partition.pending", partitions=owed)
            self._not_before = time.monotonic() + _PACE_S
            self._wait_s = min(self._wait_s * 2, _COMMITTED_WAIT_S[1])
            self._fence.offsets_unstable(owed)
            return
        self._wait_s = _COMMITTED_WAIT_S[0]
        self._fence.offsets_stable()
        if any(entry.offset < 0 for entry in committed):
            self._check_other_partitions()
        events = self._found.cluster.ranges(self._settings.events_topic, owed)
        facts = self._found.cluster.ranges(self._settings.facts_topic, owed)
        # Where the mirror does not have the committed offset, the outputs say how far events were processed.
        mirrored = {partition: mark.watermark.source for partition, mark in marks.items() if mark.watermark}
        unmirrored = [entry.partition for entry in committed if mirrored.get(entry.partition) != entry.offset]
        outputs = last_outputs(self._settings, self._found.cluster, unmirrored)
        processed = {partition: output.source_offset + 1 for partition, output in outputs.items()}
        if self._has_moved(committed, processed):
            return
        for entry in committed:
            partition, mark = entry.partition, marks[entry.partition].watermark
            if entry.offset < 0:
                self._place_fresh(partition, mark, processed.get(partition), events[partition].start)
            else:
                self._place_committed(entry, mark, events[partition], facts[partition])

    def _has_moved(self, committed: list[TopicPartition], processed: Mapping[int, int]) -> bool:
        """Return whether outputs go beyond a committed offset, as a later owner's do. Raises StopError if not its."""
        below = [entry for entry in committed if 0 <= entry.offset < processed.get(entry.partition, 0)]
        if not below:
            return False
        again = self._group.committed([entry.partition for entry in below], self._wait_s) or []
        for entry in again:
            if entry.offset < processed[entry.partition]:
                raise StopError(self._moved_back(entry.partition, entry.offset, processed[entry.partition]))
        return True

    def _moved_back(self, partition: int, committed: int, processed: int) -> str:
        return (
            f"{self._settings.events_topic}[{partition}]: the committed offset {committed} is below {processed}, up "
            f"to which events were processed: the group's offsets were moved back or restored; set it to {processed} "
            "again with `order-facts state recover`, or to reprocess take a new group_id with a new facts_topic and "
            "rejected_topic"
        )

    def _place_fresh(self, partition: int, mark: Watermark | None, processed: int | None, start: int) -> None:
        """Start at the earliest record, but only if there never was an output."""
        if mark is not None or processed is not None:
            restore = max(processed or 0, mark.source if mark else 0)
            raise StopError(
                f"the group {self._settings.group_id} has no committed offset for {self._settings.events_topic}"
                f"[{partition}], yet facts or rejected records were written up to source offset {restore - 1}: "
                f"the offsets are lost; the offset to restore is {restore}, which `order-facts state recover` sets; "
                "if the events topic was deleted and recreated, take a new group_id with a new facts_topic and "
                "rejected_topic instead"
            )
        self._put(partition, Placed(Watermark(start, 0), None), "none")

    def _place_committed(self, entry: TopicPartition, mark: Watermark | None, events: range, facts: range) -> None:
        partition = entry.partition
        watermark = watermark_of(entry, self._found.lineage)
        self._found.index.require(contacts_of(entry))
        self._check_offsets(partition, watermark, events, facts)
        if mark == watermark:
            self._put(partition, Placed(watermark, watermark), "equal")
        elif mark is not None and (mark.source > watermark.source or mark.facts > watermark.facts):
            raise StopError(self._moved_back(partition, watermark.source, mark.source))
        elif (mark.facts if mark else 0) < facts.start:
            raise StopError(
                f"{self._settings.facts_topic}[{partition}]: facts below offset {facts.start} were deleted, so that "
                "the orders' state cannot be rebuilt; take a new group_id with a new facts_topic and rejected_topic "
                "to write all facts again"
            )
        else:
            self._catchup.begin(partition, mark, watermark)

    def _put(self, partition: int, placed: Placed, mirror: str) -> None:
        self._group.place(partition, placed)
        place = (self._partitions.tenure(partition), placed.watermark)
        if self._logged.get(partition) == place:
            return  # a retry that finds everything as it was is not worth a line
        self._logged[partition] = place
        log.info(
            "partition.positioned",
            partition=partition,
            offset=placed.watermark.source,
            facts_offset=placed.watermark.facts,
            mirror=mirror,
        )

    def _check_offsets(self, partition: int, watermark: Watermark, events: range, facts: range) -> None:
        """Require that the topics hold the committed offsets."""
        place, source = f"{self._settings.events_topic}[{partition}]", watermark.source
        if source < events.start:
            raise StopError(
                f"{place}: up to {events.start - source} events were lost to retention, from offset {source}, which is "
                f"committed, to {events.start}, where the topic begins; to continue without them: "
                "order-facts state recover --accept-loss"
            )
        if source > events.stop:
            raise StopError(
                f"{place}: the committed offset {source} is beyond the topic's end {events.stop}: "
                "records were lost on the brokers, or the offsets are another cluster's"
            )
        if watermark.facts > facts.stop:
            raise StopError(
                f"{self._settings.facts_topic}[{partition}]: facts were committed up to offset {watermark.facts}, but "
                f"the topic ends at {facts.stop}: facts were lost on the brokers; take a new group_id with a new "
                "facts_topic and rejected_topic to write all facts again"
            )

    def _check_topics(self) -> None:
        """Compare partition counts and topic ids with those of the start.

        A recreated contacts topic is no reason to stop: an index that was built from it can be used.
        """
        now = describe_topics(self._settings, self._found.cluster)
        for role in ("events", "facts", "rejected"):
            was, found = getattr(self._topics, role), getattr(now, role)
            if was.topic_id != found.topic_id:
                raise StopError(f"the topic {was.name} was deleted and recreated while this ran: start again")
        events = self._topics.events
        if events.partitions != now.events.partitions:
            raise repartitioned(events.name, events.partitions, now.events.partitions)
        check_metadata_fits(self._found.lineage, now.contacts.partitions)
        self._found.index.adopt(now.contacts)
        self._topics = now

    def _check_other_partitions(self) -> None:
        """Check, once, what the group committed for all partitions: one without an offset may be a new one."""
        if self._has_checked_all:
            return
        for entry in committed_entries(self._settings, range(self._topics.events.partitions)):
            if entry.offset >= 0:
                watermark_of(entry, self._found.lineage)
        self._has_checked_all = True
