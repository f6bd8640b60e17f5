"""Examples of each condition, with answers by hand; the program and the reference must both give them."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pytest

from processor.domain.records import Item, Order, PlainItems
from processor.errors import UsageError
from processor.segments.snapshot_session import definitions, session
from tests.reference.segments import People, WrongQuestionError
from tests.support.segment_questions import OPS, Question
from tests.support.snapshots import facts_of, snapshot_of

ZONE = ZoneInfo("Europe/Kyiv")
AS_OF = datetime(2026, 4, 5, 3, 30, tzinfo=ZONE)  # 7 days before, it was 04:30 when 03:30 should have been
CONTACTS = ("ann", "bob", "dan", "eve", "fay", "gus")


def made(order_id, contact_id, status, when, total="0", lines=(), *, changed=None, currency="UAH", **custom):
    """Give an order; times are in UTC, lines are (item, category, quantity, cost) and perhaps custom fields."""
    items = (
        Item(
            external_item_id=item,
            category=category,
            quantity=quantity,
            cost=None if cost is None else int(Decimal(cost) * 10_000),
            custom=more[0] if more else {},
        )
        for item, category, quantity, cost, *more in lines
    )
    return Order(
        external_order_id=order_id,
        contact_id=contact_id,
        identified_by="email",
        status=status,
        date_ms=_ms(when),
        total_cost=int(Decimal(total) * 10_000),
        event_type="orderUpdated",
        created_at_ms=0,
        updated_at_ms=0,
        status_changed_at_ms=_ms(changed or when),
        revision=1,
        source_partition=0,
        source_offset=int(order_id[1:]),
        currency=currency,
        email="ann@example.com",
        items=PlainItems(tuple(items)),
        custom=custom,
    )


def _ms(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


ORDERS = [
    made("a1", "ann", "DELIVERED", "2026-03-29 01:30", "100", [("X", "Bags", 2.0, "10"), ("X", "Bags", 0.1, "0.1")]),
    made("a2", "ann", "DELIVERED", "2026-03-29 01:29:59.999", "50.5", [("Y", None, 1.0, "50")], gift=True, size=1),
    made("a3", "ann", "DELIVERED", "2026-04-05 00:30", "7000"),  # is not before as_of
    made("b1", "bob", "IN_PROGRESS", "2026-04-04 12:00", "20", [("X", "Bags", -1.0, "5"), ("Y", "Cups", 1.0, "5")]),
    made("b2", "bob", "CANCELLED", "2026-03-01", "80", [("X", "Bags", 1.0, "5")], changed="2026-04-01"),
    made("b3", "bob", "DELIVERED", "2026-04-04 12:00", "0.1", [("Y", "Cups", 3.0, None, {"a.b": 2**53 + 1})], size=1.0),
    made("d1", "dan", "ABANDONED_SHOPPING_CART", "2026-04-01 08:00", "1"),
    made("d2", "dan", "INITIALIZED", "2026-04-01 08:00:00.001", "9", size="1", vast=2.0**53),
    made("d3", "dan", "ABANDONED_SHOPPING_CART", "2026-04-01 08:00:00.001", "1"),
    made("e1", "eve", "ABANDONED_SHOPPING_CART", "2026-03-01", "1"),
    made("f1", "fay", "DELIVERED", "2025-01-01", "30", [("X", "Bags", 3.0, "-10")], currency=None),
    made("g1", "ghost", "DELIVERED", "2026-04-04", "999", [("X", "Bags", 1.0, "5")], currency="USD"),
]
REFUSED = None
EXAMPLES = [
    # condition, arguments, the orders of each contact that is found
    ("bought", {"item": "X"}, "ann a1, fay f1"),
    ("bought", {"item": "X", "days": 7}, "ann a1"),
    ("bought", {"item": "Y", "days": 7}, "bob b1 b3"),
    ("bought", {"item": "x"}, ""),
    ("bought_category", {"category": "Bags", "days": 8}, "ann a1"),
    ("bought_category", {"category": None}, ""),
    ("bought_all", {"items": ["X", "Y", "X"]}, "ann a1 a2"),
    ("bought_all", {"items": ["X", "Y"], "together": True}, ""),
    ("bought_all", {"items": ["Y"], "together": True, "days": 7}, "bob b1 b3"),
    ("bought_all", {"items": []}, REFUSED),
    ("bought_all", {"items": [], "days": 0, "together": True}, REFUSED),
    ("ordered", {}, "ann a1 a2, bob b1 b3, dan d2, fay f1"),
    ("ordered", {"min": 2, "days": 8}, "ann a1 a2, bob b1 b3"),
    ("ordered", {"min": 0, "max": 1}, "dan d2, eve, fay f1, gus"),
    ("spent", {"min": 1}, REFUSED),
    ("spent", {"min": Decimal("150.5"), "days": 30}, "ann a1 a2"),
    ("spent", {"min": Decimal("150.5001"), "days": 30}, ""),
    ("spent", {"min": 30, "currency": ""}, "fay f1"),
    ("spent", {"min": 0, "currency": "USD"}, ""),
    ("spent_on", {"min": Decimal("20.01"), "item": "X", "currency": "UAH"}, "ann a1"),
    ("spent_on", {"min": Decimal("20.01"), "item": "X"}, REFUSED),
    ("spent_on", {"min": 0, "item": "Y"}, "ann a2, bob b3"),
    ("spent_on", {"min": -30, "item": "X", "category": "Bags", "currency": ""}, "fay f1"),
    ("spent_on", {"min": 1, "item": "Y", "category": "Cups"}, ""),
    ("spent_on", {"min": 0}, REFUSED),
    ("average_order", {"min": Decimal("75.25"), "max": Decimal("75.25"), "currency": "UAH"}, "ann a1 a2"),
    ("average_order", {"min": Decimal("75.2501"), "currency": "UAH"}, ""),
    ("single_order", {"min": 30, "max": 60}, "ann a2, fay f1"),
    ("single_order", {"min": 30, "max": 60, "days": 30}, "ann a2"),
    ("first_ordered", {"days": 7}, "bob b1 b3, dan d2"),
    ("lapsed", {"days": 7}, "fay f1"),
    ("lapsed", {"days": 6}, "ann a1, fay f1"),
    ("never_ordered", {}, "eve, gus"),
    ("cancelled", {"days": 7}, "bob b2"),
    ("cancelled", {"days": 3}, ""),
    ("abandoned", {}, "dan d3, eve e1"),
    ("abandoned", {"days": 7}, "dan d3"),
    ("order_field", {"name": "status", "op": "=", "value": "CANCELLED"}, "bob b2"),
    ("order_field", {"name": "size", "op": "=", "value": 1}, "ann a2, bob b3"),
    ("order_field", {"name": "size", "op": "!=", "value": 2}, "ann a2, bob b3"),
    ("order_field", {"name": "size", "op": ">=", "value": "0"}, "dan d2"),
    ("order_field", {"name": "size", "op": "!=", "value": True}, ""),
    ("order_field", {"name": "gift", "op": "=", "value": True}, "ann a2"),
    ("order_field", {"name": "gift", "op": "<", "value": True}, REFUSED),
    ("order_field", {"name": "gift", "op": "=", "value": None}, REFUSED),
    ("order_field", {"name": "totalCost", "op": "<", "value": Decimal("9.0001")}, "bob b3, dan d2"),
    ("order_field", {"name": "date", "op": ">=", "value": "2026-04-04"}, "bob b1 b3"),
    ("order_field", {"name": "date", "op": "<", "value": "2026-03-29T01:30:00+00:00"}, "ann a2, fay f1"),
    ("order_field", {"name": "email", "op": "=", "value": "ann@example.com"}, REFUSED),
    ("order_field", {"name": "nobody has it", "op": "!=", "value": -1}, ""),
    ("item_field", {"name": "nobody has it", "op": ">=", "value": -1}, ""),
    ("order_field", {"name": "size", "op": ">", "value": None, "days": 0}, REFUSED),
    ("item_field", {"name": "quantity", "op": "<", "value": True}, REFUSED),
    ("order_field", {"name": "totalCost", "op": "<", "value": True}, REFUSED),
    ("order_field", {"name": "email", "op": "=", "value": "a", "days": 0}, REFUSED),
    ("order_field", {"name": "vast", "op": "=", "value": 2**53 + 1}, ""),
    ("order_field", {"name": "vast", "op": "<", "value": 2**53 + 1}, "dan d2"),
    ("item_field", {"name": "a.b", "op": ">", "value": 2**53}, "bob b3"),
    ("item_field", {"name": "a.b", "op": "=", "value": float(2**53)}, ""),
    ("item_field", {"name": "quantity", "op": "<", "value": Decimal("0.5")}, "ann a1"),
    ("item_field", {"name": "category", "op": "!=", "value": "Bags"}, "bob b1 b3"),
    ("item_field", {"name": "cost", "op": "<=", "value": 0}, "fay f1"),
    ("rfm_score", {"r": None, "f": 2, "m": 2, "bins": 2, "currency": "UAH"}, "ann a1 a2"),
    ("rfm_score", {"r": 2, "f": None, "m": 1, "bins": 2, "currency": "UAH"}, "bob b3"),
    ("rfm_score", {"r": None, "f": None, "m": None}, REFUSED),
    ("rfm_group", {"name": "Champions", "bins": 1, "currency": "UAH"}, "ann a1 a2, bob b3"),
    ("rfm_cell", {"r": 7, "f": 1, "currency": ""}, "fay f1"),
    ("rfm_cell", {"r": 1, "f": 2, "currency": "UAH"}, "ann a1 a2"),
    ("rfm_cell", {"r": None, "f": 0, "currency": "UAH"}, "dan, eve, fay, gus"),
]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Give a session that asks a snapshot of these orders."""
    snapshot = snapshot_of(tmp_path_factory.mktemp("examples") / "data", ORDERS, CONTACTS)
    with session(snapshot, AS_OF, ZONE) as opened:
        yield opened


