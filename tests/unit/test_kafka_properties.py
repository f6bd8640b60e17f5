"""Which properties of the Kafka client an operator may not set: each, and why."""

import json

import pytest

from processor.settings import RESERVED_KAFKA_PROPERTIES, load
from tests.unit.test_settings import SECRET, refused

# The client's properties that the guarantee rests on, with the client's other names for them: each, and why.
_DELIVERED = "an output is on the brokers for good, once and in order, when its transaction commits"
_IDS = "a replica is one member and one producer, under names of its own that outlive a restart"
_OFFSETS = "offsets are committed in the transaction of their outputs, nowhere else"
_SERVERS = "the setting bootstrap_servers says where Kafka is, for every client alike"
RESERVED = {
    "isolation.level": "aborted records are never read, and committed offsets are awaited while they are not stable",
    "auto.offset.reset": "a lost offset is an error, never a jump to one of the topic's ends",
    **dict.fromkeys(("enable.auto.commit", "enable.auto.offset.store"), _OFFSETS),
    "enable.partition.eof": "a partition's end tells that a catch-up is done, and where an idle partition stands",
    **dict.fromkeys(("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"), _DELIVERED),
    **dict.fromkeys(("max.in.flight", "max.in.flight.requests.per.connection"), _DELIVERED),
    **dict.fromkeys(("client.id", "group.id", "group.instance.id", "transactional.id"), _IDS),
    **dict.fromkeys(("group.protocol", "group.remote.assignor"), "the classic protocol's session notices a crash soon"),
    "partition.assignment.strategy": "rebalances are cooperative: a healthy member goes on with what it keeps",
    "message.max.bytes": "a record of any size can be written: the topic's own limit decides",
    "partitioner": "an order's events are in one partition, whichever producer of Java or of this program sends them",
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), _SERVERS),
}


@pytest.mark.parametrize("name", RESERVED)
def test_a_kafka_property_that_the_guarantee_rests_on_is_reserved(name):
    """Each is refused by its name, without its value."""
    line = refused({"kafka": json.dumps({"linger.ms": 5, name: SECRET})})
    assert line == f"setting kafka: {name} is reserved, the guarantee rests on it; remove it"


def test_no_kafka_property_is_reserved_without_a_reason():
    """What the program refuses besides would be an operator's to set: a property that is added has a line here."""
    assert RESERVED.keys() == RESERVED_KAFKA_PROPERTIES


def test_other_kafka_properties_are_taken_as_they_are():
    """Security and tuning are the operator's."""
    properties = {"sasl.password": SECRET, "linger.ms": 5}
    assert load({"kafka": json.dumps(properties)}, None, {}).kafka == properties
