"""How old the oldest event is that is not committed: what each source of knowledge gives, and that it grows."""

import pytest

from processor.domain.records import Record
from processor.replica.freshness import JOIN_S, Answer, Freshness, Lost, Place

START_MS = 1_700_000_000_000.0
SECOND_MS = 1000.0


def at(seconds):
    """Give a moment."""
    return START_MS + seconds * SECOND_MS


def record(offset, seconds, partition=0):
    """Give an event's record with a timestamp."""
    return Record(partition, offset, int(at(seconds)), b"key", b"value")


def answer(seconds, *, is_fresh=True, **ends):
    """Give what brokers said at a moment: p0=7 is the end of partition 0."""
    return Answer(at(seconds), {int(name[1:]): end for name, end in ends.items()}, is_fresh)


def placed(freshness, seconds, end, offset=5, reached=None):
    """Note that partition 0 is at an offset, while the brokers say that it ends at `end`."""
    place = Place(offset, reached if reached is not None else offset)
    freshness.look({0: place}, {0}, answer(seconds, p0=end))


def test_nothing_waits_is_zero():
    """However long nothing came."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    assert freshness.ages(answer(9_000, p0=5), at(9_000)) == {0: 0.0}


def test_without_any_knowledge_there_is_no_age():
    """A partition whose end nobody knows yet: no number is better than a wrong one."""
    freshness = Freshness()
    freshness.look({0: Place(5, 5)}, {0}, answer(0))
    assert freshness.ages(answer(1), at(1)) == {}


def test_a_backlog_of_which_nothing_was_seen_is_at_least_as_old_as_what_was_said_of_it():
    """Just assigned: it grows from when the brokers first said that events wait, until one of them was handed over."""
    freshness = Freshness()
    placed(freshness, 0, end=50)
    placed(freshness, 40, end=90)
    assert freshness.ages(answer(40, p0=90), at(41)) == {0: 41.0}
    assert freshness.ages(answer(40, is_fresh=False, p0=90), at(60)) == {0: 60.0}, "also without an answer"
    placed(freshness, 70, end=90, offset=8)
    assert freshness.ages(answer(70, p0=90), at(71)) == {0: 1.0}, "of another event, which may be younger"
    placed(freshness, 80, end=8, offset=8)
    assert freshness.ages(answer(80, p0=8), at(81)) == {0: 0.0}


def test_the_first_event_that_was_handed_over_tells_the_age_of_a_backlog():
    """From its batch's begin on, however long that takes; later batches change nothing."""
    freshness = Freshness()
    freshness.met([record(7, seconds=-300), record(8, seconds=-200)], {0: 5, 1: 0}, at(0))  # 5 and 6 are markers
    stale = answer(0, is_fresh=False)
    assert freshness.ages(stale, at(0)) == {0: 300.0}
    placed(freshness, 1, end=50)
    freshness.met([record(9, seconds=-100), record(3, seconds=-50, partition=1)], {0: 5, 1: 0}, at(2))
    assert freshness.ages(answer(1, p0=50), at(2)) == {0: 302.0, 1: 52.0}
    freshness.committed({0: record(8, seconds=-200)}, at(3))
    freshness.met([record(9, seconds=-100)], {0: 9}, at(3))
    assert freshness.ages(answer(3, p0=50), at(3))[0] == 203.0


def test_an_event_that_waits_counts_from_the_last_moment_without_any():
    """Redis is away, events come and are not taken: the brokers tell that they wait."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    placed(freshness, 10, end=6)
    assert freshness.ages(answer(70, p0=6), at(70)) == {0: 70.0}


def test_an_event_that_waits_counts_from_the_last_committed_one():
    """In a backlog the next event is about as old as the last one that was committed."""
    freshness = Freshness()
    freshness.committed({0: record(9, seconds=100)}, at(400))
    assert freshness.ages(answer(400, p0=1_000), at(400)) == {0: 300.0}
    assert freshness.ages(answer(400, p0=10), at(400)) == {0: 0.0}


def test_an_event_handed_over_counts_by_its_own_timestamp():
    """A batch that failed: the first of each partition is the oldest; the brokers need not tell."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    freshness.dropped([record(5, seconds=30), record(6, seconds=31), record(4, seconds=2, partition=1)], at(32))
    stale = answer(0, is_fresh=False, p0=5)
    assert freshness.ages(stale, at(90)) == {0: 60.0, 1: 88.0}
    freshness.dropped([record(5, seconds=30)], at(91))  # again, and again
    assert freshness.ages(stale, at(120))[0] == 90.0
    freshness.committed({0: record(6, seconds=31)}, at(121))
    assert freshness.ages(answer(121, p0=7), at(121))[0] == 0.0


