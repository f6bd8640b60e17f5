"""Places the partitions that are owed a place (just assigned, or rewound), as `placing` decides.

This reads the mirror first and the committed offset second, so that in a healthy deployment the mirror is never the
newer of the two. Before a StopError it asks for the offset again: another member may have moved it meanwhile, or the
brokers may not have known yet (`replica.second_look`).
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, assert_never

from confluent_kafka import TopicPartition

from processor.errors import RetryError, StopError
from processor.kafka.clients import transactional_id
from processor.kafka.committed import committed_entries
from processor.kafka.topics import describe_topics, repartitioned
from processor.logs import get_logger
from processor.replica.catchup import CatchUp
from processor.replica.fencing import Fence
from processor.replica.group import Group
from processor.replica.known import Situation
from processor.replica.partitions import Partitions, Placed, Tenure
from processor.replica.placing import Behind, Decision, Placing, Start, Stop
from processor.replica.second_look import SecondLook
from processor.replica.situations import look
from processor.replica.startup import Found
from processor.settings import Settings
from processor.state.line import Line
from processor.state.mirror import Mark, Mirror
from processor.state.watermark import Watermark, check_metadata_fits, contacts_of, log_of, watermark_of

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
        self._placing = Placing(settings, found.lineage)
        self._catchup = CatchUp(settings, partitions, mirror, Line(found.redis), found.wire.plain_fact)
        self._fence = Fence(settings, found.cluster)
        self._own_claim = transactional_id(settings.group_id, settings.instance_id)
        self._claimed: set[int] = set()
        self._logged: dict[int, tuple[Tenure | None, Watermark]] = {}  # each partition's last logged place
        self._second_look = SecondLook()
        self._is_suspicious = False  # then the last facts are read before the next start, whatever the mirrors hold
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
        caught_up = self._catchup.step(0.0 if self._partitions.placed else _CATCH_UP_WAIT_S)
        self._put({partition: Placed(mark, mark) for partition, mark in caught_up.items()}, "caught_up")
        self._catchup.tidy()
        self._claimed &= self._partitions.assigned
        new = self._partitions.placed.keys() - self._claimed
        if new:  # claim them before the first batch with them
            self._mirror.claim(new, self._own_claim)
            self._claimed |= new
        self._fence.forget(self._partitions.assigned)
        self._fence.look()

    def catch_up(self) -> None:
        """Continue only the catch-ups; a partition that has caught up stays owed until the next `settle`."""
        self._catchup.step(_CATCH_UP_WAIT_S)
        self._catchup.tidy()

    def look_at_partition_count(self) -> None:
        """Stop if partitions were added; asks once a second, since the group alone would notice minutes later.

        If no broker answers soon, somebody else finds that out: the commit that follows, or a ping.
        """
        if time.monotonic() < self._look_due_s:
            return
        self._look_due_s = time.monotonic() + _LOOK_EVERY_S
        events = self._topics.events
        with suppress(RetryError):
            if self._found.cluster.partition_count(events.name, _LOOK_WAIT_S) != events.partitions:
                self._check_topics()

    def drop(self, *, catch_ups: bool = True, is_suspicious: bool = False) -> None:
        """Forget all claims and, unless they had no part in a failure, all catch-ups: everything is placed again.

        `is_suspicious`: another writer's facts may be between ours.
        """
        self._is_suspicious |= is_suspicious
        self._second_look.failed()
        if catch_ups:
            self._catchup.close()
        self._claimed.clear()

    def _place(self, owed: list[int]) -> None:
        self._check_topics()
        marks = self._mirror.sound_marks(owed)
        self._fence.watch({partition: mark.claim for partition, mark in marks.items()})
        # Its own first: a predecessor's open transaction holds back the answer for all that are asked at once.
        own = [partition for partition in owed if marks[partition].claim == self._own_claim]
        for asked in (own, [partition for partition in owed if partition not in own]):
            if asked:
                self._place_asked(asked, marks)
        self._second_look.settled()

    def _place_asked(self, owed: list[int], marks: dict[int, Mark]) -> None:
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
        self._partitions.found({entry.partition: entry.offset for entry in committed if entry.offset >= 0})
        if any(entry.offset < 0 for entry in committed):
            self._check_other_partitions()
        was_suspicious = self._is_suspicious
        situations = self._situations(committed, marks)
        decisions = {partition: self._placing.decide(seen) for partition, seen in situations.items()}
        stops = {partition: found.line for partition, found in decisions.items() if isinstance(found, Stop)}
        if stops:
            again = self._group.committed(sorted(stops), self._wait_s) or []
            if {entry.partition: entry.offset for entry in again} == {p: situations[p].committed.offset for p in stops}:
                line = stops[min(stops)]
                if self._second_look.is_final(line):
                    raise StopError(line)
                self._is_suspicious |= was_suspicious  # or the second look would not see what the first one saw
                raise RetryError(line)
            return
        places = {}
        for partition, decision in decisions.items():
            if placed := self._carry_out(situations[partition].committed, decision):
                places[partition] = placed
        self._put(places, "equal")

    def _situations(self, committed: list[TopicPartition], marks: dict[int, Mark]) -> dict[int, Situation]:
        """Return what is known of each partition, and remove a mirror whose mark cannot be true."""
        found = look(self._settings, self._found, committed, marks, all_outputs=self._is_suspicious)
        self._is_suspicious = False
        for partition, seen in found.items():
            if seen.doubt is not None:
                self._mirror.remove_damaged(partition, seen.doubt)
        return found

    def _carry_out(self, entry: TopicPartition, decision: Decision) -> Placed | None:
        """Return where a partition is read from; None if it is to be caught up first."""
        if entry.offset >= 0 and not isinstance(decision, Stop):
            self._found.index.require(contacts_of(entry))
            self._partitions.note(entry.partition, log_of(entry))
        match decision:
            case Start(watermark, mark):
                return Placed(watermark, mark)
            case Behind(watermark, mark):
                self._catchup.begin(entry.partition, mark, watermark)
                return None
            case Stop(line):
                raise StopError(line)
            case _:
                assert_never(decision)

    def _put(self, places: Mapping[int, Placed], mirror: str) -> None:
        """Place partitions; log those that are not where they were: a retry that finds all as it was is no news."""
        if not places:
            return
        self._group.place(places)
        for partition, placed in places.items():
            place = (self._partitions.tenure(partition), placed.watermark)
            if self._logged.get(partition) != place:
                self._logged[partition] = place
                log.info(
                    "partition.positioned",
                    partition=partition,
                    offset=placed.watermark.source,
                    facts_offset=placed.watermark.facts,
                    mirror="none" if placed.mark is None else mirror,
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
        check_metadata_fits(now.contacts.partitions)
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
