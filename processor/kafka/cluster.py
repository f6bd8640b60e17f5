"""Requests to the Kafka cluster: topics, their settings, their ends, a group's members.

Every request raises what its failure asks for: RetryError, or StopError if an operator must act.
"""

import re
import time
import warnings
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    ConfigSource,
    ListOffsetsResultInfo,
    OffsetSpec,
    ResourceType,
)

from processor.errors import OrderFactsError, StopError, UnreachableError
from processor.kafka.clients import REQUEST_TIMEOUT_S, client_properties, new_client
from processor.kafka.failures import PASSING, classify, failures, text_of
from processor.logs import SERVICE
from processor.settings import Settings

_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_COMMITTED: Final = IsolationLevel.READ_COMMITTED
_GRACE_S: Final = 0.5  # the client's own limit comes first, if it keeps it
_REQUEST_S: Final = 3.0  # how long a dead broker may be asked; by then the client may know that it is dead
_FIRST_ANSWER_S: Final = 1.0
_REFRESH_S: Final = 1.0
_MOST_FAILED: Final = 2  # requests in a row, before the client is replaced
_NO_ID: Final = str(Uuid(0, 0))
_TLS: Final = re.compile(r"\bSSL\b|security\.protocol")  # in the client's text if one side has TLS, the other not
_REFUSALS: Final = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001


class Topic(msgspec.Struct, frozen=True):
    """An existing topic: its name, its id (a recreated topic has another), and its number of partitions."""

    name: str
    topic_id: str
    partitions: int


class _Reason:
    """Why a client last could not connect, which no request's error says."""

    error: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """Note what the client reports."""
        is_refused = self.error is not None and self.error.code() in _REFUSALS  # by one of several brokers
        if error.code() in _REFUSALS or (error.code() != KafkaError._ALL_BROKERS_DOWN and not is_refused):  # noqa: SLF001
            self.error = error


