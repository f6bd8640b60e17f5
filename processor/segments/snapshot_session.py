"""Asks a snapshot: a database with its views and the conditions' macros, in which only its files can be read.

A question is one SELECT that gives `contactId`. Its segment are the contacts among those that exist.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, cast
from zoneinfo import ZoneInfo

from processor.errors import StopError, UsageError
from processor.segments.calls import check_queries, reasons_query
from processor.segments.clocks import clock_macros
from processor.segments.field_conditions import field_macros
from processor.snapshots import engine
from processor.snapshots.columns import CONTACT_ID, CONTACTS, ORDER_ID, ORDERS, TABLES, parquet, quoted, text
from processor.snapshots.snapshot import LINES, STRANGERS, Snapshot

if TYPE_CHECKING:
    import duckdb

Parameters = Mapping[str, Any]
_ONE_CURRENCY: Final = """CREATE OR REPLACE MACRO _is_in_one_currency(days, currency) AS true;
CREATE OR REPLACE MACRO _are_in_one_currency(item, category, days, currency) AS true;"""
_ID: Final = quoted(CONTACT_ID)
_ROWS_AT_ONCE: Final = 10_000
_FOLDER: Final = Path(__file__).with_name("macros")


def definitions(snapshot: Snapshot, as_of: datetime, zone: ZoneInfo) -> str:
    """Return the SQL that defines views and macros, for any DuckDB and whatever its session's time zone."""
    views = "\n".join(
        f"CREATE OR REPLACE VIEW _{name} AS SELECT * FROM {parquet(path.absolute())};"
        for name, path in _files(snapshot).items()
    )
    # The macros read views of their own, so that a query may call a table of its own `orders`.
    shown = "\n".join(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM _{name};" for name in TABLES)
    moment = as_of.astimezone(UTC).isoformat(sep=" ")
    return f"""-- Snapshot {snapshot.number} of {snapshot.manifest.time.isoformat()}, as of {moment}.
{views}
CREATE OR REPLACE MACRO as_of() AS TIMESTAMPTZ {text(moment)};
CREATE OR REPLACE MACRO shop_zone() AS {text(zone.key)};
{clock_macros(zone, as_of)}

{_macros("orders")}
{_ONE_CURRENCY if snapshot.manifest.currencies <= 1 else ""}
{_macros("conditions")}
{_macros("rfm")}
{_macros("comparisons")}
{field_macros(personal=snapshot.manifest.personal)}
{_macros("checks")}
{shown}
"""


@contextmanager
def session(snapshot: Snapshot, as_of: datetime, zone: ZoneInfo) -> Iterator["Session"]:
    """Give a session that asks a snapshot. `as_of` has an offset; `zone` is the shop's.

    Raises UsageError if DuckDB is not installed, and StopError if the snapshot cannot be read.
    """
    with TemporaryDirectory(prefix="order-facts-") as folder, engine.database(Path(folder)) as connection:
        with engine.doing(f"reading {snapshot.path}"):
            connection.execute("SET allowed_paths = $paths", {"paths": [*map(str, _files(snapshot).values())]})
            connection.execute("SET enable_external_access = false")
            connection.execute("SET python_enable_replacements = false")
            connection.execute(f"BEGIN; {definitions(snapshot, as_of, zone)}; COMMIT")  # quicker at once
            connection.execute("SET TimeZone = $zone", {"zone": zone.key})
            connection.execute("SET lock_configuration = true")
        yield Session(connection, snapshot)


class _UnboundError(UsageError):
    """A query names what is not there."""


class Session:
    """Questions to one snapshot. All raise UsageError where a query is wrong, with what DuckDB says about it."""

    def __init__(self, connection: "duckdb.DuckDBPyConnection", snapshot: Snapshot) -> None:
        self._connection = connection
        self._snapshot = snapshot

    def members(self, query: str, parameters: Parameters | None = None) -> list[str]:
        """Return the contact ids that a query gives, each once, in order."""
        return [contact for (contact,) in self.each_member(query, parameters)]

    def each_member(self, query: str, parameters: Parameters | None = None) -> Iterator[tuple[str]]:
        """Yield what `members` returns, as rows of one column. Ask nothing else meanwhile."""
        return cast(Iterator[tuple[str]], self._rows(f"{self._segment(query, parameters)} ORDER BY ALL", parameters))

    def count(self, query: str, parameters: Parameters | None = None) -> int:
        """Return how many `members` has."""
        return self._count(self._segment(query, parameters), parameters)

    def reasons(self, query: str, parameters: Parameters | None = None) -> list[tuple[str, str]]:
        """Return, in order, each member with each order that put it there: (contactId, externalOrderId)."""
        return list(self.each_reason(query, parameters))

    def each_reason(self, query: str, parameters: Parameters | None = None) -> Iterator[tuple[str, str]]:
        """Yield what `reasons` returns. Ask nothing else meanwhile."""
        found = self._reasons(query, parameters)
        rows = iter(()) if found is None else self._rows(f"{found} ORDER BY ALL", parameters)
        return cast(Iterator[tuple[str, str]], rows)

    def first_reasons(
        self, query: str, most: int, parameters: Parameters | None = None
    ) -> tuple[list[tuple[str, str]], int]:
        """Return the first of what `reasons` returns, and how many there are."""
        found = self._reasons(query, parameters)
        if found is None:
            return [], 0
        first = self.rows(f"{found} ORDER BY ALL LIMIT {most}", parameters)
        return [(contact, order) for contact, order in first], self._count(found, parameters)

    def _reasons(self, query: str, parameters: Parameters | None) -> str | None:
        segment = self._segment(query, parameters)
        found = reasons_query(self._connection, _without_end(query))
        if found is None:
            return None
        of_members = f"SELECT DISTINCT r.{_ID}, r.{quoted(ORDER_ID)} FROM ({found}) AS r SEMI JOIN ({segment}) AS m"
        return f"{of_members} ON m.{_ID} = r.{_ID}"

    def _count(self, query: str, parameters: Parameters | None) -> int:
        ((found,),) = self.rows(f"SELECT count(*) FROM ({query})", parameters)
        return int(found)

    def told(self, reasons: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
        """Return reasons with what a reader asks next: the order's date, status, totalCost, currency."""
        orders = {order for _, order in reasons}
        query = f"SELECT {quoted(ORDER_ID)}, date, status, totalCost, currency FROM {ORDERS}"
        found = self.rows(f"{query} WHERE {quoted(ORDER_ID)} IN (SELECT unnest($orders))", {"orders": [*orders]})
        about = {order: rest for order, *rest in found}
        return [(contact, order, *about[order]) for contact, order in reasons]

    def rows(self, query: str, parameters: Parameters | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of one SELECT."""
        return list(self._rows(query, parameters))

    def _rows(self, query: str, parameters: Parameters | None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one SELECT, a few thousand at a time in memory. Ask nothing else meanwhile."""
        asked = self._asked(query, parameters)
        while True:
            with _answering():
                some = asked.fetchmany(_ROWS_AT_ONCE)
            if not some:
                return
            yield from some

    def _segment(self, query: str, parameters: Parameters | None) -> str:
        """Return the query of a segment: of a query's contacts those that exist."""
        self._statement(query)
        plain = _without_end(query)
        described = self._asked(f"SELECT * FROM (\n{plain}\n) LIMIT 0", parameters).description or []
        names = [column[0] for column in described]
        if names != [CONTACT_ID]:
            raise UsageError(
                f"a segment's query gives the column {CONTACT_ID} and no other; this one gives: {', '.join(names)}"
            )
        if (kind := str(described[0][1])) != "VARCHAR":
            raise UsageError(f"contact ids are texts; the query's {CONTACT_ID} is of type {kind}")
        for check in check_queries(self._connection, plain):
            with suppress(_UnboundError):  # an argument that depends on the query's rows
                self._run(self._statement(check), parameters)
        return f"SELECT c.{_ID} FROM {CONTACTS} AS c SEMI JOIN (\n{plain}\n) AS q ON q.{_ID} = c.{_ID}"

    def _asked(self, query: str, parameters: Parameters | None) -> "duckdb.DuckDBPyConnection":
        statement = self._statement(query)
        given = dict(parameters or {})
        if missing := sorted(statement.named_parameters - given.keys()):
            raise UsageError(f"the query asks for {', '.join(missing)}; give each, as in {missing[0]}=...")
        if unknown := sorted(given.keys() - statement.named_parameters):
            raise UsageError(f"the query does not ask for {', '.join(unknown)}")
        return self._run(statement, given)

    def _run(self, statement: "duckdb.Statement", parameters: Parameters | None) -> "duckdb.DuckDBPyConnection":
        """Run a statement with those of some parameters that it asks for."""
        given = {name: value for name, value in (parameters or {}).items() if name in statement.named_parameters}
        try:
            with _answering():
                return self._connection.execute(statement, given or None)
        except (UsageError, StopError) as error:
            if self._snapshot.file(ORDERS).exists():
                raise
            problem = f"{self._snapshot.path} was removed by later exports while it was asked; ask again"
            raise StopError(problem) from error

    def _statement(self, query: str) -> "duckdb.Statement":
        with _answering():
            found = self._connection.extract_statements(query)
        if len(found) != 1 or found[0].type != engine.library().StatementType.SELECT:
            raise UsageError("a query is one SELECT (or FROM ...), and nothing else")
        return found[0]


def _without_end(query: str) -> str:
    """Return a statement without the semicolon that ends it, and what comes after."""
    encoded = query.encode()
    ends = (offset for offset, _ in engine.library().tokenize(query) if encoded[offset : offset + 1] == b";")
    return encoded[: next(ends, len(encoded))].decode()


@contextmanager
def _answering() -> Iterator[None]:
    """Raise UsageError for a query that DuckDB refuses."""
    duckdb = engine.library()
    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except RuntimeError as error:  # what DuckDB makes of Ctrl-C
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from error
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException) as error:
        raise StopError(f"asking the snapshot: {_told(error)}") from error
    except (duckdb.BinderException, duckdb.CatalogException) as error:
        raise _UnboundError(_told(error)) from error
    except duckdb.Error as error:
        raise UsageError(_told(error)) from error


def _told(error: Exception) -> str:
    """Return what DuckDB says, without the kind of error and the picture of the place."""
    told = str(error).split("\n\nLINE ")[0].removeprefix("Invalid Input Error: ")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in told).split())


def _files(snapshot: Snapshot) -> dict[str, Path]:
    return {
        **{table: snapshot.file(table) for table in TABLES},
        "strangers": snapshot.path / STRANGERS,
        "order_lines": snapshot.path / LINES,
    }


@cache
def _macros(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text("utf-8")
