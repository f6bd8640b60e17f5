"""Proves on three brokers what one cannot show: topics with three copies, and events after an unclean election.

A broker that lags behind becomes the leader of the events, and what only the dead leader had is lost.
"""

import json

import pytest
from confluent_kafka.admin import NewTopic
from msgspec.structs import replace

from deploy.local.kafka_cluster import KafkaCluster
from processor.codec.avro import codec
from processor.errors import RetryError
from tests.conftest import own_settings
from tests.support.deployment import Deployment, await_condition
from tests.support.refusals import REQUEST_S, facts, offsets, rejections
from tests.support.traffic import contacts
from tests.support.ways import go_on, stopped

KEPT, LOST = 3, 4


@pytest.fixture
def brokers(tmp_path):
    """Give the cluster."""
    cluster = KafkaCluster(tmp_path / "kafka")
    cluster.start()
    yield cluster
    cluster.kill()


@pytest.fixture
def deployment(services, tmp_path, brokers):
    """Give a deployment on it, without topics."""
    running = Deployment(replace(own_settings(services), bootstrap_servers=brokers.bootstrap_servers), tmp_path)
    yield running
    running.end()


def in_sync(deployment):
    """Give the brokers that have all events, the leader first; None while nobody says it."""
    try:
        (found,) = deployment.cluster._described([deployment.settings.events_topic]).values()
    except RetryError:
        return None
    (partition,) = found.partitions
    leader = partition.leader.id if partition.leader else None
    return leader, sorted(node.id for node in partition.isr)


def await_leader(deployment, leader, *nodes):
    """Wait until the events have this leader, and only these brokers are in sync."""
    wanted = (leader, sorted(nodes))
    await_condition(lambda: in_sync(deployment) == wanted, lambda: f"{in_sync(deployment)} becomes {wanted}")


def order_ids(deployment):
    """Give the ids of all facts, in the order of the topic."""
    return [
        codec().decode_fact(record.value).external_order_id
        for record in deployment.read(deployment.settings.facts_topic)
    ]


def create_events(deployment):
    """Create an events topic on the brokers 1 and 2, of which one alone may go on, whatever it lacks."""
    unsafe = {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}
    topic = NewTopic(deployment.settings.events_topic, 1, replica_assignment=[[1, 2]], config=unsafe)
    deployment.cluster.admin.create_topics([topic])[topic.topic].result(REQUEST_S)


@pytest.mark.follows("log end")
def test_events_lost_by_an_unclean_election(deployment, brokers):
    """The other topics have three copies, and lose nothing; of the events the lost ones keep their facts."""
    first, second, _ = brokers.brokers
    settings = deployment.settings
    create_events(deployment)
    own = (settings.contacts_topic, settings.facts_topic, settings.rejected_topic)
    others = (*own, settings.segment_members_topic, settings.healed_topic)
    created = deployment.command("topics", "create", partitions=1).stdout.splitlines()
    assert created == [f"{settings.events_topic}: exists, 1 partition"] + [
        f"{name}: created, 1 partition, replication factor 3" for name in others
    ]
    assert {deployment.cluster.topic_settings(name)["min.insync.replicas"] for name in others} == {"2"}
    deployment.send_contacts(contacts())
    deployment.index()
    deployment.send(facts(KEPT))
    await_leader(deployment, 1, 1, 2)
    second.kill()
    await_leader(deployment, 1, 1)
    deployment.send([*facts(LOST - 1, first=KEPT), *rejections(1)])
    before = deployment.read(settings.events_topic)
    go_on(deployment)
    first.kill()
    second.start()
    await_leader(deployment, 2, 2)
    line = stopped(deployment, "log end")
    assert f"the committed offset {KEPT + LOST} is beyond " in line
    stopped(deployment, "log end", "state", "recover")
    deployment.command("state", "recover", "--accept-loss")
    assert json.loads(offsets(deployment)[0][1])["earlier"]
    deployment.renew_producer()
    deployment.send(facts(LOST, first=100))
    go_on(deployment, KEPT + LOST + LOST)
    assert order_ids(deployment) == [f"f{number}" for number in (*range(KEPT + LOST - 1), *range(100, 100 + LOST))]
    rejected = deployment.read(settings.rejected_topic)
    assert [record.key for record in rejected] == [before[-1].key]
