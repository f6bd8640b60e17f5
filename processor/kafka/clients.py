"""Kafka clients as this program uses them, and what their errors ask for.

Every consumer reads committed records only. The properties that the guarantee rests on are set here and
cannot be set by the `kafka` setting (`settings.RESERVED_KAFKA_PROPERTIES`).
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from processor import __version__
from processor.errors import (
    OrderFactsError,
    ProducerLostError,
    RetryError,
    StopError,
    UsageError,
)
from processor.logs import SERVICE, kafka_client_logger
from processor.settings import Settings

FETCH_PAUSE_MS: Final = 20  # of a full queue, which is empty again long before the second that is the default
SESSION_TIMEOUT_MS: Final = 6_000  # the least a broker takes by default: how fast a crash is noticed
TRANSACTION_TIMEOUT_MS: Final = 10_000  # how long a crashed replica can hold readers back
REQUEST_TIMEOUT_S: Final = 10.0
_ASK_AGAIN_S: Final = (0.01, 0.5)  # after how long for a transactional id: at first, and at most

_RETRY: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    }
)
_STOP: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.INVALID_SESSION_TIMEOUT,
    }
)
_PRODUCER_LOST: Final = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.INVALID_TXN_STATE,
        KafkaError._FATAL,  # noqa: SLF001
        KafkaError._STATE,  # noqa: SLF001
    }
)


Client = TypeVar("Client")


def made(client: Callable[[dict[str, Any]], Client], properties: dict[str, Any]) -> Client:
    """Return a client. Raises UsageError, without the value, for a property of `kafka` that it refuses."""
    try:
        return client(properties)
    except (KafkaException, TypeError, ValueError) as error:
        named = re.search(r'property:? "?([a-z0-9._]+)', str(error))
        problem = f"the property {named[1]} is unknown or its value is refused" if named else "it is refused"
        raise UsageError(f"setting kafka: {problem} by the Kafka client; correct or remove it") from error


def client_properties(settings: Settings) -> dict[str, Any]:
    """Return the properties that every client has: the setting `kafka`, then what is reserved."""
    return {
        "reconnect.backoff.max.ms": 1_000,  # 10 s, the default, would be waited for after a broker is back
        **settings.kafka,
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"{SERVICE}-{settings.instance_id}",
        "client.software.name": SERVICE,
        "client.software.version": __version__,
        "logger": kafka_client_logger(),
    }


def reader(settings: Settings, **properties: Any) -> Consumer:
    """Return a consumer outside any group, for partitions assigned by hand; it reports each partition's end."""
    return made(
        Consumer,
        {
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": FETCH_PAUSE_MS,
            **client_properties(settings),
            "group.id": f"{settings.group_id}-reader",  # required by the client; never joined
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "receive.message.max.bytes": 220_000_000,  # a rejected record may be some 100 MB
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            **properties,
        },
    )


def plain_producer(settings: Settings) -> Producer:
    """Return an idempotent producer without transactions, for the commands that send; Java's partitioner."""
    return made(
        Producer,
        {
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": 1_000_000_000,  # the topic's limit decides
            **client_properties(settings),
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
        },
    )


def transactional_producer(settings: Settings, batch_bytes: int) -> Producer:
    """Return this replica's producer; its transactional id is stable, so that it fences its own past.

    `batch_bytes` is at most what the output topics take in one request: a batch that is refused would take
    small records down with a large one.
    """
    return made(
        Producer,
        {
            "linger.ms": 5,
            "compression.type": "zstd",  # a value that came compressed may be many times its topic's limit
            "batch.size": batch_bytes,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
            "retry.backoff.ms": 5,  # 100 ms, the default, would slow back-to-back transactions
            "retry.backoff.max.ms": 500,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            **client_properties(settings),
            "enable.idempotence": True,
            "acks": "all",
            "message.max.bytes": 1_000_000_000,  # checked before compression; the topic's limit decides
            "transactional.id": transactional_id(settings.group_id, settings.instance_id),
        },
    )


def transactional_id(group_id: str, instance_id: str) -> str:
    """Return the transactional id of a replica; an instance id holds no slash, so that no two replicas share one."""
    return f"{group_id}/{instance_id}"


def end_transaction(settings: Settings, claim: str) -> None:
    """End whatever transaction another, dead, replica left open: take its transactional id for a moment.

    Raises RetryError or StopError.
    """
    producer = made(
        Producer,
        {
            **client_properties(settings),
            "enable.idempotence": True,
            "acks": "all",
            "transactional.id": claim,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        },
    )
    start_transactions(producer, f"ending the transaction of {claim}")


