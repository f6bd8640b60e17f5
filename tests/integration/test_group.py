"""Proves what the group does with records that were read ahead of a batch, on a real broker."""

from contextlib import closing, contextmanager

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from processor.codec.avro import codec
from processor.domain.pipeline import read
from processor.domain.records import Record
from processor.kafka.cluster import Cluster
from processor.registry.framing import prefix_of
from processor.registry.wire import Wire
from processor.replica.group import Group
from processor.replica.partitions import Partitions, Placed
from processor.replica.withholding import Withholding
from processor.settings.rules import rules_of
from processor.state.watermark import Watermark
from tests.support.deployment import await_condition
from tests.support.producing import quick_producer
from tests.support.schemas import schema_of
from tests.support.scripted_registry import PathRegistry
from tests.support.traffic import created, traffic

COUNT = 30
MANY = 250


@contextmanager
def joined(settings):
    """Give the group of a replica that has all partitions, each placed at its start."""
    partitions = Partitions()
    group = Group(settings, partitions)
    group.join()
    try:

        def is_assigned():
            group.stay(0.1)
            return partitions.assigned

        await_condition(is_assigned, "the partitions are assigned")
        group.place(dict.fromkeys(partitions.assigned, Placed(Watermark(0, 0), None)))
        yield group
    finally:
        group.leave()


def taken(group, count):
    """Take so many records, and give their offsets."""
    offsets: list[int] = []

    def has_all():
        offsets.extend(record.offset for record in group.take(1_000, 1 << 20, 0.1).records)
        return len(offsets) >= count

    await_condition(has_all, lambda: f"{count} records, of which {offsets} came")
    return offsets


def drop_next(group):
    """Take the next records while a rebalance ends that leaves this member what it has."""
    sort_out = group._split

    def disturbed(records, others):
        found = sort_out(records, others)
        if found[0]:
            group._on_assign(group._consumer, [])  # as the client calls it then, inside a poll
        return found

    group._split = disturbed
    partitions = group._partitions
    with capture_logs() as lines:
        await_condition(lambda: group.take(1_000, 1 << 20, 0.1).records or partitions.owed, "the records are dropped")
    group._split = sort_out
    assert partitions.owed == {0}
    (dropped,) = [line for line in lines if line["event"] == "batch.dropped"]
    assert dropped["cause"] == "rebalance"
    assert 1 <= dropped["records"] <= COUNT


@pytest.fixture
def group(single):
    """Give a group that has taken a first batch, and dropped the records behind it."""
    single.send(traffic(seed=51, count=COUNT))
    with joined(single.settings) as group:
        assert taken(group, COUNT) == list(range(COUNT))
        single.send(traffic(seed=52, count=COUNT))
        drop_next(group)
        yield group


def test_dropped_records_are_read_again_from_the_first(group):
    """The batch before them was committed: the partition goes on with the first that was dropped."""
    group.place({0: Placed(Watermark(COUNT, 0), None)})
    assert taken(group, COUNT) == list(range(COUNT, 2 * COUNT))


def test_batch_that_fails_once_the_next_was_dropped_is_read_again(group):
    """A rebalance drops what was read ahead, and refuses the batch before it: both come again, nothing is missed."""
    group.rewind_everything()
    group.place({0: Placed(Watermark(0, 0), None)})
    assert taken(group, 2 * COUNT) == list(range(2 * COUNT))


def test_records_before_a_withheld_one_may_be_left_over_by_their_batch(single):
    """They come first again, their leader's epoch is known; once placed again, the partition goes on with the one."""
    single.send(traffic(seed=53, count=COUNT))
    with joined(single.settings) as group:
        records = list[Record]()

        def has_all():
            records.extend(group.take(1_000, 1 << 20, 0.1).records)
            return len(records) == COUNT

        await_condition(has_all, lambda: f"{COUNT} records, of which {len(records)} came")
        epoch = group.positions([0])[0].leader_epoch
        group.withhold(records[20:])
        group.give_back(records[10:20])
        assert taken(group, 10) == list(range(10, 20))
        partitions = group._partitions
        assert partitions.logs(group.positions([0]))[0].epoch == epoch is not None
        partitions.release(0)
        assert group.take(1_000, 1 << 20, 0.1).records == []
        assert partitions.owed == {0}
        group.place({0: Placed(Watermark(20, 0), None)})
        assert taken(group, COUNT - 20) == list(range(20, COUNT))


def test_decoder_that_is_left_of_a_forgotten_schema_holds_no_loop_up(single):
    """Its event needs another decoder, of the schema that is asked for anew: the partition waits, as for any other."""
    raw = codec().decode_event(created("o1").value)
    twice = codec().encode_event(raw | {"params": [*raw["params"], raw["params"][0]]})
    with closing(PathRegistry()) as registry:
        registry.add(7, schema_of("order-event"))
        wire = Wire(replace(single.settings, wire_format="confluent", schema_registry_url=registry.url))
        with closing(wire), joined(single.settings) as group:
            wire.awaited.want(prefix_of(7))
            await_condition(lambda: wire.is_settled(prefix_of(7)), "the schema is known")
            records = [Record(0, 0, 0, b"o1", prefix_of(7) + value[10:]) for value in (created("o1").value, twice)]
            rules = rules_of(single.settings)
            withholding = Withholding(wire, group._partitions, group, 1 << 20)

            def decoded(record):
                return withholding.decoded([record], lambda kept: read(kept, wire.read_event, rules))[1]

            assert len(decoded(records[0])) == 1
            registry.answers.clear()
            wire.awaited._known.clear()  # as if 2,000 others had come
            assert len(decoded(records[0])) == 1, "one decoder is left"
            assert decoded(records[1]) == []
            assert group._partitions.withheld == {0}
            withholding.look()
            assert not group._partitions.retry(0.0)
            registry.add(7, schema_of("order-event"))

            def is_released():
                withholding.look()
                return group._partitions.retry(0.0)

            await_condition(is_released, "it is read again")


def test_member_that_is_stopped_in_its_first_joining_is_gone_at_once(single):
    """Its name, and what it would have been assigned, do not wait for a session's end."""
    cluster = Cluster(single.settings)
    group = Group(single.settings, Partitions())
    group.join()
    await_condition(lambda: cluster.instances(single.settings.group_id), "the coordinator knows the member")
    group.leave()
    assert cluster.instances(single.settings.group_id) == set()


def test_member_with_partitions_is_gone_once_it_has_left(single):
    """Each time: the client says that it leaves only after the revocation, and not at all once it closes."""
    cluster = Cluster(single.settings)
    for _ in range(10):
        with joined(single.settings):
            assert cluster.instances(single.settings.group_id) == {single.settings.instance_id}
        assert cluster.instances(single.settings.group_id) == set()


def test_member_that_never_joined_leaves(single):
    """Nothing is waited for where nothing was begun."""
    Group(single.settings, Partitions()).leave()
    assert Cluster(single.settings).instances(single.settings.group_id) == set()


def test_every_partition_that_is_placed_is_read(settings, create_topic):
    """None is left paused by a call that met the client's own thread: its lines in between give that time to happen."""
    create_topic(settings.events_topic, MANY)
    producer = quick_producer(settings)
    for partition in range(MANY):
        producer.produce(settings.events_topic, b"", partition=partition)
    assert producer.flush(10) == 0
    with joined(replace(settings, kafka={"debug": "topic"})) as group:
        unread = set(range(MANY))

        def is_read():
            unread.difference_update(record.partition for record in group.take(1_000, 1 << 20, 0.1).records)
            return not unread

        await_condition(is_read, lambda: f"partitions {sorted(unread)} are not read", 10)
