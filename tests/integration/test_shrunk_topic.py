"""Proves that a partition whose topic holds less than was processed is looked at, though its client reads nothing."""

import pytest

from processor.kafka.cluster import Cluster
from processor.replica.freshness import Freshness
from processor.replica.group import Group
from processor.replica.lag import Lag
from processor.replica.partitions import Partitions, Placed
from processor.state.watermark import Watermark
from tests.support.deployment import await_condition
from tests.support.producing import quick_producer

EVENTS = 5


@pytest.fixture
def partitions(settings, create_topic):
    """Give the partition of a topic that has five events, as assigned."""
    create_topic(settings.events_topic, 1)
    producer = quick_producer(settings)
    for _ in range(EVENTS):
        producer.produce(settings.events_topic, b"event", b"key")
    assert producer.flush(30) == 0
    partitions = Partitions()
    partitions.assign([0])
    return partitions


def owed_again(lag, partitions):
    """Look once more, and tell whether the partition has lost its place."""
    lag.look(())
    return partitions.owed == {0}


def test_a_partition_whose_end_is_below_what_was_committed_is_placed_again(settings, partitions):
    """As after its topic was deleted and created again; placing finds that out, and no lag does: it is 0."""
    partitions.place(0, Placed(Watermark(source=EVENTS + 1, facts=0), None))
    lag = Lag(Cluster(settings), settings.events_topic, partitions, Group(settings, partitions), Freshness())
    await_condition(lambda: owed_again(lag, partitions), "the partition is to be placed again")
    assert lag.records() == 0
    lag.close()
