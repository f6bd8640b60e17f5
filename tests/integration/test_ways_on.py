"""Follows stop lines as deploy/README.md says, from the line to a running program with nothing lost or doubled.

Each test names its rows of that table. Other rows are followed by the tests of their subjects.
"""

import json
import random
import time

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions
from msgspec.structs import replace
from redis import Redis

from processor.codec.avro import codec
from processor.codec.lineage import LINEAGE
from processor.codec.schemas import FRAMING
from processor.domain.instants import instant_text
from processor.replay.sweeps import Sweep
from tests.integration.test_refusals import failure
from tests.support.audits import lineage_of
from tests.support.commands import NOWHERE
from tests.support.deployment import await_condition, deployed
from tests.support.producing import quick_producer
from tests.support.refusals import (
    REQUEST_S,
    delete_records,
    delete_topic,
    facts,
    forget_mirror,
    forget_offsets,
    in_transaction,
    offsets,
    process,
    rejections,
    set_offset,
    set_policy,
)
from tests.support.replays import FOUND, Replays
from tests.support.traffic import Sent, created, event
from tests.support.ways import configure, go_on, renewed, require_row, stopped


@pytest.fixture
def events():
    """Give events of all that can become of them: facts and rejections."""
    return [*facts(3), *rejections(2)]


# --- services ------------------------------------------------------------------------------------------


@pytest.mark.follows("kafka away", "redis away")
def test_services_that_are_away(single, events):
    """With the addresses corrected it starts."""
    single.send(events)
    stopped(single, "kafka away", code=3, bootstrap_servers=NOWHERE, startup_timeout_s=0.4)
    stopped(single, "redis away", code=3, redis_url=f"redis://{NOWHERE}/0", startup_timeout_s=0.4)
    go_on(single)
    assert single.require_right_outputs() == {"fact": 3, "contact_not_found": 2}


