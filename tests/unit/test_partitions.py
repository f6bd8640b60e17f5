"""Walks the life of a partition: every state, everything that can happen in it, and everything that cannot."""

from itertools import product

import pytest
from confluent_kafka import TopicPartition

from processor.domain.records import Record
from processor.errors import UnreadableError
from processor.replica.partitions import TRANSITIONS, Happening, Partitions, Placed, State
from processor.state.watermark import EventsLog, Watermark

PLACE = Placed(Watermark(7, 3), Watermark(7, 3))
# What the owners of the table call, for each thing that can happen.
CALLS = {
    Happening.ASSIGNED: lambda partitions: partitions.assign([0]),
    Happening.BEHIND: lambda partitions: partitions.begin_catch_up(0),
    Happening.GIVEN_UP: lambda partitions: partitions.end_catch_ups(()),
    Happening.PLACED: lambda partitions: partitions.place(0, PLACE),
    Happening.UNREAD: lambda partitions: partitions.stop_reading(UnreadableError("e", 0, 8, "damaged"), 0.0),
    Happening.WITHHELD: lambda partitions: partitions.withhold([record(9)]),
    Happening.REWOUND: lambda partitions: partitions.rewind([record(9)]),
    Happening.TAKEN: lambda partitions: partitions.take([0]),
}
# How a new partition comes into each state.
WAYS = {
    State.LOST: (),
    State.OWED: (Happening.ASSIGNED,),
    State.CATCHING_UP: (Happening.ASSIGNED, Happening.BEHIND),
    State.PLACED: (Happening.ASSIGNED, Happening.PLACED),
    State.UNREADABLE: (Happening.ASSIGNED, Happening.PLACED, Happening.UNREAD),
    State.WITHHELD: (Happening.ASSIGNED, Happening.PLACED, Happening.WITHHELD),
}
# What has to come of it. The table of the program is held against this one: neither is made from the other.
LIFE: dict[tuple[State, Happening], State] = {
    (State.LOST, Happening.ASSIGNED): State.OWED,
    (State.OWED, Happening.BEHIND): State.CATCHING_UP,
    (State.OWED, Happening.PLACED): State.PLACED,
    (State.OWED, Happening.REWOUND): State.OWED,
    (State.CATCHING_UP, Happening.GIVEN_UP): State.OWED,
    (State.CATCHING_UP, Happening.PLACED): State.PLACED,
    (State.CATCHING_UP, Happening.REWOUND): State.CATCHING_UP,  # a catch-up reads facts, no events
    (State.PLACED, Happening.REWOUND): State.OWED,
    (State.PLACED, Happening.UNREAD): State.UNREADABLE,
    (State.PLACED, Happening.WITHHELD): State.WITHHELD,
    (State.UNREADABLE, Happening.UNREAD): State.UNREADABLE,
    (State.UNREADABLE, Happening.WITHHELD): State.WITHHELD,
    (State.WITHHELD, Happening.UNREAD): State.UNREADABLE,
    (State.WITHHELD, Happening.WITHHELD): State.WITHHELD,
    (State.WITHHELD, Happening.REWOUND): State.OWED,
    (State.UNREADABLE, Happening.REWOUND): State.OWED,
    **{(state, Happening.TAKEN): State.LOST for state in State if state is not State.LOST},
}
# Calls for all partitions at once: they pass over those that it cannot happen to, and records of lost ones.
FOR_ALL = {Happening.GIVEN_UP, Happening.TAKEN, Happening.REWOUND}


def record(offset):
    """Give a record of the partition."""
    return Record(0, offset, 0, b"o", b"")


def partitions_in(state):
    """Give the partitions of a replica, of which the one is in a state."""
    partitions = Partitions()
    for what in WAYS[state]:
        CALLS[what](partitions)
    assert partitions.state(0) is state
    return partitions


@pytest.mark.parametrize(("state", "what"), list(product(State, Happening)))
def test_every_state_takes_what_it_can_and_nothing_else(state, what):
    """It comes into the next state, or the call is a defect, or nothing happens where it is for all partitions."""
    partitions = partitions_in(state)
    after = LIFE.get((state, what))
    if after is None and what not in FOR_ALL:
        with pytest.raises(AssertionError, match=f"partition 0 is {state.value}, and cannot be {what.value}"):
            CALLS[what](partitions)
        after = state
    else:
        CALLS[what](partitions)
    assert partitions.state(0) is (after or state)


