"""The conditions `order_field` and `item_field`: any field by its name, compared as its type asks.

Gives SQL, made from the columns that a snapshot has; how values compare is in `macros/comparisons.sql`. An order's
parameters and an item's attributes are columns; any other name is a custom field. Texts, numbers and booleans are three
types: a value of another type never matches. A long and a double are compared by their exact values; a number with a
decimal point means the double, for an amount the decimal.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from processor.snapshots.columns import ITEMS, ORDERS, Column, columns_of, quoted, text

_NO_PARAMETERS: Final = frozenset(  # columns of facts that no event's parameter is called by: such a name is custom
    {"contactId", "identifiedBy", "eventTypeKey", "createdAt", "updatedAt", "statusChangedAt", "occurredAt", "revision"}
    | {"sourcePartition", "sourceOffset", "custom"}
)


def field_macros(*, personal: bool) -> str:
    """Return the SQL of both conditions, for a snapshot with or without personal columns."""
    orders = {column.name: column for column in columns_of(ORDERS, personal=True) if column.name not in _NO_PARAMETERS}
    exported = {column.name for column in columns_of(ORDERS, personal=personal)}
    missing = ", ".join(text(name) for name in orders if name not in exported)
    lines = {column.name: column for column in columns_of(ITEMS, personal=True)[1:] if column.name != "custom"}
    given = {name: column for name, column in orders.items() if name in exported}
    return f"""CREATE OR REPLACE MACRO _is_order_field(name, op, value) AS CASE
    WHEN name = 'items' THEN error('items is no single value; ask for it with item_field')
    ELSE _require_field(name, op, value, CAST([{missing}] AS VARCHAR[]), 'order_field') END;
CREATE OR REPLACE MACRO _orders_with(name, op, value, days) AS TABLE
    SELECT p.contactId, p.externalOrderId FROM (
        SELECT o.contactId, o.externalOrderId, {_picked("o", given)} FROM _anybodys_orders(days) AS o
        WHERE name = 'status' OR _is_counted(o.status)) AS p
    WHERE {_comparison(given)} AND (SELECT _is_order_field(name, op, value));
{_both("order_field", "_orders_with")}

CREATE OR REPLACE MACRO _is_item_field(name, op, value) AS
    _require_field(name, op, value, CAST([] AS VARCHAR[]), 'item_field');
CREATE OR REPLACE MACRO _lines_with(name, op, value, days) AS TABLE
    SELECT p.contactId, p.externalOrderId FROM (
        SELECT i.contactId, i.externalOrderId, {_picked("i", lines)} FROM _anybodys_lines(days) AS i
        WHERE _is_counted(i.status)) AS p
    WHERE {_comparison(lines)} AND (SELECT _is_item_field(name, op, value));
{_both("item_field", "_lines_with")}
"""


def _both(condition: str, found: str) -> str:
    """Return the SQL of a condition and of its twin. `found` gives anybody's orders; each contact is looked up once."""
    existing = "ANTI JOIN _strangers AS s ON s.contactId = d.contactId"
    rows = f"{found}(name, op, value, days) AS f"
    return f"""CREATE OR REPLACE MACRO {condition}_why(name, op, value, days := NULL) AS TABLE
    SELECT d.contactId, d.externalOrderId FROM (SELECT DISTINCT f.contactId, f.externalOrderId FROM {rows}) AS d
    {existing};
CREATE OR REPLACE MACRO {condition}(name, op, value, days := NULL) AS TABLE
    SELECT d.contactId FROM (SELECT DISTINCT f.contactId FROM {rows}) AS d {existing};"""


def _by_type(columns: Mapping[str, Column]) -> dict[str, list[str]]:
    """Return the columns' names by their types, which differ in how they are compared."""
    found: dict[str, list[str]] = {}
    for column in columns.values():
        found.setdefault(column.type, []).append(column.name)
    return found


def _picked(alias: str, columns: Mapping[str, Column]) -> str:
    """Return the field called `name` as SQL: a column for each type that it may have, and one for a custom field.

    With them go the forms of the value that is given. So each name and each form stands once in what DuckDB plans.
    """
    by_type = _by_type(columns)
    picked = [f"CAST(json_extract({alias}.custom, _pointer(CAST(name AS VARCHAR))) AS VARCHAR) AS custom"]
    for type_, names in by_type.items():
        choices = " ".join(f"WHEN {text(name)} THEN {alias}.{quoted(name)}" for name in names)
        picked.append(f"CASE name {choices} END AS {_COMPARED[type_].name}")
    picked += [f"{_FORMS[form]} AS given_{form}" for form in _CUSTOM.forms]
    for type_ in _FORMS.keys() & by_type.keys():
        made = f"CASE WHEN {_is_one_of(by_type[type_])} AND {_FORMS[type_]} END"
        picked.append(f"{made} AS given_{_COMPARED[type_].name}")
    return ", ".join(picked)


def _comparison(columns: Mapping[str, Column]) -> str:
    """Return the SQL that compares what `_picked` gives; all but the branch of the name is folded away."""
    branches = "\n".join(
        f"        WHEN {_is_one_of(names)} THEN {_COMPARED[type_].call}" for type_, names in _by_type(columns).items()
    )
    return f"CASE\n{branches}\n        ELSE {_CUSTOM.call} END"


def _is_one_of(names: Iterable[str]) -> str:
    return f"name IN ({', '.join(map(text, names))})"


class _Compared(NamedTuple):
    """How fields of a type are compared: the macro `_compare_<name>`, which takes these forms of the given value."""

    name: str
    forms: tuple[str, ...]

    @property
    def call(self) -> str:
        given = "".join(f", p.given_{form}" for form in self.forms)
        return f"_compare_{self.name}(p.{self.name}, op, value{given})"


_CUSTOM: Final = _Compared("custom", ("text", "near", "beyond", "whole", "rest"))
_COMPARED: Final = {
    "VARCHAR": _Compared("text", ("text",)),
    "DECIMAL(18,4)": _Compared("amount", ("amount",)),
    "DOUBLE": _Compared("double", ("near", "beyond")),
    "TIMESTAMPTZ": _Compared("time", ("time",)),
}
_FORMS: Final = {
    "text": "CAST(value AS VARCHAR)",
    "near": "_near(value)",
    "beyond": "_beyond(value)",
    "whole": "_whole(value)",
    "rest": "_rest(value)",
    "DECIMAL(18,4)": "_is_number(value) THEN _number(value)",
    "TIMESTAMPTZ": "_is_text_or_time(value) THEN _instant_of(CAST(value AS VARCHAR))",
}
