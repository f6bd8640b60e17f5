"""Proves that no record stops a partition for its size: what the broker refuses whole is cut, the rest passes."""

import random

from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.support.audits import verified
from tests.support.inputs import UNDECODABLE
from tests.support.traffic import Sent, created, traffic

CUT_BYTES = 64 << 10


def limit_topic(deployment, topic, limit):
    """Set a topic's max.message.bytes."""
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    (future,) = deployment.cluster.admin.incremental_alter_configs([resource]).values()
    future.result()


def test_value_that_came_compressed_beyond_its_topics_limit_is_copied_whole(deployment):
    """An 8 MB value that came as a few KB of zstd leaves as it came, among good neighbours."""
    value = b"\xc3\x01" + b"x" * (8 << 20)
    producer = Producer(
        {
            "bootstrap.servers": deployment.settings.bootstrap_servers,
            "message.max.bytes": 1_000_000_000,
            "compression.type": "zstd",
        }
    )
    deployment.send(traffic(seed=50, count=50))
    producer.produce(deployment.settings.events_topic, value, b"o1", headers=[(UNDECODABLE, b"1"), ("trace", b"7")])
    assert producer.flush(30) == 0
    deployment.sent += 1
    deployment.send(traffic(seed=51, count=50))
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    reasons = deployment.require_right_outputs()
    assert reasons["oversized"] == 1
    copied = [r for r in deployment.read(deployment.settings.rejected_topic) if len(r.value) > 1 << 20]
    assert [record.value for record in copied] == [value]
    assert copied[0].headers[:2] == ((UNDECODABLE, b"1"), ("trace", b"7")), "original headers stay, in order"
    assert "truncated" not in dict(copied[0].headers)


def test_rejected_value_that_the_broker_refuses_is_cut(deployment):
    """A value beyond the rejected topic's limit keeps 64 KiB and says how long it was; smaller ones stay whole."""
    limit_topic(deployment, deployment.settings.rejected_topic, 300_000)
    noise = random.Random(1).randbytes(500_000)
    smaller = created("small", totalCost="no number", note="y" * 30_000)
    records = [smaller, created("good"), type(smaller)(b"big", noise, is_undecodable=True), smaller, created("good2")]
    deployment.send(records)
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    deployment.require_right_outputs()
    aborted = [line["error"] for line in replica.lines("batch.aborted")]
    assert aborted[0] == "1 rejected records are too large for the topic and will be cut"
    rejected = {record.key: record for record in deployment.read(deployment.settings.rejected_topic)}
    cut = rejected[b"big"]
    assert cut.value == noise[:CUT_BYTES]
    assert dict(cut.headers)["truncated"] == b"500000"
    assert len(rejected[b"small"].value) > 30_000
    assert "truncated" not in dict(rejected[b"small"].headers)


def test_record_is_cut_where_its_refusal_ends_the_writing_of_a_long_batch(deployment):
    """A refusal that comes while the batch is still being written: the client takes no more, and does not say why."""
    limit_topic(deployment, deployment.settings.rejected_topic, 300_000)
    big = Sent(b"big", random.Random(1).randbytes(400_000), is_undecodable=True)
    deployment.send([big, *[Sent(b"big", b"\xc3", is_undecodable=True)] * 30_000])
    replica = deployment.replica("a", max_batch=50_000)
    deployment.await_accounted()
    replica.stop()
    deployment.require_right_outputs()
    assert "1 rejected records are too large for the topic and will be cut" in {
        line["error"] for line in replica.lines("batch.aborted")
    }
    assert not replica.lines("producer.replaced"), "aborting is enough"


def test_outputs_that_cannot_be_cut_stop_the_replica(deployment):
    """A topic's limit that is lowered under a running replica: the line names the topic; raised again, it goes on."""
    note = random.Random(2).randbytes(9_000).hex()
    for topic, large in (
        (deployment.settings.facts_topic, created("large", note=note)),
        (deployment.settings.rejected_topic, created("large", totalCost="no number", note=note)),
    ):
        replica = deployment.replica("a")
        deployment.send([created("before")])
        deployment.await_accounted()
        limit_topic(deployment, topic, 5_000)
        deployment.send([*traffic(seed=61, count=200), large, *traffic(seed=62, count=200)])
        assert replica.await_end() == 1, replica.tail(topic)
        last = replica.log_path.read_text(encoding="utf-8").splitlines()[-1]
        assert f"the topic {topic} refuses an output for its size" in last
        limit_topic(deployment, topic, 1_000_000)
        again = deployment.replica("a")
        deployment.await_accounted()
        again.stop()
        deployment.require_right_outputs()


def test_cut_record_with_a_long_key_passes_the_audit(single):
    """The key is cut too, and long headers go: `verify` knows what is left of such an event."""
    limit_topic(single, single.settings.rejected_topic, 300_000)
    noise = random.Random(3)
    single.send([created("good"), Sent(noise.randbytes(100_000), noise.randbytes(300_000), is_undecodable=True)])
    replica = single.replica("a")
    single.await_accounted()
    replica.stop()
    (cut,) = single.read(single.settings.rejected_topic)
    assert (len(cut.key), len(cut.value)) == (CUT_BYTES, CUT_BYTES)
    assert verified(single, 0)[0] == {}
