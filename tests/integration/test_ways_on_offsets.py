"""Follows stop lines of offsets and topics that do not fit, to a running program with nothing lost or doubled."""

from contextlib import contextmanager

import pytest
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from tests.support.adverse import adverse, another_tool_sets_an_offset
from tests.support.deployment import deployed
from tests.support.producing import quick_producer
from tests.support.refusals import REQUEST_S, delete_topic, facts, forget_offsets, process, rejections
from tests.support.replays import FOUND, Replays
from tests.support.traffic import contacts
from tests.support.ways import go_on, renewed, require_row, stopped

WIDE = 300


@pytest.mark.follows("changed meanwhile")
def test_offsets_that_another_tool_sets_meanwhile(single):
    """What was set is read back: the command fails, and once nothing else sets offsets it does what it did not."""
    process(single, [*facts(3), *rejections(1)])
    forget_offsets(single)
    done = single.command("state", "recover", check=False, **adverse(another_tool_sets_an_offset))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert "offsets set in the group" not in done.stdout
    require_row(line, "changed meanwhile")
    assert "0 -> 4: " in single.command("state", "recover").stdout
    single.send(facts(2, first=3))
    go_on(single)
    assert single.require_right_outputs() == {"fact": 5, "contact_not_found": 1}


@pytest.mark.follows("recreated events")
def test_recover_where_the_events_topic_was_recreated(single, tmp_path, create_topic):
    """The outputs do not say whose they are, and no event is behind them: none counts for the events that are new."""
    single.send([*facts(2), *rejections(1)])
    older = single.start("run", name="older", module="tests.support.unmarked")
    single.await_accounted()
    older.stop()
    delete_topic(single, single.settings.events_topic)
    create_topic(single.settings.events_topic, 1)
    single.sent = 0
    single.renew_producer()
    single.send(facts(4, first=1))
    stopped(single, "unmarked outputs")
    stopped(single, "recreated events", "state", "recover", "--adopt-unmarked")
    folder = tmp_path / "renewed"
    folder.mkdir()
    with renewed(single, folder) as new:
        go_on(new)
        assert new.require_right_outputs() == {"fact": 4}


@contextmanager
def wide_topic(deployment, create_topic):
    """Give a contacts topic with many partitions; it goes, since each costs the tests' broker something."""
    name = f"wide-{deployment.settings.contacts_topic}"
    create_topic(name, WIDE, cleanup_policy="compact")
    try:
        yield name
    finally:
        delete_topic(deployment, name)


@pytest.mark.follows("contacts partitions")
def test_contacts_in_too_many_partitions(single, create_topic):
    """Copied to a topic with fewer they are indexed from there, and events are processed with them."""
    with wide_topic(single, create_topic) as wide:
        narrow = replace(single.settings, contacts_topic=f"narrow-{single.settings.facts_topic}")
        single.settings = replace(single.settings, contacts_topic=wide)
        single.send_contacts(contacts())
        single.send([*facts(2), *rejections(1)])
        stopped(single, "contacts partitions")
        stopped(single, "contacts partitions", "contacts", "index")
        create_topic(narrow.contacts_topic, 2, cleanup_policy="compact")
        copy(single, wide, narrow.contacts_topic)
    single.settings = narrow
    single.index()
    go_on(single)
    assert single.require_right_outputs() == {"fact": 2, "contact_not_found": 1}


def copy(deployment, source, target):
    """Copy a topic's records, as any copying tool does."""
    producer = quick_producer(deployment.settings)
    for record in deployment.read(source):
        producer.produce(target, record.value, record.key)
    assert producer.flush(REQUEST_S) == 0


@pytest.mark.follows("replay another topic")
def test_a_replay_whose_offsets_are_of_a_recreated_topic(settings, tmp_path, create_topic):
    """A backup brought them back: with them deleted all records of the new topic go back, each once, and no other."""
    with deployed(settings, tmp_path, kind=Replays) as replays:
        replays.reject([(FOUND, {})] * 3)
        assert replays.replay()[0]["replayed"] == 3
        before = replays.offsets()
        delete_topic(replays, settings.rejected_topic)
        create_topic(settings.rejected_topic, 3)
        replays.reject([(FOUND, {})] * 5)
        topic = settings.rejected_topic
        with replays.replay_reader() as consumer:
            entries = [TopicPartition(topic, partition, *stood) for partition, stood in before.items()]
            consumer.commit(offsets=entries, asynchronous=False)
        stopped(replays, "replay another topic", "rejected", "replay")
        (future,) = replays.cluster.admin.delete_consumer_groups([replays.replay_group]).values()
        future.result(REQUEST_S)
        assert replays.replay()[0]["replayed"] == 5
        assert replays.replay()[0]["replayed"] == 0
        assert replays.numbers() == {0: [0, 0, 3], 1: [1, 1, 4], 2: [2, 2]}
