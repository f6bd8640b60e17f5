"""From the snapshot before, and the rows read since, to the next snapshot's files. All work is DuckDB's.

Of each order the latest fact counts: the last one of its partition. Should an order have facts in several partitions
(which `verify` reports), it is the one whose record has the latest timestamp, then offset, then partition; a deletion
ends the order's facts in its own partition. Of a contact, the record in force counts (C1): of the last records in each
partition, deletions included, the greatest by the same three.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from processor.snapshots.columns import (
    CONTACT_ID,
    CONTACTS,
    ITEMS,
    OF_LINES,
    ORDER_ID,
    ORDERS,
    PLACE,
    Column,
    columns_of,
    names_of,
    parquet,
    quoted,
    text,
)
from processor.snapshots.engine import doing
from processor.snapshots.snapshot import LINES, RECORDS, STRANGERS

if TYPE_CHECKING:
    import duckdb

# The limit gives up early on a dictionary of ids, of which most are different: a fifth of the time.
# zstd would make the files a third smaller, and the questions to them a third slower.
_WRITTEN: Final = "(FORMAT parquet, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT 5000)"
_STANDING: Final = "ROW(_timestampMs, _offset, _partition)"  # the greatest is in force


class ScatteredError(Exception):
    """An order's facts are in several partitions, so that the snapshot before does not say which one is the latest."""


