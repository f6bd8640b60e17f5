"""Proves what `verify` says of a widened deployment where retention, late events or other contacts came between."""

from contextlib import contextmanager

import pytest
from confluent_kafka.admin import NewPartitions

from processor.audit import reading
from processor.audit.across import Across, Former
from processor.audit.findings import Findings
from processor.codec.avro import codec
from tests.support.audits import verified
from tests.support.deployment import await_condition, deployed
from tests.support.producing import quick_producer
from tests.support.refusals import REQUEST_S, delete_records, in_transaction
from tests.support.traffic import Sent, contacts, created, event, traffic
from tests.support.widenings import MORE, NOW_MS, Widening


@pytest.fixture
def former(settings, tmp_path):
    """Give a deployment with contacts and their index, without events."""
    with deployed(settings, tmp_path, kind=Widening) as running:
        running.send_contacts(contacts())
        running.contacts_index = running.index()
        yield running


def process(deployment, records=(), *, count=None):
    """Have a replica process everything, and stop."""
    deployment.send(records)
    replica = deployment.replica("a")
    deployment.await_accounted(count)
    replica.stop()


@contextmanager
def widened(former, tmp_path, *options, count):
    """Copy everything, and give the new deployment when it has processed so many events."""
    former.finish(*options)
    with beside(former, tmp_path, count) as new:
        yield new


@contextmanager
def beside(former, tmp_path, count):
    """Give the new deployment when it has processed so many events."""
    (tmp_path / "new").mkdir()
    with deployed(former.new_settings, tmp_path / "new", partitions=MORE) as new:
        process(new, count=count)
        yield new


def indexed(former):
    """Give how many records of contacts are in the index."""
    return sum(line["records"] for line in former.contacts_index.lines("contacts.committed"))


def compared(former, new, code=0):
    """Verify both; give the counts by kind and the lines."""
    options = ("--former-events", former.settings.events_topic, "--former-facts", former.settings.facts_topic)
    return verified(new, code, options=options)


def updated(order_id, **params):
    """Give the record of an orderUpdated."""
    return Sent(order_id.encode(), codec().encode_event(event("orderUpdated", order_id, **params)))


