"""Says which of several processes heals: the member of a group that has the healed topic's first partition.

The others wait; one that comes later takes nothing from it (sticky assignment). If the one ends, another one is given
the partition at once; if it was killed, when the group notices, after six seconds. Which process may *write* is not
decided here: that is the one that took over the ledger last.
"""

from typing import Final

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from processor.kafka.clients import chosen_member
from processor.kafka.failures import classify_consumer, failure_of, failures
from processor.kafka.sight import Sight
from processor.settings import Settings

_PARTITION: Final = 0


class Leadership:
    """One process's place in the group. Poll it often, and close it: then another process can take over at once."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.healed_topic
        self._is_leader = False
        self._consumer = chosen_member(settings, f"{settings.group_id}-healer")
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        self._sight = Sight(self._consumer, self._topic)

    def poll(self, timeout_s: float) -> bool:
        """Return whether this process heals; waits `timeout_s` at most. Raises RetryError or StopError."""
        with failures(f"joining the group of {self._topic}", classify_consumer):
            message = self._consumer.poll(timeout_s)
        if message is not None and (failure := failure_of(message, f"joining the group of {self._topic}")) is not None:
            raise failure
        self._sight.polled(is_empty=message is None)
        return self._is_leader

    def close(self) -> None:
        """Leave the group."""
        self._is_leader = False
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take partitions besides those that it has, and read nothing of them."""
        consumer.incremental_assign([TopicPartition(entry.topic, entry.partition, OFFSET_END) for entry in partitions])
        consumer.pause(partitions)
        self._is_leader |= _is_in(partitions)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self._is_leader &= not _is_in(partitions)


def _is_in(partitions: list[TopicPartition]) -> bool:
    return any(entry.partition == _PARTITION for entry in partitions)