@pytest.mark.follows("redis evicts", "redis refuses")
def test_a_redis_that_is_not_fit(apart, events):
    """With the policy set and the password given it starts."""
    apart.index().stop()
    apart.send(events)
    with Redis.from_url(apart.settings.redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        stopped(apart, "redis evicts")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("requirepass", "right")
        stopped(apart, "redis refuses")
        apart.settings = replace(apart.settings, redis_url=apart.settings.redis_url.replace("//", "//:right@"))
        go_on(apart)
        assert apart.require_right_outputs() == {"fact": 3, "contact_not_found": 2}


# --- topics --------------------------------------------------------------------------------------------


@pytest.mark.follows("topics missing", "partition counts")
def test_topics_that_are_missing_or_do_not_fit(single, events, create_topic):
    """`topics create` makes what is missing; before the first event an output that does not fit is recreated."""
    single.send(events)
    delete_topic(single, single.settings.facts_topic)
    stopped(single, "topics missing")
    create_topic(single.settings.facts_topic, 2, cleanup_policy="compact")
    stopped(single, "partition counts")
    delete_topic(single, single.settings.facts_topic)
    single.command("topics", "create")
    go_on(single)
    assert single.require_right_outputs() == {"fact": 3, "contact_not_found": 2}


@pytest.mark.follows("policy", "facts limit", "rejected limit", "deletions")
def test_topics_whose_settings_would_lose_something(single, events):
    """Each setting is named; corrected one by one, it starts."""
    own = single.settings
    single.send(events)
    _require_corrected(single, "policy", own.facts_topic, cleanup_policy=("delete", "compact"))
    _require_corrected(single, "policy", own.events_topic, cleanup_policy=("compact", "delete"))
    _require_corrected(single, "facts limit", own.facts_topic, max_message_bytes=("800000", "1048588"))
    _require_corrected(single, "rejected limit", own.rejected_topic, max_message_bytes=("200000", "1048588"))
    go_on(single)
    assert single.require_right_outputs() == {"fact": 3, "contact_not_found": 2}
    configure(single, own.contacts_topic, delete_retention_ms="1000")
    stopped(single, "deletions", "contacts", "index")
    configure(single, own.contacts_topic, delete_retention_ms="86400000")
    index = single.start("contacts", "index", name="index")
    index.await_line("contacts.started")
    index.stop()


def _require_corrected(deployment, row, topic, **change):
    ((name, (wrong, right)),) = change.items()
    configure(deployment, topic, **{name: wrong})
    stopped(deployment, row)
    configure(deployment, topic, **{name: right})


@pytest.mark.follows("recreated running")
def test_a_topic_that_is_recreated_under_a_replica(single, create_topic):
    """It is noticed when a partition is placed again; the start says what is lost, and goes on without it."""
    replica = single.replica("a")
    single.send(facts(2))
    single.await_accounted()
    delete_topic(single, single.settings.rejected_topic)
    create_topic(single.settings.rejected_topic, 1)
    forget_mirror(single)
    single.send([*facts(2, first=2), *rejections(1)])
    require_row(failure(replica), "recreated running")
    stopped(single, "another rejected topic")
    single.command("state", "recover", "--accept-loss")
    go_on(single)
    assert single.require_right_outputs() == {"fact": 4, "contact_not_found": 1}


@pytest.mark.follows("another rejected topic")
def test_another_rejected_topic(single, events, create_topic):
    """Named at the start, before anything is written to it; with the old one it goes on."""
    process(single, events)
    create_topic("another-rejected", 1)
    single.send(facts(2, first=3))
    line = stopped(single, "another rejected topic", rejected_topic="another-rejected")
    assert "in another topic than another-rejected (" in line
    assert single.read("another-rejected") == []
    stopped(single, "another rejected topic", "state", "recover", rejected_topic="another-rejected")
    go_on(single)
    assert single.require_right_outputs() == {"fact": 5, "contact_not_found": 2}


@pytest.mark.follows("limit lowered")
def test_an_output_limit_that_is_lowered_under_a_replica(single):
    """The fact that the topic refuses is committed once the limit is raised; nothing of its batch was before."""
    replica = single.replica("a")
    single.send(facts(2))
    single.await_accounted()
    configure(single, single.settings.facts_topic, max_message_bytes="2000")
    single.send([created("large", note=random.Random(1).randbytes(10_000).hex())])
    require_row(failure(replica), "limit lowered")
    configure(single, single.settings.facts_topic, max_message_bytes="1048588")
    go_on(single)
    assert single.require_right_outputs() == {"fact": 3}


# --- offsets -------------------------------------------------------------------------------------------


@pytest.mark.follows("open transaction", "skip without offsets")
def test_offsets_lost_after_a_crash(single, events):
    """While a dead replica's transaction is open the commands refuse; then offsets are set, and nothing is doubled."""
    process(single, events)
    forget_offsets(single)
    producer = in_transaction(replace(single.settings, instance_id="dead"))
    producer.produce(single.settings.facts_topic, b"open", b"key", 0)
    producer.flush(REQUEST_S)
    stopped(single, "open transaction", "state", "recover")
    producer.abort_transaction(REQUEST_S)
    stopped(single, "skip without offsets", "state", "skip", "--partition", "0", "--offset", "5")
    single.command("state", "recover")
    single.send(facts(2, first=3))
    go_on(single)
    assert single.require_right_outputs() == {"fact": 5, "contact_not_found": 2}


@pytest.mark.follows("skip below start")
def test_skip_below_the_start_of_the_topic(single, events):
    """The loss is accepted by `state recover`, which the line names; then the rest is processed."""
    process(single, events)
    single.send(facts(4, first=3))
    delete_records(single, single.settings.events_topic, 7)
    stopped(single, "skip below start", "state", "skip", "--partition", "0", "--offset", "5")
    single.command("state", "recover", "--accept-loss")
    go_on(single, 7)
    assert offsets(single)[0][0] == 9


# --- new outputs ---------------------------------------------------------------------------------------


def claim_more_facts(deployment, _create_topic):
    """Have the committed offset name facts that the brokers lost."""
    offset, metadata = offsets(deployment)[0]
    set_offset(deployment, offset, json.dumps(json.loads(metadata) | {"facts": 99}))


def delete_facts(deployment, _create_topic):
    """Delete facts, and lose the mirror."""
    topic = deployment.settings.facts_topic
    set_policy(deployment, topic, "delete")
    delete_records(deployment, topic, 2)
    set_policy(deployment, topic, "compact")
    forget_mirror(deployment)


def recreate_facts(deployment, create_topic):
    """Delete and recreate the facts topic."""
    delete_topic(deployment, deployment.settings.facts_topic)
    create_topic(deployment.settings.facts_topic, 1, cleanup_policy="compact")


def write_no_fact(deployment, _create_topic):
    """Write to the facts topic what is no fact, and lose the mirror."""
    producer = quick_producer(deployment.settings)
    producer.produce(deployment.settings.facts_topic, b"no fact", b"f0", 0)
    assert producer.flush(REQUEST_S) == 0
    forget_mirror(deployment)


def damage_fact(deployment, _create_topic):
    """Write a fact that cannot be read, then a good one, all of which the committed offset counts; lose the mirror."""
    last = deployment.read(deployment.settings.facts_topic)[-1]
    producer, topic = quick_producer(deployment.settings), deployment.settings.facts_topic
    headers = {LINEAGE: lineage_of(deployment.settings).digest().encode()}
    producer.produce(topic, FRAMING + last.value[len(FRAMING) : 10] + b"\xff\xff", b"f0", 0)
    producer.produce(topic, last.value, last.key, 0, headers=headers)
    assert producer.flush(REQUEST_S) == 0
    offset, metadata = offsets(deployment)[0]
    end = deployment.cluster.ends(topic, [0])[0]
    set_offset(deployment, offset, json.dumps(json.loads(metadata) | {"facts": end}))
    forget_mirror(deployment)
    deployment.send([Sent(b"f0", codec().encode_event(event("orderUpdated", "f0", storeId="S1")))])


DAMAGES = {
    "facts lost": claim_more_facts,
    "facts deleted": delete_facts,
    "another facts topic": recreate_facts,
    "no valid fact": write_no_fact,
    "damaged fact": damage_fact,
}


@pytest.mark.follows("facts lost", "facts deleted", "another facts topic", "no valid fact", "damaged fact")
@pytest.mark.parametrize("name", DAMAGES)
def test_what_new_outputs_mend(single, tmp_path, create_topic, events, name):
    """A new group with new outputs processes all events again, and its outputs are right."""
    process(single, events)
    DAMAGES[name](single, create_topic)
    stopped(single, name)
    folder = tmp_path / "renewed"
    folder.mkdir()
    with renewed(single, folder) as new:
        go_on(new)
        assert new.require_right_outputs().keys() == {"fact", "contact_not_found"}


# --- replays -------------------------------------------------------------------------------------------


@pytest.fixture
def replays(settings, tmp_path):
    """Give a deployment of which nothing runs, with a rejected record in each of its partitions."""
    with deployed(settings, tmp_path, kind=Replays) as running:
        running.reject([(FOUND, {})] * 3)
        yield running


@pytest.mark.follows("replay sinces", "replay metadata")
def test_what_stands_beside_the_replays_offsets(replays):
    """Too much, or another tool's: each is mended as said, and nothing is replayed twice."""
    topic_id = replays.cluster.topics([replays.settings.rejected_topic])[replays.settings.rejected_topic].topic_id
    hour_ms = 3_600_000
    now_ms = int(time.time() * 1000)
    replays.reject([(FOUND, {"rejected_ms": now_ms - 2 * hour_ms})])  # which --since leaves out
    many = [Sweep(1, 10**12 + number, 0) for number in range(196)]  # as much as fits
    _set_replayed(replays, 1, {"v": 1, "topic": topic_id, "swept": {FOUND: many}})
    stopped(
        replays, "replay sinces", "rejected", "replay", "--reason", FOUND, "--since", instant_text(now_ms - hour_ms)
    )
    assert replays.replay("--reason", FOUND)[0]["replayed"] == 4
    replays.reject([(FOUND, {})])
    _set_replayed(replays, 1, "not of this program")
    stopped(replays, "replay metadata", "rejected", "replay")
    _set_replayed(replays, 2, "")  # as kafka-consumer-groups does: those below count as replayed
    assert replays.replay()[0]["replayed"] == 1
    assert replays.replay()[0]["replayed"] == 0


def _set_replayed(replays, offset, metadata, partition=0):
    text = metadata if isinstance(metadata, str) else msgspec.json.encode(metadata).decode()
    entry = TopicPartition(replays.settings.rejected_topic, partition, offset, text)
    with replays.replay_reader() as consumer:
        consumer.commit(offsets=[entry], asynchronous=False)


@pytest.mark.follows("replay partitions", "replay too large")
def test_events_that_the_events_topic_does_not_take(replays):
    """Of a partition that is no more, or too large: once the topic takes them, all go back, each once."""
    topic = replays.settings.events_topic
    replays.reject([(FOUND, {"source": 3}), (FOUND, {"value": random.Random(1).randbytes(50_000)})])
    stopped(replays, "replay partitions", "rejected", "replay")
    replays.cluster.admin.create_partitions([NewPartitions(topic, 4)])[topic].result(REQUEST_S)
    await_condition(lambda: replays.cluster.topics([topic])[topic].partitions == 4, "the topic has grown")
    configure(replays, topic, max_message_bytes="20000")
    stopped(replays, "replay too large", "rejected", "replay")
    configure(replays, topic, max_message_bytes="1048588")
    assert replays.replay()[0]["replayed"] == 5
    assert replays.replay()[0]["replayed"] == 0
