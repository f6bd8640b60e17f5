"""Rows on their way from Kafka to tables: JSON lines in memory, then Parquet files that DuckDB makes of them.

Rows are gathered while DuckDB, in a thread of its own, turns the ones before into a file: memory holds two chunks.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import msgspec

from processor.snapshots.columns import ITEMS, ORDERS, PLACE, columns_of, lines_type, quoted, text
from processor.snapshots.engine import doing
from processor.snapshots.rows import Row

if TYPE_CHECKING:
    import duckdb

_CHUNK_BYTES: Final = 32 << 20
_LINE_BYTES: Final = 16 << 20  # DuckDB's buffers are made for lines of this size, and for longer ones if there are any
_ENCODER: Final = msgspec.json.Encoder()


class Staging:
    """Takes rows; `files` are the Parquet files that hold them, with each row's place, once it is closed.

    `name` begins the files' names. `columns` are the SQL that makes each column from the JSON lines, `written` the
    types that the lines have, both by name.
    """

    def __init__(
        self,
        connection: "duckdb.DuckDBPyConnection",
        folder: Path,
        name: str,
        written: Mapping[str, str],
        columns: Mapping[str, str],
    ) -> None:
        self._connection = connection.cursor()
        self._folder, self._name = folder, name
        types = (f"{text(column)}: {text(kind)}" for column, kind in {**written, **PLACE}.items())
        self._written = "{" + ", ".join(types) + "}"
        made = {**columns, **{column: quoted(column) for column in PLACE}}
        self._made = ", ".join(f"{sql} AS {quoted(column)}" for column, sql in made.items())
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="staging")
        self._lines = bytearray()
        self._longest = 0
        self._running: Future[None] | None = None
        self.files: list[Path] = []
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Write what is left, unless an error ends the block."""
        try:
            if kind is None:
                if self._lines or not self.files:
                    self._pass_on()
                self._await()
        finally:
            if kind is not None:
                self._connection.interrupt()
            self._worker.shutdown()
            self._connection.close()

    def add(self, row: Row) -> None:
        """Take a row. Raises StopError if an earlier chunk could not be written."""
        begin = len(self._lines)
        _ENCODER.encode_into(row, self._lines, begin)
        self._lines += b"\n"
        self.rows += 1
        self._longest = max(self._longest, len(self._lines) - begin)
        if len(self._lines) >= _CHUNK_BYTES:
            self._pass_on()

    def _pass_on(self) -> None:
        """Have the rows gathered so far written, and gather on."""
        self._await()
        path = self._folder / f"{self._name}-{len(self.files):06}.parquet"
        self.files.append(path)
        self._running = self._worker.submit(self._write, self._lines, self._longest, path)
        self._lines, self._longest = bytearray(), 0

    def _await(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None

    def _write(self, lines: bytearray, longest: int, path: Path) -> None:
        source = self._folder / f"{self._name}.jsonl"
        with doing(f"writing {path}"):
            source.write_bytes(lines)
            options = f"maximum_object_size={max(_LINE_BYTES, longest + 1)}, hive_partitioning=false"
            self._connection.execute(
                f"COPY (SELECT {self._made} FROM read_json({text(source)}, format='newline_delimited', "
                f"columns={self._written}, {options})) "
                f"TO {text(path)} (FORMAT parquet, COMPRESSION snappy)"
            )
            source.unlink()


def staging_of(connection: "duckdb.DuckDBPyConnection", folder: Path, table: str, *, personal: bool) -> Staging:
    """Return what takes the rows of a table; those of orders keep their items, which become a table later."""
    columns = columns_of(table, personal=personal)
    written = {column.name: column.written for column in columns}
    made = {column.name: column.made for column in columns}
    if table == ORDERS:
        written[ITEMS], made[ITEMS] = lines_type(), quoted(ITEMS)
    return Staging(connection, folder, table, written, made)
