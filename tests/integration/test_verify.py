"""Proves that `verify` passes a good deployment, idle or live, and names each damage that is really done to one."""

import itertools
import time

import pytest
from msgspec.structs import replace

from processor.adapters.avro import codec
from processor.audit import mirror, orders
from tests.support.audits import Copy, produce, send_in_transaction, verified, with_fact, with_headers
from tests.support.deployment import await_condition, deployed
from tests.support.refusals import delete_records, offsets, process, set_offset, written
from tests.support.traffic import Sent, created, event, traffic

CUSTOMER = {"phone": "+999000001"}


@pytest.fixture(scope="module")
def good(services, indexed, tmp_path_factory):
    """Give an idle deployment of two partitions after a good run; nobody changes it."""
    settings = replace(
        indexed.settings,
        group_id=f"{indexed.settings.group_id}-good",
        **{
            f"{role}_topic": f"good-{getattr(indexed.settings, f'{role}_topic')}"
            for role in ("events", "facts", "rejected")
        },
    )
    with deployed(settings, tmp_path_factory.mktemp("good"), partitions=2) as running:
        running.send(traffic(seed=4, count=300))
        first = traffic(seed=5, count=20)
        send_in_transaction(settings, first)
        running.sent += len(first)
        await_condition(lambda: len(running.read(settings.events_topic)) == running.sent, "the transaction's marks")
        running.send([*traffic(seed=6, count=100), *chain("x")])
        replica = running.replica("a")
        running.await_accounted()
        replica.stop()
        yield running


@pytest.fixture
def copy(good, tmp_path, create_topic):
    """Give a copy of the good deployment, to be damaged."""
    return Copy(good, tmp_path, create_topic)


def chain(order_id, count=6):
    """Give events that each lead to a revision of one order."""
    changes = [
        Sent(order_id.encode(), codec().encode_event(event("orderUpdated", order_id, storeId=f"s{number}")))
        for number in range(count - 1)
    ]
    return [created(order_id), *changes]


def revisions(copy, order_id="x"):
    """Give where an order's facts stand in the list of facts, by revision from 1 on."""
    return [index for index, record in enumerate(copy.facts) if record.key == order_id.encode()]


def test_an_idle_deployment_is_in_order(good):
    """After a good run nothing differs, all is accounted for, and the audit writes nothing."""
    before = written(good)
    _, lines = verified(good, 0)
    assert written(good) == before
    events = sum(int(line.split(" events;")[0].split()[-1]) for line in lines if "audited from" in line)
    assert events == good.sent
    assert sum("mirror equal" in line for line in lines) == 2


def test_a_deployment_without_records_is_in_order(settings, tmp_path):
    """Topics and nothing else: there is nothing that could differ."""
    with deployed(settings, tmp_path) as empty:
        _, lines = verified(empty, 0, identifier_key=None)
    assert lines[:-1] == [f"{settings.events_topic}[{partition}]: nothing is committed" for partition in range(3)]


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
    replica = single.sabotaged("a", "before end", 3, "SIGKILL", max_batch=20)
    replica.await_end()
    assert replica.lines("test.sabotage")
    _, lines = verified(single, 0)
    assert "audited from offset 0 to 40, 40 events" in lines[0]


def test_many_orders_are_kept_on_disk(copy, monkeypatch):
    """With room for three orders in memory the audit is the same."""
    monkeypatch.setattr(orders, "_HELD_ORDERS", 3)
    monkeypatch.setattr(mirror, "_CHUNK_ORDERS", (2, 2))
    index = revisions(copy)[3]
    copy.facts[index] = with_fact(copy.facts[index], total_cost=1)
    copy.write()
    assert copy.audit()[0] == {"altered": 1}


@pytest.mark.parametrize("revision", [1, 3, 6])
def test_a_removed_fact_is_missing(copy, revision):
    """Its event has no output, and unless it was the last one the next revision does not follow."""
    del copy.facts[revisions(copy)[revision - 1]]
    copy.write()
    counts, lines = verified(copy, 1)
    assert counts["missing"] == 1
    assert counts.get("revision", 0) == (revision < 6)
    assert any('no fact, no rejected record, order "x"' in line for line in lines)


