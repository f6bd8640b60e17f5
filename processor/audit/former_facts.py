"""Compares each order's last fact with its last fact of the deployment that was before: all fields but the source.

Facts of events that are no copies are left out. So is an order of which only such a fact is left, or of which the
former deployment rejected events since a contact was not there: the new one, which has today's contacts, may have
accepted them.
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
from processor.domain.records import Record, UndecodableError
from processor.domain.rejections import Reason
from processor.registry.wire import Wire

_SCHEMA: Final = """
CREATE TABLE facts (id BLOB, side INTEGER, partition INTEGER, offset INTEGER, value BLOB);
CREATE TABLE explained (id BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_FORMER, _NEW, _LATER = range(3)  # sides
_SORTED: Final = """SELECT id, side, value, EXISTS (SELECT 1 FROM explained WHERE explained.id = facts.id) FROM facts
                    ORDER BY id, side, partition, offset"""
_BY_CONTACTS: Final = frozenset({Reason.CONTACT_NOT_FOUND, Reason.CONTACT_MISMATCH})


class FactsTally(msgspec.Struct):
    """How many orders were compared; how many were not, since contacts came later, or only a later fact is left."""

    orders: int = 0
    explained: int = 0
    superseded: int = 0


class FormerFacts:
    """Takes both topics' facts, then compares. `ends` are the offsets behind the last copies, by new partition."""

    def __init__(self, database: sqlite3.Connection, wire: Wire, ends: Mapping[int, int], findings: Findings) -> None:
        self._database, self._wire, self._ends, self._findings = database, wire, ends, findings
        self.tally = FactsTally()
        database.executescript(_SCHEMA)

    def add_former(self, records: Iterable[Record]) -> None:
        """Take facts of the former deployment."""
        self._insert((record, _FORMER, value) for record, _, value in self._facts(records))

    def add_new(self, records: Iterable[Record]) -> None:
        """Take facts of this deployment."""
        self._insert(
            (record, _NEW if source < self._ends.get(record.partition, 0) else _LATER, value)
            for record, source, value in self._facts(records)
        )

    def add_rejected(self, records: Iterable[Record]) -> None:
        """Take rejected records of the former deployment."""
        kept = (record for record in records if rejected.read(record).known_reason in _BY_CONTACTS)
        keys = ((record.key,) for record in kept if record.key is not None)
        self._database.executemany("INSERT OR IGNORE INTO explained VALUES (?)", keys)

    def compare(self) -> None:
        """Add what differs to the findings."""
        for key, rows in groupby(self._database.execute(_SORTED), itemgetter(0)):
            sides: dict[int, bytes] = {}
            is_explained = False
            for _, side, value, explained in rows:
                sides[side], is_explained = value, bool(explained)
            if sides.get(_FORMER) == sides.get(_NEW):
                self.tally.orders += _NEW in sides  # else it came after the copy
            elif _NEW not in sides and _LATER in sides:
                self.tally.superseded += 1
            elif is_explained:
                self.tally.explained += 1
            else:
                self._compare_order(order_name(key), sides.get(_FORMER), sides.get(_NEW))

    def _compare_order(self, name: str, former: bytes | None, new: bytes | None) -> None:
        if former is None:
            self._findings.add(Kind.ORDER_EXTRA, f"{name} has facts here, and had none")
        elif new is None:
            self._findings.add(Kind.ORDER_MISSING, f"{name} had facts, and has none here")
        else:
            self.tally.orders += 1
            one, other = codec().decode_fact(former), codec().decode_fact(new)
            if not same_order(one, other):
                self._findings.add(Kind.ORDER_DIFFERS, f"{name} has another {differing_fields(one, other)}")

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
