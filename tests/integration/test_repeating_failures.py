"""Proves that no batch fails for ever: what cannot pass by itself stops with its record, and can be gone on from."""

import pytest

from tests.integration.test_refusals import failure
from tests.support.refusals import facts, rejections, set_policy
from tests.support.traffic import Sent, created


def go_on(deployment):
    """Start a replica again, and require that all that was sent comes out right."""
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    deployment.require_right_outputs()


@pytest.mark.follows("repeats")
@pytest.mark.runbook("OrderFactsAbortLoop", "batch.aborted")
def test_record_that_the_brokers_refuse_stops_with_its_place(single):
    """A rejected topic that is compacted while a replica runs refuses an event without a key: once for all.

    The batch is narrowed to that record, its neighbours are committed, and the line names it. With the topic's policy
    mended a start goes on there.
    """
    replica = single.replica("a")
    single.send(facts(3))
    single.await_accounted()
    set_policy(single, single.settings.rejected_topic, "compact")
    single.send(
        [*facts(10, first=3), *rejections(4), Sent(None, b"no event", is_undecodable=True), *facts(4, first=13)]
    )
    line = failure(replica)
    assert line.startswith(f"{single.settings.events_topic}[0]@17: ")
    assert "failed to validate record" in line
    assert "`order-facts check`" in line
    assert len(replica.lines("batch.aborted")) < 40
    assert len(single.read(single.settings.facts_topic)) == 13
    set_policy(single, single.settings.rejected_topic, "delete")
    go_on(single)


def test_small_producer_queue_is_waited_for(single):
    """A queue that holds less than a batch fails one batch; from then on the producer waits for room."""
    replica = single.replica("a", kafka={"queue.buffering.max.messages": 50})
    replica.await_line("partition.positioned")
    single.send([*facts(300), *rejections(300)])
    single.await_accounted()
    single.send(facts(300, first=300))
    single.await_accounted()
    replica.stop()
    assert len(replica.lines("batch.aborted")) <= 1, replica.tail("aborted again and again")
    single.require_right_outputs()


def test_record_that_no_producer_queue_takes_stops(single):
    """A fact that is larger than the whole queue: the line names its event and the property to raise."""
    replica = single.replica("a", kafka={"queue.buffering.max.kbytes": 4})
    single.send([*facts(6, first=1), created("large", note="x" * 6_000), *facts(1)])
    line = failure(replica)
    assert line.startswith(f"{single.settings.events_topic}[0]@6: ")
    assert "raise queue.buffering.max.kbytes in the setting kafka" in line
    go_on(single)
