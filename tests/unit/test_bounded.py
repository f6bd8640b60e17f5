"""Proves that a call into the Kafka client that never returns does not hold the program up."""

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.errors import ProducerLostError, RetryError, StopError
from processor.kafka import bounded
from processor.kafka.bounded import GRACE_S, BoundedCalls, Call
from tests.support.deployment import await_condition


def test_calls_are_made_one_after_the_other_and_raise_what_the_work_raises():
    """Work is done before `call` returns; an error of the client comes out as it is, and the next call is made."""
    calls, done = BoundedCalls(), []
    calls.call(Call(lambda: done.append(1), 30, "the first"))
    assert done == [1]

    def refused():
        raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))

    with pytest.raises(KafkaException):
        calls.call(Call(refused, 30, "the second"), Call(lambda: done.append(2), 30, "after it"))
    calls.call(Call(lambda: done.append(3), 30, "the third"))
    assert done == [1, 3]
    calls.close()


def test_other_work_is_done_beside_the_calls():
    """Calls in turn on their thread, the other work here; both have ended on return. Theirs hides only a retry."""
    calls, begun, goes_on, done = BoundedCalls(), threading.Event(), threading.Event(), []

    def first():
        begun.set()
        assert goes_on.wait(30)
        done.append("first")

    def beside():
        assert begun.wait(30)
        done.append("beside")
        goes_on.set()
        raise RetryError("what was done beside")

    with pytest.raises(RetryError, match="beside"):
        calls.call(Call(first, 30, "the first"), Call(lambda: done.append("second"), 30, "the second"), beside=beside)
    assert done == ["beside", "first", "second"]

    def refused():
        raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))

    with pytest.raises(KafkaException):
        calls.call(Call(refused, 30, "the third"), beside=beside)

    def stopped():
        raise StopError("nothing mends that")

    with pytest.raises(StopError):
        calls.call(Call(refused, 30, "the fourth"), Call(lambda: done.append("fifth"), 30, "the fifth"), beside=stopped)
    calls.call(Call(lambda: done.append("sixth"), 30, "the sixth"))
    assert done[-1] == "sixth", "its answer is its own"
    calls.close()


def test_any_error_of_a_call_comes_out():
    """A defect is no client that hangs: it is raised, and the thread goes on."""
    calls, done = BoundedCalls(), []

    def defective():
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        calls.call(Call(defective, 30, "the first"))
    calls.call(Call(lambda: done.append(1), 30, "the second"))
    assert done == [1]
    calls.close()


def test_call_that_hangs_is_left_behind_with_its_producer(monkeypatch):
    """`send_offsets_to_transaction` without a coordinator (librdkafka 5456): the producer is given up."""
    monkeypatch.setattr(bounded, "GRACE_S", 0.05)
    calls, comes_back = BoundedCalls(), threading.Event()

    def hangs():
        comes_back.wait()

    with pytest.raises(ProducerLostError, match=r"adding offsets: the client did not return within 0\.1 s"):
        calls.call(Call(hangs, 0.05, "adding offsets"))
    comes_back.set()
    calls.close()


def test_a_call_that_hangs_is_known_to_until_it_ends():
    """A closed thread is alive only as long as its call."""
    calls, comes_back = BoundedCalls(), threading.Event()
    calls.call(Call(lambda: None, 30, "the first"), beside=calls.close)
    await_condition(lambda: not calls.is_alive, "the thread ends")
    calls = BoundedCalls()

    def hang():
        comes_back.wait()

    with pytest.raises(ProducerLostError):
        calls.call(Call(hang, 0.1 - GRACE_S, "the second"))
    calls.close()
    assert calls.is_alive
    comes_back.set()
    await_condition(lambda: not calls.is_alive, "the thread ends")
