"""Proves that producers whose calls hang are not left behind without end; a start under the same name frees them."""

import threading

import pytest

from processor.errors import ProducerLostError, StopError
from processor.kafka.bounded import GRACE_S, Call
from processor.kafka.clients import transactional_producer
from processor.kafka.transactions import Transactions
from tests.integration.test_refusals import failure
from tests.support.adverse import adverse, calls_hang
from tests.support.deployment import await_condition
from tests.support.refusals import facts, rejections
from tests.support.ways import go_on, require_row


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
    await_condition(lambda: not any(calls.is_alive for calls in transactions._left), "the calls end")
    transactions.ready("starting transactions")
    transactions.forget()


@pytest.mark.follows("hanging calls")
def test_a_replica_whose_calls_hang_is_started_again_under_its_name(single):
    """What it wrote in transactions that were never committed is aborted by that start, and written once."""
    single.send([*facts(3), *rejections(2)])
    replica = single.start("run", name="a", **adverse(calls_hang))
    require_row(failure(replica), "hanging calls")
    go_on(single, instance_id="a")
    assert single.require_right_outputs() == {"fact": 3, "contact_not_found": 2}
