"""Creates the topics that are missing, each as safe and as large as the brokers allow."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from processor.errors import RetryError, StopError, UnreachableError
from processor.kafka.clients import REQUEST_TIMEOUT_S
from processor.kafka.cluster import Cluster
from processor.kafka.failures import classify
from processor.settings import Settings

_WEEK_MS: Final = 7 * 24 * 3600 * 1000
_SAFE_FACTOR: Final = 3  # with three copies, two must have a record before it counts as written
# A default broker takes requests of up to 104,857,600 bytes; leave room for the request's own fields. Managed services
# allow less, in usual steps; at last take what the brokers say by themselves.
MESSAGE_BYTES: Final = (104_857_600 - (64 << 10), 20 << 20, 8 << 20, None)
_REFUSED: Final = frozenset({KafkaError.POLICY_VIOLATION, KafkaError.INVALID_CONFIG})
_MOVED: Final = "replication.throttled.replicas"  # while partitions are reassigned: names these
_COPIES: Final = frozenset({KafkaError.INVALID_REPLICATION_FACTOR})
_PAUSE_S: Final = 0.02
_Answer = TypeVar("_Answer")


class Created(msgspec.Struct, frozen=True):
    """A topic that exists now: its partitions, and if it was created, its copies and what the brokers refused."""

    name: str
    partitions: int
    factor: int | None = None
    refused: str = ""


def wanted_topics(settings: Settings, outputs: int) -> dict[str, tuple[int, dict[str, str]]]:
    """Return each topic's partitions and own settings, by its name; `outputs` are the partitions of facts and rejected.

    The rejected topic takes records of MESSAGE_BYTES beside that, or as large as the brokers allow.
    """
    compact = {"cleanup.policy": "compact"}
    return {
        settings.events_topic: (settings.partitions, {}),
        settings.contacts_topic: (settings.partitions, compact),
        settings.facts_topic: (outputs, compact | {"min.compaction.lag.ms": str(_WEEK_MS)}),
        settings.rejected_topic: (outputs, {}),
        settings.segment_members_topic: (settings.partitions, compact),
        settings.healed_topic: (1, compact),  # one process at a time writes it, and its partition says which
    }


def create_missing(settings: Settings, cluster: Cluster) -> Iterator[Created]:
    """Create what is missing, topic by topic; each can be used when it is yielded.

    Raises StopError or RetryError if the brokers refuse one, UnreachableError if they do not know it in time.
    """
    events = cluster.topics([settings.events_topic]).get(settings.events_topic)
    wanted = wanted_topics(settings, events.partitions if events else settings.partitions)
    existing = cluster.topics(wanted)
    most_copies = min(settings.replication_factor, cluster.broker_count()) if len(existing) < len(wanted) else 0
    for name, (partitions, config) in wanted.items():
        if name in existing:
            yield Created(name, existing[name].partitions)
        else:
            sizes = MESSAGE_BYTES if name == settings.rejected_topic else (None,)
            created = _create(
                cluster, NewTopic(name, partitions, most_copies, config=config), sizes, settings.startup_timeout_s
            )
            _await_known(cluster, created, settings.startup_timeout_s)
            yield created


def create_like(
    settings: Settings, cluster: Cluster, like: str, name: str, partitions: int, changed: dict[str, str]
) -> Created:
    """Create a topic with the copies and the own settings of an existing one, but for what is `changed`.

    Raises as `create_missing`.
    """
    own = {key: value for key, value in cluster.own_topic_settings(like).items() if not key.endswith(_MOVED)}
    copies = min(cluster.copies([like])[like], cluster.broker_count())
    created = _create(
        cluster, NewTopic(name, partitions, copies, config=own | changed), (None,), settings.startup_timeout_s
    )
    _await_known(cluster, created, settings.startup_timeout_s)
    return created


def _create(cluster: Cluster, topic: NewTopic, sizes: tuple[int | None, ...], timeout_s: float) -> Created:
    """Create a topic; where the brokers refuse its copies or its sizes, with the next smaller ones."""
    base, refused, failed = topic.config or {}, "", None
    for factor, size, is_safe in itertools.product(range(topic.replication_factor, 0, -1), sizes, (True, False)):
        if (is_safe and factor < _SAFE_FACTOR) or (failed in _COPIES and factor == topic.replication_factor):
            continue
        own = {"max.message.bytes": str(size)} if size else {}
        own |= {"min.insync.replicas": "2"} if is_safe and "min.insync.replicas" not in base else {}
        topic.replication_factor, topic.config = factor, base | own
        error = _refusal(cluster, topic)
        if error is None:
            return Created(topic.topic, topic.num_partitions, factor, refused)
        failed = error.code()
        if failed == KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else created it just now
            return Created(topic.topic, _known_partitions(cluster, topic.topic, timeout_s))
        is_last = factor == 1 and (failed in _COPIES or size == sizes[-1])
        if is_last and failed in _REFUSED:
            raise StopError(
                f"the brokers refuse to create the topic {topic.topic}, in every form: {error.str()}; create it with "
                'what they allow: see "Topics of your own" in deploy/README.md'
            )
        if is_last or failed not in _REFUSED | _COPIES:
            raise classify(error, f"creating the topic {topic.topic}")
        asked = "".join(f", {name}={value}" for name, value in own.items())
        refused = refused or f"replication factor {factor}{asked}: {error.str()}"
    raise AssertionError("the last form returns or raises")


def _refusal(cluster: Cluster, topic: NewTopic) -> KafkaError | None:
    """Ask for a topic; return why the brokers refuse it, if they do."""
    (future,) = cluster.admin.create_topics([topic], request_timeout=REQUEST_TIMEOUT_S).values()
    try:
        future.result()
    except KafkaException as error:
        found: KafkaError = error.args[0]
        return found
    return None


def _known_partitions(cluster: Cluster, name: str, timeout_s: float) -> int:
    """Return a topic's number of partitions, as soon as the brokers know the topic."""
    topic = _awaited(lambda: cluster.topics([name]).get(name), timeout_s)
    if topic is None:
        raise RetryError(f"the topic {name} exists, but no broker knows it after {timeout_s:g} s; run this again")
    return topic.partitions


def _await_known(cluster: Cluster, created: Created, timeout_s: float) -> None:
    """Wait until a topic has a leader for each partition: the controller answers before the brokers know the topic."""
    if not _awaited(lambda: cluster.led_partitions(created.name) >= created.partitions, timeout_s):
        raise UnreachableError(
            f"the topic {created.name} was created, but after {timeout_s:g} s not all of its {created.partitions} "
            "partitions have a leader; look at the brokers, then run this again"
        )


def _awaited(ask: Callable[[], _Answer], timeout_s: float) -> _Answer:
    """Ask until the answer is true or the time is up; return the last answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    return answer
