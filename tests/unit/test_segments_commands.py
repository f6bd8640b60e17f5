"""Proves the commands of `segments` on a small shop: what they print and refuse, and the segments they come with."""

import csv
import io
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from click.testing import CliRunner

from processor.cli.segments import segments
from processor.domain.records import Item, Order, PlainItems
from processor.errors import OrderFactsError, StopError
from processor.segments.queries import library
from processor.segments.snapshot_session import session
from tests.support.snapshots import snapshot_of

AS_OF = "2026-11-30"
NOON_TODAY = datetime(2026, 11, 30, 12, tzinfo=UTC)


def bought(order_id, contact_id, days_ago, *items, status="DELIVERED", cost=10, **fields):
    """Give an order of so many days before the day of AS_OF."""
    moment_ms = int((NOON_TODAY - timedelta(days=days_ago)).timestamp() * 1000)
    lines = PlainItems(tuple(Item(external_item_id=item, quantity=1.0, custom={}) for item in items))
    order = {
        "external_order_id": order_id,
        "contact_id": contact_id,
        "identified_by": "email",
        "status": status,
        "date_ms": moment_ms,
        "total_cost": round(cost * 10_000),
        "event_type": "orderUpdated",
        "created_at_ms": moment_ms,
        "updated_at_ms": moment_ms,
        "status_changed_at_ms": moment_ms,
        "revision": 1,
        "source_partition": 0,
        "source_offset": 0,
        "currency": "UAH",
        "items": lines,
        "custom": {},
    }
    return Order(**order | fields)


SHOP = (
    bought("1", "ann", 2, "cake", cost=700),
    bought("2", "ann", 40, "tea", cost=300),
    bought("3", "ann", 100, "tea", cost=200.5),
    bought("4", "bob", 3, "cake"),
    bought("5", "bob", 2, "tea", status="CANCELLED"),
    bought("6", "cid", 70, "cake", "tea"),
    bought("7", "dan", 400, "tea"),
    bought("8", "eve", 4, "cake", status="ABANDONED_SHOPPING_CART"),
    bought("9", "fay", 5, "cake", status="ABANDONED_SHOPPING_CART"),
    bought("10", "fay", 1, "cake"),
    bought("11", "nobody", 1, "cake"),
)
CONTACTS = ("ann", "bob", "cid", "dan", "eve", "fay", "gus")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Give the folder of a snapshot of the shop."""
    folder = tmp_path_factory.mktemp("it's a shop")
    snapshot_of(folder, SHOP, CONTACTS)
    return folder


def run(*arguments, given=None):
    """Run a command of `segments`; give what it printed."""
    done = CliRunner().invoke(segments, list(map(str, arguments)), standalone_mode=False, input=given)
    if done.exception:
        raise done.exception
    return done.stdout


def asked(shop, query, *arguments, given=None):
    """Run a query on the shop; give the lines."""
    return run("run", query, "--data", shop, "--as-of", AS_OF, *arguments, given=given).splitlines()


@pytest.mark.parametrize(
    ("name", "parameters", "contacts"),
    [
        ("bought_lately", ["item=cake"], ["ann", "fay"]),
        ("bought_lately", ["item=cake", "days=1"], ["fay"]),
        ("bought_one_not_other", ["item=cake", "other=tea"], ["bob", "fay"]),
        ("bought_one_not_other", ["item=cake", "other=tea", "days=50"], ["bob", "fay"]),
        ("gone_quiet", [], ["cid"]),
        ("gone_quiet", ["quiet=300", "back=500"], ["dan"]),
        ("one_time_buyers", [], ["cid", "dan"]),
        ("vip", ["min=1000"], ["ann"]),
        ("vip", ["min=1200.6"], []),
        ("vip", ["min=1", "orders=1", "days=60", "currency=UAH"], ["ann", "bob", "fay"]),
        ("abandoned_carts", [], ["eve"]),
    ],
)
def test_each_segment_of_the_library_finds_whom_its_comment_says(shop, name, parameters, contacts):
    """Whole days in the shop's zone; who cancelled, came back or does not exist is not among them."""
    assert asked(shop, name, *parameters, "--format", "csv") == ["contactId", *contacts]