class Merge:
    """Writes the next snapshot's files into `made`; `before` is the folder of the one it builds on.

    Raises StopError where DuckDB or the disk refuses.
    """

    def __init__(
        self, connection: "duckdb.DuckDBPyConnection", made: Path, before: Path | None, *, personal: bool
    ) -> None:
        self._connection = connection
        self._made = made
        self._before = before
        self._personal = personal
        self.one_place_an_order = True
        self.currencies = 0

    def orders(self, files: Sequence[Path]) -> dict[str, int]:
        """Write orders and items; return how many there are. `files` are the staged rows of facts.

        Raises ScatteredError where only all facts together say which one is the latest.
        """
        self._view("facts", files)
        self._run(
            f"CREATE TABLE changed AS SELECT {quoted(ORDER_ID)} AS id, max(_partition) AS _partition, "
            "max(_offset) AS _offset, max_by(_isDeleted, _offset) AS _isDeleted, min(_partition) AS _first "
            "FROM facts GROUP BY id"
        )
        if self._is_any("FROM changed WHERE _first <> _partition"):
            self._settle_scattered()
        if self._before is not None and self._is_any(
            f"FROM {_table(self._before, ORDERS)} AS o JOIN changed AS c ON o.{quoted(ORDER_ID)} = c.id "
            "WHERE o.sourcePartition <> c._partition"
        ):
            raise ScatteredError
        if self._is_any(f"FROM {_LATEST} WHERE sourcePartition <> _partition"):
            self.one_place_an_order = False
        columns = columns_of(ORDERS, personal=self._personal)
        lines = columns_of(ITEMS, personal=self._personal)
        of_lines = [column for column in columns if column.name in OF_LINES]
        unnested = f"SELECT {quoted(ORDER_ID)}, {names_of(of_lines)}, unnest(items) AS line FROM {_LATEST}"
        made = ", ".join((quoted(ORDER_ID), names_of(of_lines), *(f"line.{quoted(one.name)}" for one in lines[1:])))
        made_lines = f"SELECT {_made(lines)}, {names_of(of_lines)} FROM (SELECT {made} FROM ({unnested}))"
        self._write_changed(LINES, f"{names_of(lines)}, {names_of(of_lines)}", made_lines)
        latest = f"SELECT {names_of(columns)} FROM {_LATEST}"
        orders = self._write_changed(f"{ORDERS}.parquet", names_of(columns), latest)
        ((self.currencies,),) = self._run(
            f"SELECT count(DISTINCT coalesce(currency, '')) FROM {_table(self._made, ORDERS)}"
        )
        items = f"SELECT {names_of(lines)} FROM {parquet(self._made / LINES)}"
        return {
            ORDERS: orders,
            ITEMS: self._copy(items, self._made / f"{ITEMS}.parquet"),
        }

    def contacts(self, files: Sequence[Path], forget_before_ms: int) -> dict[str, int]:
        """Write contacts; return how many there are. `files` are the staged rows of contacts. Call it after `orders`.

        A deletion is remembered, for a record of the contact in another partition, until `forget_before_ms`.
        """
        columns = columns_of(CONTACTS, personal=self._personal)
        kept = f"{names_of(columns)}, {', '.join(PLACE)}"
        self._view("read_contacts", files)
        self._run(
            f"CREATE TABLE changed_contacts AS SELECT {quoted(CONTACT_ID)}, _partition, max(_offset) AS _offset "
            "FROM read_contacts GROUP BY ALL"
        )
        before = ""
        if self._before is not None:
            before = (
                f"SELECT {kept} FROM {parquet(self._before / RECORDS)} "
                f"ANTI JOIN changed_contacts USING ({quoted(CONTACT_ID)}, _partition) UNION ALL "
            )
        self._run(
            f"CREATE TABLE records AS {before}SELECT {kept} FROM read_contacts "
            "SEMI JOIN changed_contacts USING (_partition, _offset)"
        )
        self._run(
            f"CREATE TABLE in_force AS SELECT {quoted(CONTACT_ID)}, "
            f"arg_max(_partition, {_STANDING}) AS _partition, arg_max(_offset, {_STANDING}) AS _offset, "
            "count(*) AS of_several FROM records GROUP BY ALL"
        )
        alone = f"(SELECT {quoted(CONTACT_ID)} FROM in_force WHERE of_several = 1)"
        self._copy(
            f"SELECT {kept} FROM records WHERE NOT _isDeleted OR _timestampMs >= {forget_before_ms} "
            f"OR {quoted(CONTACT_ID)} NOT IN {alone}",
            self._made / RECORDS,
        )
        found = f"SELECT {names_of(columns)} FROM records SEMI JOIN in_force USING (_partition, _offset)"
        count = self._copy(f"{found} WHERE NOT _isDeleted", self._made / f"{CONTACTS}.parquet")
        orders, contacts, id_ = _table(self._made, ORDERS), _table(self._made, CONTACTS), quoted(CONTACT_ID)
        strangers = f"SELECT DISTINCT o.{id_} FROM {orders} AS o ANTI JOIN {contacts} AS c ON c.{id_} = o.{id_}"
        self._copy(strangers, self._made / STRANGERS)
        return {CONTACTS: count}

    def _settle_scattered(self) -> None:
        """Have `changed` name the latest fact of each order that is in several partitions."""
        if self._before is not None:
            raise ScatteredError
        self._run(
            f"CREATE TABLE lives AS SELECT {quoted(ORDER_ID)} AS id, _partition, max(_offset) AS _offset, "
            "max_by(_timestampMs, _offset) AS _timestampMs, max_by(_isDeleted, _offset) AS _isDeleted FROM facts "
            f"WHERE {quoted(ORDER_ID)} IN (SELECT id FROM changed WHERE _first <> _partition) GROUP BY ALL"
        )
        self._run("DELETE FROM changed WHERE _first <> _partition")
        self._run(
            f"INSERT INTO changed SELECT id, arg_max(_partition, {_STANDING}), arg_max(_offset, {_STANDING}), false, 0 "
            "FROM lives WHERE NOT _isDeleted GROUP BY id"
        )
        if self._is_any("FROM (SELECT 1 FROM lives WHERE NOT _isDeleted GROUP BY id HAVING count(*) > 1)"):
            self.one_place_an_order = False

    def _write_changed(self, file: str, columns: str, changed: str) -> int:
        """Write a table of orders: what the snapshot before holds of unchanged ones, and what changed."""
        if self._before is not None:
            changed = (
                f"SELECT {columns} FROM {parquet(self._before / file)} AS o "
                f"ANTI JOIN changed AS c ON o.{quoted(ORDER_ID)} = c.id UNION ALL {changed}"
            )
        return self._copy(changed, self._made / file)

    def _view(self, name: str, files: Sequence[Path]) -> None:
        self._run(f"CREATE VIEW {name} AS SELECT * FROM {parquet(*files)}")

    def _copy(self, query: str, path: Path) -> int:
        """Write a query's rows into a file; return how many they are."""
        ((rows,),) = self._run(f"COPY ({query}) TO {text(path)} {_WRITTEN}")
        return int(rows)

    def _is_any(self, source: str) -> bool:
        return bool(self._run(f"SELECT 1 {source} LIMIT 1"))

    def _run(self, sql: str) -> list[Any]:
        what = "" if self._before is None else f" with {self._before} (if that is damaged: --full)"
        with doing(f"writing {self._made}{what}"):
            return self._connection.execute(sql).fetchall()


_LATEST: Final = "(SELECT * FROM facts SEMI JOIN changed USING (_partition, _offset) WHERE NOT _isDeleted)"


def _made(columns: Sequence[Column]) -> str:
    return ", ".join(f"{column.made} AS {quoted(column.name)}" for column in columns)


def _table(folder: Path, table: str) -> str:
    return parquet(folder / f"{table}.parquet")