def test_the_table_is_the_life_of_a_partition():
    """What the README prints is what has to be, each transition of it."""
    assert {(state, what): after for state, row in TRANSITIONS.items() for what, after in row.items()} == LIFE


@pytest.mark.parametrize("state", State)
def test_views_are_those_of_the_state(state):
    """Who is assigned, owed, catching up and placed follows from the state alone."""
    partitions = partitions_in(state)
    assert partitions.assigned == (set() if state is State.LOST else {0})
    assert partitions.owed == ({0} if state in {State.OWED, State.CATCHING_UP} else set())
    assert partitions.catching_up == ({0} if state is State.CATCHING_UP else set())
    assert partitions.placed == ({0: PLACE} if state in {State.PLACED, State.UNREADABLE, State.WITHHELD} else {})
    assert partitions.readable == ({0} if state is State.PLACED else set())
    assert partitions.withheld == ({0} if state is State.WITHHELD else set())


def test_every_state_can_be_reached_and_left():
    """No state is a dead end: from each one a partition can be lost, and from each it can come to be read."""
    assert TRANSITIONS.keys() == set(State)
    for start in State:
        seen, new = {start}, {start}
        while new:
            new = {after for state in new for after in TRANSITIONS[state].values()} - seen
            seen |= new
        assert {State.LOST, State.PLACED} <= seen, start


@pytest.mark.parametrize("state", [state for state in State if state is not State.LOST])
def test_first_record_dropped_is_due_until_it_is_met_or_all_starts_over(state):
    """Of several drops the earliest record counts; a rewind of everything, or the partition's loss, ends the wait."""
    partitions = partitions_in(state)
    partitions.rewind([record(12), record(13)])
    partitions.rewind([record(9), record(10)])
    partitions.rewind([record(11)])
    assert partitions.due() == {0: 9}
    partitions.met(0)
    assert partitions.due() == {}
    partitions.rewind([record(9)])
    partitions.rewind_everything()
    assert partitions.due() == {}
    partitions.rewind([record(9)])
    partitions.take([0])
    partitions.assign([0])
    assert partitions.due() == {}


def test_partition_that_comes_back_is_in_another_tenure():
    """A partition may go and come within one poll: what was begun for the earlier assignment is not for this one."""
    partitions = partitions_in(State.CATCHING_UP)
    before = partitions.tenure(0)
    partitions.take([0])
    assert partitions.tenure(0) is None
    partitions.assign([0])
    assert partitions.tenure(0) is not before
    assert partitions.state(0) is State.OWED


def test_batch_moves_only_what_is_placed():
    """A partition that was taken away, or owed a place, beside a commit is not moved by it."""
    partitions = Partitions()
    partitions.assign([0, 1, 2])
    for number in (0, 1, 2):
        partitions.place(number, PLACE)
    partitions.ended(0, 8)
    partitions.take([1])
    partitions.rewind([Record(2, 7, 0, b"o", b"")])
    moved = Watermark(8, 4)
    partitions.advance({0: moved, 1: moved, 2: moved})
    assert partitions.placed == {0: Placed(moved, moved, 8)}


def test_next_offset_is_known_before_there_is_a_place_and_after_it_was_lost():
    """What was committed, then the place, then what was committed from there; another tenure knows nothing."""
    partitions = Partitions()
    partitions.assign([0, 1])
    assert partitions.next_offsets == {}
    partitions.found({0: 5})
    assert partitions.next_offsets == {0: 5}
    partitions.place(0, PLACE)
    assert partitions.next_offsets == {0: 7}
    partitions.advance({0: Watermark(9, 4)})
    partitions.rewind_everything()
    assert partitions.next_offsets == {0: 9}
    partitions.found({0: 8, 1: 3})  # another member moved it
    assert partitions.next_offsets == {0: 8, 1: 3}
    partitions.take([0])
    partitions.assign([0])
    assert partitions.next_offsets == {1: 3}


def test_end_counts_where_it_is_beyond_the_watermark():
    """An idle partition whose last records are markers is committed behind them, and only while it is placed.

    A fresh one that is empty is committed too, once its end is known.
    """
    partitions = Partitions()
    partitions.assign([0, 1, 2, 3, 4])
    partitions.place(0, PLACE)
    partitions.place(1, PLACE)
    partitions.place(3, Placed(Watermark(0, 0), None))
    partitions.place(4, Placed(Watermark(0, 0), None))
    partitions.ended(0, 9)
    partitions.ended(1, 7)
    partitions.ended(2, 9)
    partitions.ended(3, 0)
    assert partitions.ends() == {0: 9, 3: 0}


