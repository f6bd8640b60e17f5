"""What `check` says of a service's transactions: that they work, that there are none, or what limits them."""

from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AclOperation
from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka
from processor.kafka import rights, transactions
from processor.kafka.clients import transactional_id
from processor.kafka.rights import Granted, Right, try_transaction
from tests.conftest import own_settings


@pytest.fixture
def kafka_alone(tmp_path):
    """Give a broker that has no transactions: it is alone, and would have to keep three copies of them."""
    broker = EmbeddedKafka(tmp_path / "kafka", overrides={"transaction.state.log.replication.factor": "3"})
    broker.start()
    yield broker
    broker.stop()


def test_a_service_without_transactions_is_named(services, kafka_alone, monkeypatch):
    """The client only waits, for ten seconds (here for two); why is in its log, in the service's own words."""
    monkeypatch.setattr(transactions, "TRANSACTION_TIMEOUT_S", 2.0)
    settings = replace(own_settings(services), bootstrap_servers=kafka_alone.bootstrap_servers)
    said = try_transaction(settings)
    assert isinstance(said, str)
    assert said.startswith("none began within 10 s (")
    assert (
        "the service has no transactions, which this program needs, or its brokers are too few for the topic " in said
    )


def test_several_checks_at_once_disturb_nobody(settings):
    """They share a transactional id, fence each other, and all find that transactions work."""
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(try_transaction, [settings] * 8)) == [None] * 8


def test_the_transactional_id_is_no_replicas(settings):
    """Whatever a group and an instance are named, an instance has a name, and it has no slash."""
    assert transactional_id("group", rights._NO_NAME).endswith("/")
    assert transactional_id("group", rights._NO_NAME).startswith("group/")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (KafkaError._FENCED, None),
        (KafkaError.PRODUCER_FENCED, None),
        (
            KafkaError.INVALID_TRANSACTION_TIMEOUT,
            "the brokers allow none of 10 s (…): raise transaction.max.timeout.ms",
        ),
        (KafkaError.UNSUPPORTED_VERSION, "none can begin (…): the service has no transactions, which this program"),
        (KafkaError._UNSUPPORTED_FEATURE, "none can begin (…): the service has no transactions, which this program"),
        (KafkaError.INVALID_REQUEST, "none can begin (…): the service has no transactions, which this program needs"),
    ],
)
def test_what_a_service_answers_is_explained(settings, code, says):
    """Services differ in how they refuse: whatever is no missing right and does not pass means that there are none."""
    found = rights._judged(KafkaError(code), "…", settings)
    assert found is None if says is None else str(found).startswith(says)


def future(answer=None, failure=None):
    """Give a description that came, or failed with a code."""
    done: Future[object] = Future()
    if failure is None:
        done.set_result(answer)
    else:
        done.set_exception(KafkaException(KafkaError(failure)))
    return done


@pytest.mark.parametrize(
    ("described", "granted"),
    [
        (future(SimpleNamespace(authorized_operations=[AclOperation.READ])), {AclOperation.READ}),
        (future(SimpleNamespace(authorized_operations=None)), None),
        (future(failure=KafkaError.UNSUPPORTED_VERSION), None),
        (future(failure=KafkaError.GROUP_AUTHORIZATION_FAILED), set()),
    ],
)
def test_a_service_that_does_not_say_what_it_grants_is_not_judged(described, granted):
    """Older brokers, and services that are no Kafka, may leave it out; what they refuse is not granted."""
    assert rights._granted(described) == granted
    asked = Granted.__new__(Granted)
    asked._found = {("topic", "events"): granted}
    right = Right("topic", "events", "Read")
    assert asked.missing([right, Right("topic", "unknown", "Read")]) == ([right] if granted == set() else [])
    assert asked.unknown == (["the topic events"] if granted is None else [])


def test_a_missing_right_is_a_right(settings):
    """A call that hangs is none."""
    refused = KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    right = Right("transactional ids with prefix", f"{settings.group_id}/", "Write")
    assert rights._judged(refused, "…", settings) == right
    assert "(it hangs)" in str(rights._judged(None, "it hangs", settings))
