"""Proves exactly-once under kills: each hits a named moment, the log says so, and the topics stay right.

Every test compares the whole content of the topics, and the mirror, with the reference fold.
"""

import re
import signal
import time

import pytest
from msgspec.structs import replace
from redis import Redis

from processor.codec.avro import codec
from processor.kafka.clients import transactional_producer
from tests.benchmarks.process import cpu_s
from tests.support import defective
from tests.support.deployment import await_condition, deployed
from tests.support.events import RIGHT_ITEM
from tests.support.refusals import forget_mirror, spoil_items
from tests.support.traffic import Sent, contacts, created, event, traffic

KILLED = -signal.SIGKILL


@pytest.mark.parametrize(
    "moment",
    ["before decode", "before commit", "after flush", "before end", "after commit", "before mirror", "after mirror"],
)
@pytest.mark.runbook("OrderFactsNoReplica")
def test_sigkill_at_a_step_and_restart_under_the_same_name(deployment, moment):
    """A replica killed at any moment of its third batch goes on where the ledger says, nothing lost or doubled."""
    deployment.send(traffic(seed=4, count=300))
    killed = deployment.sabotaged("a", moment, batch=3, signal_name="SIGKILL", max_batch=40)
    assert killed.await_end() == KILLED
    assert killed.lines("test.sabotage", moment=moment, batch=3)
    again = deployment.replica("a", max_batch=40)
    deployment.await_accounted()
    again.stop()
    deployment.require_right_outputs()
    is_behind = bool(again.lines("mirror.behind"))
    assert is_behind == (moment in {"after commit", "before mirror"}), "only a lost mirror write leaves it behind"


@pytest.mark.parametrize("moment", ["after flush", "before end", "after commit"])
@pytest.mark.runbook("predecessor.fenced")
def test_sigkill_and_take_over_by_another_replica(deployment, soon_gone, moment):
    """A killed replica's partitions go to another, which finishes its work; its open transaction is aborted."""
    deployment.send(traffic(seed=5, count=300))
    killed = deployment.sabotaged("a", moment, batch=2, signal_name="SIGKILL", max_batch=40, kafka=soon_gone)
    assert killed.await_end() == KILLED
    assert killed.lines("test.sabotage", moment=moment)
    other = deployment.replica("b", max_batch=40)
    deployment.await_accounted()
    other.stop()
    deployment.require_right_outputs()
    fenced = other.lines("predecessor.fenced", transactional_id=f"{deployment.settings.group_id}/a")
    assert len(fenced) == (moment != "after commit"), "only a transaction left open is ended for its owner"


@pytest.mark.parametrize("moment", ["before commit", "after flush", "before end", "after commit"])
@pytest.mark.runbook("producer.replaced", "mirror.not_written")
def test_zombie_writes_nothing(deployment, soon_gone, moment):
    """A replica stopped past its session, then continued, is refused by brokers and mirror, and goes on well."""
    deployment.send(traffic(seed=6, count=300))
    zombie = deployment.sabotaged("a", moment, batch=2, signal_name="SIGSTOP", max_batch=40, kafka=soon_gone)
    zombie.await_line("test.sabotage", moment=moment)
    other = deployment.replica("b", max_batch=40)
    deployment.await_accounted()
    deployment.require_right_outputs()
    zombie.signal(signal.SIGCONT)
    zombie.await_line("partition.revoked", lost=True)
    deployment.send(traffic(seed=7, count=300))
    deployment.await_accounted()
    other.stop()
    deployment.send(traffic(seed=8, count=100))
    deployment.await_accounted()
    zombie.stop()
    deployment.require_right_outputs()
    if moment in {"before commit", "after flush", "before end"}:
        assert zombie.lines("batch.aborted"), "the stopped batch must not have been committed"
    else:
        assert zombie.lines("mirror.not_written"), "the mirror must have refused the late write"


def test_rebalance_in_the_middle_of_a_batch_drops_it(deployment):
    """Records that were taken before another member joined are dropped and read again, each once (see `lingering`)."""
    deployment.send(traffic(seed=38, count=100))
    first = deployment.start("run", name="a", module="tests.support.lingering")
    first.await_line("test.lingering")
    second = deployment.replica("b")
    (dropped,) = first.await_line("batch.dropped")
    assert dropped["cause"] == "rebalance"
    assert dropped["records"] >= 1
    deployment.await_accounted()
    for replica in (first, second):
        replica.stop()
    deployment.require_right_outputs()