def start_transactions(producer: Producer, doing: str) -> None:
    """Have the producer own its transactional id; a transaction that an earlier owner left open is ended.

    The broker needs some milliseconds to end it, and answers "not now" until then. The client asks again by itself
    after half a second, and at once where the call is made again. `doing` says what for, in an error's line.
    Raises RetryError, or StopError.
    """
    deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000
    wait_s, longest_s = _ASK_AGAIN_S
    while True:
        try:
            producer.init_transactions(wait_s)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() >= deadline:
                failure = classify(error.args[0], doing)
                raise failure if isinstance(failure, StopError) else RetryError(str(failure)) from error
        else:
            return
        wait_s = min(wait_s * 2, longest_s)


def is_fatal(error: KafkaError) -> bool:
    """Tell whether a client is of no use any more."""
    return error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001


def session_timeout_s(settings: Settings) -> float:
    """Return how long a member may be silent."""
    return float(settings.kafka.get("session.timeout.ms", SESSION_TIMEOUT_MS)) / 1000


def group_consumer(settings: Settings) -> Consumer:
    """Return this replica's consumer: cooperative rebalancing, static membership, nothing committed by itself."""
    return made(
        Consumer,
        {
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 12,  # how soon members join in when one comes or goes
            # How long a rebalance waits for a member that does not join: longer than any turn of the loop takes.
            "max.poll.interval.ms": 120_000,
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": FETCH_PAUSE_MS,
            "queued.max.messages.kbytes": 32 << 10,  # with 8 MiB an event costs more where replicas share a core
            **client_properties(settings),
            "group.id": settings.group_id,
            "group.instance.id": settings.instance_id,
            "group.protocol": "classic",
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
        },
    )


def classify(error: KafkaError, doing: str) -> OrderFactsError:
    """Return the error whose class is what a client's error asks for (see `errors`).

    `doing` says what was tried, for the line that is shown.
    """
    code, text = error.code(), f"{doing}: {error.str()}"
    if code in _STOP:
        return StopError(f"{text}; check the setting kafka and the access rights on the brokers")
    if code == KafkaError.FENCED_INSTANCE_ID:
        return RetryError(text)  # whether by another process, the consumer finds out: see `group`
    if code in _PRODUCER_LOST or error.fatal():
        return ProducerLostError(text)
    return RetryError(text)


@contextmanager
def fatal_errors() -> Iterator[None]:
    """Raise the client's fatal error itself where it met a delivery callback: Python makes a SystemError of it."""
    try:
        yield
    except SystemError as error:
        cause: BaseException | None = error
        while isinstance(cause, SystemError):
            cause = cause.__cause__
        if isinstance(cause, KafkaException):
            raise KafkaException(*cause.args) from error
        raise


def classify_consumer(error: KafkaError, doing: str) -> OrderFactsError:
    """Return what a consumer's error asks for: as `classify`, but there is no producer to lose."""
    found = classify(error, doing)
    return RetryError(str(found)) if isinstance(found, ProducerLostError) else found


@contextmanager
def failures(doing: str, classified: Callable[[KafkaError, str], OrderFactsError] = classify) -> Iterator[None]:
    """Raise what the client's error inside asks for."""
    try:
        yield
    except KafkaException as error:
        raise classified(error.args[0], doing) from error


def read_range(
    consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int], idle_s: float = 30.0
) -> Iterator[Message]:
    """Yield the committed records of some partitions, each from its start up to (not with) its end.

    Raises RetryError where nothing comes for `idle_s`.
    """
    open_ends = {partition: end for partition, end in ends.items() if starts[partition] < end}
    consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in open_ends])
    heard = time.monotonic()
    while open_ends:
        first = consumer.poll(0.2)
        # consume() alone would wait out its time at the end of every range
        messages = [first, *consumer.consume(999, timeout=0)] if first is not None else []
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > idle_s:
            raise RetryError(f"{topic}: nothing was read for {idle_s:g} s; partitions {sorted(open_ends)} are not done")
        for message in messages:
            error, partition, offset = message.error(), cast("int", message.partition()), cast("int", message.offset())
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise classify(error, f"reading {topic}")
            end = open_ends.get(partition)
            if end is None:
                continue
            if error is None and offset < end:
                yield message
            # an end-of-partition message stands at the offset that is read next
            if offset + (error is None) >= end:
                del open_ends[partition]
    consumer.unassign()


def follow(
    consumer: Consumer, topic: str, starts: Mapping[int, int], stop: Callable[[], bool], poll_s: float
) -> Iterator[Message]:
    """Yield the committed records of some partitions from their starts on, and new ones as they come."""
    consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
    while not stop():
        for message in consumer.consume(1_000, poll_s):
            error = message.error()
            if error is None:
                yield message
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise classify(error, f"reading {topic}")
