"""Proves that each process tells how old the oldest thing is that it has not done yet, also before it did anything."""

import re
import time
from contextlib import closing

import pytest
from confluent_kafka import Producer

from deploy.local.servers import free_ports
from processor.codec.avro import codec
from processor.state.connection import connect
from processor.state.mirror import Mirror
from tests.support.audits import lineage_of
from tests.support.deployment import await_condition
from tests.support.health_answers import ask
from tests.support.redis_client import raw_client
from tests.support.traffic import created

GROWN_S = 3.0


@pytest.fixture
def port():
    """Give a free port for health."""
    return free_ports(1)[0]


def ages(port, name="order_facts_freshness_seconds"):
    """Give the samples of a metric that a process tells."""
    found = re.findall(rf"^{name}\S* (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
    return [float(value) for value in found]


def test_a_backlog_has_an_age_while_its_mirror_is_caught_up(single, port):
    """A replica starts behind, and its catch-up is held back: nothing of the backlog was read, and its age grows."""
    producer = Producer({"bootstrap.servers": single.settings.bootstrap_servers, "transactional.id": "somebody"})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(single.settings.facts_topic, b"never committed", b"x", partition=0)
    producer.flush()
    replica = single.replica("a")
    single.send([created("before")])
    replica.await_line("batch.committed")
    replica.stop()
    with closing(raw_client(single.settings)) as client:
        assert client.delete(Mirror(connect(single.settings), lineage_of(single.settings), codec()).key(0)) == 1
    single.send([created("after")])
    begun_s = time.time()
    replica = single.replica("b", http_port=port)
    replica.await_line("mirror.behind")
    await_condition(lambda: [age > GROWN_S for age in ages(port)] == [True], lambda: f"the ages are {ages(port)}")
    assert max(ages(port)) <= time.time() - begun_s
    (stats,) = replica.await_line("service.stats")
    assert (stats["lag_records"], stats["freshness_s"] > GROWN_S) == (1, True)
    assert replica.lines("partition.positioned") == []
    producer.abort_transaction()
    single.await_accounted()
    await_condition(lambda: ages(port) == [0], lambda: f"nothing waits, and the ages are {ages(port)}")
    replica.stop()
    single.require_right_outputs()


def test_lag_is_known_before_anything_was_committed_here(apart, port):
    """A replica starts behind, while the index is gone: all its partitions are owed each time that it looks."""
    index = apart.index()
    replica = apart.replica("a")
    apart.send([created(f"before{number}") for number in range(30)])
    apart.await_accounted()
    replica.stop()
    index.stop()
    with closing(raw_client(apart.settings)) as client:
        client.flushall()
    begun_s = time.time()
    apart.send([created(f"after{number}") for number in range(30)])
    replica = apart.replica("b", http_port=port)
    replica.await_line("service.waiting", waiting_for="contact_index")
    await_condition(lambda: len(ages(port)) == 3 and min(ages(port)) > GROWN_S, lambda: f"the ages are {ages(port)}")
    assert max(ages(port)) <= time.time() - begun_s
    (stats,) = replica.await_line("service.stats")
    assert (stats["lag_records"], stats["freshness_s"] > GROWN_S) == (30, True)
    apart.start("contacts", "index", name="index2")
    apart.await_accounted()
    await_condition(lambda: ages(port) == [0, 0, 0], lambda: f"nothing waits, and the ages are {ages(port)}")
    replica.stop()
    apart.require_right_outputs()


def test_index_and_healer_tell_the_age_of_what_they_have_not_done(apart, own_redis):
    """All is done: 0. Redis is away: the lines go on, and the age of what may wait grows. It is back: 0 again."""
    index = apart.index()
    healer = apart.start("rejected", "replay", "--follow", name="healer", http_port=0)
    for process, event in ((index, "contacts.stats"), (healer, "healer.stats")):
        process.await_line(event, freshness_s=0.0)
    apart.send([created("lost", phone="+888000009")])
    replica = apart.replica("a")
    apart.await_accounted()
    replica.stop()
    healer.await_line("healer.stats", waiting=1, freshness_s=0.0)
    own_redis.pause()
    for process, event in ((index, "contacts.stats"), (healer, "healer.stats")):
        await_condition(lambda p=process, e=event: p.lines(e)[-1]["freshness_s"] > GROWN_S, process.tail(event))
    assert index.lines("contacts.stats")[-1]["lag_records"] is None
    own_redis.resume()
    for process, event in ((index, "contacts.stats"), (healer, "healer.stats")):
        await_condition(lambda p=process, e=event: p.lines(e)[-1]["freshness_s"] == 0, process.tail(event))
        process.stop()
