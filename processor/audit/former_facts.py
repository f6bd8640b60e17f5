"""Compares each order's last fact with its last fact of the deployment that was before: all fields but the source.

Facts of events that are no copies are left out. Orders that differ are no difference, but counted apart, where it is
known why:

- only facts of later events are left, or copies came behind events of producers;
- a deployment rejected events since a contact was not there: the other one may have accepted them;
- the order's contact is another one today, and nothing else differs;
- events were gone from the former topic, so that they may never have been copied.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from processor.audit.derivation import differing_fields, same_order
from processor.audit.findings import Findings, Kind, order_name
from processor.codec import rejected
from processor.codec.avro import codec
from processor.domain.records import Order, Record, UndecodableError
from processor.domain.rejections import Reason
from processor.registry.wire import Wire

_SCHEMA: Final = """
CREATE TABLE facts (id BLOB, side INTEGER, partition INTEGER, offset INTEGER, value BLOB);
CREATE TABLE explained (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE lost (id BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_FORMER, _NEW, _LATER = range(3)  # sides
_SORTED: Final = "SELECT id, side, value FROM facts ORDER BY id, side, partition, offset"
_MARK: Final = {  # tables of orders
    "explained": "INSERT OR IGNORE INTO explained VALUES (?)",
    "lost": "INSERT OR IGNORE INTO lost VALUES (?)",
}
_MARKED: Final = {
    "explained": "SELECT 1 FROM explained WHERE id = ?",
    "lost": "SELECT 1 FROM lost WHERE id = ?",
}
_BY_CONTACTS: Final = frozenset({Reason.CONTACT_NOT_FOUND, Reason.CONTACT_MISMATCH})


class FactsTally(msgspec.Struct):
    """How many orders were compared, and how many were not: by the reason, as above."""

    orders: int = 0
    explained: int = 0
    superseded: int = 0
    mixed: int = 0
    contacts: int = 0
    lost: int = 0


class FormerFacts:
    """Takes both topics' facts, then compares. `ends` are the offsets behind the last copies, by new partition.

    `starts` are where the former events topic begins now, by its partition. The database has the table `late` of
    CopyAudit.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        wire: Wire,
        ends: Mapping[int, int],
        starts: Mapping[int, int],
        findings: Findings,
    ) -> None:
        self._database, self._wire, self._ends, self._starts, self._findings = database, wire, ends, starts, findings
        self.tally = FactsTally()
        database.executescript(_SCHEMA)

    def add_former(self, records: Iterable[Record]) -> None:
        """Take facts of the former deployment."""

        def rows() -> Iterator[tuple[Record, int, bytes]]:
            for record, source, value in self._facts(records):
                if source < self._starts.get(record.partition, 0):
                    self._mark("lost", record)
                yield record, _FORMER, value

        self._insert(rows())

    def add_new(self, records: Iterable[Record]) -> None:
        """Take facts of this deployment."""
        self._insert(
            (record, _NEW if source < self._ends.get(record.partition, 0) else _LATER, value)
            for record, source, value in self._facts(records)
        )

    def add_former_rejected(self, records: Iterable[Record]) -> None:
        """Take rejected records of the former deployment."""
        for record in records:
            if rejected.read(record).known_reason in _BY_CONTACTS:
                self._mark("explained", record)

    def add_new_rejected(self, records: Iterable[Record]) -> None:
        """Take rejected records of this deployment: of an order whose creation was not copied it knows nothing."""
        has_lost = any(self._starts.values())
        for record in records:
            reason = rejected.read(record).known_reason
            if reason in _BY_CONTACTS:
                self._mark("explained", record)
            elif reason is Reason.ORDER_UNKNOWN and has_lost:
                self._mark("lost", record)

    def compare(self) -> None:
        """Add what differs to the findings."""
        for key, rows in groupby(self._database.execute(_SORTED), itemgetter(0)):
            sides: dict[int, bytes] = {side: value for _, side, value in rows}
            late = self._database.execute("SELECT is_mixed FROM late WHERE id = ?", (key,)).fetchone()
            if late == (0,) and _LATER in sides:
                sides[_NEW] = sides.pop(_LATER)  # of copies: producers wrote nothing of this order
            former, new = sides.get(_FORMER), sides.get(_NEW)
            if late == (1,):
                self.tally.mixed += 1
            elif former == new:
                self.tally.orders += new is not None  # else it came after the copy
            elif new is None and _LATER in sides:
                self.tally.superseded += 1
            else:
                self._compare_order(key, former, new)

    def _compare_order(self, key: bytes, former: bytes | None, new: bytes | None) -> None:
        """Look at an order that differs."""
        name = order_name(key)
        if self._is_marked("explained", key):
            self.tally.explained += 1
        elif former is None:
            self._findings.add(Kind.ORDER_EXTRA, f"{name} has facts here, and had none")
        elif new is None:
            if self._is_marked("lost", key):
                self.tally.lost += 1
            else:
                self._findings.add(Kind.ORDER_MISSING, f"{name} had facts, and has none here")
        else:
            self._compare_facts(key, codec().decode_fact(former), codec().decode_fact(new))

    def _compare_facts(self, key: bytes, former: Order, new: Order) -> None:
        if same_order(former, new):
            self.tally.orders += 1
        elif same_order(former, replace(new, contact_id=former.contact_id)):
            self.tally.contacts += 1
        elif self._is_marked("lost", key):
            self.tally.lost += 1
        else:
            self.tally.orders += 1
            self._findings.add(Kind.ORDER_DIFFERS, f"{order_name(key)} has another {differing_fields(former, new)}")

    def _mark(self, table: str, record: Record) -> None:
        if record.key is not None:
            self._database.execute(_MARK[table], (record.key,))

    def _is_marked(self, table: str, key: bytes) -> bool:
        return self._database.execute(_MARKED[table], (key,)).fetchone() is not None

    def _insert(self, rows: Iterable[tuple[Record, int, bytes]]) -> None:
        entries = ((record.key, side, record.partition, record.offset, value) for record, side, value in rows)
        self._database.executemany("INSERT INTO facts VALUES (?, ?, ?, ?, ?)", entries)

    def _facts(self, records: Iterable[Record]) -> Iterator[tuple[Record, int, bytes]]:
        """Yield each fact's record, its source offset, and its value without its source."""
        for record in records:
            try:
                fact = codec().decode_fact(self._wire.plain_fact(record.value or b""))
            except UndecodableError:
                continue  # the audit of its own deployment reports it
            yield record, fact.source_offset, codec().encode_fact(replace(fact, source_partition=0, source_offset=0))
