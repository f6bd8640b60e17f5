"""Which properties of the Kafka client an operator may set; what becomes of the others."""

import json

import pytest
from confluent_kafka import KafkaException, Producer

from processor.errors import UsageError
from processor.kafka.clients import plain_producer
from processor.settings import ALLOWED_FOR, RESERVED_BECAUSE, load
from tests.unit.test_settings import SECRET, refused

ALLOWED = {name for names in ALLOWED_FOR.values() for name in names}
# The client's properties that the guarantee rests on, with the client's other names for them: each, and why.
_DELIVERED = "an output is on the brokers for good, once and in order, when its transaction commits"
_IDS = "a replica is one member and one producer, under names of its own that outlive a restart"
_OFFSETS = "offsets are committed in the transaction of their outputs, nowhere else"
_REPORTED = "the facts offset is the last fact's, as reported"
_SERVERS = "the setting bootstrap_servers says where Kafka is, for every client alike"
_TRIED = "how long an output is tried is for the transaction to say"
FORBIDDEN = {
    "isolation.level": "aborted records are never read, and committed offsets are awaited while they are not stable",
    "auto.offset.reset": "a lost offset is an error, never a jump to one of the topic's ends",
    **dict.fromkeys(("enable.auto.commit", "enable.auto.offset.store", "auto.commit.enable"), _OFFSETS),
    **dict.fromkeys(("offset.store.method", "auto.commit.interval.ms"), _OFFSETS),
    "enable.partition.eof": "a partition's end tells that a catch-up is done, and where an idle partition stands",
    **dict.fromkeys(("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"), _DELIVERED),
    **dict.fromkeys(("max.in.flight", "max.in.flight.requests.per.connection"), _DELIVERED),
    **dict.fromkeys(("queuing.strategy", "msg_order_cmp"), _DELIVERED),
    **dict.fromkeys(("retries", "message.send.max.retries", "request.timeout.ms"), _TRIED),
    **dict.fromkeys(("message.timeout.ms", "delivery.timeout.ms"), _TRIED),
    **dict.fromkeys(("delivery.report.only.error", "produce.offset.report", "dr_cb", "dr_msg_cb"), _REPORTED),
    **dict.fromkeys(("client.id", "group.id", "group.instance.id", "transactional.id"), _IDS),
    **dict.fromkeys(("group.protocol", "group.remote.assignor"), "the classic protocol's session notices a crash soon"),
    "partition.assignment.strategy": "rebalances are cooperative: a healthy member goes on with what it keeps",
    **dict.fromkeys(("message.max.bytes", "batch.size"), "the topic's own limit decides what can be written"),
    **dict.fromkeys(("partitioner", "partitioner_cb"), "an order's events are in one partition, whoever sends them"),
    **dict.fromkeys(("bootstrap.servers", "metadata.broker.list"), _SERVERS),
    **dict.fromkeys(("topic.blacklist", "allow.auto.create.topics"), "topics are what they are: seen, not made up"),
    **dict.fromkeys(("plugin.library.paths", "interceptors"), "foreign code in the client may do anything"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_kafka_property_that_the_guarantee_rests_on_is_refused(name):
    """Each is refused by its name, with a reason and without its value."""
    line = refused({"kafka": json.dumps({"linger.ms": 5, name: SECRET})})
    assert line.startswith(f"setting kafka: {name} is ")
    assert "remove it" in line or "did you mean" in line


@pytest.mark.parametrize(("why", "names"), RESERVED_BECAUSE.items())
def test_a_reserved_property_is_refused_with_its_reason(why, names):
    """What somebody may have a purpose for has a reason of its own, and none of it is allowed as well."""
    for name in names:
        assert refused({"kafka": json.dumps({name: SECRET})}) == f"setting kafka: {name} is reserved: {why}; remove it"
    assert ALLOWED.isdisjoint(names)


@pytest.mark.parametrize(("name", "meant"), [("linger.mss", "linger.ms"), ("session_timeout.ms", "session.timeout.ms")])
def test_a_misspelt_property_is_refused_with_the_one_that_was_meant(name, meant):
    """What is on no list may be anything: it is refused, and the nearest allowed name is given."""
    line = refused({"kafka": json.dumps({name: SECRET})})
    assert line == (
        f"setting kafka: {name} is not among the properties that are known to leave the guarantee alone; "
        f"did you mean {meant}?"
    )


def test_a_property_that_is_on_no_list_is_refused():
    """A property that the client gains, or that nobody thought of, is not taken on trust."""
    line = refused({"kafka": json.dumps({"no.such.thing": SECRET})})
    assert line.startswith("setting kafka: no.such.thing is not among the properties ")
    assert line.endswith('remove it (deploy/README.md, "Kafka properties", has the list)')


def test_the_client_has_every_allowed_property():
    """A list with a name that the client does not know would promise what cannot be set."""
    for name in ALLOWED:
        assert "No such configuration property" not in refusal_by_the_client({name: "whatever"}), name
    assert "No such configuration property" in refusal_by_the_client({"no.such.thing": "whatever"})


def refusal_by_the_client(properties):
    """Give what the client says to properties, nothing if it takes them."""
    try:
        Producer({"log_level": 0, **properties})
    except KafkaException as error:
        return str(error)
    return ""


def test_a_way_to_tokens_that_needs_another_package_names_it():
    """The client imports it when it is made."""
    properties = {
        "sasl.mechanisms": "OAUTHBEARER",
        "security.protocol": "SASL_SSL",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.metadata.authentication.type": "aws_iam",
        "sasl.oauthbearer.config": "region=eu-central-1,audience=kafka",
    }
    with pytest.raises(UsageError) as refusal:
        plain_producer(load({"kafka": json.dumps(properties)}, None, {}))
    assert str(refusal.value) == (
        "setting kafka: sasl.oauthbearer.metadata.authentication.type=aws_iam needs the Python package "
        "confluent-kafka[oauthbearer-aws]"
    )


def test_allowed_kafka_properties_are_taken_as_they_are():
    """Security and tuning are the operator's."""
    properties = {"sasl.password": SECRET, "linger.ms": 5}
    assert load({"kafka": json.dumps(properties)}, None, {}).kafka == properties
