"""What the Kafka client's errors ask for: one table of codes, each with the error whose class is the action.

Codes that pass by themselves are retried without end. Any other code that is not in the table is retried too, but as
`lasting`: `Repeats` counts it, and a few failures of the same batch stop the program. A fatal error makes its client
unusable.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError, UnreadableError
from processor.kafka.tokens import token_trouble

ACTIONS: Final[Mapping[int, type[OrderFactsError]]] = {
    # With cooperative rebalancing a healthy member gets these whenever another one joins during its steps 2 to 5.
    KafkaError.ILLEGAL_GENERATION: RetryError,
    KafkaError.UNKNOWN_MEMBER_ID: RetryError,
    KafkaError.REBALANCE_IN_PROGRESS: RetryError,
    KafkaError.STALE_MEMBER_EPOCH: RetryError,
    KafkaError.FENCED_MEMBER_EPOCH: RetryError,
    # Fatal to the client, yet a retry: `replica.group` finds out whether another process has the name.
    KafkaError.FENCED_INSTANCE_ID: RetryError,
    # A predecessor's transaction is still open.
    KafkaError.UNSTABLE_OFFSET_COMMIT: RetryError,
    # An operator must change the access rights or the setting `kafka`.
    KafkaError.TOPIC_AUTHORIZATION_FAILED: StopError,
    KafkaError.GROUP_AUTHORIZATION_FAILED: StopError,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: StopError,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: StopError,
    KafkaError.SASL_AUTHENTICATION_FAILED: StopError,
    KafkaError._AUTHENTICATION: StopError,  # noqa: SLF001
    KafkaError.INVALID_TRANSACTION_TIMEOUT: StopError,
    KafkaError.UNSUPPORTED_VERSION: StopError,
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: StopError,
    KafkaError.INVALID_SESSION_TIMEOUT: StopError,
    # The producer is unusable, or the outcome of its transaction is unknown.
    KafkaError._FENCED: ProducerLostError,  # noqa: SLF001
    KafkaError.PRODUCER_FENCED: ProducerLostError,
    KafkaError.INVALID_PRODUCER_EPOCH: ProducerLostError,
    KafkaError.INVALID_PRODUCER_ID_MAPPING: ProducerLostError,
    KafkaError.INVALID_TXN_STATE: ProducerLostError,
    KafkaError._FATAL: ProducerLostError,  # noqa: SLF001
    KafkaError._STATE: ProducerLostError,  # noqa: SLF001
    # An operator must change the topic, or the brokers.
    KafkaError.TOPIC_EXCEPTION: StopError,
    KafkaError.INVALID_GROUP_ID: StopError,
    KafkaError.GROUP_MAX_SIZE_REACHED: StopError,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: StopError,
    KafkaError.UNSUPPORTED_COMPRESSION_TYPE: StopError,
}
# Brokers or networks come and go, leaders and coordinators move, metadata is a moment old.
PASSING: Final = frozenset(
    {
        *(KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._ALL_BROKERS_DOWN, KafkaError._SSL),  # noqa: SLF001
        *(KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE, KafkaError._MSG_TIMED_OUT),  # noqa: SLF001
        *(KafkaError._WAIT_COORD, KafkaError._WAIT_CACHE, KafkaError._NODE_UPDATE),  # noqa: SLF001
        *(KafkaError._INTR, KafkaError._RETRY, KafkaError._DESTROY_BROKER),  # noqa: SLF001
        *(KafkaError._IN_PROGRESS, KafkaError._PREV_IN_PROGRESS, KafkaError._CONFLICT),  # noqa: SLF001
        *(KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_BROKER),  # noqa: SLF001
        *(KafkaError._MAX_POLL_EXCEEDED, KafkaError._ASSIGNMENT_LOST, KafkaError._OUTDATED),  # noqa: SLF001
        *(KafkaError._AUTO_OFFSET_RESET, KafkaError._NO_OFFSET),  # noqa: SLF001 - placing decides
        *(KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT),  # noqa: SLF001 - effects of another failure
        *(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.UNKNOWN_PRODUCER_ID),
        *(KafkaError.OFFSET_OUT_OF_RANGE, KafkaError.OFFSET_NOT_AVAILABLE),
        *(KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError.INCONSISTENT_TOPIC_ID),
        *(KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REPLICA_NOT_AVAILABLE),
        *(KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.STALE_BROKER_EPOCH),
        *(KafkaError.ELIGIBLE_LEADERS_NOT_AVAILABLE, KafkaError.PREFERRED_LEADER_NOT_AVAILABLE),
        *(KafkaError.BROKER_NOT_AVAILABLE, KafkaError.NETWORK_EXCEPTION, KafkaError.REQUEST_TIMED_OUT),
        *(KafkaError.LISTENER_NOT_FOUND, KafkaError.NOT_CONTROLLER, KafkaError.STALE_CTRL_EPOCH),
        *(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE),
        *(KafkaError.NOT_COORDINATOR, KafkaError.TRANSACTION_COORDINATOR_FENCED, KafkaError.MEMBER_ID_REQUIRED),
        *(KafkaError.NOT_ENOUGH_REPLICAS, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        *(KafkaError.KAFKA_STORAGE_ERROR, KafkaError.LOG_DIR_NOT_FOUND, KafkaError.REASSIGNMENT_IN_PROGRESS),
        *(KafkaError.FETCH_SESSION_ID_NOT_FOUND, KafkaError.INVALID_FETCH_SESSION_EPOCH),
        *(KafkaError.CONCURRENT_TRANSACTIONS, KafkaError.TRANSACTION_ABORTABLE, KafkaError.REBOOTSTRAP_REQUIRED),
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    }
)
FENCED: Final = frozenset(
    {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001
)
"""Another producer took the transactional id."""
_MOST_TEXT: Final = 300
_NOTHING_GIVEN: Final = "Failed to acquire SASL OAUTHBEARER token"  # the client's text if a provider gives it none
# What a client without a valid token may meet.
_WITHOUT_TOKEN: Final = PASSING | {KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION}  # noqa: SLF001
_VAGUE: Final = frozenset({KafkaError._FATAL, KafkaError._STATE})  # noqa: SLF001 - any cause may be behind them


# The partition no longer holds the offset.
_LOST_OFFSET: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001


def text_of(error: KafkaError) -> str:
    """Return what the client says of an error, in one line: it may quote a page that a provider of tokens sent."""
    text = " ".join(error.str().split())
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def classify(error: KafkaError, doing: str) -> OrderFactsError:
    """Return the error whose class is what a client's error asks for; `doing` says in its line what was tried."""
    text = f"{doing}: {text_of(error)}"
    code = error.code()
    if code in _WITHOUT_TOKEN and not error.fatal() and (trouble := token_trouble()) is not None:
        return RetryError(f"{text}; {trouble}")
    if code == KafkaError._AUTHENTICATION and _NOTHING_GIVEN in text:  # noqa: SLF001
        return RetryError(text)
    action = ACTIONS.get(code, ProducerLostError if error.fatal() else RetryError)
    if issubclass(action, StopError):
        return action(f"{text}; check the setting kafka and the access rights on the brokers")
    is_known = code in ACTIONS and code not in _VAGUE
    return action(text, lasting=None if is_known or code in PASSING or error.retriable() else error.name())


