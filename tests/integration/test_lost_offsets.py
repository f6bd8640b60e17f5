"""Proves that offsets and topics that do not fit each other are refused by one line that says how to go on.

Each refusal leaves topics, offsets and mirrors as they were.
"""

import json
import re

import pytest
from msgspec.structs import replace

from tests.support.audits import send_in_transaction
from tests.support.deployment import await_condition
from tests.support.refusals import (
    REQUEST_S,
    delete_records,
    facts,
    forget_mirror,
    forget_offsets,
    in_transaction,
    offsets,
    process,
    refused_run,
    rejections,
    set_offset,
    set_policy,
)


def test_lost_offsets_with_facts(single):
    """Where only facts tell of the past, the offset to restore is one above the last fact's source."""
    process(single, facts(5))
    forget_mirror(single)
    forget_offsets(single)
    line = refused_run(single)
    assert line.startswith(
        f"the group {single.settings.group_id} has no committed offset for {single.settings.events_topic}[0]"
    )
    assert offset_to_restore(line) == 5


def test_lost_offsets_with_rejected_records(single):
    """Where only rejected records tell of the past, the offset to restore is one above the last one's source."""
    process(single, rejections(4))
    forget_mirror(single)
    forget_offsets(single)
    assert offset_to_restore(refused_run(single)) == 4


def test_lost_offsets_with_the_mirror_only(single):
    """Where retention took the rejected records, the mirror still knows, and its watermark is named."""
    process(single, rejections(3))
    rejected = single.settings.rejected_topic
    delete_records(single, rejected, single.cluster.ends(rejected, [0])[0])
    forget_offsets(single)
    assert offset_to_restore(refused_run(single)) == 3


@pytest.mark.parametrize("last", [facts, rejections], ids=["fact last", "rejected last"])
def test_lost_offsets_name_the_highest_source(single, last):
    """Facts and rejected records together: the later of the two decides, over many transactions and their markers."""
    single.send([*facts(15, first=10), *rejections(20), *last(1)])
    replica = single.replica("a", max_batch=1)
    single.await_accounted()
    replica.stop()
    forget_mirror(single)
    forget_offsets(single)
    assert offset_to_restore(refused_run(single)) == 36


def test_events_lost_to_retention(single):
    """A committed offset that the topic no longer holds: how many events were lost, and between which offsets."""
    process(single, facts(3))
    single.send(facts(4, first=3))
    delete_records(single, single.settings.events_topic, 5)
    line = refused_run(single)
    assert line.startswith(
        f"{single.settings.events_topic}[0]: up to 2 events were lost to retention, from offset 3, "
        "the next to process, to 5, where the topic begins"
    )
    _, metadata = offsets(single)[0]
    set_offset(single, 5, metadata)
    replica = single.replica("b")
    single.await_accounted(5)
    replica.stop()


def test_events_that_expire_unread_where_there_were_none_before(single):
    """A group that started on an empty partition, and stopped: the first events expire, and a start says so."""
    replica = single.replica("a")
    await_condition(lambda: offsets(single), lambda: replica.tail("nothing is committed"))
    replica.stop()
    single.send(facts(3))
    delete_records(single, single.settings.events_topic, 2)
    line = refused_run(single)
    assert "up to 2 events were lost to retention, from offset 0" in line
    assert line.endswith("order-facts state recover --accept-loss")
    single.command("state", "recover", "--accept-loss")
    replica = single.replica("b")
    single.await_accounted(1)
    replica.stop()


def test_offsets_moved_back(single):
    """Moved back by an operator: both offsets are named, and set again as told the replica goes on."""
    process(single, facts(3))
    offset, metadata = offsets(single)[0]
    set_offset(single, 1, metadata)
    line = refused_run(single)
    assert "the committed offset 1 is below 3, up to which events were processed" in line
    assert "set it to 3 again" in line
    set_offset(single, offset, metadata)
    process(single, facts(2, first=3))
    assert single.require_right_outputs() == {"fact": 5}