def test_replicas_join_and_leave_under_load(deployment):
    """Partitions go and come while batches of 20 are processed; nothing is lost, doubled or out of order."""
    first = deployment.replica("a", max_batch=20)
    names = iter("bcdefg")
    for round_number in range(3):
        deployment.send(traffic(seed=10 + round_number, count=400))
        guest = deployment.replica(next(names), max_batch=20)
        guest.await_line("partition.assigned")
        deployment.send(traffic(seed=20 + round_number, count=400))
        guest.await_line("batch.committed")
        guest.stop()
    deployment.await_accounted()
    first.stop()
    deployment.require_right_outputs()


def test_redis_flushed_while_running(deployment, redis_client, services):
    """A mirror that is gone is rebuilt from the facts, known orders stay known; orders wait for the index (C4)."""
    assert services.disposable, "this test destroys data"
    replica = deployment.replica("a", max_batch=50)
    deployment.send(traffic(seed=30, count=500))
    deployment.await_accounted()
    redis_client.flushall()
    deployment.send(traffic(seed=31, count=500))
    deployment.await_accounted()
    replica.stop()
    deployment.require_right_outputs()
    assert replica.lines("mirror.behind", missing=True)
    assert replica.lines("mirror.caught_up")


def test_items_that_cannot_be_read_take_the_mirror_with_them(deployment):
    """Items stay packed until an event has some that are as long; what is found then is rebuilt from the facts."""
    replica = deployment.replica("a", max_batch=50)
    deployment.send([created("spoilt", items=[RIGHT_ITEM]), created("other")])
    deployment.await_accounted()
    spoil_items(deployment, "spoilt", partitions=3)
    update = event("orderUpdated", "spoilt", items=[RIGHT_ITEM | {"quantity": 7}])
    deployment.send([Sent(b"spoilt", codec().encode_event(update))])
    deployment.await_accounted()
    replica.stop()
    assert replica.lines("mirror.behind", missing=True)
    deployment.require_right_outputs()


def test_orders_come_back_before_the_contact_index_does(apart, own_redis):
    """With mirror and index gone, the mirror is rebuilt while orders wait for the index, not after it."""
    index = apart.index()
    replica = apart.replica("a", max_batch=50)
    apart.send(traffic(seed=34, count=500))
    apart.await_accounted()
    index.stop()
    with Redis.from_url(own_redis.url) as client:
        client.flushall()
    apart.send(traffic(seed=35, count=500))
    replica.await_line("service.waiting", waiting_for="contact_index")
    rebuilt = replica.await_line("mirror.caught_up", count=3)
    assert {line["partition"] for line in rebuilt} == {0, 1, 2}
    assert len(replica.lines("mirror.behind", missing=True)) == 3, "none was begun anew"
    assert not replica.lines("service.resumed")
    apart.index()
    apart.await_accounted()
    replica.stop()
    apart.require_right_outputs()


def test_catch_up_that_must_wait_takes_no_core(apart):
    """Facts that another's open transaction holds back are awaited, with other partitions placed, at rest."""
    apart.index()
    replica = apart.replica("a", max_batch=50)
    replica.await_line("partition.positioned", count=3)
    settings = apart.settings
    patient = {"transaction.timeout.ms": 120_000}
    stranger = transactional_producer(replace(settings, instance_id="stranger", kafka=patient), 1 << 20)
    stranger.init_transactions(30)
    stranger.begin_transaction()
    stranger.produce(settings.facts_topic, b"never committed", b"nobody", 0)
    assert stranger.flush(30) == 0
    apart.send(traffic(seed=36, count=300))
    await_condition(
        lambda: sum(line["records"] for line in replica.lines("batch.committed")) == 300,
        lambda: replica.tail("not all are committed"),
    )
    forget_mirror(apart)
    apart.send(traffic(seed=37, count=30))
    replica.await_line("mirror.behind", partition=0)
    replica.await_line("partition.positioned", count=5)  # the two others, anew
    began, spent = time.monotonic(), cpu_s(replica.pid)
    await_condition(lambda: time.monotonic() - began > 2, "two seconds of waiting")
    busy = (cpu_s(replica.pid) - spent) / (time.monotonic() - began)
    assert busy < 0.5, f"{busy:.0%} of a core while a catch-up waits"
    assert not replica.lines("mirror.caught_up")
    stranger.abort_transaction(30)
    replica.await_line("mirror.caught_up", partition=0)
    apart.await_accounted()
    replica.stop()
    apart.require_right_outputs()


