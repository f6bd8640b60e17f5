"""What the commands that print a topic share: its committed records, and times on the command line."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from processor.cli.options import progress
from processor.cli.serving import stop_on_signals
from processor.domain.records import Record
from processor.errors import UsageError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.ranges import follow, read_range
from processor.settings import Settings

_FOLLOW_POLL_S: Final = 0.2


def records_of(settings: Settings, topic: str, *, is_followed: bool) -> Iterator[Record]:
    """Yield a topic's committed records up to its present end; with `is_followed`, continue until a signal."""
    cluster = Cluster(settings)
    cluster.wait()
    partitions = range(cluster.required([topic])[topic].partitions)
    starts, ends = cluster.starts(topic, partitions), cluster.ends(topic, partitions)
    consumer = reader(settings)
    try:
        if is_followed:
            stop = stop_on_signals()
            stop.is_working = True
            yield from map(record_of, follow(consumer, topic, starts, stop.is_set, _FOLLOW_POLL_S))
            return
        with progress("offsets") as bar:
            task = bar.add_task(f"Reading {topic}", total=sum(ends.values()) - sum(starts.values()))
            for message in read_range(consumer, topic, starts, ends):
                bar.advance(task)
                yield record_of(message)
    finally:
        consumer.close()


def time_ms(text: str) -> int:
    """Return the time given by `--since`, in ms since the epoch. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: expected a time such as 2026-01-31T10:00:00Z") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
