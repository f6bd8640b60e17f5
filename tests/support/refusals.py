"""A command that refuses: its one line, its exit code, and proof that it wrote nothing."""

import json

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from msgspec.structs import replace
from redis import Redis

from processor.codec.avro import codec
from processor.codec.order_state import order_of, state_of
from processor.codec.packed_items import PackedItems
from processor.kafka.clients import transactional_producer
from processor.kafka.transactions import start_transactions
from processor.replica import startup
from processor.state.mirror import Mirror
from tests.support.deployment import await_condition
from tests.support.group_offsets import committed_offsets
from tests.support.redis_client import raw_client
from tests.support.traffic import CONTACTS, created

REQUEST_S = 30.0
MOST_PARTITIONS = 16  # no topic of the tests has more; a topic may be missing
PREFIX = "order-facts: "
NOBODY = f"+999{CONTACTS + 1:06}"


def refusal(done, code):
    """Give the one line with which a finished command refused, and require its exit code and no data."""
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not _is_log_line(line)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(PREFIX)
    return lines[0].removeprefix(PREFIX)


def refused_run(deployment, code=1, **changes):
    """Run a replica that must refuse and leave topics, offsets and mirrors as they were; give its line."""
    before = written(deployment)
    line = refusal(deployment.command("run", check=False, **changes), code)
    after = written(deployment)
    assert after == before, f"{after} after {before}"
    return line


def written(deployment):
    """Give what a replica could have written: the outputs' very ends, the group's offsets, the mirrors' watermarks."""
    settings = deployment.settings
    found = deployment.cluster.topics([settings.facts_topic, settings.rejected_topic])
    ends = {name: deployment.cluster.ends(name, range(t.partitions), committed=False) for name, t in found.items()}
    with Redis.from_url(settings.redis_url) as client:
        keys = [key for key in client.keys("order-facts:*") if b":contacts:" not in key]
        return ends, offsets(deployment), {key: client.hget(key, "") for key in keys}


def offsets(deployment):
    """Give the group's committed offsets: partition -> (offset, metadata)."""
    settings = deployment.settings
    return committed_offsets(settings, settings.group_id, settings.events_topic, range(MOST_PARTITIONS))


def set_offset(deployment, offset, metadata, partition=0):
    """Set a committed offset of the group, which must have no members, as an operator can."""
    entry = TopicPartition(deployment.settings.events_topic, partition, offset, metadata)
    asked = ConsumerGroupTopicPartitions(deployment.settings.group_id, [entry])
    (future,) = deployment.cluster.admin.alter_consumer_group_offsets([asked]).values()
    (changed,) = future.result(REQUEST_S).topic_partitions
    assert changed.error is None


def forget_offsets(deployment):
    """Delete the group's offsets, as Kafka does with those of a group that had no members for a week."""
    (future,) = deployment.cluster.admin.delete_consumer_groups([deployment.settings.group_id]).values()
    future.result(REQUEST_S)
    assert offsets(deployment) == {}


def forget_mirror(deployment, partition=0):
    """Remove a partition's mirror; it must have been there."""
    assert remove_mirror(deployment, partition)


def remove_mirror(deployment, partition=0):
    """Remove a partition's mirror; tell whether it was there."""
    found = startup.check(deployment.settings)
    with raw_client(deployment.settings) as client:
        return client.unlink(Mirror(found.redis, found.lineage, codec()).key(partition)) == 1


def spoil_items(deployment, order_id, partitions):
    """Put as many other bytes where an order's packed items stand in its mirror; the rest of it stays."""
    found = startup.check(deployment.settings)
    mirror, client = Mirror(found.redis, found.lineage, codec()), raw_client(deployment.settings)
    for key in map(mirror.key, range(partitions)):
        value = client.hget(key, order_id)
        if value is not None:
            assert isinstance(value, bytes)
            order = order_of(value)
            assert isinstance(order.items, PackedItems)
            spoilt = PackedItems(b"\xff" * len(order.items))
            client.hset(key, order_id, state_of(replace(order, items=spoilt)))
            return
    raise AssertionError(f"order {order_id} is in no mirror")


def set_policy(deployment, topic, policy):
    """Set a topic's cleanup.policy, as an operator can while replicas run."""
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    (future,) = deployment.cluster.admin.incremental_alter_configs([resource]).values()
    future.result(REQUEST_S)
    await_condition(lambda: deployment.cluster.topic_settings(topic)["cleanup.policy"] == policy, f"policy {policy}")


def delete_records(deployment, topic, before, partition=0):
    """Delete a partition's records below an offset, as retention does."""
    (future,) = deployment.cluster.admin.delete_records([TopicPartition(topic, partition, before)]).values()
    assert future.result(REQUEST_S).low_watermark == before


def delete_topic(deployment, name):
    """Delete a topic; it is gone when this returns."""
    deployment.cluster.admin.delete_topics([name])[name].result(REQUEST_S)
    await_condition(lambda: name not in deployment.cluster.topics([name]), f"{name} is gone")


def process(deployment, records):
    """Have a replica process records of a single partition, and stop."""
    deployment.send(records)
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    assert offsets(deployment)[0][0] == deployment.sent


def facts(count, first=0):
    """Give records that become facts."""
    return [created(f"f{first + number}") for number in range(count)]


def rejections(count):
    """Give records that nobody is found for."""
    return [created(f"r{number}", phone=NOBODY) for number in range(count)]


def in_transaction(settings):
    """Give a producer that has a transaction open, and so fences those before it."""
    producer = transactional_producer(settings, 1 << 20)
    start_transactions(producer, "in a test")
    producer.begin_transaction()
    return producer


def _is_log_line(line):
    try:
        return "event" in json.loads(line)
    except ValueError:
        return False