@pytest.mark.runbook("OrderFactsCatchUpLong")
def test_redis_killed_and_restarted_empty(apart, own_redis):
    """While Redis is away the replica waits in its group; it comes back empty, and all goes on from the ledger."""
    apart.index()
    replica = apart.replica("a", max_batch=50)
    apart.send(traffic(seed=32, count=500))
    apart.await_accounted()
    own_redis.kill()
    apart.send(traffic(seed=33, count=500))
    replica.await_line("service.waiting", waiting_for="redis")
    own_redis.start()
    apart.send_contacts(contacts()[:1])  # or the index would look whether it is there in ten seconds' time
    apart.await_accounted()
    replica.await_line("service.resumed")
    assert len(replica.lines("partition.assigned")) == 1, "it must have stayed in the group"
    replica.stop()
    apart.require_right_outputs()


def test_orders_wait_for_an_index_that_is_built_from_nothing(settings, tmp_path):
    """C4: with no contact index at all orders wait, however long; none becomes contact_not_found."""
    with deployed(settings, tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.send(traffic(seed=34, count=200))
        replica = deployment.replica("a")
        replica.await_line("service.waiting", count=3)
        assert deployment.read(settings.facts_topic) == deployment.read(settings.rejected_topic) == []
        deployment.index()
        deployment.await_accounted()
        replica.stop()
        deployment.require_right_outputs()


def test_left_over_records_of_a_spent_budget_come_next(deployment):
    """Many events too large for one batch's byte budget, with rebalances between, are cut into several, in order."""
    large = [created(f"big{number % 700}", note="x" * 30_000, step=number) for number in range(2_000)]
    deployment.send(traffic(seed=9, count=300))
    deployment.send(large[:1_000])
    first = deployment.replica("a")
    first.await_line("batch.committed")
    second = deployment.replica("b")
    deployment.send(large[1_000:1_500])
    second.await_line("partition.positioned")
    deployment.send(large[1_500:])
    second.await_line("batch.committed")
    second.stop()
    deployment.await_accounted()
    first.stop()
    deployment.require_right_outputs()
    committed = first.lines("batch.committed")
    assert max(line["input_bytes"] for line in committed) <= 17 << 20
    assert len(committed) > 3


def test_stop_for_good_gives_the_partitions_away_at_once(deployment):
    """Another replica has them within seconds, where the session of the one that left would last for a minute."""
    patient = {"session.timeout.ms": 60_000}
    first = deployment.replica("a", kafka=patient)
    first.await_line("partition.positioned", count=3)
    second = deployment.replica("b", kafka=patient)
    second.await_line("partition.positioned")
    assert positioned(second) < {0, 1, 2}, "the first one has a part"
    first.stop()
    await_condition(lambda: positioned(second) == {0, 1, 2}, lambda: second.tail("not given away"), patience_s=10)
    deployment.send(traffic(seed=40, count=100))
    deployment.await_accounted()
    second.stop()
    deployment.require_right_outputs()


def positioned(replica):
    """Give the partitions that a replica has begun to read."""
    return {line["partition"] for line in replica.lines("partition.positioned")}


def test_a_defect_stops_at_its_record_and_names_it(deployment):
    """An error that nobody foresaw: the log says which record, without its content; a mended program goes on there."""
    deployment.send(traffic(seed=41, count=50))
    deployment.send([created(defective.ORDER_ID), created("next")])
    stopped = deployment.start("run", name="a", module="tests.support.defective")
    assert stopped.await_end() == 1
    (line,) = stopped.lines("service.failed")
    assert re.fullmatch(
        r"a defect of this program, please report it: KeyError in defective\.py:\d+ < pipeline\.py:\d+.*"
        r", at events partition \d, offset \d+",
        line["error"],
    )
    assert defective.TEXT not in stopped.log_path.read_text(encoding="utf-8")
    deployment.replica("a").await_line("batch.committed")
    deployment.await_accounted()
    deployment.require_right_outputs()
