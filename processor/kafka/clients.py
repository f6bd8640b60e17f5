"""Kafka clients as this program uses them. Every consumer reads committed records only.

The properties that the guarantee rests on come last, so that the setting `kafka` cannot change them.
"""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from processor import __version__
from processor.errors import RetryError, UsageError
from processor.kafka.tokens import token_source
from processor.logs import SERVICE, kafka_client_logger
from processor.settings import Settings

SESSION_TIMEOUT_MS: Final = 6_000  # the least that a broker accepts by default: how fast a crash is noticed
TRANSACTION_TIMEOUT_MS: Final = 10_000  # how long a crashed replica can hold readers back
REQUEST_TIMEOUT_S: Final = 10.0
# One response may expand to many times its size, and the client expands it as a whole: so it asks for little at once.
_FETCH_BYTES: Final = 256 << 10  # of one response, compressed
_PARTITION_FETCH_BYTES: Final = 64 << 10  # of it, of one partition; a larger batch comes whole, and alone
# The most that one zstd batch may expand to. The client triples its guess of the size from twice the compressed size
# on, so that a third of this can be read for certain (`rejected.COPY_BYTES` is less).
_RECEIVE_BYTES: Final = 220_000_000

Client = TypeVar("Client")


def new_client(client: Callable[[dict[str, Any]], Client], properties: dict[str, Any]) -> Client:
    """Return a client. Raises UsageError for a property of `kafka` that it refuses, without the value.

    If tokens come from a function, that takes a second, and RetryError says that none came within ten.
    """
    try:
        return client(properties)
    except ImportError as error:
        needs = "the Python package confluent-kafka[oauthbearer-aws]"
        raise UsageError(
            f"setting kafka: sasl.oauthbearer.metadata.authentication.type=aws_iam needs {needs}"
        ) from error
    except (KafkaException, TypeError, ValueError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() == KafkaError.SASL_AUTHENTICATION_FAILED:
            raise RetryError(f"the Kafka client got no token: {error.args[0].str()}") from error
        named = re.search(r'property:? "?([a-z0-9._]+)', str(error))
        problem = f"the property {named[1]} or its value" if named else "a property"
        raise UsageError(f"setting kafka: the Kafka client refuses {problem}; correct or remove it") from error


def client_properties(settings: Settings) -> dict[str, Any]:
    """Return the properties that every client has: the setting `kafka`, then the reserved ones.

    With `kafka_token` this waits for the first token (see `tokens.TokenSource.require`).
    """
    source = token_source(settings)
    return {
        "reconnect.backoff.max.ms": 1_000,  # by default a client may wait 10 s after a broker is back
        **settings.kafka,
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": f"{SERVICE}-{settings.instance_id}",
        "client.software.name": SERVICE,
        "client.software.version": __version__,
        "allow.auto.create.topics": False,  # a question about a topic, or a record for it, must not make one up
        "logger": kafka_client_logger(),
        **({} if source is None else {"oauth_cb": source}),
    }


def _consumer(settings: Settings, tuned: dict[str, Any], fixed: dict[str, Any]) -> Consumer:
    """Return a consumer. The setting `kafka` can change what is `tuned`, and nothing that is `fixed`."""
    return new_client(
        Consumer,
        {
            "fetch.wait.max.ms": 50,
            "fetch.queue.backoff.ms": 20,  # after a full queue; by default a second, though it is empty long before
            "check.crcs": True,  # or damaged bytes would be read as whatever they look like
            "fetch.max.bytes": _FETCH_BYTES,
            "fetch.message.max.bytes": _PARTITION_FETCH_BYTES,
            "queued.max.messages.kbytes": 32 << 10,  # uncompressed; with 8 MiB an event costs more on a shared core
            "receive.message.max.bytes": _RECEIVE_BYTES,
            **tuned,
            **client_properties(settings),
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "message.max.bytes": _FETCH_BYTES,  # the client fetches at least this much
            **fixed,
        },
    )


def reader(settings: Settings, **properties: Any) -> Consumer:
    """Return a consumer outside any group, for explicitly assigned partitions; it reports each partition's end."""
    fixed = {
        "group.id": f"{settings.group_id}-reader",  # the client requires one; it is never joined
    }
    return _consumer(settings, {}, fixed | properties)


def group_consumer(settings: Settings) -> Consumer:
    """Return this replica's consumer: cooperative rebalancing, static membership, no automatic commits."""
    tuned = {
        "session.timeout.ms": SESSION_TIMEOUT_MS,
        "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 12,  # how soon members learn of a rebalance
        # How long a rebalance waits for a member that does not join: longer than any turn of the loop takes.
        "max.poll.interval.ms": 120_000,
    }
    fixed = {
        "group.id": settings.group_id,
        "group.instance.id": settings.instance_id,
        "group.protocol": "classic",
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.offset.store": False,
    }
    return _consumer(settings, tuned, fixed)


def chosen_member(settings: Settings, group_id: str) -> Consumer:
    """Return a member of a group whose members take turns: none is known by name, so that a second one only waits."""
    tuned = {"session.timeout.ms": SESSION_TIMEOUT_MS, "heartbeat.interval.ms": SESSION_TIMEOUT_MS // 12}
    fixed = {"group.id": group_id, "group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"}
    return _consumer(settings, tuned, fixed | {"enable.auto.offset.store": False})


def plain_producer(settings: Settings) -> Producer:
    """Return an idempotent producer without transactions, with Java's partitioner, for the commands that send."""
    return new_client(
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


def transactional_producer(settings: Settings, batch_bytes: int, name: str | None = None, **tuned: Any) -> Producer:
    """Return this replica's producer, or the one of a transactional id. That is stable, so that it fences its own past.

    The setting `kafka` can change what is `tuned`. `batch_bytes` is at most what the output topics take in one request:
    if a broker refuses a batch for a large record, the small ones in it fail too.
    """
    return new_client(
        Producer,
        {
            "linger.ms": 5,
            "compression.type": "zstd",  # a value that arrived compressed may be many times its topic's limit
            "batch.size": batch_bytes,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
            "retry.backoff.ms": 5,  # the default, 100 ms, would slow back-to-back transactions
            "retry.backoff.max.ms": 500,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
            **tuned,
            **client_properties(settings),
            "enable.idempotence": True,
            "acks": "all",
            "message.max.bytes": 1_000_000_000,  # checked before compression; the topic's limit decides
            "transactional.id": name or transactional_id(settings.group_id, settings.instance_id),
        },
    )


def transactional_id(group_id: str, instance_id: str) -> str:
    """Return a replica's transactional id. An instance id has no slash, so no two replicas share one."""
    return f"{group_id}/{instance_id}"


def session_timeout_s(settings: Settings) -> float:
    """Return for how long a member may be silent."""
    return float(settings.kafka.get("session.timeout.ms", SESSION_TIMEOUT_MS)) / 1000