def test_end_does_not_count_while_records_before_it_are_withheld():
    """The client has read to the end, but the records were dropped: committing that end would lose them."""
    partitions = partitions_in(State.PLACED)
    partitions.ended(0, 12)
    partitions.withhold([record(9), record(10), record(11)])
    assert partitions.ends() == {}
    assert partitions.due() == {0: 9}


def test_end_does_not_count_behind_what_cannot_be_read():
    """The client may go on behind it, to the end: committing that would pass over the place."""
    partitions = partitions_in(State.WITHHELD)
    partitions.stop_reading(UnreadableError("e", 0, 8, "damaged"), 0.0)
    partitions.ended(0, 12)
    assert partitions.ends() == {}


def test_epoch_of_what_was_given_up_is_kept_until_it_is_placed_again():
    """The client forgets it then, and a batch with the records before that place is still to be committed."""
    partitions = partitions_in(State.PLACED)
    partitions.gives_up([TopicPartition("e", 0, 12, "", 5), TopicPartition("e", 9, 1, "", 6)])
    partitions.withhold([record(9)])
    forgotten = [TopicPartition("e", 0)]
    assert partitions.logs(forgotten) == {0: EventsLog(5)}
    assert partitions.logs([TopicPartition("e", 0, 12, "", 7)]) == {0: EventsLog(7)}
    partitions.release(0)
    partitions.retry(0.0)
    partitions.place(0, PLACE)
    assert partitions.logs(forgotten) == {0: EventsLog()}


def test_earliest_record_is_due_of_a_partition_that_waits_twice():
    """A batch may leave records over before the one that it waits for, of which one has to wait then."""
    partitions = partitions_in(State.WITHHELD)
    partitions.release(0)
    partitions.withhold([record(8)])
    assert partitions.due() == {0: 8}
    assert not partitions.retry(1e9)


def test_nothing_behind_a_withheld_record_is_used():
    """Only what its batch left over; nor is anything of a partition that has no place."""
    partitions = partitions_in(State.PLACED)
    partitions.assign([1, 2])
    partitions.place(2, PLACE)
    others = [Record(1, 7, 0, b"o", b""), Record(2, 99, 0, b"o", b"")]
    assert partitions.usable([record(8), record(11), *others]) == [record(8), record(11), others[1]]
    partitions.withhold([record(9), record(10)])
    assert partitions.usable([record(8), record(9), record(11), *others]) == [record(8), others[1]]


def test_withheld_partition_waits_until_it_is_released():
    """However long it takes: it is owed a place only then, and again if it has to wait again."""
    partitions = partitions_in(State.WITHHELD)
    assert not partitions.retry(1e9)
    partitions.release(0)
    assert partitions.retry(0.0)
    assert partitions.owed == {0}
    partitions.place(0, PLACE)
    partitions.withhold([record(9)])
    assert not partitions.retry(1e9)


def test_what_cannot_be_read_is_tried_again_ever_later_until_it_is_read():
    """The waits double up to five minutes; a record before the place changes nothing, one from it on ends it."""
    partitions = partitions_in(State.PLACED)
    waits, now_s = [], 0.0
    for _ in range(9):
        unread = partitions.stop_reading(UnreadableError("e", 0, 8, "damaged"), now_s)
        waits.append(unread.due_s - now_s)
        assert not partitions.retry(unread.due_s - 0.1)
        assert partitions.retry(unread.due_s)
        assert (partitions.state(0), partitions.owed) == (State.OWED, {0})
        partitions.place(0, PLACE)
        now_s = unread.due_s
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert partitions.read_on([record(7)]) == []
    assert partitions.unread.keys() == {0}, "shown while it is tried again"
    assert [unread.attempts for unread in partitions.read_on([record(8)])] == [9]
    assert partitions.unread == {}


def test_partitions_lost_with_the_session_are_known_until_the_group_answers():
    """A loss is remembered, a revocation is not; any answer of the group ends it, be it nothing."""
    partitions = Partitions()
    partitions.assign([0, 1, 2])
    partitions.take([2])
    partitions.take([0, 1, 7], lost=True)
    assert (partitions.lost, partitions.assigned) == ({0, 1}, set())
    partitions.assign([])
    assert partitions.lost == set()
