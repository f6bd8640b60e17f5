"""Proves that a mirror's mark is believed only if outputs support it: one that is too high loses no event.

Such a mark can be read. It comes from damage, or from a Redis that is newer than a Kafka restored from a copy.
"""

import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.replica import startup
from processor.state.mirror import Mirror
from tests.support.audits import send_in_transaction
from tests.support.deployment import await_condition, deployed
from tests.support.producing import quick_producer
from tests.support.redis_client import raw_client
from tests.support.refusals import (
    REQUEST_S,
    delete_records,
    facts,
    forget_offsets,
    in_transaction,
    offsets,
    process,
    refused_run,
    rejections,
    set_offset,
)

# By what a partition's mark is raised: the source offset, the facts offset; and why it is not believed.
RAISED = [
    (2, 0, "is beyond the event at offset 3, which has no output"),
    (0, 1, "is beyond the last fact"),
    (99, 0, "is beyond the ends of the topics, "),
    (0, 99, "is beyond the ends of the topics, "),
]


def send(deployment, records):
    """Send the same records to every partition."""
    producer = quick_producer(deployment.settings)
    for partition in range(len(RAISED)):
        for record in records:
            producer.produce(deployment.settings.events_topic, record.value, record.key, partition)
            deployment.sent += 1
    assert producer.flush(REQUEST_S) == 0


def go_on(deployment):
    """Start a replica, await all outputs, and require that they are right."""
    replica = deployment.replica("b")
    replica.await_line("partition.positioned")
    deployment.await_accounted()
    replica.stop()
    return replica, deployment.require_right_outputs()


@pytest.fixture
def raised(settings, indexed, tmp_path):
    """Give a deployment whose marks are all too high, with events that wait; its replica stopped."""
    settings = replace(settings, contacts_topic=indexed.settings.contacts_topic)
    with deployed(settings, tmp_path, partitions=len(RAISED)) as running:
        send(running, [*facts(2), *rejections(1)])
        replica = running.replica("a")
        running.await_accounted()
        replica.stop()
        send(running, facts(4, first=2))
        found = startup.check(settings)
        mirror, client = Mirror(found.redis, found.lineage, codec()), raw_client(settings)
        for partition, mark in mirror.marks(range(len(RAISED))).items():
            source, facts_offset, _ = RAISED[partition]
            assert mark.watermark is not None
            now = f"{mark.watermark.source + source} {mark.watermark.facts + facts_offset}"
            client.hset(mirror.key(partition), "", now)
        yield running


def test_a_mark_that_is_too_high_is_removed_and_no_event_is_lost(raised):
    """The replica rebuilds such a mirror by itself, and goes on at the committed offset."""
    replica, reasons = go_on(raised)
    assert reasons == {"fact": 6 * len(RAISED), "contact_not_found": len(RAISED)}
    for partition, (_, _, problem) in enumerate(RAISED):
        (line,) = replica.lines("mirror.damaged", partition=partition)
        assert problem in line["problem"], line


def test_recover_does_not_follow_a_mark_that_is_too_high(raised):
    """With the offsets lost as well, they are set by the outputs, and the plan says why not by the mirror."""
    forget_offsets(raised)
    done = raised.command("state", "recover")
    for line, (_, _, problem) in zip(done.stdout.splitlines(), RAISED, strict=False):
        assert ": none -> 3: there was no offset; one above the last event with an output; the mirror is not " in line
        assert problem in line
    _, reasons = go_on(raised)
    assert reasons == {"fact": 6 * len(RAISED), "contact_not_found": len(RAISED)}


@pytest.mark.follows("offsets moved back")
def test_a_mark_above_outputs_that_were_removed_is_believed(single):
    """Where retention took the rejected records, only the mirror knows of them: they are not written again."""
    process(single, [*facts(2), *rejections(3)])
    rejected = single.settings.rejected_topic
    delete_records(single, rejected, single.cluster.ends(rejected, [0])[0])
    _, metadata = offsets(single)[0]
    set_offset(single, 2, metadata)
    assert "set it to 5 again" in refused_run(single)
    done = single.command("state", "recover")
    assert "2 -> 5: it was too low; by the mirror, since outputs were removed" in done.stdout
    single.send(facts(1, first=2))
    replica = single.replica("b")
    single.await_accounted(3)
    replica.stop()
    assert single.read(rejected) == []


def test_a_mark_above_what_an_open_transaction_may_hide_is_believed(single):
    """Facts may stand behind a dead replica's open transaction, unread: until it ends, the mirror is not removed."""
    producer = in_transaction(replace(single.settings, instance_id="dead"))
    producer.produce(single.settings.facts_topic, b"open", b"key", 0)
    producer.flush(REQUEST_S)
    single.send(facts(3))
    replica = single.replica("a")
    await_condition(lambda: offsets(single).get(0, (0, ""))[0] == 3, lambda: replica.tail("commits nothing"))
    replica.stop()
    set_offset(single, 1, offsets(single)[0][1])
    assert "the committed offset 1 is below 3" in refused_run(single)
    producer.abort_transaction(REQUEST_S)


def test_a_mark_above_markers_only_is_believed(single):
    """Behind the last event there may be only markers of transactions, which leave no output."""
    replica = single.replica("a")
    send_in_transaction(single.settings, facts(3))
    single.sent += 3
    await_condition(lambda: offsets(single).get(0, (0, ""))[0] == 4, lambda: f"{offsets(single)}")
    replica.stop()
    forget_offsets(single)
    assert "none -> 4: there was no offset" in single.command("state", "recover").stdout
    assert go_on(single)[1] == {"fact": 3}
