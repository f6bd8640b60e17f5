"""What an audit remembers of each order, in a temporary database on disk: millions of orders, little memory.

SQLite creates the file in the folder for temporary files (SQLITE_TMPDIR, TMPDIR) when its cache is full. The file has
no name, so no other program can open it, and it ends with the process. It holds facts, which may name a buyer.
"""

import sqlite3
from collections.abc import Iterator
from typing import Final

import msgspec

from processor.codec.avro import codec
from processor.domain.records import Order

_CACHE_KBYTES: Final = 64 << 10
_HELD_BYTES: Final = 16 << 20  # of facts not yet written to the database
_HELD_ORDERS: Final = 20_000


class Known(msgspec.Struct):
    """What is known so far of one order in one partition.

    Of the latest fact: `revision` (0: none seen), `source` (its source offset), `written_ms` and `value`; `derived` is
    what it should be, if that differs. Since that fact: `compacted` counts events without an output whose fact may have
    been compacted away, `expired` those whose rejected record may have expired as well. `first` is the offset of the
    first event of either kind; `doubtful` says whether any event has no output, so that the order's state is uncertain.
    """

    revision: int = 0
    source: int = -1
    written_ms: int = 0
    value: bytes | None = None
    derived: bytes | None = None
    compacted: int = 0
    expired: int = 0
    first: int = -1
    doubtful: bool = False
    decoded: Order | None = None  # of `value`

    def orders(self) -> list[Order | None]:
        """Return what the next event may be applied to: the latest fact, and what that should be if it differs."""
        if self.decoded is None and self.value is not None:
            self.decoded = codec().decode_fact(self.value)
        return [self.decoded] if self.derived is None else [self.decoded, codec().decode_fact(self.derived)]


_COLUMNS: Final = Known.__struct_fields__[:-1]  # all but `decoded`
_SCHEMA: Final = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -{_CACHE_KBYTES};
CREATE TABLE orders (id, partition, {", ".join(_COLUMNS)}, PRIMARY KEY (id, partition));
CREATE TABLE missing (source INTEGER PRIMARY KEY, id);
CREATE TABLE strays (source, place);
"""
_READ: Final = "SELECT * FROM orders WHERE id = ? AND partition = ?"
_UPDATE: Final = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
_WRITE: Final = f"INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_UPDATE}"  # noqa: S608 - constants


class Orders:
    """The orders of an audit, one partition at a time."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._partition = -1
        self._first_row = 0
        self._held: dict[bytes, Known] = {}
        self._held_bytes = 0

    def close(self) -> None:
        """Remove everything."""
        self._database.close()

    def begin(self, partition: int) -> None:
        """Begin a partition; each comes once."""
        self.flush()
        self._partition = partition
        (last,) = self._database.execute("SELECT coalesce(max(rowid), 0) FROM orders").fetchone()
        self._first_row = int(last)
        self._database.executescript("DELETE FROM missing; DELETE FROM strays;")

    def get(self, key: bytes) -> Known:
        """Return what is known of an order; read and change it before the next call."""
        known = self._held.get(key)
        if known is None:
            if len(self._held) >= _HELD_ORDERS or self._held_bytes >= _HELD_BYTES:
                self.flush()
            row = self._database.execute(_READ, (key, self._partition)).fetchone()
            known = self._held[key] = Known() if row is None else Known(*row[2:])
            self._held_bytes += len(known.value or b"")
        return known

    def note(self, known: Known, value: bytes, order: Order | None) -> None:
        """Give an order its latest fact."""
        self._held_bytes += len(value)
        known.value, known.decoded = value, order

    def latest(self, key: bytes) -> bytes | None:
        """Return an order's latest fact, None if there is none. Call `flush` first."""
        row = self._database.execute(_READ, (key, self._partition)).fetchone()
        return None if row is None else Known(*row[2:]).value

    def flush(self) -> None:
        """Write what is held to the database."""
        rows = [
            (key, self._partition, *(getattr(known, column) for column in _COLUMNS))
            for key, known in self._held.items()
            if known.value is not None or known.doubtful
        ]
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(_WRITE, rows)
        self._held.clear()
        self._held_bytes = 0

    def names(self, after: int, count: int) -> list[tuple[int, bytes]]:
        """Return orders of this partition that have a fact, with their row numbers, in the rows' order."""
        query = "SELECT rowid, id FROM orders WHERE rowid > ? AND value IS NOT NULL ORDER BY rowid LIMIT ?"
        return self._database.execute(query, (max(after, self._first_row), count)).fetchall()

    def waiting(self) -> Iterator[tuple[bytes, Known]]:
        """Yield the orders of this partition with events that no fact explains."""
        query = "SELECT * FROM orders WHERE rowid > ? AND compacted > 0"
        for key, _, *fields in self._database.execute(query, (self._first_row,)):
            yield key, Known(*fields)

    def in_several_partitions(self) -> Iterator[tuple[bytes, str]]:
        """Yield orders with facts in more than one partition, and those partitions."""
        query = """SELECT id, group_concat(partition, ', ') FROM orders WHERE value IS NOT NULL AND id IN
                   (SELECT id FROM orders GROUP BY id HAVING count(*) > 1) GROUP BY id HAVING count(*) > 1"""
        yield from self._database.execute(query)

    def add_missing(self, source: int, key: bytes | None) -> None:
        """Note an event of this partition that has no output so far."""
        self._database.execute("INSERT OR IGNORE INTO missing VALUES (?, ?)", (source, key))

    def add_stray(self, source: int, place: str) -> None:
        """Note an output that is not in the order of the events."""
        self._database.execute("INSERT INTO strays VALUES (?, ?)", (source, place))

    def missing(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the events without any output, not even a stray one."""
        query = "SELECT source, id FROM missing WHERE source NOT IN (SELECT source FROM strays) ORDER BY source"
        yield from self._database.execute(query)

    def strays(self) -> Iterator[tuple[int, str, int]]:
        """Yield the stray outputs, and whether (1 or 0) each is the only one of its event."""
        query = "SELECT source, place, source IN (SELECT source FROM missing) FROM strays ORDER BY rowid"
        yield from self._database.execute(query)