class Cluster:
    """Answers questions about the cluster. For other requests of `admin` there is `asking`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reason = _Reason()
        self.admin = self._new_client()
        self._failed = 0  # requests in a row
        self._refreshed_s = float("-inf")

    def _new_client(self) -> AdminClient:
        return new_client(AdminClient, {**client_properties(self._settings), "error_cb": self._reason.note})

    def _replace_if_lost(self) -> None:
        """Replace a client whose last requests failed: it may have lost its brokers for ever (see `kafka.sight`)."""
        if self._failed >= _MOST_FAILED:
            self.admin, self._failed = self._new_client(), 0

    def wait(self, deadline_s: float | None = None) -> str:
        """Return the cluster's id as soon as a broker answers.

        Raises UnreachableError after startup_timeout_s, or at `deadline_s` of the monotonic clock.
        """
        timeout_s = self._settings.startup_timeout_s
        deadline, limit_s = deadline_s or time.monotonic() + timeout_s, _FIRST_ANSWER_S
        while True:
            try:
                self._replace_if_lost()
                found = self._metadata(max(0.1, min(limit_s, deadline - time.monotonic())))
            except KafkaException as error:
                self._failed += 1
                cause = self._cause(error.args[0])
                failure = classify(cause, f"Kafka at {self._settings.bootstrap_servers}")
                if isinstance(failure, StopError):
                    raise failure from error
                if time.monotonic() >= deadline:
                    raise UnreachableError(
                        f"Kafka at {self._settings.bootstrap_servers} did not answer within {timeout_s:g} s: "
                        f"{self._explained(cause)}bootstrap_servers"
                    ) from error
                limit_s *= 2  # a distant or busy cluster needs longer
            else:
                self._failed = 0
                return known_cluster_id(found)

    def broker_count(self) -> int:
        """Return how many brokers there are."""
        with self.asking("asking for the brokers"):
            return len(self._metadata(_REQUEST_S).brokers)

    def _metadata(self, limit_s: float) -> ClusterMetadata:
        """Return the cluster's id and brokers: a small answer, also from a cluster with many topics.

        It asks about one topic, which may be missing. `describe_cluster` asks about none; an answer without brokers, as
        from a broker that starts, then ends the process: an answer without both is none to the client.
        """
        try:
            return self.admin.list_topics(self._settings.events_topic, timeout=limit_s)
        except KafkaException as error:
            raise KafkaException(KafkaError(error.args[0].code())) from error  # without "Failed to get metadata"

    def _cause(self, failed: KafkaError) -> KafkaError:
        """Return why the client cannot connect, if a request failed for that: the request only says that it waited.

        The client reports a cause once, and not again while it stays the same.
        """
        self.admin.poll(0)  # calls `note`
        reason = self._reason.error
        return reason if reason is not None and failed.code() in PASSING else failed

    def _explained(self, cause: KafkaError) -> str:
        """Return why no broker answered, and which settings to check besides the one that says where they are."""
        text = text_of(cause)
        if self._reason.error is None:
            # brokers that ask for TLS close a plain connection, and the client does not report it
            is_oidc = str(self._settings.kafka.get("sasl.oauthbearer.method", "")).lower() == "oidc"
            what = "a provider of tokens that does not answer" if is_oidc else "brokers that ask for TLS"
            return f"{text}, as with {what}; check the setting kafka, and "
        is_kafka = cause.code() in _REFUSALS or _TLS.search(text) is not None
        return f"{text}; check the setting {'kafka, and ' if is_kafka else ''}"

    def topics(self, names: Iterable[str]) -> dict[str, Topic]:
        """Return the topics that exist, by name."""
        found = self._described(names)
        return {
            name: Topic(name, known_topic_id(name, topic.topic_id), len(topic.partitions))
            for name, topic in found.items()
        }

    def copies(self, names: Iterable[str]) -> dict[str, int]:
        """Return of existing topics, by name, how many brokers hold the partition with the fewest copies."""
        found = self._described(names)
        return {name: min(len(entry.replicas) for entry in topic.partitions) for name, topic in found.items()}

    def led_partitions(self, name: str) -> int:
        """Return how many partitions of a topic have a leader, 0 if the brokers do not know the topic."""
        found = self._described([name])
        return sum(entry.leader is not None for topic in found.values() for entry in topic.partitions)

    def _described(self, names: Iterable[str]) -> dict[str, Any]:
        asked, found = list(names), {}
        with self.asking(f"describing the topics {', '.join(asked)}"):
            for name, future in self.admin.describe_topics(TopicCollection(asked), request_timeout=_REQUEST_S).items():
                try:
                    found[name] = answer_of(future)
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise
        return found

    def required(self, names: Collection[str]) -> dict[str, Topic]:
        """Return topics by name. Raises StopError, naming the first that is missing."""
        found = self.topics(names)
        if missing := [name for name in names if name not in found]:
            raise StopError(f"the topic {missing[0]} is missing; create it with: order-facts topics create")
        return found

    def partition_count(self, topic: str, wait_s: float) -> int:
        """Return how many partitions a topic has, 0 if it is missing.

        By the admin client: a consumer's question would wait behind its fetch.
        """
        with failures(f"asking for the partitions of {topic}"):
            return len(self.admin.list_topics(topic, timeout=wait_s).topics[topic].partitions)

    def instances(self, group_id: str) -> set[str]:
        """Return the instance ids of a group's members, taken from their client ids.

        While the coordinator moves, a group may look empty. Describing the group can crash the process while the
        coordinator starts (librdkafka issue 4605), so this uses the list of groups: deprecated, but safe.
        """
        with self.asking(f"describing the group {group_id}"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            groups: Any = self.admin.list_groups(group_id, timeout=_REQUEST_S)
        return {member.client_id.removeprefix(f"{SERVICE}-") for group in groups for member in group.members}

    def topic_settings(self, name: str) -> dict[str, str]:
        """Return a topic's settings in force."""
        return {key: entry.value for key, entry in self._config(name).items()}

    def own_topic_settings(self, name: str) -> dict[str, str]:
        """Return the settings that were given to a topic itself: all others come from the brokers."""
        own = ConfigSource.DYNAMIC_TOPIC_CONFIG
        return {key: entry.value for key, entry in self._config(name).items() if entry.source == own.value}

    def _config(self, name: str) -> dict[str, Any]:
        asked = [ConfigResource(ResourceType.TOPIC, name)]
        with self.asking(f"reading the settings of {name}"):
            (future,) = self.admin.describe_configs(asked, request_timeout=_REQUEST_S).values()
            found: dict[str, Any] = answer_of(future)
            return found

    def ends(self, topic: str, partitions: Iterable[int], *, committed: bool = True) -> dict[int, int]:
        """Return the end of each partition: the last stable offset, or with committed=False the log end."""
        level = _COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(f"asking where {topic} ends", topic, partitions, _LATEST, level)

    def leader_epochs(self, topic: str, partitions: Iterable[int]) -> dict[int, int | None]:
        """Return the epoch of each partition's present leader, None if the brokers do not say."""
        found = self._offsets_found(f"asking who leads {topic}", topic, partitions, _LATEST, _COMMITTED)
        return {partition: info.leader_epoch for partition, info in found.items()}

    def starts(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first offset that each partition still holds."""
        return self._offsets(f"asking where {topic} begins", topic, partitions, _EARLIEST)

    def ranges(self, topic: str, partitions: Collection[int]) -> dict[int, range]:
        """Return the offsets that each partition holds: from its first one up to (not with) the log end."""
        starts, ends = self.starts(topic, partitions), self.ends(topic, partitions, committed=False)
        return {partition: range(start, ends[partition]) for partition, start in starts.items()}

    def held_back(self, topic: str, partitions: Collection[int]) -> dict[int, int]:
        """Return the last stable offset of each partition where an open transaction holds readers back."""
        stable, ends = self.ends(topic, partitions), self.ends(topic, partitions, committed=False)
        return {partition: offset for partition, offset in stable.items() if offset < ends[partition]}

    def _offsets(
        self, doing: str, topic: str, partitions: Iterable[int], spec: OffsetSpec, level: IsolationLevel = _COMMITTED
    ) -> dict[int, int]:
        found = self._offsets_found(doing, topic, partitions, spec, level)
        return {partition: int(info.offset) for partition, info in found.items()}

    def _offsets_found(
        self, doing: str, topic: str, partitions: Iterable[int], spec: OffsetSpec, level: IsolationLevel
    ) -> dict[int, ListOffsetsResultInfo]:
        asked = {TopicPartition(topic, partition): spec for partition in partitions}
        if not asked:
            return {}
        with self.asking(doing):
            futures = self.admin.list_offsets(asked, isolation_level=level, request_timeout=_REQUEST_S)
            found: dict[int, ListOffsetsResultInfo] = {key.partition: answer_of(each) for key, each in futures.items()}
            unknown = sorted(partition for partition, info in found.items() if info.offset < 0)
            if unknown:  # the client's answer for a partition whose leader went away before it answered
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"no offset of partitions {unknown}"))
            return found

    @contextmanager
    def asking(self, doing: str) -> Iterator[None]:
        """Raise what a failed request in the block asks for; `doing` says in the error's line what was asked.

        This refreshes the client's view of brokers and leaders before a request, and after one that failed.
        The admin client does this by itself only every five minutes. Until then it asks a dead broker again and again
        without a pause, which takes a whole core, until the request times out; and it may believe that a new topic has
        no leader.
        """
        try:
            with failures(doing):
                self._replace_if_lost()
                if time.monotonic() - self._refreshed_s > _REFRESH_S:
                    self.admin.list_topics(timeout=REQUEST_TIMEOUT_S)
                    self._refreshed_s = time.monotonic()
                yield
            self._failed = 0
        except OrderFactsError:
            self._refreshed_s = float("-inf")
            self._failed += 1
            raise


def answer_of(future: Future[Any], limit_s: float = _REQUEST_S) -> Any:
    """Return what a request of the admin client brings, or raise its KafkaException.

    The client's own limit does not hold while its background thread asks a provider for a token, up to a minute.
    """
    try:
        return future.result(limit_s + _GRACE_S)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error  # noqa: SLF001


def known_cluster_id(metadata: ClusterMetadata) -> str:
    """Return the cluster's id. Raises StopError if the brokers do not say it."""
    if not metadata.cluster_id:
        raise StopError(
            "the Kafka brokers do not say which cluster they are, so that another one's state could be taken for this "
            "one's; use Kafka 2.8 or newer"
        )
    return str(metadata.cluster_id)


def known_topic_id(name: str, topic_id: Uuid) -> str:
    """Return a topic's id as text. Raises StopError if the brokers do not give topics ids."""
    if str(topic_id) == _NO_ID:
        raise StopError(
            f"the Kafka brokers give the topic {name} no id, so that a recreated topic could be taken for the old one; "
            "use Kafka 2.8 or newer (with inter.broker.protocol.version 2.8 or newer)"
        )
    return str(topic_id)
