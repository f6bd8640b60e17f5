"""Holds what waits for its contact without any service: what goes back together, in which order, and what is let go."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from processor.codec.healed import Healed, Place, event_offset, value
from processor.replay.waiting import HASH_BYTES, Sighting, Waiting, order_hash

ORDER, OTHER = order_hash(0, b"o1"), order_hash(0, b"o2")
ANN, BOB = b"a" * HASH_BYTES, b"b" * HASH_BYTES
NOW_MS = 1_000
NEVER_MS = 1 << 60


def seen(offset, digests=b"", order=ORDER, *, expires_ms=NEVER_MS, event=None, order_key=None, rounds=0, from_ms=0):
    """Give a record of partition 0; its event's offset is ten times its own unless said."""
    event_offset = offset * 10 if event is None else event
    return Sighting(order, Place(0, offset), event_offset, rounds, expires_ms, digests, order_key, from_ms)


def holding(*records, most=1_000):
    """Give what waits after these records."""
    waiting = Waiting(most)
    for record in records:
        waiting.add(record)
    return waiting


def leaving(waiting):
    """Give the offsets of what goes back, in order."""
    return sorted(place.offset for place in waiting.leaving)


def test_an_order_goes_back_as_a_whole():
    """What was rejected after a head waits behind it, with heads that are not found; other orders stay."""
    waiting = holding(seen(1, ANN), seen(2), seen(3, BOB), seen(4, BOB, OTHER), seen(5))
    assert waiting.records == 5
    assert list(waiting.digests(waiting.fresh(NOW_MS))) == [(ORDER, ANN), (ORDER, BOB), (OTHER, BOB)]
    waiting.found([ORDER])
    assert leaving(waiting) == [1, 2, 3, 5]
    assert waiting.records == 1
    assert waiting.all() == [OTHER]


def test_what_was_rejected_again_is_looked_up_later_and_its_order_with_it():
    """Neither among what has just come nor in a sweep is the order before its time; then once, and as a whole."""
    waiting = holding(seen(1, ANN, from_ms=NOW_MS + 5, rounds=1), seen(2, BOB), seen(3, ANN, OTHER))
    assert waiting.fresh(NOW_MS) == [OTHER]
    assert waiting.all(NOW_MS) == [OTHER]
    assert waiting.fresh(NOW_MS + 5) == [ORDER]
    assert waiting.fresh(NOW_MS + 6) == []
    assert waiting.all(NOW_MS + 5) == [ORDER, OTHER]
    waiting.found([ORDER])
    assert leaving(waiting) == [1, 2]


def test_without_a_head_nothing_waits():
    """A missing parameter alone says nothing of a contact."""
    assert holding(seen(1), seen(2, order=OTHER)).records == 0


def test_what_was_judged_before_the_copy_follows_it_and_nothing_else():
    """A record whose event came before the last copy goes back too; a later one is no consequence of the first."""
    waiting = holding(seen(1, ANN))
    waiting.found([ORDER])
    waiting.add(seen(2))  # while the first is on its way
    assert leaving(waiting) == [1, 2]
    waiting.sent({Place(0, 1): 500, Place(0, 2): 501})
    waiting.add(seen(3, event=499))
    assert leaving(waiting) == [3]
    waiting.sent({Place(0, 3): 503})
    waiting.add(seen(4, event=504))
    assert leaving(waiting) == []
    assert waiting.records == 0


def test_a_copy_that_is_rejected_again_does_not_follow_those_of_its_own_round():
    """It was judged with them: it waits anew if it is a head, and only a later round's copy takes it along."""
    waiting = holding(seen(1, ANN), seen(2), seen(3, BOB))
    waiting.found([ORDER])
    waiting.sent({Place(0, 1): 500, Place(0, 2): 501, Place(0, 3): 502})
    waiting.add(seen(4, ANN, event=500, rounds=1))
    waiting.add(seen(5, event=501, rounds=1))
    assert leaving(waiting) == []
    assert waiting.records == 2
    waiting.found([ORDER])
    waiting.sent({Place(0, 4): 600})
    after_a_crash = Waiting(10)
    for offset, copy in ((1, 500), (2, 501), (3, 502)):
        after_a_crash.copied(seen(offset), copy)
    after_a_crash.copied(seen(4, ANN, event=500, rounds=1), 600)
    after_a_crash.add(seen(5, event=501, rounds=1))
    assert leaving(waiting) == leaving(after_a_crash) == [5]


