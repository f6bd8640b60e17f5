"""The page on warehouses: tables have the columns of a snapshot, and questions count what the conditions count."""

import re

import pytest

from deploy.build.docs import ROOT
from processor.snapshots.columns import ITEMS, ORDERS, columns_of

PAGE = (ROOT / "processor/segments/WAREHOUSE.md").read_text(encoding="utf-8")
CUSTOM = "Map(String, Variant(Bool, Int64, Float64, String))"
CLICKHOUSE = {
    "VARCHAR": "String",
    "DOUBLE": "Float64",
    "INTEGER": "Int32",
    "BIGINT": "Int64",
    "DECIMAL(18,4)": "Decimal(18, 4)",
    "TIMESTAMPTZ": "DateTime64(3, 'UTC')",
    "JSON": CUSTOM,
}
POSTGRESQL = {
    "VARCHAR": "text",
    "DOUBLE": "float8",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "DECIMAL(18,4)": "numeric(18, 4)",
    "TIMESTAMPTZ": "timestamptz",
    "JSON": "jsonb",
}
SNOWFLAKE = {
    "VARCHAR": "{0}{1}::varchar AS {1}",
    "DOUBLE": "{0}{1}::double AS {1}",
    "INTEGER": "{0}{1}::int AS {1}",
    "BIGINT": "{0}{1}::bigint AS {1}",
    "DECIMAL(18,4)": "{0}{1}::decimal(18, 4) AS {1}",
    "TIMESTAMPTZ": "TO_TIMESTAMP_NTZ({0}{1}::bigint, 3) AS {1}",
    "JSON": "{0}{1} AS {1}",
}


def definitions(name):
    """Give what creates a warehouse's tables, on one line."""
    text = (ROOT / "deploy/warehouse" / f"{name}.sql").read_text(encoding="utf-8")
    return " ".join(re.sub(r"^--.*", "", text, flags=re.MULTILINE).split())


def is_there(phrase, text):
    """Say whether columns have a phrase as a whole: after it the next column begins, or the list ends."""
    return re.search(rf"(?<![\w\"]){re.escape(phrase)}(?= NOT NULL| PRIMARY KEY|,|\)| FROM)", text) is not None


def columns(table):
    """Give the columns that are not personal; the key of an item's row is its order's."""
    found = columns_of(table, personal=False)
    return found[1:] if table == ITEMS else found


@pytest.mark.parametrize("table", [ORDERS, ITEMS])
def test_clickhouse_has_every_column(table):
    """Of an order and of a line each column is there with its type, nullable or not."""
    text = definitions("clickhouse")
    kinds = {column.name: (f"{column.name} {CLICKHOUSE[column.type]}", column) for column in columns(table)}
    missing = [
        name
        for name, (phrase, column) in kinds.items()
        if not is_there(phrase, text) and not is_there(f"{name} Nullable({CLICKHOUSE[column.type]})", text)
    ]
    assert missing == []


@pytest.mark.parametrize("table", [ORDERS, ITEMS])
def test_postgresql_has_every_column(table):
    """Of an order and of a line each column is there with its type; a name with capitals is quoted."""
    text = definitions("postgresql")
    phrases = [
        f"{column.name if column.name.islower() else chr(34) + column.name + chr(34)} {POSTGRESQL[column.type]}"
        for column in columns(table)
    ]
    assert [phrase for phrase in phrases if not is_there(phrase, text)] == []


@pytest.mark.parametrize(("table", "source"), [(ORDERS, "c:"), (ITEMS, "l.value:")])
def test_snowflake_has_every_column(table, source):
    """Of an order and of a line each column is taken from the record's content, or from its key."""
    text = definitions("snowflake")
    phrases = [SNOWFLAKE[column.type].format(source, column.name) for column in columns(table)]
    missing = [phrase for phrase in phrases if not is_there(phrase, text)]
    assert missing == ([] if table == ITEMS else ["c:externalOrderId::varchar AS externalOrderId"])
    assert is_there("m:key::varchar AS externalOrderId", text)


def test_a_column_that_is_not_there_is_noticed():
    """A column of another type, or whose name only ends so, is none."""
    text = 'CREATE TABLE t ("aName" text NOT NULL, other int, more numeric(18, 4))'
    assert is_there('"aName" text', text)
    assert is_there("more numeric(18, 4)", text)
    assert not is_there("aName text", text)
    assert not is_there("ther int", text)
    assert not is_there("other bigint", text)


def test_no_personal_column_is_taken_in():
    """Personal columns are in no table, and the connectors leave out each of them."""
    everything = " ".join(map(definitions, ("clickhouse", "postgresql", "snowflake")))
    left_out = re.findall(r"^transforms\.personal\.exclude=(.+)$", PAGE, re.MULTILINE)
    assert len(left_out) == 2
    personal = [column.name for column in columns_of(ORDERS, personal=True) if column.is_personal]
    assert personal
    for name in personal:
        assert not re.search(rf"\b{name}\b", everything)
        assert all(name in listed.split(",") for listed in left_out)


def test_the_questions_count_what_the_conditions_count():
    """Each of the three names the statuses that a condition counts."""
    macros = (ROOT / "processor/segments/macros/orders.sql").read_text(encoding="utf-8")
    counted = re.search(r"status IN \('INITIALIZED'[^)]*\)", macros)
    assert counted is not None
    assert PAGE.count(counted[0]) == 3
