"""How far this replica is behind, by the ends that the brokers give; and the placed partitions that give nothing.

What the client has fetched says nothing about a partition that it does not fetch. So a thread asks the brokers for the
committed ends of the assigned partitions, every two seconds, beside the loop. Lag is counted from these. If they are
older than six seconds, the lag is unknown: a number from before an outage would look like news.

A placed partition that has records and gives none is **stalled**: it is placed again, which loses and doubles nothing.
This never touches a record. One whose end stays below what was committed is placed again, too, which finds out why: the
topic was recreated, or lost its end. A client that missed that would read nothing, and nothing would seem to wait.
"""

import math
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Final

import msgspec

from processor.domain.records import Record
from processor.errors import OrderFactsError
from processor.kafka.cluster import Cluster
from processor.logs import get_logger
from processor.replica import metrics
from processor.replica.freshness import Answer, Freshness, Lost, Place
from processor.replica.group import Group
from processor.replica.partitions import Partitions

ASK_EVERY_S: Final = 2.0
FRESH_S: Final = 6.0
LOOK_EVERY_S: Final = 1.0
PATIENCE: Final = 5  # looks before which the client's queue ran empty: else the records may wait in it behind others
MOST_PATIENCE: Final = 60  # looks of any kind: in a backlog too, every partition's turn comes within these
MOST_DOUBLINGS: Final = 6  # a fetch that needs longer than the patience must end some time
log = get_logger()


