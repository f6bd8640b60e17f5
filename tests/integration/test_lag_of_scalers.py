"""Proves that the lag that a scaler such as KEDA counts comes to 0: log end offset minus committed offset."""

from confluent_kafka import Producer

from tests.support.audits import send_in_transaction
from tests.support.deployment import await_condition
from tests.support.refusals import REQUEST_S, facts, offsets

PARTITIONS = range(3)


def lag(deployment):
    """Give each partition's lag as KEDA counts it: it asks for the end without an isolation level."""
    ends = deployment.cluster.ends(deployment.settings.events_topic, PARTITIONS, committed=False)
    committed = {number: offset for number, (offset, _) in offsets(deployment).items()}
    return {number: end - max(committed.get(number, 0), 0) for number, end in ends.items()}


def begin(settings, name, records):
    """Give a producer with an open transaction in which these events are written."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "transactional.id": name})
    producer.init_transactions(REQUEST_S)
    producer.begin_transaction()
    for record in records:
        producer.produce(settings.events_topic, record.value, record.key)
    assert producer.flush(REQUEST_S) == 0
    return producer


def test_no_lag_stays_behind_transactions(deployment):
    """Markers of committed and aborted transactions are no lag; an open one's events are, which no replica may take."""
    replica = deployment.replica("a")
    send_in_transaction(deployment.settings, facts(30))
    await_condition(lambda: sum(lag(deployment).values()) == 0, lambda: f"{lag(deployment)} is no lag")
    ends = deployment.cluster.ends(deployment.settings.events_topic, PARTITIONS)
    assert sum(ends.values()) == 30 + len(PARTITIONS)
    producer = begin(deployment.settings, f"open-{deployment.settings.group_id}", facts(30, first=30))
    assert sum(lag(deployment).values()) == 30
    producer.abort_transaction(REQUEST_S)
    await_condition(lambda: sum(lag(deployment).values()) == 0, lambda: f"{lag(deployment)} is no lag")
    ends = deployment.cluster.ends(deployment.settings.events_topic, PARTITIONS)
    assert sum(ends.values()) == 2 * (30 + len(PARTITIONS))
    replica.stop()
    deployment.sent += 30
    deployment.require_right_outputs()
