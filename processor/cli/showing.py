"""What the commands that print a topic share: its committed records, and times on the command line."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import Consumer

from processor.cli.options import progress
from processor.cli.serving import stop_on_signals
from processor.domain.records import Record
from processor.errors import StopError, UsageError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.ranges import follow, read_range
from processor.settings import Settings

_FOLLOW_POLL_S: Final = 0.2
_DIGEST_BYTES: Final = 16
_Standing = tuple[int, int, int]  # a record's timestamp, offset and partition


def records_of(settings: Settings, topic: str, *, is_followed: bool) -> Iterator[Record]:
    """Yield a topic's committed records up to its present end; with `is_followed`, continue until a signal."""
    with closing(reader(settings)) as consumer:
        starts, ends = _range(settings, topic)
        if is_followed:
            stop = stop_on_signals()
            stop.is_working = True
            yield from map(record_of, follow(consumer, topic, starts, stop.is_set, _FOLLOW_POLL_S))
        else:
            yield from _records(consumer, topic, starts, ends)


def latest_of(settings: Settings, topic: str, is_wanted: Callable[[Record], bool]) -> Iterator[Record]:
    """Yield the latest wanted record of each key, up to the topic's present end.

    Reads twice: first where the latest ones are, then those. So memory holds a place for each key, and no record.
    A deletion (a null value) ends what its partition holds of the key. Raises StopError if the topic was compacted
    meanwhile.
    """
    with closing(reader(settings)) as consumer:
        starts, ends = _range(settings, topic)
        latest = _Latest()
        for record in filter(is_wanted, _records(consumer, topic, starts, ends)):
            latest.add(record)
        places = latest.places()
        count = 0
        for record in filter(is_wanted, _records(consumer, topic, starts, ends)):
            if places.get(_digest(record), (0, 0, -1))[1:] == (record.offset, record.partition):
                count += 1
                yield record
        if count < len(places):
            raise StopError(
                f"{topic} was compacted meanwhile, and {len(places) - count} keys are left out: run it again"
            )


class _Latest:
    """Where each key's latest record is.

    Of a key in several partitions it is, of the last ones in each, that with the latest timestamp, then offset, then
    partition: the order in which partitions are read changes nothing.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, _Standing] = {}
        self._several: dict[bytes, dict[int, _Standing]] = {}

    def add(self, record: Record) -> None:
        key, standing = _digest(record), (record.timestamp_ms, record.offset, record.partition)
        if key not in self._several:
            known = self._places.get(key)
            if known is None or known[2] == record.partition:
                if record.value is None:
                    self._places.pop(key, None)
                else:
                    self._places[key] = standing
                return
            self._several[key] = {known[2]: self._places.pop(key)}
        if record.value is None:
            self._several[key].pop(record.partition, None)
        else:
            self._several[key][record.partition] = standing

    def places(self) -> dict[bytes, _Standing]:
        """Return each key's (timestamp, offset, partition)."""
        self._places |= {key: max(lives.values()) for key, lives in self._several.items() if lives}
        return self._places


def _range(settings: Settings, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """Return where each partition of a topic begins, and its present end."""
    cluster = Cluster(settings)
    cluster.wait()
    partitions = range(cluster.required([topic])[topic].partitions)
    return cluster.starts(topic, partitions), cluster.ends(topic, partitions)


def _records(consumer: Consumer, topic: str, starts: dict[int, int], ends: dict[int, int]) -> Iterator[Record]:
    with progress("offsets") as bar:
        task = bar.add_task(f"Reading {topic}", total=sum(ends.values()) - sum(starts.values()))
        for message in read_range(consumer, topic, starts, ends):
            bar.advance(task)
            yield record_of(message)


def _digest(record: Record) -> bytes:
    """Return what stands for a record's key: as short for a long one."""
    return hashlib.blake2b(record.key or b"", digest_size=_DIGEST_BYTES).digest()


def time_ms(text: str) -> int:
    """Return the time given by `--since`, in ms since the epoch. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: expected a time such as 2026-01-31T10:00:00Z") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