def test_every_segment_of_the_library_says_whom_it_finds_and_what_it_asks_for():
    """`segments list` and `show` are all that an analyst has to begin with."""
    shown = run("list")
    for query in library():
        assert query.about in shown
        assert query.about.endswith(".")
        assert run("show", query.name).strip() == query.sql.strip()
        for parameter in query.parameters:
            assert f"{parameter.name}=" in shown
            assert f"${parameter.name}" in query.sql


def test_a_query_comes_from_standard_input_or_a_file(shop, tmp_path):
    """With comments before, a semicolon or a comment behind."""
    query = "-- Anybody é; really.\nFROM bought('cake', days := 7) EXCEPT FROM bought('tea'); -- but no tea"
    (tmp_path / "no tea.sql").write_text(query)
    for name, given in (("-", query), (tmp_path / "no tea.sql", None)):
        assert asked(shop, name, "--format", "csv", given=given) == ["contactId", "bob", "fay"]


def test_formats(shop):
    """A table for people, CSV and JSON lines for programs, one number for scripts."""
    query = "FROM bought('cake', days := 7)"
    assert asked(shop, "-", "--count", given=query) == ["3"]
    assert asked(shop, "-", "--format", "jsonl", given=query) == [
        f'{{"contactId":"{name}"}}' for name in ("ann", "bob", "fay")
    ]
    assert asked(shop, "-", given=query)[-1] == "3 contacts"
    why = asked(shop, "-", "--why", "--format", "csv", given=query)
    assert why == ["contactId,externalOrderId", "ann,1", "bob,4", "fay,10"]
    assert json.loads(asked(shop, "-", "--why", "--format", "jsonl", given=query)[0]) == {
        "contactId": "ann",
        "externalOrderId": "1",
    }
    table = asked(shop, "-", "--why", given=query)
    assert table[1].split()[:2] == ["ann", "1"]
    assert "DELIVERED" in table[1]
    assert "700.0000" in table[1]
    assert table[-1] == "3 orders"


def test_a_table_shows_the_first_and_says_how_many_there_are(tmp_path):
    """A segment of thousands does not fill the terminal."""
    names = [f"c{number:03}" for number in range(60)]
    snapshot_of(tmp_path / "data", [bought(name, name, 1, "cake") for name in names], names)
    shown = run("run", "-", "--data", tmp_path / "data", "--as-of", AS_OF, given="FROM ordered()").splitlines()
    assert shown[-1] == "60 contacts, of which 50 are shown (--format csv prints all)"
    assert [line.strip() for line in shown[1:-1]] == names[:50]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_sql_gives_the_same_answers_in_any_duckdb(shop, zone):
    """Whatever the time zone of its session is."""
    printed = run("sql", "--data", shop, "--as-of", AS_OF, "--time-zone", "Pacific/Kiritimati")
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = '{zone}'")
        connection.execute(printed)
        answer = connection.execute("FROM bought('cake', days := 2) ORDER BY ALL").fetchall()
    assert [found for (found,) in answer] == ["ann", "bob"]
    here = run(
        "run",
        "-",
        "--data",
        shop,
        "--as-of",
        AS_OF,
        "--time-zone",
        "Pacific/Kiritimati",
        "--format",
        "csv",
        given="FROM bought('cake', days := 2)",
    )
    assert here.split() == ["contactId", "ann", "bob"]