@pytest.mark.parametrize(
    ("condition", "arguments", "expected"),
    [pytest.param(*example, id=f"{example[0]} {number}") for number, example in enumerate(EXAMPLES)],
)
def test_examples(asked, condition, arguments, expected):
    """Whom it finds, and of each the orders that put the contact there; or that it is refused."""
    people = People(facts_of(ORDERS), CONTACTS, AS_OF, ZONE)
    one = Question(condition, arguments)
    if expected is REFUSED:
        with pytest.raises(WrongQuestionError):
            one.ask(people)
        with pytest.raises(UsageError):
            asked.members(one.sql)
        return
    orders = dict(_of_contact(text) for text in expected.split(", ") if text)
    reasons = [(contact, order) for contact, own in orders.items() for order in own]
    found = one.ask(people)
    assert (found.contacts, found.reasons) == ([*orders], reasons)
    assert (asked.members(one.sql), asked.reasons(one.sql)) == ([*orders], reasons)


def _of_contact(text):
    contact, *orders = text.split()
    return contact, orders


LINES = [
    ("fine", "Fine", 1e-7, "1"),
    *[("vast", "Vast", 1e300, "1")] * 12,
    ("free", "Vast", 1e300, None),
    ("many", "Many", 1e20, "0.0001"),
]


