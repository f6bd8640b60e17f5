"""Requests to the Kafka cluster: topics, their settings, their ends, a group's members."""

import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from processor.errors import StopError, UnreachableError
from processor.kafka.clients import REQUEST_TIMEOUT_S, client_properties, new_client
from processor.kafka.failures import classify
from processor.logs import SERVICE
from processor.settings import Settings

_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_REQUEST_S: Final = 3.0  # how long a dead broker may be asked; by then the client may know that it is dead
_REFRESH_S: Final = 1.0
_CLIENT_PREFIX: Final = f"{SERVICE}-"


class Topic(msgspec.Struct, frozen=True):
    """An existing topic: its name, its id (a recreated topic has another), and its number of partitions."""

    name: str
    topic_id: str
    partitions: int


class Cluster:
    """Answers questions about the cluster: topics, their settings, their ends, a group's members."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.admin = new_client(AdminClient, client_properties(settings))
        self._refreshed_s = float("-inf")

    def wait(self) -> str:
        """Return the cluster's id as soon as a broker answers. Raises UnreachableError after startup_timeout_s."""
        deadline = time.monotonic() + self._settings.startup_timeout_s
        while True:
            try:
                cluster_id = self.admin.list_topics(timeout=max(0.1, min(1.0, deadline - time.monotonic()))).cluster_id
            except KafkaException as error:
                failure = error.args[0]
                stop = classify(failure, "Kafka")
                if isinstance(stop, StopError):
                    raise stop from error
                if time.monotonic() >= deadline:
                    raise UnreachableError(
                        f"Kafka at {self._settings.bootstrap_servers} did not answer within "
                        f"{self._settings.startup_timeout_s:g} s: {failure.str()}; check the setting bootstrap_servers"
                    ) from error
            else:
                return str(cluster_id)

    def topics(self, names: Iterable[str]) -> dict[str, Topic]:
        """Return the topics that exist, by name. Raises KafkaException."""
        found = {}
        with self._refreshed():
            described = self.admin.describe_topics(TopicCollection(list(names)), request_timeout=_REQUEST_S)
            for name, future in described.items():
                try:
                    topic = future.result()
                except KafkaException as error:
                    if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        continue
                    raise
                found[name] = Topic(name, str(topic.topic_id), len(topic.partitions))
        return found

    def instances(self, group_id: str) -> set[str]:
        """Return the instance ids of a group's members, taken from their client ids. Raises KafkaException.

        While the coordinator moves, a group may look empty. Describing the group can crash the process while the
        coordinator starts (librdkafka issue 4605), so this uses the list of groups: deprecated, but safe.
        """
        with self._refreshed(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            groups: Any = self.admin.list_groups(group_id, timeout=_REQUEST_S)
        return {member.client_id.removeprefix(_CLIENT_PREFIX) for group in groups for member in group.members}

    def topic_settings(self, name: str) -> dict[str, str]:
        """Return a topic's settings in force. Raises KafkaException."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        with self._refreshed():
            (future,) = self.admin.describe_configs([resource], request_timeout=_REQUEST_S).values()
            return {key: entry.value for key, entry in future.result().items()}

    def ends(self, topic: str, partitions: Iterable[int], *, committed: bool = True) -> dict[int, int]:
        """Return the end of each partition: the last stable offset, or with committed=False the log end."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        return self._offsets(topic, partitions, _LATEST, level)

    def starts(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first offset that each partition still holds."""
        return self._offsets(topic, partitions, _EARLIEST, IsolationLevel.READ_COMMITTED)

    def _offsets(
        self, topic: str, partitions: Iterable[int], spec: OffsetSpec, level: IsolationLevel
    ) -> dict[int, int]:
        asked = {TopicPartition(topic, partition): spec for partition in partitions}
        if not asked:
            return {}
        with self._refreshed():
            futures = self.admin.list_offsets(asked, isolation_level=level, request_timeout=_REQUEST_S)
            found = {key.partition: int(future.result().offset) for key, future in futures.items()}
            unknown = sorted(partition for partition, offset in found.items() if offset < 0)
            if unknown:  # the client's answer for a partition whose leader went away before it answered
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE, f"no offset of partitions {unknown}"))
            return found

    @contextmanager
    def _refreshed(self) -> Iterator[None]:
        """Refresh the client's view of brokers and leaders before a request, and after one that failed.

        The admin client does this by itself only every five minutes. Until then it asks a dead broker again and again
        without a pause, which takes a whole core, until the request times out; and it may believe that a new topic has
        no leader.
        """
        if time.monotonic() - self._refreshed_s > _REFRESH_S:
            self.admin.list_topics(timeout=REQUEST_TIMEOUT_S)
            self._refreshed_s = time.monotonic()
        try:
            yield
        except KafkaException:
            self._refreshed_s = float("-inf")
            raise