def classify_consumer(error: KafkaError, doing: str) -> OrderFactsError:
    """As `classify`, for a consumer's error: there is no producer to lose."""
    found = classify(error, doing)
    return RetryError(str(found), lasting=found.lasting) if isinstance(found, ProducerLostError) else found


def failure_of(message: Message, doing: str) -> OrderFactsError | None:
    """Return what the error of a consumer's message asks for; None for a record, or the end of a partition.

    An error that names a place concerns only that partition: UnreadableError. The exceptions are a lost offset, which
    the committed offsets explain, and what a retry cannot help.
    """
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        return None
    found = classify_consumer(error, doing)
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    if type(found) is not RetryError or error.fatal() or error.code() in _LOST_OFFSET:
        return found
    if topic is None or partition is None or offset is None:
        return found
    return UnreadableError(topic, partition, offset, error.str())


def is_end(message: Message, doing: str) -> bool:
    """Return whether a message is no record but a partition's end, with the next offset. Raises any other error."""
    if (failure := failure_of(message, doing)) is not None:
        raise failure
    return message.error() is not None


@contextmanager
def failures(doing: str, classified: Callable[[KafkaError, str], OrderFactsError] = classify) -> Iterator[None]:
    """Raise what a client's error in the block asks for."""
    try:
        yield
    except KafkaException as error:
        raise classified(error.args[0], doing) from error


@contextmanager
def fatal_errors() -> Iterator[None]:
    """Raise the client's fatal error itself: Python wraps it in a SystemError if it meets a delivery callback."""
    try:
        yield
    except SystemError as error:
        cause: BaseException | None = error
        while isinstance(cause, SystemError):
            cause = cause.__cause__
        if isinstance(cause, KafkaException):
            raise KafkaException(*cause.args) from error
        raise
