"""Producers that partition keys in two ways: the replica warns, `check` warns, `verify` names the orders."""

import zlib

import pytest

from tests.support.audits import verified
from tests.support.producing import quick_producer
from tests.support.refusals import REQUEST_S
from tests.support.traffic import created

METRIC = "order_facts_mixed_partitioners"


def send_as_librdkafka_does(deployment, records, partitions=3):
    """Send records each to the partition of its key's CRC-32."""
    producer = quick_producer(deployment.settings)
    for record in records:
        producer.produce(
            deployment.settings.events_topic, record.value, record.key, zlib.crc32(record.key) % partitions
        )
    assert producer.flush(REQUEST_S) == 0
    deployment.sent += len(records)


def warnings_of(deployment):
    """Give what `check` warns of."""
    lines = deployment.command("check").stdout.splitlines()
    return [line for line in lines if line.startswith("warning  ") and "partitioner" in line]


@pytest.mark.runbook("OrderFactsMixedPartitioners", "events.mixed_partitioners")
def test_two_ways_are_noticed_and_the_orders_named(deployment):
    """One way is none of anybody's business; from the second on both are said, with the counts."""
    orders = [created(f"o{number}") for number in range(300)]
    replica = deployment.replica("a", max_batch=5)
    deployment.send(orders)
    deployment.await_accounted()
    assert warnings_of(deployment) == []
    assert replica.lines("events.mixed_partitioners") == []
    send_as_librdkafka_does(deployment, [created(f"o{number}", storeId="S2") for number in range(300)])
    (line,) = replica.await_line("events.mixed_partitioners")
    assert line["level"] == "warning"
    assert line["keys_following"] > line["keys_elsewhere"] > 0
    deployment.await_accounted()
    (warning,) = warnings_of(deployment)
    assert warning.startswith(f"warning  the topic {deployment.settings.events_topic}: of its last events' keys ")
    replica.stop()
    counts, lines = verified(deployment, 1)
    elsewhere = counts["two_partitions"]
    assert elsewhere > 100
    assert sum(" has facts in partitions " in line for line in lines) >= 1
