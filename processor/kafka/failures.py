"""What the Kafka client's errors ask for: one table of codes, each with the error whose class is the action.

A code that is not in the table counts as temporary: the batch is tried again. A fatal error makes its client unusable.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message

from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError

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
}


def classify(error: KafkaError, doing: str) -> OrderFactsError:
    """Return the error whose class is what a client's error asks for; `doing` says in its line what was tried."""
    text = f"{doing}: {error.str()}"
    action = ACTIONS.get(error.code(), ProducerLostError if error.fatal() else RetryError)
    if issubclass(action, StopError):
        return action(f"{text}; check the setting kafka and the access rights on the brokers")
    return action(text)


def classify_consumer(error: KafkaError, doing: str) -> OrderFactsError:
    """As `classify`, for a consumer's error: there is no producer to lose."""
    found = classify(error, doing)
    return RetryError(str(found)) if isinstance(found, ProducerLostError) else found


def is_end(message: Message, doing: str) -> bool:
    """Return whether a message is no record but a partition's end, with the next offset. Raises any other error."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
        raise classify(error, doing)
    return error is not None


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
