"""The columns of a snapshot's three tables, from the newest Avro schemas: names, types, and how a value gets there.

Takes nothing but schemas; gives columns, and SQL that makes them from the JSON lines that `rows` writes.

| Avro | in JSON lines | in the snapshot |
|---|---|---|
| decimal | units of 0.0001 | DECIMAL(18,4) |
| timestamp-millis | ms since the epoch | TIMESTAMPTZ |
| a map | an object | JSON |
"""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from processor.codec.schemas import CONTACT, FACT, newest_schemas

ORDERS: Final = "orders"
ITEMS: Final = "items"
CONTACTS: Final = "contacts"
TABLES: Final = (ORDERS, ITEMS, CONTACTS)
OF_LINES: Final = ("contactId", "status", "date", "currency")
"""What conditions on an order's lines ask of the order itself."""
ORDER_ID: Final = "externalOrderId"
CONTACT_ID: Final = "contactId"
_LINES: Final = "items"  # an order's field that is a table of its own
_PERSONAL: Final = frozenset(
    {"email", "phone", "firstName", "lastName", "deliveryAddress", "additionalInfo", "restoreUrl"}
)
_OF_CONTACTS: Final = (CONTACT_ID, "externalCustomerId")  # all others are personal
_PLAIN: Final = {"string": "VARCHAR", "int": "INTEGER", "long": "BIGINT", "double": "DOUBLE", "boolean": "BOOLEAN"}
# A record's place is kept while tables are made, and is no column of a snapshot: no Avro name begins so.
PLACE: Final = {"_partition": "INTEGER", "_offset": "BIGINT", "_timestampMs": "BIGINT", "_isDeleted": "BOOLEAN"}
_FARTHEST_MS: Final = 9_223_372_022_399_999  # from the epoch, both ways: beyond it there are no timestamps in DuckDB


class Column(NamedTuple):
    """A column: its Avro name, its type in JSON lines, its type in the snapshot, and whether it is personal."""

    name: str
    written: str
    type: str
    is_personal: bool = False

    @property
    def made(self) -> str:
        """The SQL that makes its value from what the JSON lines hold, which has the same name."""
        name = quoted(self.name)
        match self.type:
            case "DECIMAL(18,4)":  # multiplied exactly: a division would go through a double
                return f"CAST(CAST({name} AS DECIMAL(22,0)) * CAST(0.0001 AS DECIMAL(4,4)) AS DECIMAL(18,4))"
            case "TIMESTAMPTZ":
                kept = f"greatest(least({name}, {_FARTHEST_MS}), -{_FARTHEST_MS})"
                return f"CASE WHEN {name} IS NOT NULL THEN make_timestamptz({kept} * 1000) END"
            case _:
                return name


@functools.cache
def columns_of(table: str, *, personal: bool) -> tuple[Column, ...]:
    """Return a table's columns in the schema's order; personal ones only if they are asked for."""
    return tuple(column for column in _all_columns()[table] if personal or not column.is_personal)


def lines_type() -> str:
    """Return the type of an order's items in JSON lines."""
    inner = ", ".join(f"{quoted(column.name)} {column.written}" for column in columns_of(ITEMS, personal=True)[1:])
    return f"STRUCT({inner})[]"


def names_of(columns: Iterable[Column]) -> str:
    """Return columns as a list in SQL."""
    return ", ".join(quoted(column.name) for column in columns)


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def text(value: object) -> str:
    """Return a text, such as a path, as SQL has it."""
    return "'" + str(value).replace("'", "''") + "'"


def parquet(*paths: Path) -> str:
    """Return the table that Parquet files hold, as SQL. A folder called `status=x` on the way gives it no column."""
    return f"read_parquet([{', '.join(map(text, paths))}], hive_partitioning = false)"


@functools.cache
def _all_columns() -> dict[str, tuple[Column, ...]]:
    schemas = newest_schemas()
    fact, contact = schemas[FACT]["fields"], schemas[CONTACT]["fields"]
    (lines,) = (field["type"]["items"]["fields"] for field in fact if field["name"] == _LINES)
    return {
        ORDERS: tuple(_column(field, field["name"] in _PERSONAL) for field in fact if field["name"] != _LINES),
        ITEMS: (Column(ORDER_ID, "VARCHAR", "VARCHAR"), *(_column(field) for field in lines)),
        CONTACTS: tuple(_column(field, field["name"] not in _OF_CONTACTS) for field in contact),
    }


def _column(field: Any, is_personal: bool = False) -> Column:  # noqa: FBT001, FBT002 - two kinds of column
    return Column(field["name"], *_types(field["type"]), is_personal)


def _types(schema: Any) -> tuple[str, str]:
    """Return a field's type in JSON lines, and in the snapshot."""
    match schema:
        case ["null", branch]:
            return _types(branch)
        case {"logicalType": "decimal"}:
            return "BIGINT", "DECIMAL(18,4)"
        case {"logicalType": "timestamp-millis"}:
            return "BIGINT", "TIMESTAMPTZ"
        case {"type": "map"}:
            return "JSON", "JSON"
        case {"type": "array", "items": str(item)}:
            return f"{_PLAIN[item]}[]", f"{_PLAIN[item]}[]"
        case {"type": "enum"}:
            return "VARCHAR", "VARCHAR"
        case str(plain):
            return _PLAIN[plain], _PLAIN[plain]
    raise AssertionError(f"no column holds {schema}")