def test_a_restart_finds_what_follows_what_went_back():
    """The healed record's copy says what was judged before it, as before the crash."""
    waiting = Waiting(10)
    waiting.copied(seen(1, ANN), 500)
    waiting.add(seen(2))
    assert leaving(waiting) == [2]
    waiting.sent({Place(0, 2): 501})
    waiting.add(seen(3, event=600))
    assert leaving(waiting) == []


def test_waiting_ends_with_time_and_with_retention():
    """An expired head goes with what waits behind it; what is behind another head stays."""
    waiting = holding(seen(1, ANN, expires_ms=5), seen(2), seen(3, BOB, OTHER, expires_ms=5), seen(4, ANN, OTHER))
    assert waiting.expire(4, {}) == 0
    assert waiting.expire(5, {}) == 3
    assert list(waiting.digests(waiting.all())) == [(OTHER, ANN)]
    assert waiting.expire(5, {0: 5}) == 1
    assert waiting.records == 0


def test_too_many_let_the_oldest_go():
    """Memory is bounded: the orders that began to wait first no longer do."""
    waiting, let_go = Waiting(1_000), 0
    for number in range(2_000):
        let_go += waiting.add(seen(number, ANN, order_hash(0, b"%d" % number)))
    assert let_go + waiting.records == 2_000
    assert 900 < waiting.records <= 1_000
    assert order_hash(0, b"1999") in waiting.all()
    assert order_hash(0, b"0") not in waiting.all()


def test_what_was_sent_is_forgotten_once_it_is_judged():
    """An order whose copies are judged takes no memory; one whose copies may still be behind does."""
    waiting = holding(seen(1, ANN))
    waiting.found([ORDER])
    waiting.sent({Place(0, 1): 500})
    waiting.passed(0, 499)
    waiting.expire(0, {})
    assert ORDER in waiting._orders
    waiting.passed(0, 501)
    waiting.expire(0, {})
    assert waiting._orders == {}


def test_an_order_may_wait_for_itself():
    """`order_unknown` that is healed waits for the order's key, by partition."""
    waiting = holding(seen(1, order_key=b"o1"), seen(2, ANN, OTHER))
    assert waiting.order_keys(waiting.fresh(NOW_MS)) == {0: {b"o1": ORDER}}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("reject"), st.integers(0, 2), st.sampled_from([b"", b"", ANN, BOB])),
        st.tuples(st.just("find"), st.integers(0, 2), st.just(b"")),
        st.tuples(st.just("send"), st.integers(0, 3), st.just(b"")),
        st.tuples(st.just("restart"), st.just(0), st.just(b"")),
    ),
    max_size=60,
)


@given(steps)
def test_each_goes_back_once_and_in_order_whatever_happens(plan):
    """Rejections, finds, transactions of any size and restarts in any order: once each, an order's in its order."""
    log: list[Sighting] = []
    copies: dict[Place, int] = {}
    waiting, next_event = Waiting(1_000), 0
    gone = defaultdict(list)

    def tell(into, record):
        if record.place in copies:
            into.copied(record, copies[record.place])
        else:
            into.add(record)

    for what, number, digests in plan:
        order = order_hash(0, b"%d" % number)
        if what == "reject":
            log.append(seen(len(log), digests, order, event=next_event))
            next_event += 1
            tell(waiting, log[-1])
        elif what == "find":
            waiting.found([order])
        elif what == "send":
            chunk = sorted(waiting.leaving)[:number]
            for place in chunk:
                assert place not in copies
                copies[place] = next_event
                gone[log[place.offset].order].append(place.offset)
                next_event += 1
            waiting.sent({place: copies[place] for place in chunk})
        else:
            waiting = Waiting(1_000)
            for record in log:
                tell(waiting, record)
    assert all(offsets == sorted(offsets) for offsets in gone.values())
    held = sum(len(order.records) + order.leaving for order in waiting._orders.values())
    assert held == waiting.records + len(waiting.leaving)


@given(st.integers(0, 1 << 31), st.integers(0, 1 << 62), st.integers(0, 1 << 62))
def test_healed_records_come_back_as_they_were(partition, offset, copy):
    """A key names its place, and no place of another group or topic; a value is the copy's offset."""
    healed = Healed("group", "topic")
    key = healed.key(Place(partition, offset))
    assert healed.place(key) == (partition, offset)
    assert Healed("group", "other").place(key) is None
    assert Healed("group2", "topic").place(key) is None
    assert event_offset(value(copy)) == copy
