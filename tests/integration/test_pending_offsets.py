"""Proves that a transaction that somebody left open holds back its own partition only."""

from contextlib import closing

import pytest
from confluent_kafka import TopicPartition

from processor.kafka.clients import reader, transactional_id, transactional_producer
from tests.support.deployment import REQUEST_S, deployed
from tests.support.group_offsets import committed_offsets
from tests.support.traffic import contacts, traffic

BATCH_BYTES = 1_000_000


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment of two partitions, its index complete."""
    with deployed(settings, tmp_path, partitions=2) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


def producer_of(settings, name, **tuned):
    """Give a producer with a transactional id, which ends what another one with that id has under way."""
    producer = transactional_producer(settings, BATCH_BYTES, transactional_id(settings.group_id, name), **tuned)
    producer.init_transactions(REQUEST_S)
    return producer


def leave_open(settings, partition):
    """Give a producer with a transaction that commits again what the group committed of a partition, and stays open."""
    offsets = committed_offsets(settings, settings.group_id, settings.events_topic, [partition])
    entry = TopicPartition(settings.events_topic, partition, *offsets[partition])
    producer = producer_of(settings, "nobody", **{"transaction.timeout.ms": 300_000})
    with closing(reader(settings, **{"group.id": settings.group_id})) as member:
        producer.begin_transaction()
        producer.send_offsets_to_transaction([entry], member.consumer_group_metadata(), REQUEST_S)
    return producer


def test_a_replica_goes_on_with_its_own_partitions_while_another_is_pending(deployment):
    """A partition that it takes over stays pending, and it loses its producer: its own partition is placed anew."""
    kept = deployment.replica("a")
    kept.await_line("partition.positioned", count=2)
    gone = deployment.replica("b")
    pending = gone.await_line("partition.positioned")[0]["partition"]
    deployment.send(traffic(seed=91, count=200))
    deployment.await_accounted()
    producer = leave_open(deployment.settings, pending)
    gone.stop()
    kept.await_line("partition.pending", partitions=[pending])
    producer_of(deployment.settings, "a")
    before = deployment.cluster.ends(deployment.settings.events_topic, [0, 1])
    deployment.send(traffic(seed=92, count=200))
    after = deployment.cluster.ends(deployment.settings.events_topic, [0, 1])
    deployment.await_accounted(deployment.sent - (after[pending] - before[pending]))
    assert kept.lines("batch.aborted")
    producer.abort_transaction(REQUEST_S)
    deployment.await_accounted()
    kept.stop()
    deployment.require_right_outputs()