@pytest.mark.parametrize(
    ("arguments", "given", "line"),
    [
        (["vip"], None, "vip needs min=...: what the delivered orders cost in all, at least"),
        (["vip", "min=1", "day=3"], None, "vip has no parameter day; it has: currency, days, min, orders"),
        (["vip", "min"], None, "min is no parameter; give NAME=VALUE, as in item=22423"),
        (["vip", "min=1", "min=2"], None, "the parameter min is given twice"),
        (["vip", "--why", "--count"], None, "--count and --why contradict each other: "),
        (["vip", "min=much"], None, "much is no number"),
        (["vip", "min=1", "days=-1"], None, "days is -1; give a whole number from 0 to 700000"),
        (["gone_quit"], None, "no segment is called gone_quit; did you mean gone_quiet? (a file's name ends in .sql)"),
        (["nowhere.sql"], None, "nowhere.sql cannot be read: No such file or directory"),
        (["-"], "FROM bought($item)", "the query asks for item; give each, as in item=..."),
        (["-", "days=7"], "FROM ordered()", "the query does not ask for days"),
        (
            ["-"],
            "FROM orders",
            "a segment's query gives the column contactId and no other; this one gives: externalOrderId, ",
        ),
        (["-"], "SELECT 1 AS contactId", "contact ids are texts; the query's contactId is of type INTEGER"),
        (["-"], b"FROM bought('\xff')", "- is not UTF-8: "),
        (
            ["-"],
            "FROM order_field('date', '>=', 'yesterday', days := 0)",
            "order_field: yesterday is no time; give one as ",
        ),
        (
            ["-"],
            "FROM order_field('date', '>=', '2026-04-04T12:00:00 Europe/Berlin')",
            "order_field: 2026-04-04T12:00:00 E",
        ),
        (
            ["-", "--as-of", "0001-01-01T00:00+05:00"],
            "FROM ordered()",
            "0001-01-01T00:00+05:00 is out of range; give a ",
        ),
        (["-"], "FROM ordered(); FROM ordered()", "a query is one SELECT (or FROM ...), and nothing else"),
        (["-"], "", "a query is one SELECT (or FROM ...), and nothing else"),
        (["-"], "FROM ordred()", "Catalog Error: Table Function with name ordred does not exist! Did you mean "),
        (
            ["-", "--as-of", "noon"],
            "FROM ordered()",
            "noon is no moment; give a date (2026-11-30) or an instant with an ",
        ),
        (["-", "--as-of", "2026-11-30T10:00"], "FROM ordered()", "2026-11-30T10:00 is no moment; give a date "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(shop, arguments, given, line):
    """It names what, and what to put there."""
    with pytest.raises(OrderFactsError) as error:
        run("run", "--data", shop, *arguments, given=given)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def test_without_a_snapshot_the_line_names_the_command(tmp_path):
    """A folder that is empty, or not there."""
    with pytest.raises(OrderFactsError, match=r"holds no snapshot; make one with: order-facts facts export "):
        run("run", "one_time_buyers", "--data", tmp_path)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT content AS contactId FROM read_text('{secret}')",
        "SELECT contactId FROM read_csv('{secret}', names = ['contactId'], header = false)",
        "SELECT contactId FROM '{secret}'",
        "SELECT filename AS contactId FROM glob('{folder}/*')",
        "COPY (FROM ordered()) TO '{folder}/out'",
        "ATTACH '{folder}/db'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT contactId FROM enable_logging(storage := 'file', storage_path := '{folder}/log')",
    ],
)
def test_a_query_reads_the_snapshot_and_nothing_else(shop, tmp_path, query):
    """A file of SQL is code of somebody's: no other file is read, none is written, nothing is fetched."""
    secret = tmp_path / "secret.csv"
    secret.write_text("ann\n")
    with pytest.raises(OrderFactsError):
        asked(shop, "-", given=query.format(secret=secret, folder=tmp_path))
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.parametrize("table", ["orders", "items", "contacts", "strangers", "found", "counts"])
def test_a_table_of_the_querys_own_is_not_what_conditions_read(shop, table):
    """Whatever an analyst calls a part of a query, a condition reads the snapshot."""
    query = f"WITH {table} AS (SELECT 'eve' AS contactId, 'cake' AS externalItemId) "
    assert asked(shop, "-", "--format", "csv", given=f"{query} FROM bought('cake')")[1:] == ["ann", "bob", "cid", "fay"]
    given = f"{query} FROM bought_all((SELECT list(externalItemId) FROM {table}), days := 2)"
    why = asked(shop, "-", "--format", "csv", "--why", given=given)
    assert why[1:] == ["ann,1", "fay,10"]


def test_arguments_may_depend_on_the_querys_rows(shop):
    """They are checked where they are used."""
    query = (
        "SELECT c.contactId FROM contacts AS c WHERE EXISTS (FROM bought(CASE c.contactId WHEN 'ann' THEN 'tea' END))"
    )
    assert asked(shop, "-", "--format", "csv", given=query)[1:] == ["ann"]


def test_each_side_of_a_union_gives_the_orders_of_its_own_contacts(shop):
    """Who is taken away on one side is there by the other alone."""
    query = "(FROM ordered() EXCEPT FROM bought('cake', days := 7)) UNION FROM bought('tea', days := 50)"
    why = asked(shop, "-", "--format", "csv", "--why", given=query)
    assert why[1:] == ["ann,2", "cid,6", "dan,7"]


@pytest.mark.parametrize("name", ["status=CANCELLED", "externalItemId=tea", "date=2026-01-01", "it's [a] {b} $c;"])
def test_a_folder_may_be_called_anything(tmp_path, name):
    """A name that looks like a column's value gives no column."""
    snapshot_of(tmp_path / name / "data", SHOP, CONTACTS)
    answer = asked(tmp_path / name / "data", "-", "--format", "csv", given="FROM bought('cake', days := 7)")
    assert answer[1:] == ["ann", "bob", "fay"]


@pytest.mark.parametrize("name", ["a*b", "q?", "a\\b", "\udcff"])
def test_a_folder_that_would_be_a_pattern_is_refused(tmp_path, name):
    """It would be read as several folders, of which some are another shop's."""
    with pytest.raises(OrderFactsError, match=r"; name another folder$"):
        snapshot_of(tmp_path / name, SHOP, CONTACTS)
    with pytest.raises(OrderFactsError, match=r"; name another folder$"):
        asked(tmp_path / name, "-", given="FROM ordered()")


def test_a_comments_colon_declares_nothing(shop, tmp_path):
    """Only what the query asks for is a parameter; a file may begin with a byte order mark, or with nothing."""
    query = "\ufeff\n-- Segment: buyers\n-- note: ask Ann\n-- item: what was bought\nFROM bought($item, days := $days)"
    (tmp_path / "buyers.sql").write_text(query, encoding="utf-8")
    answer = asked(shop, tmp_path / "buyers.sql", "item=cake", "days=2", "--format", "csv")
    assert answer == ["contactId", "ann", "fay"]
    with pytest.raises(OrderFactsError, match=r"^buyers has no parameter note; it has: item$"):
        asked(shop, tmp_path / "buyers.sql", "item=cake", "days=2", "note=x")


def test_csv_holds_any_id(tmp_path):
    """Line ends in an id are quoted, as readers of CSV expect."""
    names = ["a\rb", "a\nb", 'a"b', "a,b"]
    snapshot_of(tmp_path / "data", [bought(name, name, 1, "cake") for name in names], names)
    shown = run("run", "-", "--data", tmp_path / "data", "--as-of", AS_OF, "--format", "csv", given="FROM ordered()")
    assert sorted(row[0] for row in csv.reader(io.StringIO(shown, newline=""))) == sorted([*names, "contactId"])


def test_snapshot_that_later_exports_removed_is_said_to_be_gone(tmp_path):
    """Two exports during a long question take it away: asking again helps."""
    snapshot = snapshot_of(tmp_path / "data", SHOP, CONTACTS)
    with session(snapshot, NOON_TODAY, ZoneInfo("UTC")) as asked_one:
        shutil.rmtree(snapshot.path)
        with pytest.raises(StopError, match="was removed by later exports while it was asked; ask again"):
            asked_one.members("FROM ordered()")


def test_output_that_cannot_be_written_is_said_in_one_line(shop):
    """A full disk, say."""
    command = [sys.executable, "-m", "processor", "segments", "run", "-", "--data", shop, "--format", "csv"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, input=b"FROM ordered()", stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b"order-facts: standard output cannot be written: No space left on device\n"
    assert done.returncode == 1
