"""Proves when the breaker trips: by a share in a full window, or by a run; never by what came before a reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.replica.breaker import Breaker

GOOD, BAD = False, True


@pytest.mark.parametrize(
    ("events", "trips"),
    [
        ([BAD] * 24, False),
        ([BAD] * 25, True),
        ([BAD] * 24 + [GOOD] + [BAD] * 24, False),
        ([BAD] * 25 + [GOOD] * 75, True),
        ([GOOD, BAD] * 50, False),
        ([GOOD, BAD] * 49 + [BAD, BAD], True),
        ([GOOD, BAD, BAD] * 33, False),
        ([GOOD, BAD, BAD] * 34, True),
    ],
)
def test_trips_by_share_and_by_run(events, trips):
    """A window of 100 at a share of 0.5: more than 50 of a full window, or 25 in a row."""
    assert (Breaker(100, 0.5).trips(events) is not None) is trips


def test_reset_forgets():
    """After a pause only new events are judged."""
    breaker = Breaker(100, 0.5)
    breaker.trips([BAD] * 24)
    breaker.reset()
    assert breaker.trips([BAD] * 24) is None
    assert breaker.trips([BAD]) is not None


@given(st.lists(st.lists(st.booleans(), max_size=40), max_size=12), st.integers(1, 30), st.floats(0, 1))
def test_trips_the_same_however_events_are_batched(batches, window, ratio):
    """The judgement does not depend on how the events were cut into batches, and matches a plain count."""
    events = [event for batch in batches for event in batch]
    cut, whole = Breaker(window, ratio), Breaker(window, ratio)
    in_batches = [cut.trips(batch) for batch in batches]
    assert any(in_batches) == (whole.trips(events) is not None) == _plainly(events, window, ratio)


def _plainly(events, window, ratio):
    run = max(1, window // 4)
    by_run = any(all(events[at : at + run]) for at in range(len(events) - run + 1))
    by_share = any(sum(events[at : at + window]) > window * ratio for at in range(len(events) - window + 1))
    return by_run or by_share