@pytest.mark.follows("offsets moved forward")
@pytest.mark.parametrize("is_flushed", [False, True], ids=["with its mirror", "and Redis lost"])
def test_offsets_moved_forward_over_events(single, is_flushed):
    """Moved forward with its metadata, as a tool can: the first event left out is named, and nothing is skipped."""
    process(single, facts(3))
    _, metadata = offsets(single)[0]
    single.send([*facts(2, first=3), *rejections(1)])
    set_offset(single, 5, metadata)
    if is_flushed:
        forget_mirror(single)
    line = refused_run(single)
    assert "the committed offset 5 leaves out events from 3 on" in line
    assert line.endswith("set it to 3 again with `order-facts state recover`")
    assert "5 -> 3: it was moved forward" in single.command("state", "recover").stdout
    process(single, facts(1, first=5))
    assert single.require_right_outputs() == {"fact": 6, "contact_not_found": 1}


def test_offsets_moved_forward_beyond_the_end(single):
    """Moved beyond the end by an operator: both are named, and the way on skips nothing and doubles nothing."""
    process(single, facts(3))
    set_offset(single, 7, offsets(single)[0][1])
    single.send(facts(2, first=3))
    line = refused_run(single)
    assert "the committed offset 7 is beyond the topic's end 5" in line
    assert line.endswith("order-facts state recover --accept-loss")
    assert "7 -> 3: " in single.command("state", "recover", "--accept-loss").stdout
    process(single, facts(3, first=5))
    assert single.require_right_outputs() == {"fact": 8}


def test_offsets_with_unreadable_metadata(single):
    """An offset that another tool committed does not say where the facts end: refused, never guessed."""
    process(single, facts(2))
    for metadata in ("", "by hand", "{}"):
        set_offset(single, 2, metadata)
        line = refused_run(single)
        assert line.startswith(f"the committed offset of {single.settings.events_topic}[0] in group ")
        assert "was not written by this program (its metadata is unreadable)" in line


def test_offsets_of_another_version_of_this_program(single):
    """A format of the metadata that is not known is named, not misread."""
    process(single, facts(1))
    offset, metadata = offsets(single)[0]
    set_offset(single, offset, json.dumps(json.loads(metadata) | {"v": 99, "facts": "told otherwise"}))
    line = refused_run(single)
    assert "written by a newer version of this program (format 99, this one reads up to 3); run that version" in line
    refused = single.command("state", "recover", check=False)
    assert (refused.returncode, line in refused.stderr) == (1, True), "what is not understood is not overwritten"


def test_facts_beyond_the_end_of_their_topic(single):
    """Facts that a broker lost: what was committed and where the topic ends are named."""
    process(single, facts(2))
    offset, metadata = offsets(single)[0]
    end = single.cluster.ends(single.settings.facts_topic, [0], committed=False)[0]
    set_offset(single, offset, json.dumps(json.loads(metadata) | {"facts": end + 1}))
    line = refused_run(single)
    assert f"facts were committed up to offset {end + 1}, but the topic ends at {end}" in line


def test_deleted_facts_cannot_rebuild_a_mirror(single):
    """Where facts were deleted, a lost mirror cannot be rebuilt: refused. With the mirror there, work goes on."""
    process(single, facts(4))
    _delete_facts(single, before=2)
    replica = single.replica("a")
    single.send(facts(1, first=4))
    replica.await_line("batch.committed")
    replica.stop()
    forget_mirror(single)
    line = refused_run(single)
    assert "facts below offset 2 were deleted, so that the orders' state cannot be rebuilt" in line


