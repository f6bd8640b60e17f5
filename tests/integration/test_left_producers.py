"""Proves that producers whose calls hang are not left behind without end; a start under the same name frees them."""

import threading
from contextlib import closing
from pathlib import Path

import pytest

from processor.errors import ProducerLostError, StopError
from processor.kafka.bounded import GRACE_S, Call
from processor.kafka.clients import transactional_producer
from processor.kafka.cluster import Cluster
from processor.kafka.transactions import Transactions
from processor.membership.members_ledger import MembersLedger
from processor.registry.wire import Wire
from processor.replay.replay_ledger import ReplayLedger
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


def threads():
    """Give how many threads this process has, the Kafka client's included."""
    return len(list(Path("/proc/self/task").iterdir()))


def work_and_forget(settings, _cluster):
    """Have transactions, then none."""
    transactions = Transactions(lambda: transactional_producer(settings, 1 << 20))
    transactions.ready("starting transactions")
    transactions.forget()


def hold_and_close(settings, cluster):
    """Hold the replay's ledger, as the healer does anew after each failure."""
    rejected = cluster.required([settings.rejected_topic])[settings.rejected_topic]
    with closing(ReplayLedger(settings, cluster, rejected, None)) as ledger:
        ledger.take_over()


def publish_and_close(settings, cluster):
    """Hold the members' ledger, as each round of a publisher does."""
    with closing(Wire(settings)) as wire, closing(MembersLedger(settings, cluster, wire)) as ledger:
        ledger.take_over()


@pytest.mark.parametrize("work", [work_and_forget, hold_and_close, publish_and_close])
def test_what_is_closed_leaves_no_client(single, work):
    """A process that runs for months and begins anew after each failure keeps no producer of the last time."""
    cluster = Cluster(single.settings)
    work(single.settings, cluster)  # what is made once stays
    before = threads()
    for _ in range(3):
        work(single.settings, cluster)
    await_condition(lambda: threads() <= before, lambda: f"{threads()} threads, {before} before")


@pytest.mark.follows("hanging calls")
def test_a_replica_whose_calls_hang_is_started_again_under_its_name(single):
    """What it wrote in transactions that were never committed is aborted by that start, and written once."""
    single.send([*facts(3), *rejections(2)])
    replica = single.start("run", name="a", **adverse(calls_hang))
    require_row(failure(replica), "hanging calls")
    go_on(single, instance_id="a")
    assert single.require_right_outputs() == {"fact": 3, "contact_not_found": 2}
