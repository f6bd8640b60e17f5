"""Proves what operators are told: health by stopping each dependency, metrics, and the breaker's pause."""

import json
import math
import re
import signal
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from deploy.local.servers import GuardedProcess, free_ports
from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from tests.support.deployment import PROJECT, PYTHON, await_condition, deployed
from tests.support.health_answers import ask
from tests.support.traffic import Sent, contacts, created, traffic

GROWN_S = 10.0  # more than a session, with which the partitions are lost


def counter(body, name):
    """Give the sum of a metric's samples in an exposition."""
    return sum(float(line.split()[-1]) for line in body.splitlines() if line.startswith(name))


def lag(port):
    """Give the lag that a replica tells."""
    return counter(ask(port, "/metrics")[1], "order_facts_lag_records")


def freshness(port):
    """Give the greatest age that a replica tells of events that are not committed."""
    ages = re.findall(r"^order_facts_freshness_seconds\S* (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
    return max(map(float, ages), default=math.nan)


@pytest.fixture
def port():
    """Give a free port for health."""
    return free_ports(1)[0]


@pytest.mark.runbook("OrderFactsWaiting", "service.waiting")
def test_ready_follows_each_dependency_and_live_does_not(settings, tmp_path, port):
    """Redis, then Kafka is stopped under a replica: it is not ready, says why, stays alive, and comes back.

    Meanwhile the lag is what waits, or unknown: never what it was before. The age of what waits grows, and of what may.
    """
    redis, kafka = EmbeddedRedis(tmp_path / "redis"), EmbeddedKafka(tmp_path / "kafka")
    redis.start()
    kafka.start()
    try:
        own = replace(settings, redis_url=redis.url, bootstrap_servers=kafka.bootstrap_servers, http_port=port)
        with deployed(own, tmp_path) as deployment:
            deployment.send_contacts(contacts())
            replica = deployment.replica("a")
            await_condition(lambda: "contact_index" in ask(port, "/readyz")[1], "not ready without an index")
            deployment.start("contacts", "index", name="index", http_port=0)
            await_condition(lambda: ask(port, "/readyz") == (200, "ok\n"), lambda: ask(port, "/readyz"))
            for server, name in ((redis, "redis"), (kafka, "kafka")):
                server.pause()
                await_condition(lambda name=name: f"waiting for {name}" in ask(port, "/readyz")[1], name)
                assert ask(port, "/readyz")[0] == 503
                assert ask(port, "/livez") == (200, "ok\n")
                if server is redis:
                    deployment.send(traffic(seed=59, count=5))
                    await_condition(lambda: lag(port) == 5, lambda: f"the lag counts on, and is {lag(port)}")
                else:
                    await_condition(lambda: math.isnan(lag(port)), lambda: f"the lag is unknown, and not {lag(port)}")
                await_condition(lambda: freshness(port) > GROWN_S, lambda: f"the age grows, and is {freshness(port)}")
                server.resume()
                await_condition(lambda: ask(port, "/readyz")[0] == 200, lambda: ask(port, "/readyz"))
                await_condition(lambda: lag(port) == 0, lambda: f"nothing is left, and the lag is {lag(port)}")
                await_condition(lambda: freshness(port) == 0, lambda: f"the age is {freshness(port)}")
            deployment.send(traffic(seed=60, count=100))
            deployment.await_accounted()
            replica.stop()
            deployment.require_right_outputs()
            assert ask(port, "/livez") == (0, "")
            assert max(line["freshness_s"] or 0 for line in replica.lines("service.stats")) > GROWN_S / 2
    finally:
        kafka.stop()
        redis.stop()


def test_metrics_count_what_the_topics_hold(settings, tmp_path, port):
    """The counters by outcome and reason add up to the input, as the topics do."""
    with deployed(replace(settings, http_port=port), tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.start("contacts", "index", name="index", http_port=0).await_line("contacts.ready")
        deployment.send(traffic(seed=61, count=300))
        replica = deployment.replica("a")
        deployment.await_accounted()
        replica.await_line("batch.committed")
        reasons = deployment.require_right_outputs()
        await_condition(lambda: counter(ask(port, "/metrics")[1], "order_facts_events_total") == 300, "all counted")
        body = ask(port, "/metrics")[1]
        assert counter(body, 'order_facts_events_total{outcome="fact"}') == reasons["fact"]
        for reason, count in reasons.items():
            if reason != "fact":
                assert counter(body, f'order_facts_rejected_total{{reason="{reason}"}}') == count
        assert counter(body, "order_facts_step_seconds_count") == 6 * counter(body, "order_facts_batches_total")
        lines = replica.lines("batch.committed")
        assert counter(body, "order_facts_latency_seconds_count") == sum(len(line["partitions"]) for line in lines)
        assert counter(body, "order_facts_latency_seconds_sum") >= max(line["latency_max_s"] for line in lines) > 0
        assert counter(body, "order_facts_last_commit_timestamp_seconds") > time.time() - 60
        assert counter(body, 'order_facts_rebalances_total{change="assigned"}') == 1
        await_condition(lambda: counter(ask(port, "/metrics")[1], "order_facts_partition_lag_records{") == 0, "no lag")
        assert ask(port, "/nowhere")[0] == 404
        replica.stop()


@pytest.mark.runbook("OrderFactsStalled", "partition.stalled")
def test_partition_that_is_placed_and_gives_nothing_is_placed_again(settings, tmp_path, port):
    """The client stops to read one: the lag shows it, the replica is not ready, says which, and reads it again."""
    with deployed(replace(settings, http_port=port), tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.start("contacts", "index", name="index", http_port=0).await_line("contacts.ready")
        deployment.send(traffic(seed=62, count=100))
        replica = deployment.pausing("a", "after mirror", 1, partition=1, max_batch=20)
        replica.await_line("test.sabotage")
        deployment.send(traffic(seed=63, count=100))
        await_condition(lambda: lag(port) > 0, "the lag counts what is not read")
        await_condition(lambda: ask(port, "/readyz")[0] == 503, "not ready")
        (stalled,) = replica.await_line("partition.stalled")
        assert stalled["partition"] == 1
        assert stalled["offset"] < stalled["end_offset"]
        deployment.await_accounted()
        await_condition(lambda: ask(port, "/readyz") == (200, "ok\n"), lambda: ask(port, "/readyz"))
        await_condition(lambda: lag(port) == 0, lambda: f"nothing is left, and the lag is {lag(port)}")
        assert counter(ask(port, "/metrics")[1], "order_facts_stalled_partitions_total") == 1
        assert len(replica.lines("partition.stalled")) == 1
        assert replica.lines("batch.aborted") == []
        replica.stop()
        deployment.require_right_outputs()


@pytest.mark.parametrize("resumes", ["by itself", "by a signal"])
@pytest.mark.runbook("breaker.paused")
def test_breaker_pauses_in_the_group_and_goes_on(settings, tmp_path, port, resumes):
    """A run of broken events pauses consumption; the group stays, health says so; then everything is accounted for."""
    own = replace(
        settings,
        http_port=port,
        breaker_window=40,
        breaker_action="pause",
        breaker_pause_s=3.0 if resumes == "by itself" else 0.0,
        max_batch=20,
    )
    with deployed(own, tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.start("contacts", "index", name="index", http_port=0).await_line("contacts.ready")
        broken = [Sent(b"o1", b"not an event", is_undecodable=True)] * 30
        deployment.send([*(created(f"a{n}") for n in range(30)), *broken, *(created(f"b{n}") for n in range(30))])
        replica = deployment.replica("a")
        (paused, *_) = replica.await_line("breaker.paused")
        assert "invalid events" in paused["cause"]
        await_condition(lambda: "waiting for breaker" in ask(port, "/readyz")[1], "not ready while paused")
        assert ask(port, "/livez")[0] == 200
        if resumes == "by a signal":
            assert not replica.lines("service.resumed", waiting_for="breaker")
            replica.signal(signal.SIGUSR1)
        (resumed, *_) = replica.await_line("service.resumed", waiting_for="breaker")
        assert resumed["waited_ms"] >= own.breaker_pause_s * 1000
        before, meanwhile = batches_before_and_within_the_pause(replica)
        assert sum(line["records"] for line in before) < deployment.sent, "it pauses before the end"
        assert meanwhile == []
        deployment.await_accounted()
        assert len(replica.lines("partition.assigned")) == 1, "it must have stayed in the group"
        assert replica.lines("partition.revoked") == []
        replica.stop()
        deployment.require_right_outputs()


def batches_before_and_within_the_pause(replica):
    """Give the batches that a replica logged up to the breaker's first pause, and until it went on."""
    lines = replica.lines()
    events = [line["event"] for line in lines]
    paused = events.index("breaker.paused")
    resumed = events.index("service.resumed", paused)
    committed = [(at, line) for at, line in enumerate(lines) if line["event"] == "batch.committed"]
    return [line for at, line in committed if at < paused], [line for at, line in committed if paused < at < resumed]


def test_breaker_only_warns_by_default(settings, tmp_path):
    """With the default action a broken producer is a warning, and nothing stops."""
    with deployed(replace(settings, breaker_window=40), tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.index()
        deployment.send([Sent(b"o1", b"not an event", is_undecodable=True)] * 30 + [created("good")])
        replica = deployment.replica("a")
        deployment.await_accounted()
        replica.await_line("breaker.tripped")
        replica.stop()
        deployment.require_right_outputs()


def test_log_that_cannot_be_written_stops_nothing(single, port):
    """Standard error on a full disk: events go on, and the metric counts the lines that were lost."""
    environment = single.environment(http_port=port)
    replica = GuardedProcess((*PYTHON, "processor", "run"), PROJECT, Path("/dev/full"), environment=environment)
    try:
        single.send([created(f"f{number}") for number in range(20)])
        single.await_accounted()
        found = re.search(r"^order_facts_dropped_log_lines ([0-9.]+)$", ask(port, "/metrics")[1], re.MULTILINE)
        assert found is not None
        assert float(found[1]) > 0
        replica.send(signal.SIGTERM)
        assert replica.wait(60)
        assert replica.exit_code() == 0
    finally:
        replica.send(signal.SIGKILL)
    single.require_right_outputs()


@pytest.mark.runbook("OrderFactsContactIndexStale", "contacts.stale")
def test_an_index_that_nobody_keeps_is_known_everywhere(settings, tmp_path, port):
    """One warning line, health, the metric and `check` say so while orders go on; a new `contacts index` ends it.

    What was rejected meanwhile because its contact is new goes back then.
    """
    with deployed(settings, tmp_path, partitions=1) as deployment:
        deployment.send_contacts(contacts())
        index = deployment.index()
        replica = deployment.replica("a", http_port=port, contacts_max_age_s=10.0)
        deployment.send([created("before")])
        deployment.await_accounted()
        await_condition(lambda: ask(port, "/readyz") == (200, "ok\n"), lambda: ask(port, "/readyz"))
        assert "as of" in deployment.command("check").stdout
        index.signal(signal.SIGKILL)
        replica.await_line("contacts.stale", max_age_s=10.0)
        deployment.send_contacts([{"contactId": "new", "phone": "+888000009"}])
        deployment.send([created("meanwhile"), created("of a new contact", phone="+888000009")])
        deployment.await_accounted()
        status, line = ask(port, "/readyz")
        assert (status, "`order-facts contacts index`" in line) == (503, True)
        checked = deployment.command("check", check=False, contacts_max_age_s=10.0)
        assert checked.returncode == 1
        assert checked.stdout.splitlines()[-1].startswith("problem  the contact index is ")
        assert counter(ask(port, "/metrics")[1], "order_facts_contacts_age_seconds") > 10
        deployment.start("contacts", "index", name="index2")
        replica.await_line("contacts.fresh")
        await_condition(lambda: ask(port, "/readyz") == (200, "ok\n"), lambda: ask(port, "/readyz"))
        assert len(replica.lines("contacts.stale")) == 1
        replayed = deployment.command("rejected", "replay", "--reason", "contact_not_found").stdout
        assert json.loads(replayed)["replayed"] == 1
        await_condition(
            lambda: len(deployment.read(deployment.settings.facts_topic)) == 3, replica.tail("no third fact")
        )
        replica.await_line("service.stats")
        assert replica.lines("service.stats")[-1]["contacts_age_s"] is not None
        replica.stop()