@pytest.mark.parametrize(
    ("category", "least", "found"),
    [
        ("Fine", "0.0000001", ["ann"]),
        ("Fine", "0.00000010001", []),
        ("Vast", "1e16", ["ann"]),
        ("Vast", "100000000000000000000", []),
        ("Vast", "-1e300", ["ann"]),
        ("Many", "9999999999999999", ["ann"]),
        ("Many", "10000000000000001", []),
    ],
)
def test_a_line_that_is_none_of_a_shop_stops_nobodys_question(tmp_path, category, least, found):
    """A quantity may be any double: what is beyond all sums of money counts as 10^17, and small ones are exact."""
    snapshot = snapshot_of(tmp_path / "data", [made("a1", "ann", "DELIVERED", "2026-04-01", "1", LINES)], ["ann"])
    with session(snapshot, AS_OF, ZONE) as opened:
        assert opened.members("FROM spent_on($least, category := $of)", {"least": least, "of": category}) == found


@pytest.mark.parametrize(
    "query",
    [
        "FROM cancelled(0) EXCEPT FROM item_field('', '<=', NULL)",
        "FROM ordered() EXCEPT FROM spent('much')",
        "SELECT contactId FROM bought('X') WHERE contactId IN (FROM lapsed(-1))",
        "WITH unused AS (FROM bought_all(NULL)) FROM ordered()",
    ],
)
def test_a_wrong_argument_is_refused_wherever_it_stands(asked, query):
    """Also where it could not change the answer."""
    with pytest.raises(UsageError):
        asked.members(query)


