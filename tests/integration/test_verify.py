"""Proves that `verify` passes a good deployment, idle or live, and says what of it could be audited."""

import time

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from msgspec.structs import replace

from processor.audit import known_orders, mirror_audit
from processor.codec.avro import codec
from tests.support.audits import chain, produce, revisions, verified, with_fact
from tests.support.deployment import SOON_OVER, await_condition, deployed
from tests.support.refusals import delete_records, offsets, process, set_offset, written
from tests.support.traffic import created, traffic


def test_an_idle_deployment_is_in_order(good_run):
    """After a good run nothing differs, all is accounted for, and the audit writes nothing."""
    before = written(good_run)
    _, lines = verified(good_run, 0)
    assert written(good_run) == before
    events = sum(int(line.split(" events;")[0].split()[-1]) for line in lines if "audited from" in line)
    assert events == good_run.sent
    assert sum("mirror equal" in line for line in lines) == 2


def test_a_deployment_without_records_is_in_order(settings, tmp_path):
    """Topics and nothing else: there is nothing that could differ."""
    with deployed(settings, tmp_path) as empty:
        _, lines = verified(empty, 0, identifier_key=None)
    assert lines[:-1] == [f"{settings.events_topic}[{partition}]: no committed offset" for partition in range(3)]


def test_a_live_deployment_is_in_order(settings, indexed, tmp_path):
    """While replicas work, what is below the committed offsets is audited, and the mirror though it moves."""
    with deployed(replace(settings, contacts_topic=indexed.settings.contacts_topic), tmp_path) as live:
        replica = live.replica("a", max_batch=20)
        audited = 0
        for seed in range(3):
            live.send(traffic(seed, count=3_000, orders=1_000))
            replica.await_line("batch.committed", count=40 * (seed + 1))
            _, lines = verified(live, 0)
            audited += sum("mirror equal" in line for line in lines)
            assert not any("not compared" in line for line in lines)
        live.await_accounted()
        replica.stop()
        assert audited >= 5
        verified(live, 0)


def test_a_transaction_left_open_is_waited_for(single):
    """A member that died with offsets and facts not committed holds the audit back until its transaction ends."""
    single.send(traffic(seed=9, count=200))
    replica = single.sabotaged("a", "before end", 3, "SIGKILL", max_batch=20, kafka=SOON_OVER)
    replica.await_end()
    assert replica.lines("test.sabotage")
    _, lines = verified(single, 0)
    assert "audited from offset 0 to 40, 40 events" in lines[0]


def test_many_orders_are_kept_on_disk(copy, monkeypatch):
    """With room for three orders in memory the audit is the same."""
    monkeypatch.setattr(known_orders, "_HELD_ORDERS", 3)
    monkeypatch.setattr(mirror_audit, "_CHUNK_ORDERS", (2, 2))
    index = revisions(copy)[3]
    copy.facts[index] = with_fact(copy.facts[index], total_cost=1)
    copy.write()
    assert copy.audit()[0] == {"altered": 1}


def test_deleted_facts_are_found(copy):
    """Without its beginning the facts topic cannot give the state back; no retention excuses that."""
    copy.write(cleanup_policy="compact,delete")
    delete_records(copy, copy.settings.facts_topic, 3)
    counts, _ = copy.audit()
    assert counts["facts_deleted"] == 1
    assert counts["missing"] == 3


def test_an_order_in_two_partitions_is_found(settings, indexed, tmp_path):
    """A producer with another partitioner gives one order two lives."""
    with deployed(replace(settings, contacts_topic=indexed.settings.contacts_topic), tmp_path, partitions=2) as two:
        record = created("twice")
        for partition in (0, 1):
            two._producer.produce(two.settings.events_topic, record.value, record.key, partition)
            two.sent += 1
        two.send([created(f"other{number}") for number in range(10)])
        replica = two.replica("a")
        two.await_accounted()
        replica.stop()
        counts, lines = verified(two, 1)
    assert counts == {"two_partitions": 1}
    assert '  order "twice" has facts in partitions 0, 1' in lines


@pytest.mark.parametrize("damage", ["altered", "unreadable", "missing", "extra", "ahead"])
def test_a_damaged_mirror_is_found(copy, damage):
    """The mirror is compared order by order with the latest facts."""
    copy.write()
    client, keys = copy.mirror()
    key = keys[copy.facts[revisions(copy)[0]].partition]
    order = codec().decode_fact(copy.facts[revisions(copy)[5]].value)
    match damage:
        case "altered":
            client.hset(key, "x", codec().encode_fact(replace(order, total_cost=order.total_cost + 1)))
        case "unreadable":
            client.hset(key, "x", b"\x00")
        case "missing":
            client.hdel(key, "x")
        case "extra":
            client.hset(key, "y", client.hget(key, "x"))
        case "ahead":
            client.hset(key, "", b"9999 9999")
    before = client.hgetall(key)
    kind = "altered" if damage == "unreadable" else damage
    assert copy.audit()[0] == {f"mirror_{kind}": 1}
    assert client.hgetall(key) == before, "an audit repairs nothing"