@pytest.mark.parametrize("role", ["facts", "events"])
def test_topic_made_anew(single, create_topic, role):
    """A topic deleted and recreated under its name is another one: the group's past does not fit it."""
    process(single, facts(3))
    name = getattr(single.settings, f"{role}_topic")
    _remake(single, name, create_topic, **({"cleanup_policy": "compact"} if role == "facts" else {}))
    line = refused_run(single)
    if role == "facts":
        assert "belongs to another events or facts topic (a topic was deleted and recreated)" in line
        assert line.endswith("take a new group_id with a new facts_topic and rejected_topic")
    else:  # Kafka forgets a deleted topic's offsets
        assert "belongs to another group, or to an events topic that was deleted and recreated" in line
        single.send(facts(5, first=10))
        refused = single.command("state", "recover", check=False)
        assert refused.returncode == 1
        assert "belongs to another group" in refused.stderr


def test_aborted_transactions_are_no_past(single):
    """A fresh partition whose output topics hold aborted transactions only starts at its first event."""
    topics = (single.settings.facts_topic, single.settings.rejected_topic)
    _abort_transactions(replace(single.settings, instance_id="other"), topics, count=20)
    await_condition(
        lambda: all(single.cluster.ends(topic, [0])[0] == 40 for topic in topics), "all transactions have their marker"
    )
    process(single, facts(2))
    assert single.require_right_outputs() == {"fact": 2}


def offset_to_restore(line):
    """Give the offset that a refusal names."""
    (offset,) = re.findall(r"the offsets are lost; the offset to restore is (\d+)\b", line)
    return int(offset)


def _delete_facts(deployment, before):
    """Delete facts as only somebody can who changes the topic's policy: Kafka refuses it for a compacted one."""
    topic = deployment.settings.facts_topic
    set_policy(deployment, topic, "delete")
    delete_records(deployment, topic, before)
    set_policy(deployment, topic, "compact")


def _remake(deployment, name, create_topic, **config):
    """Delete a topic and make it anew."""
    deployment.cluster.admin.delete_topics([name])[name].result(REQUEST_S)
    await_condition(lambda: name not in deployment.cluster.topics([name]), f"{name} is gone")
    create_topic(name, 1, **config)


def _abort_transactions(settings, topics, count):
    """Write one record to each topic and abort, so many times."""
    for _ in range(count):
        producer = in_transaction(settings)
        for topic in topics:
            producer.produce(topic, b"aborted", b"key", 0)
        producer.flush(REQUEST_S)
        producer.abort_transaction(REQUEST_S)


def test_offsets_moved_back_while_the_mirror_is_gone(single):
    """D24: with no mirror to compare, the outputs tell that a committed offset is too low: nothing is done twice."""
    process(single, facts(5))
    ((_, metadata),) = offsets(single).values()
    set_offset(single, 2, metadata)
    forget_mirror(single)
    line = refused_run(single)
    assert "the committed offset 2 is below 5" in line
    assert "state recover" in line


def test_end_of_an_idle_partition_is_committed(deployment):
    """Events written in transactions: the markers behind them may go to retention, and nothing looks lost."""
    topic, partitions = deployment.settings.events_topic, range(3)
    replica = deployment.replica("a")
    send_in_transaction(deployment.settings, facts(30))
    ends = {}

    def are_written():  # a commit has returned before its markers stand in the partitions
        ends.update(deployment.cluster.ends(topic, partitions))
        return sum(ends.values()) == 30 + len(partitions)

    await_condition(are_written, lambda: f"30 events, and a marker in each partition, are not {ends}")
    await_condition(
        lambda: {number: offset for number, (offset, _) in offsets(deployment).items()} == ends,
        lambda: f"{offsets(deployment)} are not {ends}\n{replica.tail('replica')}",
    )
    deployment.sent += 30
    deployment.require_right_outputs()
    replica.stop()
    for partition in partitions:
        delete_records(deployment, topic, ends[partition], partition)
    again = deployment.replica("a")
    again.await_line("partition.positioned", count=len(partitions), mirror="equal")
    deployment.send(facts(6, first=30))
    deployment.await_accounted()
    again.stop()
    assert len(deployment.read(deployment.settings.facts_topic)) == 36
