"""Turns the Kafka client's messages into records, and facts into its messages: the work done for each event.

Functions only, so that it can be compiled (`deploy/build/compiled.py`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Message

from processor.domain.batch import Fact, Output
from processor.domain.records import Record

_PART_RECORDS: Final = 64


def record_of(message: Any) -> Record:
    """Return the record of a message that has no error."""
    try:
        headers = message.headers()
    except (SystemError, UnicodeDecodeError):
        headers = None  # a header's name is not UTF-8, so the client shows no headers: continue without them
    return Record(
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(headers) if headers else (),
    )


def hides_headers(message: Any) -> bool:
    """Return whether a message has headers that the client does not show: a name is not UTF-8."""
    try:
        message.headers()
    except (SystemError, UnicodeDecodeError):
        return True
    return False


def split_messages(messages: Iterable[Any]) -> tuple[list[Record], list[Message]]:
    """Return the records among messages, and the other messages: errors, and ends of partitions."""
    records: list[Record] = []
    others: list[Message] = []
    for message in messages:
        if message.error() is None:
            records.append(record_of(message))
        else:
            others.append(message)
    return records, others


def take(
    consume: Callable[[int, float], list[Any]], first: Any, most: int, most_bytes: int
) -> tuple[list[Record], list[Message]]:
    """Return, like `split_messages`, a message and those that the client holds ready behind it.

    These are up to `most` messages and about `most_bytes`; what is left stays with the client. Each message that is
    handed over is a copy, and some may be many times larger than those before: so they are taken in small parts.
    """
    records, others = split_messages([first])
    size_bytes = sum(record.size_bytes for record in records)
    while (left := most - len(records) - len(others)) > 0 and size_bytes < most_bytes:
        part = consume(min(left, _PART_RECORDS), 0)
        found, other = split_messages(part)
        records += found
        others += other
        if len(part) < _PART_RECORDS:
            break
        size_bytes += sum([record.size_bytes for record in found])
    return records, others


def fitting(records: Sequence[Record], most: int, most_bytes: int) -> int:
    """Return how many records one batch takes: up to `most`, or until they reach `most_bytes`."""
    count = size_bytes = 0
    for record in records:
        if count >= most or size_bytes >= most_bytes:
            break
        size_bytes += record.size_bytes
        count += 1
    return count


def produce_facts(
    produce: Callable[..., None],
    topic: str,
    outputs: Sequence[Output],
    headers: list[tuple[str, bytes]],
    report: Callable[..., None],
    *,
    each: bool,
) -> tuple[list[Output], set[int]]:
    """Produce the facts among outputs, each on its event's partition; return the other outputs, and those partitions.

    The last fact of each partition gets the headers. Calls `report` for each fact, or with each=False only for those.
    Raises what `produce` raises.
    """
    last: dict[int, Output] = {}
    others: list[Output] = []
    for output in outputs:
        if isinstance(output.result, Fact):
            last[output.record.partition] = output
    for output in outputs:
        fact = output.result
        if not isinstance(fact, Fact):
            others.append(output)
            continue
        partition = output.record.partition
        if last[partition] is output:
            produce(topic, fact.value, fact.key, partition, headers=headers, on_delivery=report)
        elif each:
            produce(topic, fact.value, fact.key, partition, on_delivery=report)
        else:
            produce(topic, fact.value, fact.key, partition)
    return others, set(last)
