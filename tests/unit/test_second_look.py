"""When a refused start is final, and when the brokers are asked again."""

import pytest

from processor.replica.second_look import SecondLook


@pytest.fixture
def clock(monkeypatch):
    """Give the time in a list that a test may change."""
    now = [1000.0]
    monkeypatch.setattr("processor.replica.second_look.time.monotonic", lambda: now[0])
    return now


def test_refusal_without_a_failure_before_is_final():
    """As at a start: an operator is told at once."""
    assert SecondLook().is_final("moved back")


def test_refusal_soon_after_a_failure_is_looked_at_again(clock):
    """For a while; each look is itself a failure, and makes it no longer."""
    look = SecondLook()
    look.failed()
    clock[0] += 50
    for _ in range(14):
        assert not look.is_final("moved back")
        look.failed()
        clock[0] += 1
    clock[0] += 1
    assert look.is_final("moved back")


def test_refusal_long_after_a_failure_is_final(clock):
    """The brokers had time to know."""
    look = SecondLook()
    look.failed()
    clock[0] += 61
    assert look.is_final("moved back")


def test_refusal_that_comes_again_has_its_own_time(clock):
    """What was settled in between, or is another one, is looked at anew."""
    look = SecondLook()
    look.failed()
    assert not look.is_final("moved back")
    clock[0] += 14
    look.settled()
    assert not look.is_final("moved back")
    clock[0] += 14
    assert not look.is_final("moved back")
    assert not look.is_final("another")
    clock[0] += 15
    assert look.is_final("another")
