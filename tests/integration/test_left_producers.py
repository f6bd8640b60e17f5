"""Proves that producers whose calls hang are not left behind without end."""

import threading

import pytest

from processor.errors import ProducerLostError, StopError
from processor.kafka.bounded import GRACE_S, Call
from processor.kafka.clients import transactional_producer
from processor.kafka.transactions import Transactions


@pytest.mark.follows("hanging calls")
def test_producers_that_hang_are_replaced_a_few_times_then_the_program_stops(settings):
    """Each takes its connections and threads along; once the calls have ended, the count begins anew."""
    comes_back = threading.Event()
    transactions = Transactions(lambda: transactional_producer(settings, 1 << 20))

    def hang():
        comes_back.wait()

    def lose_one():
        transactions.ready("starting transactions")
        with pytest.raises(ProducerLostError):
            transactions.call(Call(hang, 0.1 - GRACE_S, "adding offsets"))
        transactions.forget()

    for _ in range(4):
        lose_one()
    with pytest.raises(StopError, match=r"4 calls of the Kafka client hang.*start again under the same instance_id"):
        transactions.ready("starting transactions")
    comes_back.set()
    for thread in threading.enumerate():
        if thread.name == "kafka-calls" and thread is not transactions._calls._thread:
            thread.join(30)
    transactions.ready("starting transactions")
    transactions.forget()
