"""What the Kafka client's errors ask for: retry, another producer, or stop (the three classes of the recovery path)."""

import pytest
from confluent_kafka import KafkaError

from processor.errors import ProducerLostError, RetryError, StopError
from processor.kafka.failures import ACTIONS, classify, classify_consumer

# A healthy member meets these when another joins or goes, and where a predecessor's transaction is open.
RETRY = (
    *(KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS),
    *(KafkaError.STALE_MEMBER_EPOCH, KafkaError.FENCED_MEMBER_EPOCH, KafkaError.UNSTABLE_OFFSET_COMMIT),
    KafkaError.FENCED_INSTANCE_ID,  # by its own ghost, perhaps: the group is asked
)
# Fenced, or nobody knows what became of the transaction.
PRODUCER_LOST = (
    *(KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError._FATAL),
    *(KafkaError.INVALID_PRODUCER_ID_MAPPING, KafkaError.INVALID_TXN_STATE, KafkaError._STATE),
)
# Trying again mends none of these: rights, log-in, settings.
STOP = (
    *(KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED),
    *(KafkaError.CLUSTER_AUTHORIZATION_FAILED, KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
    *(KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION, KafkaError.UNSUPPORTED_VERSION),
    *(KafkaError.INVALID_TRANSACTION_TIMEOUT, KafkaError.INVALID_SESSION_TIMEOUT),
    KafkaError.INCONSISTENT_GROUP_PROTOCOL,
)
ACTION = {
    **dict.fromkeys(RETRY, RetryError),
    **dict.fromkeys(PRODUCER_LOST, ProducerLostError),
    **dict.fromkeys(STOP, StopError),
}


@pytest.mark.parametrize("code", ACTION, ids=lambda code: KafkaError(code).name())
def test_an_error_asks_for_its_action(code):
    """The class is the action, and the line says what was tried; a stop says where to look besides."""
    found = classify(KafkaError(code, "the broker's words"), "committing")
    assert type(found) is ACTION[code]
    assert str(found).startswith("committing: the broker's words")
    assert ("check the setting kafka" in str(found)) == (code in STOP)
    assert type(classify_consumer(KafkaError(code), "reading")) is (
        RetryError if code in PRODUCER_LOST else ACTION[code]
    )


def test_no_other_code_has_an_action():
    """A code that is added to the table has a line here; one that is not in it is tried again."""
    assert ACTIONS.keys() == ACTION.keys()
    assert type(classify(KafkaError(KafkaError.NOT_COORDINATOR), "committing")) is RetryError


def test_a_fatal_error_of_another_code_takes_the_producer_along():
    """The client is of no use any more, whatever the code."""
    assert type(classify(KafkaError(KafkaError.NOT_COORDINATOR, fatal=True), "committing")) is ProducerLostError
