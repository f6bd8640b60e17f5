"""Reads committed records outside any group: a range of offsets, or everything from a start on."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final, cast

from confluent_kafka import Consumer, Message, TopicPartition

from processor.domain.records import Record
from processor.errors import RetryError
from processor.kafka.clients import REQUEST_TIMEOUT_S
from processor.kafka.failures import failures, is_end
from processor.kafka.messages import record_of

Tell = Callable[[str, int, int], None]
"""Is told what is being done, how far it is, and how much it is in all."""
_TELL_EVERY: Final = 1_000
_AT_ONCE: Final = 100  # records: all of them are in memory, and each may be large


def read_range(
    consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int], idle_s: float = 30.0
) -> Iterator[Message]:
    """Yield the committed records of some partitions, each from its start up to (not with) its end.

    Raises RetryError if nothing comes for `idle_s`.
    """
    open_ends = {partition: end for partition, end in ends.items() if starts[partition] < end}
    heard = time.monotonic()
    with failures(f"reading {topic}"):
        _assign(consumer, topic, {partition: starts[partition] for partition in open_ends}, idle_s)
        while open_ends:
            first = consumer.poll(0.2)
            # `consume` alone would wait for its whole timeout at the end of every range.
            messages = [first, *consumer.consume(_AT_ONCE - 1, timeout=0)] if first is not None else []
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > idle_s:
                left = sorted(open_ends)
                raise RetryError(f"{topic}: read nothing for {idle_s:g} s; partitions {left} are not finished")
            for message in messages:
                is_record = not is_end(message, f"reading {topic}")
                partition, offset = cast("int", message.partition()), cast("int", message.offset())
                end = open_ends.get(partition)
                if end is None:
                    continue
                if is_record and offset < end:
                    yield message
                if offset + is_record >= end:
                    del open_ends[partition]
        consumer.unassign()


def read_telling(
    consumer: Consumer, topic: str, starts: Mapping[int, int], ends: Mapping[int, int], tell: Tell
) -> Iterator[Record]:
    """Yield what `read_range` does, as records, and tell how far reading is. Raises as `read_range`."""
    total, what = sum(ends.values()) - sum(starts.values()), f"Reading {topic}"
    done = dict.fromkeys(starts, 0)
    tell(what, 0, total)
    for count, message in enumerate(read_range(consumer, topic, starts, ends), 1):
        record = record_of(message)
        yield record
        done[record.partition] = record.offset + 1 - starts[record.partition]
        if count % _TELL_EVERY == 0:
            tell(what, sum(done.values()), total)
    tell(what, total, total)


def follow(
    consumer: Consumer, topic: str, starts: Mapping[int, int], stop: Callable[[], bool], poll_s: float
) -> Iterator[Message]:
    """Yield the committed records of some partitions from their starts on, and new ones as they come."""
    with failures(f"reading {topic}"):
        _assign(consumer, topic, starts, REQUEST_TIMEOUT_S)
        while not stop():
            for message in consumer.consume(1_000, poll_s):
                if not is_end(message, f"reading {topic}"):
                    yield message


def _assign(consumer: Consumer, topic: str, starts: Mapping[int, int], wait_s: float) -> None:
    """Assign partitions at their starts; where there are some, ask first where they are.

    A client that is connected already looks for a topic that is new to it only once a second.
    """
    if starts:
        consumer.list_topics(topic, wait_s)
    consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])
