"""Follows the procedures of deploy/RUNBOOK.md that no other test does: causes a fault, does what the text says."""

import json
import re
import resource
import signal
import time

import pytest
from msgspec.structs import replace
from redis import Redis

from deploy.local.servers import free_ports
from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from deploy.observability.alerts import RETENTION_S
from deploy.observability.panel import FRESH_WITHIN_S
from processor.codec.avro import codec
from processor.domain.records import Record
from tests.integration.test_segments_publish import LAMP
from tests.support.audits import produce
from tests.support.deployment import await_condition, deployed
from tests.support.healers import Healers
from tests.support.health_answers import ask
from tests.support.publishing import Shop
from tests.support.traffic import Sent, contacts, created
from tests.support.ways import configure

NOBODY = "+888000009"
HELD = 10  # records that the healer holds at most
DAY_S = 86_400


@pytest.fixture
def ports():
    """Give free ports for health."""
    return free_ports(2)


def ages(port):
    """Give the age of each partition that a replica tells of."""
    found = re.findall(r"^order_facts_freshness_seconds\S* (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
    return [float(age) for age in found]


def send_aged(deployment, names, age_s):
    """Send orders whose events have waited for so long already, in turn to each partition."""
    then_ms = round((time.time() - age_s) * 1000)
    partitions = deployment.cluster.topics([deployment.settings.events_topic])
    count = partitions[deployment.settings.events_topic].partitions
    orders = [created(name) for name in names]
    records = [Record(at % count, 0, then_ms, order.key, order.value) for at, order in enumerate(orders)]
    produce(deployment.settings, deployment.settings.events_topic, records)
    deployment.sent += len(records)


@pytest.mark.runbook("OrderFactsFreshnessLost", "OrderFactsFreshnessPoor")
def test_more_replicas_take_a_share_of_what_is_late(deployment, ports):
    """All partitions are late and commits go on: a second replica takes some of them, and then nothing is late."""
    first = deployment.replica("a", http_port=ports[0], max_batch=1)
    first.await_line("partition.positioned", 3)
    send_aged(deployment, [f"late{number}" for number in range(300)], 2 * FRESH_WITHIN_S)
    await_condition(lambda: ages(ports[0]) and min(ages(ports[0])) > FRESH_WITHIN_S, lambda: f"{ages(ports[0])}")
    first.await_line("batch.committed")
    second = deployment.replica("b", http_port=ports[1])
    second.await_line("partition.positioned")
    send_aged(deployment, [f"later{number}" for number in range(30)], 2 * FRESH_WITHIN_S)
    second.await_line("batch.committed")
    deployment.await_accounted()
    for port in ports:
        await_condition(lambda at=port: ages(at) and max(ages(at)) == 0, lambda at=port: f"{ages(at)}")
    deployment.require_right_outputs()


@pytest.mark.runbook("OrderFactsNearRetention")
def test_retention_is_raised_before_it_deletes_what_waits(apart, ports):
    """Events wait for the index, nearly as long as their topic keeps them; there is time then to find out why."""
    replica = apart.replica("a", http_port=ports[0])
    send_aged(apart, [f"old{number}" for number in range(9)], 6 * DAY_S)
    oldest_s = RETENTION_S * 7 / 10
    await_condition(lambda: ages(ports[0]) and max(ages(ports[0])) > 3, lambda: f"{ages(ports[0])}")
    configure(apart, apart.settings.events_topic, retention_ms="1209600000")
    replica.await_line("service.waiting", waiting_for="contact_index")
    apart.index()
    apart.await_accounted()
    (slow,) = [line for line in replica.await_line("batch.committed") if line["latency_max_s"] > oldest_s][:1]
    assert slow["latency_max_s"] < RETENTION_S
    await_condition(lambda: ages(ports[0]) == [0, 0, 0], lambda: f"{ages(ports[0])}")
    apart.require_right_outputs()


@pytest.mark.runbook("OrderFactsRedisNearlyFull")
def test_a_full_redis_gets_more_memory_and_then_a_larger_server(apart, own_redis, tmp_path):
    """Orders wait, and the line says why; they go on with more memory, and on another server, filled from the facts."""
    index = apart.index()
    replica = apart.replica("a")
    apart.send([created("before")])
    apart.await_accounted()
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory", "1mb")
        apart.send([created("meanwhile")])
        await_condition(
            lambda: any("maxmemory" in line.get("error", "") for line in replica.lines()), replica.tail("?")
        )
        client.config_set("maxmemory", "100mb")
    apart.await_accounted()
    for process in (replica, index):
        process.stop()
    larger = EmbeddedRedis(tmp_path / "larger")
    larger.start()
    try:
        apart.settings = replace(apart.settings, redis_url=larger.url)
        apart.start("contacts", "index", name="index2")
        apart.replica("a").await_line("mirror.caught_up")
        apart.send([created("after"), created("before")])
        apart.await_accounted()
        apart.require_right_outputs()
    finally:
        larger.kill()


@pytest.mark.runbook("OrderFactsNotAnswering", "OrderFactsLagWithoutCommits")
def test_a_replica_that_stands_still_is_killed_and_started_again(deployment, ports):
    """It is frozen, and answers nobody; under its old name it goes on, and nothing is lost or doubled."""
    frozen = deployment.replica("a", http_port=ports[0])
    deployment.send([created(f"before{number}") for number in range(30)])
    deployment.await_accounted()
    frozen.signal(signal.SIGSTOP)
    assert ask(ports[0], "/livez") == (0, "")
    deployment.send([created(f"meanwhile{number}") for number in range(30)])
    frozen.signal(signal.SIGKILL)
    deployment.replica("a", http_port=ports[0])
    deployment.await_accounted()
    deployment.require_right_outputs()


@pytest.mark.runbook("OrderFactsRejectedShare", "OrderFactsBreaker", "breaker.tripped")
def test_what_a_broken_producer_sent_is_sent_again_and_what_came_too_early_is_replayed(settings, tmp_path):
    """The breaker trips; the mended producer sends its events again, and a replay those whose contact came later."""
    with deployed(replace(settings, breaker_window=40), tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.index()
        orders = [created(f"broken{number}") for number in range(20)]
        early = [created(f"early{number}", phone=NOBODY) for number in range(20)]
        deployment.send([*(Sent(order.key, b"not an event", is_undecodable=True) for order in orders), *early])
        replica = deployment.replica("a")
        replica.await_line("breaker.tripped")
        deployment.await_accounted()
        shown = deployment.command("rejected", "show", "--reason", "undecodable").stdout.splitlines()
        assert len(shown) == len(orders)
        deployment.send(orders)
        deployment.send_contacts([{"contactId": "early", "phone": NOBODY}])
        _await_found(deployment, NOBODY)
        deployment.command("rejected", "replay", "--reason", "contact_not_found")
        deployment.sent += len(early)
        deployment.await_accounted()
        replica.stop()
        facts = {record.key for record in deployment.read(deployment.settings.facts_topic)}
        assert facts == {order.key for order in (*orders, *early)}


def _await_found(deployment, phone):
    asked = ("contacts", "find", f"phone={phone}")
    await_condition(lambda: deployment.command(*asked, check=False).returncode == 0, f"{phone} is in the index")


@pytest.mark.runbook("contacts.skipped")
def test_a_contact_that_was_skipped_is_sent_again(deployment):
    """Its record cannot be decoded, and the line names its place; sent again, it is found."""
    topic = deployment.settings.contacts_topic
    index = deployment.start("contacts", "index", name="index2")
    index.await_line("contacts.resumed")
    produce(deployment.settings, topic, [Record(1, 0, 0, b"new", b"no contact")])
    (line,) = index.await_line("contacts.skipped")
    (record,) = [one for one in deployment.read(topic) if one.value == b"no contact"]
    assert (line["records"], line["partition"], line["offset"]) == (1, record.partition, record.offset)
    assert deployment.command("contacts", "find", f"phone={NOBODY}", check=False).returncode == 1
    deployment.send_contacts([{"contactId": "new", "phone": NOBODY}])
    _await_found(deployment, NOBODY)


@pytest.mark.runbook("contacts.conflicting", "OrderFactsContactsConflicting")
def test_contacts_in_several_partitions_go_to_a_new_topic(deployment, create_topic):
    """A producer with another partitioner is noticed; index and replicas then use a topic in which each is once."""
    old, new = deployment.settings.contacts_topic, f"{deployment.settings.contacts_topic}-2"
    contact = {"contactId": "c1", "phone": NOBODY}
    value = codec().encode_contact(contact)
    index = deployment.start("contacts", "index", name="index2")
    index.await_line("contacts.resumed")
    produce(deployment.settings, old, [Record(number, 0, 0, b"c1", value) for number in range(3)])
    index.await_line("contacts.conflicting")
    create_topic(new, 3, cleanup_policy="compact")
    index.stop()
    deployment.settings = replace(deployment.settings, contacts_topic=new)
    deployment.send_contacts([*contacts(), contact])
    renewed = deployment.start("contacts", "index", name="index3")
    renewed.await_line("contacts.ready")
    deployment.send([created("late", phone=NOBODY)])
    replica = deployment.replica("a")
    deployment.await_accounted()
    assert renewed.lines("contacts.conflicting") == []
    replica.stop()
    deployment.require_right_outputs()


@pytest.mark.runbook("OrderFactsHealerLetGo", "healer.let_go")
def test_what_the_healer_let_go_is_sent_back_by_hand(settings, tmp_path):
    """More wait than it holds; once the contacts are there it sends back what it held, and a replay the others."""
    with deployed(settings, tmp_path, kind=Healers) as deployment:
        deployment.index()
        deployment.replica("a")
        orders = [created(f"o{number}") for number in range(3 * HELD)]
        deployment.send_own(orders)
        deployment.await_accounted()
        healer = deployment.small_healer(HELD)
        lines = healer.await_line("healer.let_go", most=HELD)
        let_go = sum(line["records"] for line in lines)
        assert let_go >= len(orders) - HELD
        healer.await_line("healer.ready")
        deployment.send_contacts(contacts())
        _await_found(deployment, "+999000001")
        await_condition(lambda: _sent_back(healer) == len(orders) - let_go, healer.tail("sends back"))
        replayed = deployment.command("rejected", "replay", "--reason", "contact_not_found").stdout
        assert json.loads(replayed)["replayed"] == let_go
        deployment.await_quiet(len(orders))
        assert deployment.orders().keys() == {order.key.decode() for order in orders}


def _sent_back(healer):
    return sum(line["records"] for line in healer.lines("healer.sent"))


@pytest.mark.runbook("segments.may_have_missed")
def test_deletions_that_a_publisher_may_have_missed_are_read_again(idle, tmp_path):
    """The contacts topic forgets deletions at once; with the time raised, a whole export makes up for it."""
    shop = Shop(idle, tmp_path).stock()
    topic = shop.settings.contacts_topic
    configure(idle, topic, delete_retention_ms="1")
    command = (*shop.arguments(shop.segment("lamp", LAMP)), "--every", "1s")
    publisher = idle.start(*command, name="publisher")
    publisher.await_line("segments.may_have_missed", topic=topic)
    publisher.stop()
    configure(idle, topic, delete_retention_ms="86400000")
    assert "may be missed" not in idle.command("facts", "export", str(shop.folder), "--full").stderr
    again = idle.start(*command, name="publisher2")
    again.await_line("segments.published", 2)
    assert again.lines("segments.may_have_missed") == []
    again.stop()


@pytest.mark.services
@pytest.mark.runbook("service.stop_forced")
def test_a_stop_that_a_service_holds_up_loses_nothing(settings, tmp_path):
    """The broker hangs while a replica leaves: it ends all the same, and goes on from there later."""
    kafka = EmbeddedKafka(tmp_path / "kafka")
    kafka.start()
    try:
        with deployed(replace(settings, bootstrap_servers=kafka.bootstrap_servers), tmp_path) as deployment:
            deployment.send_contacts(contacts())
            deployment.index()
            replica = deployment.replica("a")
            deployment.send([created(f"before{number}") for number in range(30)])
            deployment.await_accounted()
            kafka.pause()
            replica.signal(signal.SIGTERM)
            assert replica.await_end() == 0
            replica.await_line("service.stop_forced")
            kafka.resume()
            deployment.send([created(f"after{number}") for number in range(30)])
            deployment.replica("a")
            deployment.await_accounted()
            deployment.require_right_outputs()
    finally:
        kafka.kill()


@pytest.mark.runbook("OrderFactsLogLinesLost")
def test_lines_are_written_again_once_there_is_room(single, ports):
    """Nothing more may be written to its log, as on a full disk; once it may, a line says how many were lost."""
    replica = single.replica("a", http_port=ports[0])
    replica.await_line("partition.positioned")
    _, most = resource.prlimit(replica.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    lost = r"^order_facts_dropped_log_lines [1-9]"
    single.send([created("first")])
    await_condition(lambda: re.search(lost, ask(ports[0], "/metrics")[1], re.MULTILINE), "lines are lost")
    resource.prlimit(replica.pid, resource.RLIMIT_FSIZE, (most, most))
    single.send([created("second")])
    await_condition(lambda: any(line.get("dropped_lines", 0) > 0 for line in replica.lines()), replica.tail("lost"))
    single.await_accounted()
    single.require_right_outputs()