@pytest.mark.parametrize(
    "condition",
    ["spent(1)", "average_order(1)", "spent_on(1, item := 'X')", "rfm_group(NULL)", "rfm_score(r := 1)", "rfm_cell(1)"],
)
@pytest.mark.parametrize(
    "query",
    [
        "FROM cancelled(0) INTERSECT FROM {}",
        "FROM bought(NULL) INTERSECT FROM {}",
        "FROM bought('X', days := 0) EXCEPT FROM {}",
        "SELECT contactId FROM {} LIMIT 0",
        "SELECT contactId FROM {} WHERE false",
    ],
)
def test_several_currencies_are_refused_wherever_they_would_be_added_up(asked, query, condition):
    """Also where DuckDB leaves the condition out, since nobody could be found; and not where a currency is named."""
    with pytest.raises(UsageError, match="in several currencies: '', UAH; name one of them"):
        asked.members(query.format(condition))
    asked.members(query.format(f"{condition[:-1]}, currency := 'UAH')"))


def test_a_check_reads_no_orders_where_a_currency_is_named(tmp_path):
    """Whether orders are in one currency is asked only where it matters."""
    snapshot = snapshot_of(tmp_path / "data", ORDERS, CONTACTS)
    with duckdb.connect() as connection:
        connection.execute(definitions(snapshot, AS_OF, ZONE))
        for call in ("spent_check(1", "spent_on_check(1, item := 'X'", "rfm_cell_check(1"):
            asked = (f"EXPLAIN FROM {call}, currency := {one})" for one in ("NULL", "'UAH'"))
            plans = [connection.execute(query).fetchall()[0][1] for query in asked]
            assert ["PARQUET" in plan for plan in plans] == [True, False]


BESIDE = [Decimal(100) + Decimal(10) ** -places * sign for places in (5, 11, 16, 20) for sign in (-1, 1)]


@pytest.mark.parametrize("beside", [*BESIDE, Decimal(100), Decimal(10) ** -20, Decimal("-1e-20"), Decimal("1e-7")])
def test_bounds_have_more_places_than_amounts(tmp_path, beside):
    """What is beside an amount by 10^-20 is beside it: of one order, of the average of many, and of none."""
    orders = [made(f"a{number}", "ann", "DELIVERED", "2026-04-01", "100") for number in range(3)]
    orders += [made("b9", "bob", "DELIVERED", "2026-04-01", "0")]
    people = People(facts_of(orders), ["ann", "bob"], AS_OF, ZONE)
    bounds = [{"min": beside}, {"min": 0, "max": beside}, {"min": beside, "max": beside}]
    several = [Question(condition, bound) for condition in ("average_order", "single_order") for bound in bounds]
    several += [Question("spent", {"min": bound}) for bound in (beside, beside + 200)]
    several += [Question("ordered", bound) for bound in ({"min": beside - 99}, {"min": 0, "max": beside - 99})]
    several += [Question("order_field", {"name": "totalCost", "op": op, "value": beside}) for op in OPS]
    snapshot = snapshot_of(tmp_path / "data", orders, ["ann", "bob"])
    with session(snapshot, AS_OF, ZONE) as opened:
        for one in several:
            assert (one.sql, opened.members(one.sql)) == (one.sql, one.ask(people).contacts)


@pytest.mark.parametrize(
    "vast", ["999999999999999999.99999", f"{'9' * 18}.{'9' * 20}", "1e18", "123456789012345678901234567.5", "1e300"]
)
def test_bounds_beyond_all_amounts(asked, vast):
    """They are no error, and nobody spent so much."""
    query = "FROM {}({} := ${}, currency := 'UAH')"
    for condition in ("spent", "average_order", "single_order"):
        assert asked.members(query.format(condition, "min", "vast"), {"vast": vast}) == []
        assert asked.members(query.format(condition, "min", "vast"), {"vast": f"-{vast}"}) != []
        if condition != "spent":
            assert asked.members(query.format(condition, "max", "vast"), {"vast": vast}) != []
            assert asked.members(query.format(condition, "max", "vast"), {"vast": f"-{vast}"}) == []
