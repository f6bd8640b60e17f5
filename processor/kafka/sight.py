"""Whether a reader still sees the cluster: a consumer that lost its brokers reads nothing, and raises no error.

A broker that starts or stops may answer a question for metadata with topics and no broker, itself left out. A consumer
gives up the brokers that it knows then, and can stay without any for ever (librdkafka issue 5301): only a new one
reads on. Whoever reads for long looks at it here, and after a failure begins with a new consumer, as after any other.
"""

import time
from typing import Final

from confluent_kafka import Consumer

from processor.kafka.failures import failures

_QUIET_S: Final = 10.0
_ANSWER_S: Final = 3.0


class Sight:
    """Asks a consumer's brokers for a topic, whenever the consumer gave nothing for ten seconds."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer, self._topic = consumer, topic
        self._heard_s = time.monotonic()

    def polled(self, *, is_empty: bool) -> None:
        """Note a poll. Raises RetryError if no broker answers the consumer."""
        now_s = time.monotonic()
        if is_empty:
            if now_s - self._heard_s < _QUIET_S:
                return
            with failures(f"asking for metadata of {self._topic}"):
                self._consumer.list_topics(self._topic, timeout=_ANSWER_S)
        self._heard_s = now_s
