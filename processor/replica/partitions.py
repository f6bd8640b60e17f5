"""A partition's life in this replica: a table of states, and what is known of each partition.

    owed           assigned and not read: its place is unknown
    catching up    owed, while its mirror is brought up to date from the facts
    placed         its next offset and its watermark are known: it is read
    unreadable     placed, but given up for now: the client cannot read its next record; it is placed again now and then
    withheld       placed, but given up for now: its next event's schema is not known yet; it is placed again once it is
    lost           taken away by a rebalance, or lost with the session: it is forgotten

`TRANSITIONS` is all that can happen; anything else is a defect and raises. `Group` notes what happens (assigned, taken
away, placed, unread, withheld, rewound), and so does `CatchUp` (behind, given up). Nothing here talks to Kafka.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from processor.domain.records import Record
from processor.errors import UnreadableError
from processor.state.watermark import EventsLog, Watermark


class State(StrEnum):
    """Where a partition is in its life."""

    OWED = "owed"
    CATCHING_UP = "catching_up"
    PLACED = "placed"
    UNREADABLE = "unreadable"
    WITHHELD = "withheld"
    LOST = "lost"


class Happening(StrEnum):
    """What can happen to a partition."""

    ASSIGNED = "assigned"
    BEHIND = "behind"  # a catch-up of its mirror begins
    GIVEN_UP = "given_up"  # that catch-up ends early, or while no partition may be placed
    PLACED = "placed"
    UNREAD = "unread"  # the client reported that it cannot read the next record
    WITHHELD = "withheld"  # the schema registry is asked for the schema of the next event
    REWOUND = "rewound"  # its records are dropped, or everything starts over
    TAKEN = "taken"  # revoked, or lost with the session


TRANSITIONS: Final[Mapping[State, Mapping[Happening, State]]] = {
    State.LOST: {
        Happening.ASSIGNED: State.OWED,
    },
    State.OWED: {
        Happening.BEHIND: State.CATCHING_UP,
        Happening.PLACED: State.PLACED,
        Happening.REWOUND: State.OWED,
        Happening.TAKEN: State.LOST,
    },
    State.CATCHING_UP: {
        Happening.GIVEN_UP: State.OWED,
        Happening.PLACED: State.PLACED,
        Happening.REWOUND: State.CATCHING_UP,  # it reads facts; it has no events to drop
        Happening.TAKEN: State.LOST,
    },
    State.PLACED: {
        Happening.UNREAD: State.UNREADABLE,
        Happening.WITHHELD: State.WITHHELD,
        Happening.REWOUND: State.OWED,
        Happening.TAKEN: State.LOST,
    },
    State.UNREADABLE: {
        Happening.UNREAD: State.UNREADABLE,
        Happening.WITHHELD: State.WITHHELD,  # one of the records before the unreadable place
        Happening.REWOUND: State.OWED,
        Happening.TAKEN: State.LOST,
    },
    State.WITHHELD: {
        Happening.UNREAD: State.UNREADABLE,  # found in what the client had fetched already
        Happening.WITHHELD: State.WITHHELD,  # an earlier record, of those that the last batch left over
        Happening.REWOUND: State.OWED,
        Happening.TAKEN: State.LOST,
    },
}
_WITH_PLACE: Final = frozenset({State.PLACED, State.UNREADABLE, State.WITHHELD})
_RETRY_S: Final = (5.0, 300.0)  # wait before an unreadable partition is read again: first, and at most


class Placed(msgspec.Struct, frozen=True):
    """Where a partition is: its watermark, and the one that its mirror must hold (None before the first batch)."""

    watermark: Watermark
    mark: Watermark | None
    end: int = -1  # the next offset when it was last read to its end: only transactions' markers are below it


class Unread(msgspec.Struct, frozen=True):
    """What could not be read, how many times so far, and when (monotonic) it is tried again."""

    error: UnreadableError
    attempts: int
    due_s: float


class Tenure(msgspec.Struct, eq=False):
    """One assignment of a partition, from assigned to lost. The next assignment is another tenure."""

    state: State
    first_due: int | None = None  # the first dropped record's offset: when the partition is read again, it begins there
    unread: Unread | None = None  # until a record from that offset on was read
    is_released: bool = False  # withheld, and its schema is known by now
    log: EventsLog = EventsLog()  # as committed when it was last placed
    next: int | None = None  # the next offset to commit, as last known before it had a place, or when it lost that
    epoch: int | None = None  # the leader epoch in which it was read, if the client gave it up since


class Partitions:
    """The partitions of this replica, each with its state, and the place of each placed one."""

    def __init__(self) -> None:
        self._tenures: dict[int, Tenure] = {}
        self._placed: dict[int, Placed] = {}
        self.lost: set[int] = set()  # those lost with the session, until the group answers again

    @property
    def assigned(self) -> set[int]:
        """All partitions assigned to this replica."""
        return set(self._tenures)

    @property
    def owed(self) -> set[int]:
        """Those without a place, catching up or not."""
        return self._tenures.keys() - self._placed.keys()

    @property
    def catching_up(self) -> set[int]:
        """Those that are catching up."""
        return {number for number, tenure in self._tenures.items() if tenure.state is State.CATCHING_UP}

    @property
    def placed(self) -> Mapping[int, Placed]:
        """Those with a place, each with it: read, unreadable or withheld."""
        return self._placed

    @property
    def next_offsets(self) -> dict[int, int]:
        """The last known next offset to commit of each partition, with a place or owed one."""
        owed = {number: tenure.next for number, tenure in self._tenures.items() if tenure.next is not None}
        return owed | {number: placed.watermark.source for number, placed in self._placed.items()}

    @property
    def readable(self) -> set[int]:
        """Those that are read."""
        return {number for number in self._placed if self.state(number) is State.PLACED}

    @property
    def withheld(self) -> set[int]:
        """Those that wait for a writer's schema."""
        return {number for number, tenure in self._tenures.items() if tenure.state is State.WITHHELD}

    @property
    def unread(self) -> dict[int, Unread]:
        """What could not be read, of each partition where that is so, even while it is being tried again."""
        return {number: tenure.unread for number, tenure in self._tenures.items() if tenure.unread is not None}

    def state(self, number: int) -> State:
        """Return a partition's state."""
        return self._tenures[number].state if number in self._tenures else State.LOST

    def tenure(self, number: int) -> Tenure | None:
        """Return a partition's present assignment, None if it is lost."""
        return self._tenures.get(number)

    def assign(self, numbers: Iterable[int]) -> None:
        """Note what the group assigned to this replica."""
        self.lost.clear()
        self._happens(Happening.ASSIGNED, *numbers)

    def take(self, numbers: Iterable[int], *, lost: bool = False) -> None:
        """Note what was taken away, or lost with the session; partitions that are lost already are ignored."""
        taken = [number for number in numbers if number in self._tenures]
        if lost:
            self.lost.update(taken)
        self._happens(Happening.TAKEN, *taken)

    def begin_catch_up(self, number: int) -> Tenure:
        """Note that a partition's catch-up begins; return the tenure that it belongs to."""
        self._happens(Happening.BEHIND, number)
        return self._tenures[number]

    def end_catch_ups(self, remaining: Collection[int]) -> None:
        """Note that only these catch-ups remain; one that is finished was placed before."""
        self._happens(Happening.GIVEN_UP, *self.catching_up.difference(remaining))

    def place(self, number: int, placed: Placed) -> None:
        """Note where a partition is read from."""
        self._happens(Happening.PLACED, number)
        self._placed[number] = placed
        self._tenures[number].epoch = None

    def found(self, committed: Mapping[int, int]) -> None:
        """Note the committed offsets of owed partitions."""
        for number, offset in committed.items():
            self._tenures[number].next = offset

    def note(self, number: int, log: EventsLog) -> None:
        """Note what is committed of an owed partition's log."""
        self._tenures[number].log = log

    def logs(self, positions: Iterable[TopicPartition]) -> dict[int, EventsLog]:
        """Return what to commit of the logs of partitions that were read up to these positions.

        If more was read than a batch, the leader epoch may be later than its last record's. Whoever cuts the log has a
        still later one. The client has none for what it gave up; `gives_up` noted it.
        """
        return {at.partition: EventsLog(self._epoch(at), self.log(at.partition).earlier) for at in positions}

    def gives_up(self, positions: Iterable[TopicPartition]) -> None:
        """Note in which leader epoch partitions were read that the client gives up now."""
        for at in positions:
            if at.partition in self._tenures and at.leader_epoch is not None:
                self._tenures[at.partition].epoch = at.leader_epoch

    def log(self, number: int) -> EventsLog:
        """Return what was committed of a partition's log when it was last placed."""
        return self._tenures[number].log if number in self._tenures else EventsLog()

    def stop_reading(self, error: UnreadableError, now_s: float) -> Unread:
        """Note that the client cannot read a placed partition on; return what is to be told about it."""
        number = error.partition
        self._happens(Happening.UNREAD, number)
        before = self._tenures[number].unread
        attempts = before.attempts + 1 if before is not None and before.error.offset == error.offset else 1
        first_s, most_s = _RETRY_S
        unread = Unread(error, attempts, now_s + min(most_s, first_s * 2 ** (attempts - 1)))
        self._tenures[number].unread = unread
        return unread

    def retry(self, now_s: float) -> bool:
        """Owe a place to the unreadable partitions that are due, and the released ones; return whether any are."""
        due = [number for number, unread in self.unread.items() if now_s >= unread.due_s]
        due = [number for number in due if self.state(number) is State.UNREADABLE]
        due += [number for number in self.withheld if self._tenures[number].is_released]
        self._happens(Happening.REWOUND, *due)
        return bool(due)

    def withhold(self, records: Iterable[Record]) -> None:
        """Note that the partitions of these records wait for a writer's schema, from their first ones here on."""
        first: dict[int, int] = {}
        for record in records:
            first.setdefault(record.partition, record.offset)
        self._happens(Happening.WITHHELD, *first)
        for number, offset in first.items():
            self._tenures[number].is_released = False
            self._drop(number, offset)

    def usable(self, records: list[Record]) -> list[Record]:
        """Return the records of placed partitions; of a withheld one those before the record that it waits for."""
        used = [record for record in records if record.partition in self._placed]
        if not self.withheld:
            return used
        due = {number: first for number, first in self.due().items() if number in self.withheld}
        return [record for record in used if record.offset < due.get(record.partition, record.offset + 1)]

    def release(self, number: int) -> None:
        """Note that a withheld partition waits no more: it is placed again at the next `retry`."""
        self._tenures[number].is_released = True

    def read_on(self, records: Iterable[Record]) -> list[Unread]:
        """Forget what could not be read where these records are of that offset or later; return what it was."""
        last = {record.partition: record.offset for record in records}
        over = {number: unread for number, unread in self.unread.items() if last.get(number, -1) >= unread.error.offset}
        for number in over:
            self._tenures[number].unread = None
        return list(over.values())

    def rewind(self, in_hand: Iterable[Record]) -> None:
        """Owe a place to the partitions of dropped records; skip lost ones: their records are the new owner's."""
        for record in in_hand:
            if record.partition in self._tenures:
                self._drop(record.partition, record.offset)
                self._happens(Happening.REWOUND, record.partition)

    def owe(self, numbers: Iterable[int]) -> None:
        """Owe a place to partitions of which no record was dropped."""
        self._happens(Happening.REWOUND, *numbers)

    def rewind_everything(self) -> None:
        """Owe a place to every partition: no dropped record is due any more."""
        for tenure in self._tenures.values():
            tenure.first_due = None
        self._happens(Happening.REWOUND, *self._tenures)

    def due(self) -> dict[int, int]:
        """Return the offset of the first dropped record of each partition that has not been read again since."""
        return {number: tenure.first_due for number, tenure in self._tenures.items() if tenure.first_due is not None}

    def met(self, number: int) -> None:
        """Note that a partition was read again from its due record."""
        self._tenures[number].first_due = None

    def advance(self, watermarks: Mapping[int, Watermark]) -> None:
        """Note what a batch committed; the mirrors must hold the same from now on."""
        for number, watermark in watermarks.items():
            if (placed := self._placed.get(number)) is not None:  # else reading ahead met a rebalance
                self._placed[number] = Placed(watermark, watermark, placed.end)

    def ended(self, number: int, end: int) -> None:
        """Note the next offset of a partition that was read to its end."""
        if (placed := self._placed.get(number)) is not None:
            self._placed[number] = replace(placed, end=end)

    def ends(self) -> dict[int, int]:
        """Return the next offset of each partition that was read to its end, if that is not committed.

        So an empty partition gets a committed offset too: without one its first events could expire unnoticed. Of one
        that is given up for now the client may have read the end, and not what is before it.
        """
        return {
            number: placed.end
            for number, placed in self._placed.items()
            if self.state(number) is State.PLACED
            if placed.end > placed.watermark.source or (placed.mark is None and placed.end == placed.watermark.source)
        }

    def _epoch(self, at: TopicPartition) -> int | None:
        tenure = self._tenures.get(at.partition)
        return tenure.epoch if at.leader_epoch is None and tenure is not None else at.leader_epoch

    def _drop(self, number: int, offset: int) -> None:
        """Note that a record was dropped: when the partition is read again, it begins with the first such one."""
        tenure = self._tenures[number]
        if tenure.first_due is None or offset < tenure.first_due:
            tenure.first_due = offset

    def _happens(self, what: Happening, *numbers: int) -> None:
        """Move partitions to the state that the table gives."""
        for number in numbers:
            tenure, before = self._tenures.get(number), self.state(number)
            after = TRANSITIONS[before].get(what)
            assert after is not None, f"partition {number} is {before}, and cannot be {what}"
            if after not in _WITH_PLACE and tenure is not None and number in self._placed:
                tenure.next = self._placed.pop(number).watermark.source
            if after is State.LOST:
                del self._tenures[number]
            elif tenure is None:
                self._tenures[number] = Tenure(after)
            else:
                tenure.state = after