def test_while_brokers_do_not_answer_it_grows_from_their_last_answer():
    """Nothing was known to wait. An event may have come just after, and nobody could tell this replica."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    assert freshness.ages(answer(0, p0=5), at(5)) == {0: 0.0}, "the answer is young enough"
    assert freshness.ages(answer(0, is_fresh=False, p0=5), at(7)) == {0: 7.0}
    assert freshness.ages(answer(0, is_fresh=False, p0=5), at(700)) == {0: 700.0}
    freshness.look({}, {0}, answer(0, is_fresh=False, p0=5))  # lost with the session, and remembered
    assert freshness.ages(answer(0, is_fresh=False, p0=5), at(701)) == {0: 701.0}
    placed(freshness, 800, end=5)
    assert freshness.ages(answer(800, p0=5), at(800)) == {0: 0.0}


def test_a_backlog_grows_while_brokers_do_not_answer():
    """What is known to wait goes on to age."""
    freshness = Freshness()
    freshness.committed({0: record(9, seconds=100)}, at(101))
    assert freshness.ages(answer(101, is_fresh=False, p0=1_000), at(400)) == {0: 300.0}


def test_markers_behind_the_next_offset_are_no_events():
    """A partition was read to its end, and behind its next offset there are only markers of transactions."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    placed(freshness, 10, end=7, reached=7)
    assert freshness.ages(answer(10, p0=7), at(10)) == {0: 0.0}
    freshness.look({}, {0}, answer(10, p0=7))  # it is owed: what it had read to is forgotten
    assert freshness.ages(answer(12, p0=7), at(12)) == {0: 2.0}


def test_a_partition_that_is_another_replicas_is_forgotten():
    """Taken by a rebalance: the other one tells its age."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    freshness.look({}, set(), answer(1, p0=5))
    assert freshness.ages(answer(1, p0=5), at(1)) == {}


def test_an_offset_that_another_replica_moved_on_keeps_only_the_bound():
    """The event that was in hand is committed by now; what waits behind it is younger."""
    freshness = Freshness()
    freshness.committed({0: record(4, seconds=1)}, at(1))
    freshness.dropped([record(5, seconds=2)], at(3))
    placed(freshness, 50, end=90, offset=60)
    assert freshness.ages(answer(51, p0=90), at(51)) == {0: 50.0}


def test_an_offset_that_was_moved_back_begins_anew():
    """What is known of later events says nothing of earlier ones."""
    freshness = Freshness()
    freshness.committed({0: record(4, seconds=1)}, at(1))
    placed(freshness, 50, end=90, offset=2)
    assert freshness.ages(answer(51, p0=90), at(51)) == {0: 1.0}


def test_partitions_lost_with_the_session_are_kept_until_the_group_answers():
    """However long the brokers do not answer, and then for a while: a member that gets nothing may not hear of it."""
    lost = Lost()
    assert set(lost.kept({1, 2}, 1.0, is_answered=True)) == {1, 2}, "they are lost before the last answer is old"
    assert set(lost.kept({1, 2}, 900.0, is_answered=False)) == {1, 2}
    assert set(lost.kept({1, 2}, 900.0 + JOIN_S, is_answered=True)) == {1, 2}
    assert set(lost.kept({1, 2}, 901.0 + JOIN_S, is_answered=True)) == set()
    assert set(lost.kept(set(), 902.0 + JOIN_S, is_answered=True)) == set()
    assert set(lost.kept({2}, 990.0, is_answered=True)) == {2}


@pytest.mark.parametrize("know", ["committed", "dropped"])
def test_a_timestamp_of_the_future_counts_as_now(know):
    """A producer's clock an hour ahead: the age grows all the same."""
    freshness = Freshness()
    future = record(5, seconds=3_600)
    if know == "committed":
        freshness.committed({0: future}, at(10))
    else:
        freshness.dropped([future], at(10))
    assert freshness.ages(answer(70, p0=99), at(70)) == {0: 60.0}


def test_a_record_without_a_timestamp_says_nothing():
    """Of an old format: the brokers' answers are what is left."""
    freshness = Freshness()
    placed(freshness, 0, end=5)
    freshness.dropped([Record(0, 5, -1, None, None)], at(20))
    freshness.committed({1: Record(1, 5, -1, None, None)}, at(20))
    assert freshness.ages(answer(30, p0=6, p1=9), at(30)) == {0: 30.0}
