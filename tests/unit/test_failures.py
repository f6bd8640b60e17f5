"""What the Kafka client's errors ask for: retry, another producer, or stop (the three classes of the recovery path)."""

import pytest
from confluent_kafka import KafkaError

from processor.domain.records import Record
from processor.errors import ProducerLostError, RetryError, StopError
from processor.kafka.failures import ACTIONS, PASSING, classify, classify_consumer
from processor.kafka.repeats import Repeats

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
    *(KafkaError.INCONSISTENT_GROUP_PROTOCOL, KafkaError.TOPIC_EXCEPTION, KafkaError.INVALID_GROUP_ID),
    *(KafkaError.GROUP_MAX_SIZE_REACHED, KafkaError.UNSUPPORTED_SASL_MECHANISM),
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE,
)
VAGUE = (KafkaError._FATAL, KafkaError._STATE)
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
    assert (found.lasting is not None) == (code in VAGUE)
    assert type(classify_consumer(KafkaError(code), "reading")) is (
        RetryError if code in PRODUCER_LOST else ACTION[code]
    )


def test_no_other_code_has_an_action():
    """A code that is added to the table has a line here; one that is in no table is tried again, as one that lasts."""
    assert ACTIONS.keys() == ACTION.keys()
    assert not PASSING & ACTIONS.keys()
    refused = classify(KafkaError(KafkaError.INVALID_RECORD), "committing")
    assert (type(refused), refused.lasting) == (RetryError, "INVALID_RECORD")


@pytest.mark.parametrize("code", PASSING, ids=lambda code: KafkaError(code).name())
def test_what_passes_by_itself_is_retried_without_end(code):
    """A broker that is away may stay away for hours: nothing counts these."""
    found = classify(KafkaError(code), "committing")
    assert (type(found), found.lasting) == (RetryError, None)


def test_a_fatal_error_of_another_code_takes_the_producer_along():
    """The client is of no use any more, whatever the code."""
    found = classify(KafkaError(KafkaError.NOT_COORDINATOR, fatal=True), "committing")
    assert (type(found), found.lasting) == (ProducerLostError, None)


def record(partition, offset):
    """Give a record of which only the place matters."""
    return Record(partition, offset, 0, None, None, ())


REFUSED = RetryError("writing a batch: invalid record", lasting="INVALID_RECORD")


def test_a_record_that_fails_alone_for_one_cause_stops():
    """Five failures of the same first record, the last without any other: the line names the record and the cause."""
    repeats = Repeats("events")
    for _ in range(9):
        repeats.failed(REFUSED, [record(0, 7), record(0, 8), record(1, 3)])
    repeats.failed(RetryError("Kafka is away"), [record(0, 7)])
    with pytest.raises(StopError, match=r"events\[0\]@7: writing a batch: invalid record; the same failed 10 times"):
        repeats.failed(REFUSED, [record(0, 7)])


def test_what_does_not_repeat_goes_on():
    """Other records, other causes and failures that pass count nothing together."""
    repeats = Repeats("events")
    for offset in range(20):
        repeats.failed(REFUSED, [record(0, offset)])
        repeats.failed(RetryError("Kafka is away"), [record(0, 7)])
        repeats.failed(RetryError("x", lasting=f"cause {offset}"), [record(1, 7)])


def test_work_without_records_stops_too_unless_something_worked_between():
    """A request that is refused again and again has no record to name."""
    repeats = Repeats("events")
    for _ in range(20):
        repeats.failed(REFUSED)
        repeats.worked()
    for _ in range(4):
        repeats.failed(REFUSED)
    with pytest.raises(StopError, match="writing a batch"):
        repeats.failed(REFUSED)