@pytest.mark.parametrize("state", ["missing", "behind"])
def test_a_mirror_that_is_not_there_is_said(copy, state):
    """It is caught up when it is needed: no difference, and not compared."""
    copy.write()
    client, (key, _) = copy.mirror()
    if state == "missing":
        client.unlink(key)
    else:
        client.hset(key, "", b"1 1")
    _, lines = verified(copy, 0)
    assert f"{copy.settings.events_topic}[0]: the mirror is {state} and was not compared" in lines


def test_offsets_moved_back_are_found(copy):
    """Outputs beyond the committed offset: to process from there would double them."""
    copy.write()
    source, metadata = offsets(copy)[0]
    set_offset(copy, source - 5, metadata)
    counts, _ = copy.audit()
    assert counts.keys() >= {"watermark", "mirror_ahead"}


def test_lost_offsets_are_found(single):
    """Outputs in a group without offsets."""
    process(single, chain("x"))
    verified(single, 0)
    (future,) = single.cluster.admin.delete_consumer_groups([single.settings.group_id]).values()
    future.result()
    assert verified(single, 1)[0] == {"watermark": 1}


def test_expired_events_and_rejected_records_are_said(single):
    """What retention took is named and stands unaudited; a damage in the rest is still found."""
    process(single, [*chain("x"), *[created("x")] * 5, *chain("y"), *[created("y")] * 5])
    settings = single.settings
    delete_records(single, settings.events_topic, 8)
    _, lines = verified(single, 0)
    place = f"{settings.events_topic}[0]"
    assert f"{place}: events below offset 8 have expired, their outputs were not audited" in lines
    third = single.read(settings.rejected_topic)[7].offset
    delete_records(single, settings.rejected_topic, third)
    _, lines = verified(single, 0)
    assert any(
        line.startswith(f"{place}: rejected records of events below offset 19 have expired; 5 ") for line in lines
    )
    produce(settings, settings.facts_topic, [single.read(settings.facts_topic)[0]])
    assert verified(single, 1)[0] == {"doubled": 1}


def test_a_compacted_facts_topic_is_in_order(copy):
    """Superseded facts are gone for good reason: the latest revisions account for them. Others are not."""
    kept = {revisions(copy)[0], revisions(copy)[2], revisions(copy)[5]}
    compacted = [r for i, r in enumerate(copy.facts) if r.key != b"x" or i in kept]
    copy.facts = compacted
    copy.write(min_compaction_lag_ms=0)
    _, lines = verified(copy, 0)
    assert any("3 facts are gone from the topic" in line for line in lines)


def test_a_latest_fact_missing_from_a_compacted_topic_is_found(copy):
    """Compaction keeps every order's latest fact, and takes no more than the revisions count."""
    del copy.facts[revisions(copy)[5]]
    copy.write(min_compaction_lag_ms=0)
    counts, _ = copy.audit()
    assert counts == {"missing": 1, "sum": 1, "mirror_altered": 1}


def clean_soon(admin):
    """Have the broker's cleaner, which looks for work every 15 s, look all the time."""
    (broker,) = admin.list_topics().brokers
    entry = ConfigEntry("log.cleaner.backoff.ms", "200", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.BROKER, str(broker), incremental_configs=[entry])
    (future,) = admin.incremental_alter_configs([resource]).values()
    future.result()


def test_the_broker_compacts_and_nothing_differs(copy, admin, services):
    """A facts topic that the broker really compacted."""
    if services.disposable:
        clean_soon(admin)
    every = copy.facts
    last = {record.partition: record for record in every}
    copy.facts = [record for record in every if record is not last[record.partition]]
    copy.write(min_compaction_lag_ms=0, min_cleanable_dirty_ratio=0.01, segment_ms=100)
    now_ms = time.time_ns() // 1_000_000  # a later record begins a new segment, and lets the former be compacted
    copy.produce(copy.settings.facts_topic, [replace(r, timestamp_ms=now_ms) for r in last.values()])
    copy.commit()
    await_condition(lambda: len(copy.read(copy.settings.facts_topic)) < len(every), "no compaction", 90)
    _, lines = verified(copy, 0)
    assert any("facts are gone from the topic" in line for line in lines)


def test_what_cannot_be_reached_is_told(good_run):
    """Exit code 3 for a service that does not answer."""
    done = good_run.command("verify", check=False, bootstrap_servers="127.0.0.1:1", startup_timeout_s=0.5)
    assert (done.returncode, done.stdout) == (3, "")
