"""`order-facts run` whose first batch lasts until a rebalance: `python -m tests.support.lingering`.

A batch is taken in two calls: its first record, then what is there besides. A rebalance between the two is rare. Here
the first batch goes on taking records until a rebalance callback has run; the line `test.lingering` says that it has
begun. The product itself has no hooks.
"""

from collections.abc import Callable

from confluent_kafka import Consumer, Message, TopicPartition

from processor.cli import main
from processor.kafka import clients
from processor.logs import get_logger

TURN_S = 0.05
Callback = Callable[[Consumer, list[TopicPartition]], None] | None


class Lingering(Consumer):
    """The group's consumer."""

    _rebalances = 0
    _has_lingered = False

    def subscribe(
        self, topics: list[str], on_assign: Callback = None, on_revoke: Callback = None, on_lost: Callback = None
    ) -> None:
        """Subscribe; note whenever a callback runs."""
        super().subscribe(topics, *map(self._noting, (on_assign, on_revoke, on_lost)))

    def consume(self, num_messages: int = 1, timeout: float = -1.0) -> list[Message]:
        """Take what is there besides a batch's first record; the first time that is something, until a rebalance."""
        found = super().consume(num_messages, timeout)
        if self._rebalances and not self._has_lingered and any(message.error() is None for message in found):
            self._has_lingered = True
            get_logger().warning("test.lingering", records=len(found))
            before = self._rebalances
            while self._rebalances == before:
                found += super().consume(max(1, num_messages - len(found)), TURN_S)  # of 0 records it would not poll
        return found

    def _noting(self, callback: Callback) -> Callback:
        def noted(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self._rebalances += 1
            if callback is not None:
                callback(consumer, partitions)

        return noted


if __name__ == "__main__":
    vars(clients)["Consumer"] = Lingering
    main()
