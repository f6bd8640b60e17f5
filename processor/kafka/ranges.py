"""Reads committed records outside any group: a range of offsets, or everything from a start on."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from processor.errors import RetryError
from processor.kafka.failures import classify


def read_range(
    consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int], idle_s: float = 30.0
) -> Iterator[Message]:
    """Yield the committed records of some partitions, each from its start up to (not with) its end.

    Raises RetryError if nothing comes for `idle_s`.
    """
    open_ends = {partition: end for partition, end in ends.items() if starts[partition] < end}
    consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in open_ends])
    heard = time.monotonic()
    while open_ends:
        first = consumer.poll(0.2)
        # `consume` alone would wait for its whole timeout at the end of every range.
        messages = [first, *consumer.consume(999, timeout=0)] if first is not None else []
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > idle_s:
            raise RetryError(f"{topic}: read nothing for {idle_s:g} s; partitions {sorted(open_ends)} are not finished")
        for message in messages:
            error, partition, offset = message.error(), cast("int", message.partition()), cast("int", message.offset())
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise classify(error, f"reading {topic}")
            end = open_ends.get(partition)
            if end is None:
                continue
            if error is None and offset < end:
                yield message
            # An end-of-partition message has the next offset.
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
