"""Finds how far a partition cannot be read: the client names where a batch of records begins, not where it ends."""

import time
from typing import Final

import msgspec
from confluent_kafka import Consumer, TopicPartition

from processor.errors import RetryError, UnreadableError
from processor.kafka.clients import REQUEST_TIMEOUT_S
from processor.kafka.failures import failure_of, failures

_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.2


class Unreadable(msgspec.Struct, frozen=True):
    """Offsets that cannot be read, and why."""

    offsets: range
    problem: str


def first_unreadable(consumer: Consumer, topic: str, partition: int, offset: int) -> Unreadable | None:
    """Return what cannot be read, if that is the first thing from an offset on; None for a record, or the end.

    A record of an unreadable batch cannot be read from any of its offsets on, and the error names the batch each time:
    so the first offset that gives something else is found by halving. Raises RetryError if nothing comes.
    """

    def error_at(asked: int) -> UnreadableError | None:
        return _error_at(consumer, topic, partition, asked)

    with failures(f"asking where {topic} ends"):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_TIMEOUT_S)
    found = error_at(offset) if offset < end else None
    if found is None:
        return None
    inside = first = max(offset, found.offset)
    step = 1
    while inside + step < end and _is_same(error_at(inside + step), found):
        inside, step = inside + step, step * 2
    beyond = min(inside + step, end)
    while beyond - inside > 1:
        middle = (inside + beyond) // 2
        if _is_same(error_at(middle), found):
            inside = middle
        else:
            beyond = middle
    consumer.unassign()
    return Unreadable(range(first, beyond), found.problem)


def _is_same(error: UnreadableError | None, first: UnreadableError) -> bool:
    return error is not None and error.offset == first.offset


def _error_at(consumer: Consumer, topic: str, partition: int, offset: int) -> UnreadableError | None:
    """Return the error that reading from an offset on begins with, None if it begins with a record or is at the end."""
    doing, deadline_s = f"reading {topic}[{partition}] from offset {offset}", time.monotonic() + _PATIENCE_S
    with failures(doing):
        consumer.assign([TopicPartition(topic, partition, offset)])
        while time.monotonic() < deadline_s:
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            failure = failure_of(message, doing)
            if failure is None or isinstance(failure, UnreadableError):
                return failure
            raise failure
    raise RetryError(f"{doing}: nothing came within {_PATIENCE_S:g} s")