@pytest.mark.parametrize("late", [False, True])
def test_a_doubled_fact_is_found(copy, late):
    """A copy beside the fact or far behind it is one fact too many, and no other difference."""
    index = revisions(copy)[2]
    copy.facts.insert(len(copy.facts) if late else index, copy.facts[index])
    copy.write()
    assert copy.audit()[0] == {"doubled": 1}


def test_a_fact_written_by_somebody_else_is_found(copy):
    """A copy beyond the committed facts offset counts too."""
    copy.write()
    produce(copy.settings, copy.settings.facts_topic, [copy.facts[revisions(copy)[5]]])
    assert copy.audit()[0] == {"doubled": 1}


def test_facts_out_of_order_are_found(copy):
    """Two facts of different orders that changed places: nothing is missing, one is late."""
    one = next(
        index
        for index, (first, second) in enumerate(itertools.pairwise(copy.facts))
        if first.key != second.key and first.partition == second.partition
    )
    copy.facts[one : one + 2] = reversed(copy.facts[one : one + 2])
    copy.write()
    counts, _ = copy.audit()
    assert counts.pop("out_of_order") == 1
    assert counts.keys() <= {"revision", "altered", "sum", "mirror_altered", "mirror_missing"}


@pytest.mark.parametrize(
    "changes",
    [
        {"total_cost": 1},
        {"contact_id": "c2"},
        {"identified_by": "email"},
        {"created_at_ms": 1},
        {"updated_at_ms": 1},
        {"status_changed_at_ms": 1},
        {"event_type": "orderDelivered"},
        {"custom": {"giftWrap": True}},
        {"store_id": "another"},
        {"currency": "EUR"},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("revision", [2, 4])
def test_an_altered_fact_is_found(copy, changes, revision):
    """Whatever its field: the event makes another order of the one before; the facts after it are not blamed."""
    index = revisions(copy)[revision - 1]
    copy.facts[index] = with_fact(copy.facts[index], **changes)
    copy.write()
    counts, examples = copy.audit()
    assert counts == {"altered": 1}
    assert f"[{copy.facts[index].partition}] offset {offset_of(copy, index)} " in examples[0]


def offset_of(copy, index):
    """Give the offset that a fact of the list has in the copy."""
    partition = copy.facts[index].partition
    return sum(record.partition == partition for record in copy.facts[:index])


def test_an_altered_latest_fact_differs_from_the_mirror_too(copy):
    """The mirror was written from the right order."""
    index = revisions(copy)[5]
    copy.facts[index] = with_fact(copy.facts[index], total_cost=1)
    copy.write()
    assert copy.audit()[0] == {"altered": 1, "mirror_altered": 1}


def test_a_number_that_became_a_truth_is_altered(copy):
    """1 and true differ (D22), though Python holds them equal."""
    with_points = [
        (index, record)
        for index, record in enumerate(copy.facts)
        if 2 in codec().decode_fact(record.value).custom.values()
    ]
    index, record = with_points[0]
    custom = codec().decode_fact(record.value).custom
    copy.facts[index] = with_fact(record, custom={name: 2.0 if value == 2 else value for name, value in custom.items()})
    copy.write()
    assert copy.audit()[0]["altered"] >= 1


def test_a_fact_under_another_key_is_misplaced(copy):
    """Compaction would take it for another order's."""
    index = revisions(copy)[3]
    copy.facts[index] = replace(copy.facts[index], key=b"another")
    copy.write()
    assert copy.audit()[0] == {"misplaced": 1}


def test_a_fact_that_is_none_is_altered(copy):
    """A deletion mark, or bytes that are no fact."""
    first, second = revisions(copy)[1:3]
    copy.facts[first] = replace(copy.facts[first], value=None)
    copy.facts[second] = replace(copy.facts[second], value=b"\xc3\x01")
    copy.write()
    counts, _ = copy.audit()
    assert (counts["altered"], counts["missing"], counts["revision"]) == (2, 2, 1)


def test_a_removed_rejected_record_is_missing(copy):
    """Its event has no output, and the sums of its partition say the same."""
    del copy.rejected[len(copy.rejected) // 2]
    copy.write()
    assert copy.audit()[0] == {"missing": 1, "sum": 1}


@pytest.mark.parametrize("late", [False, True])
def test_a_doubled_rejected_record_is_found(copy, late):
    """A copy beside it or at the end is one too many."""
    index = len(copy.rejected) // 3
    copy.rejected.insert(len(copy.rejected) if late else index, copy.rejected[index])
    copy.write()
    assert copy.audit()[0] == {"doubled": 1}


def test_a_fact_and_a_rejected_record_of_one_event_are_found(copy, good):
    """An event is accepted or it is not (D24)."""
    fact = copy.facts[revisions(copy)[2]]
    source = codec().decode_fact(fact.value).source_offset
    events = good.read(good.settings.events_topic)
    one = next(record for record in events if (record.partition, record.offset) == (fact.partition, source))
    texts = {"reason": "no_change", "outcome": "ignored", "source.topic": good.settings.events_topic,
             "source.partition": str(fact.partition), "source.offset": str(source),
             "source.timestamp": str(one.timestamp_ms)}  # fmt: skip
    headers = tuple((name, text.encode()) for name, text in texts.items())
    copy.rejected.append(replace(one, headers=headers, timestamp_ms=copy.rejected[-1].timestamp_ms))
    copy.rejected.sort(key=lambda record: (record.partition, int(dict(record.headers)["source.offset"])))
    copy.write()
    assert copy.audit()[0] == {"doubled": 1, "sum": 1}


@pytest.mark.parametrize("header", ["reason", "source.offset", "source.timestamp", "source.partition", "value"])
def test_an_altered_rejected_record_is_found(copy, header):
    """Another reason than its event can have led to, another event's offset, or other bytes."""
    index = next(i for i, r in enumerate(copy.rejected) if dict(r.headers)["reason"] == b"order_unknown")
    record = copy.rejected[index]
    changed = {"reason": b"no_change", "source.offset": b"?", "source.timestamp": b"1", "source.partition": b"7"}
    copy.rejected[index] = (
        replace(record, value=b"else")
        if header == "value"
        else replace(record, headers=tuple((n, changed[n] if n == header else v) for n, v in record.headers))
    )
    copy.write()
    expected = {"misplaced": 1} if header == "source.partition" else {"altered": 1}
    if header == "source.offset":
        expected |= {"missing": 1, "sum": 1}
    assert copy.audit()[0] == expected


def test_an_output_for_no_event_is_unfounded(copy, good):
    """An offset below the committed one that holds no event, such as a transaction's mark, leads to nothing."""
    events = good.read(good.settings.events_topic)
    present = {record.offset for record in events if record.partition == 0}
    hole = next(offset for offset in range(max(present)) if offset not in present)
    after = next(i for i, r in enumerate(copy.rejected) if int(dict(r.headers)["source.offset"]) > hole)
    copy.rejected.insert(after, with_headers(copy.rejected[after], source_offset=str(hole).encode()))
    assert copy.rejected[after].partition == 0
    copy.write()
    assert copy.audit()[0] == {"unfounded": 1, "sum": 1}


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
    assert f"{place}: events below offset 8 have expired, their outputs stand unaudited" in lines
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


def test_the_broker_compacts_and_nothing_differs(copy):
    """A facts topic that the broker really compacted."""
    every = copy.facts
    last = {record.partition: record for record in every}
    copy.facts = [record for record in every if record is not last[record.partition]]
    copy.write(min_compaction_lag_ms=0, min_cleanable_dirty_ratio=0.01, segment_ms=100)
    now_ms = time.time_ns() // 1_000_000  # a later record begins a new segment, and lets the former be compacted
    produce(copy.settings, copy.settings.facts_topic, [replace(r, timestamp_ms=now_ms) for r in last.values()])
    copy.commit()
    await_condition(lambda: len(copy.read(copy.settings.facts_topic)) < len(every), "no compaction", 90)
    _, lines = verified(copy, 0)
    assert any("facts are gone from the topic" in line for line in lines)


def test_what_cannot_be_reached_is_told(good):
    """Exit code 3 for a service that does not answer."""
    done = good.command("verify", check=False, bootstrap_servers="127.0.0.1:1", startup_timeout_s=0.5)
    assert (done.returncode, done.stdout) == (3, "")