def removed(deployment, topic):
    """Remove the first half of each partition, as retention does; give how many records that were at most."""
    partitions = range(deployment.cluster.topics([topic])[topic].partitions)
    halves = {partition: end // 2 for partition, end in deployment.cluster.ends(topic, partitions).items() if end > 1}
    for partition, half in halves.items():
        delete_records(deployment, topic, half, partition)
    return sum(halves.values())


def test_what_retention_removed_since_is_counted(former, tmp_path):
    """The old events' first half, then the copies' too: neither is a difference."""
    process(former, traffic(seed=72, count=400, orders=60))
    with widened(former, tmp_path, count=400) as new:
        gone = removed(former, former.settings.events_topic)
        counts, lines = compared(former, new)
        assert counts == {}
        events = new.settings.events_topic
        assert f"{events}: {gone} copies not compared: their events may have expired" in lines
        removed(new, events)
        counts, lines = compared(former, new)
        assert counts == {}
        assert any("events not compared: their copies may have expired" in line for line in lines)


def test_orders_that_were_accepted_as_lost(former, tmp_path):
    """Their creation was never copied: they are missing in the new facts, and that is no difference for ever."""
    process(former, [created(f"o{number}") for number in range(60)])
    process(former, [updated(f"o{number}", storeId="s1") for number in range(60)])
    lost = removed(former, former.settings.events_topic)
    with widened(former, tmp_path, "--accept-loss", count=120 - lost) as new:
        counts, lines = compared(former, new)
        assert counts == {}
        count = 60 - len({record.key for record in new.read(new.settings.facts_topic)})
        assert count > 0
        text = f"{former.settings.facts_topic}: {count} orders not compared: events of them had expired, and may not"
        assert any(line.startswith(text) for line in lines)


def test_event_in_a_partition_that_was_added_since(former, tmp_path):
    """The copier never saw that partition: its event came after the finish, and is named."""
    process(former, traffic(seed=73, count=50))
    with widened(former, tmp_path, count=50) as new:
        grown = former.settings.events_topic
        former.cluster.admin.create_partitions([NewPartitions(grown, 5)])[grown].result(REQUEST_S)
        await_condition(lambda: former.cluster.topics([grown])[grown].partitions == 5, "grown")
        former.produce([(b"o1", b"late", 4, NOW_MS, None)])
        counts, lines = compared(former, new, 1)
        assert counts == {"not_copied": 1}
        assert f"  {grown}[4] offset 0 came after the copy was finished" in lines


def test_clock_that_was_wrong_before_partitions_were_added(former, tmp_path):
    """From its time on all of that partition is late by time; the copies are in the order of the partitions."""
    first = created("o1")
    process(former, [first])
    grown, (record,) = former.settings.events_topic, former.read(former.settings.events_topic)
    former.produce([(b"o1", b"ahead", record.partition, NOW_MS + 1_800_000, None)])
    former.cluster.admin.create_partitions([NewPartitions(grown, 5)])[grown].result(REQUEST_S)
    await_condition(lambda: former.cluster.topics([grown])[grown].partitions == 5, "grown")
    former.produce([(b"o1", updated("o1", storeId="s1").value, 4, NOW_MS, None)])
    with widened(former, tmp_path, count=3) as new:
        counts, lines = compared(former, new)
        assert counts == {}
        assert f"{grown} -> {new.settings.events_topic}: 3 events compared with their copies" in lines
        assert any("not compared, since the former group stopped when partitions were added" in line for line in lines)


def test_copies_behind_events_of_producers(former, tmp_path):
    """An order that has only late copies is compared; one that has both kinds is counted."""
    process(former, [created("o1"), created("o2")])
    with widened(former, tmp_path, count=2) as new:
        process(new, [updated("o2", storeId="new")], count=3)
        process(former, [updated("o1", storeId="late"), updated("o2", storeId="late")])
        counts, _ = compared(former, new, 1)
        assert counts == {"not_copied": 2, "order_differs": 2}
        former.finish("--accept-late")
        process(new, count=5)
        counts, lines = compared(former, new)
        assert counts == {}
        assert f"{new.settings.events_topic}: 2 copies behind events of producers, by --accept-late" in lines
        facts = former.settings.facts_topic
        assert f"{facts} -> {new.settings.facts_topic}: 1 orders compared" in lines
        assert f"{facts}: 1 orders not compared: they have copies behind events of producers" in lines


def test_contacts_that_changed_since(former, tmp_path):
    """One is gone, so that its order is rejected now; the other was merged into a third: neither is a difference."""
    process(former, [created("gone", phone="+999000001"), created("merged", phone="+999000002"), created("same")])
    before = indexed(former)
    producer = quick_producer(former.settings)
    for number in (1, 2):
        producer.produce(former.settings.contacts_topic, None, b"c%d" % number)
    assert producer.flush(REQUEST_S) == 0
    former.send_contacts([{"contactId": "both", "phone": "+999000002"}])
    await_condition(lambda: indexed(former) == before + 3, "the contacts changed")
    with widened(former, tmp_path, count=3) as new:
        counts, lines = compared(former, new)
        assert counts == {}
        facts = former.settings.facts_topic
        assert f"{facts}: 2 orders not compared: some of their events lacked a contact in one of both" in lines
        assert f"{facts}: 1 orders not compared: only their contact is another, since contacts changed" in lines


def test_markers_alone_are_nothing_left_to_process(former, tmp_path):
    """An aborted transaction behind the last event: the copier is past it, the old group never will be."""
    process(former, traffic(seed=74, count=50))
    producer = in_transaction(former.settings)
    for partition in range(3):
        producer.produce(former.settings.events_topic, b"aborted", b"o1", partition)
    producer.flush(REQUEST_S)
    producer.abort_transaction(REQUEST_S)
    copier = former.widen()
    copier.await_line("widen.caught_up")
    copier.stop()
    with beside(former, tmp_path, 50) as new:
        assert compared(former, new)[0] == {}


def test_headers_that_cannot_be_read_are_counted(former, tmp_path, monkeypatch):
    """Their copies have none, and no comparison would notice."""
    process(former, [created("o1"), created("o2")])
    with widened(former, tmp_path, count=2) as new:
        monkeypatch.setattr(reading, "hides_headers", lambda message: message.key() == b"o1")
        old = Former(former.settings.events_topic, former.settings.facts_topic)
        assert Across(new.settings, old).run(lambda _: None, Findings()).headers_lost == 1
