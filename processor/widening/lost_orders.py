"""How many orders of the old facts were created by events that the events topic no longer holds."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

from processor.codec.avro import codec
from processor.domain.records import UndecodableError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.registry.wire import Wire
from processor.settings import Settings

_CACHE_KBYTES: Final = 32 << 10


def lost_orders(settings: Settings, cluster: Cluster, starts: Mapping[int, int]) -> int:
    """Return how many orders of these partitions were created by an event below their partition's start.

    Where an order's first fact was compacted away, its createdAt is held against the first event that is left. Memory
    is bounded: the orders are in a temporary database of SQLite.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        database.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA cache_size = -{_CACHE_KBYTES};"
            "CREATE TABLE orders (id BLOB PRIMARY KEY, is_lost INTEGER) WITHOUT ROWID;"
        )
        database.execute("BEGIN")
        # Of an order only the first fact that is left counts.
        database.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?)", _firsts(settings, cluster, starts))
        (count,) = database.execute("SELECT coalesce(sum(is_lost), 0) FROM orders").fetchone()
        return int(count)


def _firsts(settings: Settings, cluster: Cluster, starts: Mapping[int, int]) -> Iterator[tuple[bytes, bool]]:
    """Yield each fact's order, as a hash, and whether that was created before the first event that is left."""
    topic = settings.facts_topic
    times_ms = _first_times_ms(settings, cluster, starts)
    begins, ends = cluster.starts(topic, starts), cluster.ends(topic, starts)
    with closing(Wire(settings, settings.startup_timeout_s)) as wire, closing(reader(settings)) as consumer:
        for message in read_range(consumer, topic, begins, ends):
            record = record_of(message)
            try:
                fact = codec().decode_fact(wire.plain_fact(record.value or b""))
            except UndecodableError:
                continue  # `run` and `verify` report it
            is_lost = fact.source_offset < starts[record.partition]
            if fact.revision > 1 and record.partition in times_ms:
                is_lost |= fact.created_at_ms < times_ms[record.partition]
            yield hashlib.blake2b(record.key or b"", digest_size=16).digest(), is_lost


def _first_times_ms(settings: Settings, cluster: Cluster, starts: Mapping[int, int]) -> dict[int, int]:
    """Return the timestamp of the first event that each partition still holds."""
    found: dict[int, int] = {}
    topic = settings.events_topic
    ends = cluster.ends(topic, starts)
    with closing(reader(settings)) as consumer:
        for partition, start in starts.items():
            for message in read_range(consumer, topic, {partition: start}, {partition: ends[partition]}):
                found[partition] = record_of(message).timestamp_ms
                break
    return found