class Ends:
    """The committed ends of the events topic's partitions: asked on a thread of its own, which may be abandoned."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._wanted: frozenset[int] = frozenset()
        self._found: tuple[float, dict[int, int]] = (float("-inf"), {})  # when they were asked for, and the answer
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ends", daemon=True)
        self._thread.start()

    def want(self, partitions: Collection[int]) -> None:
        """Ask for these partitions from now on."""
        self._wanted = frozenset(partitions)

    def found(self) -> Mapping[int, int]:
        """Return the last answer; nothing if it is too old."""
        assert self._thread.is_alive() or self._closed.is_set(), "the thread that asks for ends has ended"
        asked_s, ends = self._found
        return ends if time.monotonic() - asked_s <= FRESH_S else {}

    def answer(self) -> Answer:
        """Return the last answer, however old."""
        asked_s, ends = self._found
        age_s = time.monotonic() - asked_s
        return Answer((time.time() - age_s) * 1000, ends, is_fresh=age_s <= FRESH_S)

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()

    def _work(self) -> None:
        while not self._closed.wait(ASK_EVERY_S):
            if wanted := self._wanted:
                asked_s = time.monotonic()
                with suppress(OrderFactsError):  # the last answer grows old, which says it; the loop meets the cause
                    self._found = asked_s, self._cluster.ends(self._topic, wanted)


class Waiting(msgspec.Struct):
    """A partition with records that it has not given."""

    reach: int  # the next offset that it has not given
    looks: int = 0
    idle_looks: int = 0  # those before which the client's queue ran empty
    placed_again: int = 0


class Stalls:
    """Finds placed partitions that have records and give none."""

    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}

    @property
    def stalled(self) -> set[int]:
        """Those that were placed again, and have not given anything since."""
        return {number for number, waiting in self._waiting.items() if waiting.placed_again}

    def look(self, behind: Mapping[int, int], owed: Collection[int], *, is_idle: bool) -> set[int]:
        """Return the partitions to place again.

        `behind` has the next offset of each placed partition with records that it has not given. `is_idle`: the
        client's queue ran empty since the last look. The patience with a partition doubles each time.
        """
        before, self._waiting = self._waiting, {}
        for number, waiting in before.items():
            if number in owed:
                self._waiting[number] = Waiting(waiting.reach, placed_again=waiting.placed_again)
        due = set()
        for number, reach in behind.items():
            waiting = before.get(number) or Waiting(reach)
            if reach > waiting.reach:
                waiting = Waiting(reach)
            elif reach < waiting.reach:  # it was rewound
                waiting = Waiting(reach, placed_again=waiting.placed_again)
            waiting.looks += 1
            waiting.idle_looks += is_idle
            self._waiting[number] = waiting
            doubled = 2 ** min(waiting.placed_again, MOST_DOUBLINGS)
            if waiting.idle_looks >= PATIENCE * doubled or waiting.looks >= MOST_PATIENCE * doubled:
                self._waiting[number] = Waiting(reach, placed_again=waiting.placed_again + 1)
                due.add(number)
        return due


class Lag:
    """Looks at this replica's partitions once a second."""

    def __init__(
        self, cluster: Cluster, topic: str, partitions: Partitions, group: Group, freshness: Freshness
    ) -> None:
        self._partitions = partitions
        self._group = group
        self._freshness = freshness
        self._lost = Lost()
        self._ends = Ends(cluster, topic)
        self._stalls = Stalls()
        self._shrunk = Stalls()
        self._next: dict[int, int] = {}  # each assigned partition's last known watermark, also while it is owed
        self._emptied = 0
        self._look_due_s = 0.0
        metrics.FRESHNESS.set_function(self.ages)
        metrics.PARTITION_LAG.set_function(self.by_partition)

    @property
    def stalled(self) -> set[int]:
        """The partitions that were placed again because they gave nothing, and have not given anything since."""
        return self._stalls.stalled

    def records(self) -> int | None:
        """Return how many committed records wait in this replica's partitions; None if that is not known.

        What is owed counts from its last known watermark. Call it between two turns of the loop.
        """
        self._next = self._partitions.next_offsets  # what was committed since the last look waits no longer
        ends, assigned = self._ends.found(), self._partitions.assigned
        if not ends or not assigned <= ends.keys() & self._next.keys():
            return None
        return sum(self.by_partition().values())

    def by_partition(self) -> dict[int, int]:
        """Return the same for each partition of which it is known."""
        ends = self._ends.found()
        return {number: max(0, ends[number] - offset) for number, offset in self._next.items() if number in ends}

    def ages(self) -> dict[int, float]:
        """Return the age in seconds of each partition's oldest event that is not committed, as far as it is known."""
        return self._freshness.ages(self._ends.answer(), time.time() * 1000)

    def freshness_s(self) -> float | None:
        """Return the greatest age, rounded up; 0 if nothing waits, None if that is not known of each partition."""
        ages = self.ages()
        if oldest_s := max(ages.values(), default=0.0):
            return math.ceil(oldest_s * 10) / 10
        return 0.0 if self._partitions.assigned <= ages.keys() else None

    def met(self, records: Iterable[Record]) -> None:
        """Note a batch that begins: the age of a partition is known from its first record on."""
        placed = self._partitions.placed
        starts = {number: placed[number].watermark.source for number in self._partitions.readable}
        self._freshness.met(records, starts, time.time() * 1000)

    def look(self, ahead: Iterable[Record]) -> None:
        """Note the lag, and place stalled partitions again. Call it at each turn; it is due once a second.

        `ahead` are the records of the next batch, if it was read already.
        """
        now_s = time.monotonic()
        if now_s < self._look_due_s:
            return
        self._look_due_s = now_s + LOOK_EVERY_S
        assigned, placed = self._partitions.assigned, self._partitions.placed
        self._next = self._partitions.next_offsets
        self._ends.want(assigned or {0})  # without partitions it has no lag, but only while the brokers answer
        in_hand = self._group.held.union(record.partition for record in ahead)
        places = {number: Place(offset, offset) for number, offset in self._next.items()} | {
            number: Place(at := place.watermark.source, at if number in in_hand else max(at, place.end))
            for number, place in placed.items()
        }
        answer = self._ends.answer()
        lost = self._lost.kept(self._partitions.lost, now_s, is_answered=answer.is_fresh)
        self._freshness.look(places, assigned.union(lost), answer)
        records = self.records()
        metrics.LAG.set(math.nan if records is None else records)
        if ends := self._ends.found():
            self._find_stalled(ends)

    def _find_stalled(self, ends: Mapping[int, int]) -> None:
        emptied, self._emptied = self._emptied, self._group.emptied
        behind = self._behind(ends)
        owed = self._partitions.owed
        due = self._stalls.look(behind, owed, is_idle=self._emptied > emptied)
        for number in sorted(due):
            metrics.STALLED.inc()
            log.warning("partition.stalled", partition=number, offset=behind[number], end_offset=ends[number])
        # an end that was asked for before the last commit is below it, too; that passes with the next answer
        due |= self._shrunk.look(self._beyond(ends), owed, is_idle=True)
        if due:
            self._group.read_again(due)

    def _beyond(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Return the committed offset of each partition whose end is below it."""
        placed = self._partitions.placed
        offsets = {number: placed[number].watermark.source for number in self._partitions.readable - self._group.held}
        return {number: offset for number, offset in offsets.items() if ends.get(number, offset) < offset}

    def _behind(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Return the next offset of each partition that is read and has records which it has not given."""
        placed = self._partitions.placed
        read = self._partitions.readable - self._group.held
        known = {number: max(placed[number].watermark.source, placed[number].end) for number in read}
        asked = [number for number, offset in known.items() if offset < ends.get(number, 0)]
        given = {entry.partition: entry.offset for entry in self._group.positions(asked)} if asked else {}
        behind = {number: max(known[number], given[number]) for number in asked}
        return {number: offset for number, offset in behind.items() if offset < ends[number]}

    def close(self) -> None:
        """Ask for no more ends."""
        self._ends.close()
