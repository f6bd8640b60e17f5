"""Proves `state recover` over all combinations of offset, outputs and mirror at once: a partition for each.

Afterwards `run` starts, and the whole content of the topics is what the rules give: nothing skipped, nothing doubled.
"""

import itertools

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from msgspec.structs import replace
from redis import Redis

from processor.codec.avro import codec
from processor.replica import startup
from processor.state.mirror import Mirror
from processor.state.watermark import Watermark, metadata_text
from tests.support.deployment import Deployment, deployed
from tests.support.group_offsets import committed_offsets
from tests.support.producing import quick_producer
from tests.support.refusals import NOBODY, REQUEST_S, forget_offsets
from tests.support.traffic import created

UNMARKED, OURS = "unmarked", "ours"
OUTPUTS = [(), ["fact"], ["rejected"], ["fact", "rejected"]]
PAST = [(outputs, who) for outputs in OUTPUTS[1:] for who in (OURS, UNMARKED)]
COMBINATIONS = [
    *itertools.product(PAST, ["none", "low", "another tool's", "right"], ["missing", "older", "equal"]),
    *itertools.product([((), OURS)], ["none", "another tool's"], ["missing"]),
]
OTHERS: tuple[list[tuple[str, bytes]], ...] = ([("lineage", b"another")], [], [("source.topic", b"another")])


class Shared(Deployment):
    """A deployment in whose rejected topic others write too."""

    def read(self, topic):
        """Give the records of a topic that are not others'."""
        return [record for record in super().read(topic) if record.value != b"another's"]


@pytest.fixture
def deployment(settings, indexed, tmp_path):
    """Give a deployment with a partition for each combination, with a past as it says, its replicas stopped."""
    settings = replace(settings, contacts_topic=indexed.settings.contacts_topic)
    with deployed(settings, tmp_path, partitions=len(COMBINATIONS), kind=Shared) as running:
        for who, module in ((UNMARKED, "tests.support.unmarked"), (OURS, "processor")):
            past = [(p, outputs) for p, ((outputs, writer), _, _) in enumerate(COMBINATIONS) if writer == who]
            send(running, [(partition, output) for partition, outputs in past for output in outputs])
            replica = running.start("run", name="a", module=module)
            running.await_accounted()
            replica.stop()
        yield running


def send(deployment, kinds, name="first"):
    """Send events, each given by its partition and what it becomes."""
    producer = quick_producer(deployment.settings)
    for partition, kind in kinds:
        event = created(f"{name}{partition}", **({} if kind == "fact" else {"phone": NOBODY}))
        producer.produce(deployment.settings.events_topic, event.value, event.key, partition)
        deployment.sent += 1
    assert producer.flush(REQUEST_S) == 0


def write_others(deployment):
    """Write to the rejected topic what other shops and programs write there, after our own records."""
    producer = quick_producer(deployment.settings)
    topic = deployment.settings.rejected_topic
    source = [("source.topic", deployment.settings.events_topic.encode()), ("source.offset", b"999")]
    for partition in range(len(COMBINATIONS)):
        for headers in OTHERS:
            full = [*source, ("source.partition", b"%d" % partition), *headers] if headers else []
            producer.produce(topic, b"another's", b"k", partition, headers=full)
    assert producer.flush(REQUEST_S) == 0
    return len(OTHERS) * len(COMBINATIONS)


def damage(deployment):
    """Bring offsets and mirrors to what the combinations say; give the offsets as they were."""
    settings, found = deployment.settings, startup.check(deployment.settings)
    before = committed(deployment)
    forget_offsets(deployment)
    entries, mirror = [], Mirror(found.redis, found.lineage, codec())
    with Redis.from_url(settings.redis_url) as client:
        for partition, (_, offset, mark) in enumerate(COMBINATIONS):
            source, metadata = before.get(partition, (0, ""))
            low = metadata_text(Watermark(0, 0), found.lineage)
            chosen = {"low": (0, low), "another tool's": (1, "by hand"), "right": (source, metadata)}.get(offset)
            if chosen is not None:
                entries.append(TopicPartition(settings.events_topic, partition, *chosen))
            if mark != "equal":
                client.unlink(mirror.key(partition))
            if mark == "older":
                client.hset(mirror.key(partition), "", "0 0")
    (future,) = found.cluster.admin.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(settings.group_id, entries)]
    ).values()
    assert not any(entry.error for entry in future.result(REQUEST_S).topic_partitions)
    # Where nothing was processed, the topic's start may have been committed: a new start finds it by itself.
    return {partition: offset for partition, (offset, _) in before.items() if COMBINATIONS[partition][0][0]}


def committed(deployment):
    """Give the group's offsets with their metadata."""
    settings = deployment.settings
    return committed_offsets(settings, settings.group_id, settings.events_topic, range(len(COMBINATIONS)))


def test_after_recover_run_starts_and_nothing_is_skipped_or_doubled(deployment):
    """D24: whatever is left of offsets and mirror, and whoever else writes to the rejected topic."""
    others = write_others(deployment)
    expected = damage(deployment)
    damaged = committed(deployment)
    send(deployment, [(partition, "fact") for partition in range(len(COMBINATIONS))], name="second")
    refused = deployment.command("state", "recover", check=False)
    assert refused.returncode == 1
    assert "order-facts state recover --adopt-unmarked" in refused.stderr
    assert committed(deployment) == damaged
    planned = deployment.command("state", "recover", "--adopt-unmarked", "--dry-run").stdout
    assert planned.count("\n") == len(COMBINATIONS)
    assert committed(deployment) == damaged
    assert deployment.command("state", "recover", "--adopt-unmarked").stdout.startswith(planned)
    assert {partition: offset for partition, (offset, _) in committed(deployment).items()} == {
        partition: expected.get(partition, 0)
        for partition, ((outputs, _), offset, _) in enumerate(COMBINATIONS)
        if outputs or offset != "none"
    }
    assert "0 offsets set" in deployment.command("state", "recover", "--adopt-unmarked").stdout
    replica = deployment.replica("a")
    deployment.await_accounted(deployment.sent + others)
    replica.stop()
    deployment.require_right_outputs()
