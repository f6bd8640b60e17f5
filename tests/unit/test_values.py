"""Single values where the corpus of cases has no example: texts of any length, clocks, what readers are shown."""

import sys
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from processor.domain.events import parse
from processor.domain.identifiers import candidates, comparable, find_owner, identification
from processor.domain.instants import instant_text, parse_date
from processor.domain.items import InvalidItems, parse_items
from processor.domain.phones import DIGITS
from processor.domain.records import MAX_ELEMENTS, Candidate, Digits, Event, Identifier, Owner
from processor.domain.rejections import Outcome, Reason, Rejection, shown
from processor.domain.values import InvalidValue, json_text, money, money_text, parse_json, signed_money
from processor.settings import Settings
from processor.settings.rules import rules_of
from tests.reference.items import read_items
from tests.reference.model import RefusedError
from tests.reference.values import date_ms
from tests.reference.values import money as reference_money
from tests.support.cases import key_text
from tests.support.events import RIGHT, RIGHT_ITEM

NO_IDENTIFIERS: tuple[Any, ...] = ("", " \u2003", "x" * 301, True, 1.5, 2.0**53, float("inf"), Decimal(1), {}, [], None)
MILLION = 1_100_000  # digits: more than a decimal context's default exponents


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0." + "0" * MILLION + "1", 0),
        ("0" * MILLION + "1", 10_000),
        ("1." + "9" * MILLION, 20_000),
        ("1.00005" + "0" * MILLION, 10_000),
        ("1.00005" + "0" * MILLION + "1", 10_001),
    ],
    ids=["a tiny fraction", "leading zeros", "nines", "a tie", "above a tie"],
)
def test_money_of_a_million_digits_is_read_exactly(text, units):
    """D6 sets no length: what fits an event is rounded like any other amount."""
    assert money(text) == units
    assert reference_money(text) * 10_000 == units


@pytest.mark.parametrize("text", ["9" * MILLION, "1" + "0" * MILLION + ".5"], ids=["an integer", "a fraction"])
def test_money_of_a_million_digits_may_be_too_much(text):
    """Too large an amount is refused, however large (D6)."""
    for value in (text, Digits(text.partition(".")[0])):
        with pytest.raises(InvalidValue, match="below"):
            money(value)


@pytest.mark.parametrize("digits", ["-1", "-" + "9" * 30, "-" + "9" * 5000])
def test_a_long_negative_integer_is_no_money(digits):
    """The sign counts for integers of any length (D6)."""
    with pytest.raises(InvalidValue, match="0 or more"):
        money(parse_json(digits))


@pytest.mark.parametrize(
    ("units", "text"),
    [(0, "0.0000"), (1, "0.0001"), (9_999, "0.9999"), (10_000, "1.0000"), (10**18 - 1, "99999999999999.9999")],
)
def test_money_is_written_with_four_places(units, text):
    """What `facts show` prints is the amount, to the last place."""
    assert money_text(units) == text
    assert money(text) == units


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        # offsets with seconds, until 1972: -0:44:30
        ("Africa/Monrovia", "1971-06-01T00:00:00", "1971-06-01T00:44:30"),
        ("Africa/Monrovia", "1972-01-06T23:59:59.999", "1972-01-07T00:44:29.999"),
        ("Africa/Monrovia", "1972-01-07T00:10:00", "1972-01-07T00:54:30"),  # in the gap of 44 min 30 s
        ("Africa/Monrovia", "1972-01-07T00:44:30", "1972-01-07T00:44:30"),
        # winter time as the exception ("negative" summer time): the earlier instant, whatever the flag says
        ("Europe/Dublin", "2021-10-31T01:30:00", "2021-10-31T00:30:00"),
        ("Europe/Dublin", "2021-03-28T01:30:00", "2021-03-28T01:30:00"),
        ("Africa/Casablanca", "2021-04-11T02:30:00", "2021-04-11T01:30:00"),
        ("Africa/Casablanca", "2021-05-16T02:30:00", "2021-05-16T02:30:00"),
        # a change of two hours, and one at midnight
        ("Antarctica/Troll", "2021-03-28T02:00:00", "2021-03-28T02:00:00"),
        ("America/Sao_Paulo", "2018-11-04T00:00:00", "2018-11-04T03:00:00"),
        # changes far in the future follow the zone's last rule
        ("Europe/Kyiv", "9998-07-01T00:00:00", "9998-06-30T21:00:00"),
        ("Europe/Kyiv", "9998-01-01T00:00:00", "9997-12-31T22:00:00"),
    ],
)
def test_a_date_without_an_offset_is_local_time(zone, local, utc):
    """Zones with unusual clocks: of a time that occurs twice the earlier, one that never occurs moves forward (D8)."""
    expected = parse_date(f"{utc}Z", ZoneInfo("UTC"))
    assert parse_date(local, ZoneInfo(zone)) == expected
    assert date_ms(local, zone) == expected


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_589_451_060_007, "2020-05-14T10:11:00.007Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "253402300800000ms"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (-62_135_596_800_001, "-62135596800001ms"),
        ((1 << 63) - 1, "9223372036854775807ms"),
        (-(1 << 63), "-9223372036854775808ms"),
    ],
)
def test_an_instant_is_written_as_iso_8601_or_as_it_is(ms, text):
    """Every long is printable: what no calendar date reaches, as its milliseconds."""
    assert instant_text(ms) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("size", "size"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        ("a b", "a b"),
        ("a\nb\u2028c\x00", "a\ufffdb\ufffdc\ufffd"),
        ("\u202egnp", "\ufffdgnp"),
        ("\ud800", "\ufffd"),
        ("розмір 😀", "розмір 😀"),
        ("", ""),
    ],
)
def test_a_foreign_name_is_shown_on_one_line_of_100_characters(name, text):
    """Nothing that a producer names can break a header, a log line or a terminal."""
    assert shown(name) == text
    assert shown(name).isprintable()


NESTED = '[{{"externalItemId": "i-1", "quantity": 1, "size": {}, "size": 1}}]'


@pytest.mark.parametrize("levels", [98, 99, 500, 900, 3_000, 19_000, 100_000])
def test_nesting_is_that_of_the_text(levels):
    """A value that a later one of the same name replaces is nested too: nothing is left to the parser's stack (D10)."""
    text = NESTED.format("[" * levels + "]" * levels)
    if levels + 2 <= 100:
        assert parse_items(text, lenient=True)[0].custom == {"size": 1}
        return
    told = "items: is nested" if levels < MAX_ELEMENTS else "items: have more than 20000 values"
    with pytest.raises(InvalidItems, match=told) as refused:
        parse_items(text, lenient=True)
    assert refused.value.path == "items"
    with pytest.raises(RefusedError, match="invalid_items"):
        read_items(text, "lenient")


def test_nesting_within_the_limit_is_read_however_deep_the_caller_stands():
    """100 levels are read with most of the interpreter's stack taken already (D10)."""
    text = NESTED.format("[" * 98 + "]" * 98)

    def deeper(calls):
        return deeper(calls - 1) if calls else parse_items(text, lenient=True)

    assert deeper(sys.getrecursionlimit() // 2)[0].custom == {"size": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, 1.0, True, None, "x"], "a": {}}, '{"b":[1,1.0,true,null,"x"],"a":{}}'),
        ([Digits("9" * 5000)], f"[{'9' * 5000}]"),
        (['\u2028ключ\x7f\x00"\\/'], '["\u2028ключ\x7f\\u0000\\"\\\\/"]'),
        ([1e16, 1e-7, -0.0, 5e-324], "[1e+16,1e-07,-0.0,5e-324]"),
    ],
)
def test_json_is_written_anew(value, text):
    """Compact, names in order, non-ASCII as itself, doubles by their shortest text, integers exact (D10, D11)."""
    assert json_text(value) == text


def test_a_reason_has_one_outcome():
    """Five reasons pass an event over; for all the others somebody has something to repair."""
    ignored = {"unsupported_event_type", "order_exists", "order_unknown", "stale", "no_change"}
    assert {reason.value for reason in Reason if reason.outcome is Outcome.IGNORED} == ignored
    assert all(reason.outcome in Outcome for reason in Reason)
    assert len(Reason) == 17


@pytest.mark.parametrize(
    ("field", "value", "compared"),
    [
        ("email", " Ann@Example.COM\u2003", "ann@example.com"),
        ("email", "\u0130@x", "i\u0307@x"),  # lower(), which may be longer than what was trimmed
        ("email", "\u0130" * 300, "i\u0307" * 300),
        ("phone", "\x1c+1\x1f", "1"),
        ("contactId", (1 << 63) - 1, "9223372036854775807"),
        ("loyaltyToken", "ABC", "ABC"),
        ("contactKey", 5.0, "5"),
        ("contactKey", -(2.0**53 - 1), "-9007199254740991"),
        *(("phone", value, None) for value in NO_IDENTIFIERS),
    ],
)
def test_an_identifier_is_compared_in_one_form(field, value, compared):
    """Events and contacts meet in one form: trimmed, of 300 characters at most, e-mail then in lower case (D12, C2)."""
    assert comparable(field, value, DIGITS) == (None if compared is None else Identifier(field, compared))


def test_the_rules_order_comes_before_the_events():
    """Candidates are tried by rule, then by place; one parameter may stand for two fields (D12 to D14)."""
    rules = identification([("b", "phone"), ("A", "vip"), ("a", "email")])
    tried = candidates([("a", "X@y"), ("B", 1), ("A", [])], rules)
    assert tried == (
        Candidate("phone", Identifier("phone", "1")),
        Candidate("vip", Identifier("vip", "X@y")),
        Candidate("vip", None),
        Candidate("email", Identifier("email", "x@y")),
        Candidate("email", None),
    )
    assert rules.custom_fields == {"vip"}
    assert {"a", "b", "email", "contact_key"} <= rules.names
    assert find_owner(tried, {Identifier("email", "x@y"): "c-1"}) == Owner("c-1", "email")
    assert find_owner(tried, {Identifier("email", "X@y"): "c-1"}) is None


def test_a_text_without_an_end_is_judged_in_one_pass():
    """Half a million escaped quotes after many brackets: begun anew at each of them, it would take an hour (D10)."""
    with pytest.raises(InvalidItems, match="nested deeper than 100 levels"):
        parse_items("[" * 101 + '"' + '\\"' * 500_000, lenient=False)
    with pytest.raises(InvalidItems, match="is not JSON"):
        parse_items("[" + "[]," * 101 + '"' + '\\"' * 500_000, lenient=False)


def detail(name, value, **settings):
    """Give the detail of the rejection of a right order with another value of a parameter."""
    params = {**RIGHT, name: value}
    parsing = rules_of(Settings(**settings)).parsing
    result = parse(Event.of("orderCreated", "", params.items()), key_text(params["externalOrderId"]).encode(), parsing)
    assert isinstance(result, Rejection)
    return result.detail


SEPARATORS = "separators have two meanings (1,234 may be 1.234): expected digits with at most one point"
STATUSES_KNOWN = "expected one of INITIALIZED, IN_PROGRESS, DELIVERED, CANCELLED, ABANDONED_SHOPPING_CART"
OBJECTS = "is the text [object Object]: expected an array of objects, or its JSON"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        *(("totalCost", text, SEPARATORS) for text in ("1,234", "1.234,50", "1'000", "1 000", "1.234.567", "-1,5")),
        *(
            ("totalCost", text, "expected a number such as 258.0")
            for text in ("five", "1,x", "258 UAH", ".5", "1e1000")
        ),
        ("items", [{**RIGHT_ITEM, "quantity": "1,5"}], SEPARATORS),
        ("status", "Shipped", f"{STATUSES_KNOWN}; the setting `statuses` maps other words to them"),
        *(("date", n, "milliseconds expected: ") for n in (1_589_451_060, 1_589_451_060.0, 0, 1e300, Decimal(10**12))),
        *(("date", text, "day and month have two meanings: ") for text in ("14.05.2020", "5/14/20 10:11", "1-2-2020")),
        *(("date", text, "expected YYYY-MM-ddTHH:mm:ss, ") for text in ("May 14, 2020", "1589451060000", True)),
        *(("items", text, OBJECTS) for text in ("[object Object]", " [object Object],[object Object]")),
        ("items", '"[object Object]"', OBJECTS),
        ("items", "items", "is not JSON"),
    ],
)
def test_a_detail_helps(name, value, told):
    """It says what has two meanings, what is known, and what the text must be: never the value (D6 to D10)."""
    assert f": {told}" in detail(name, value)
    assert f": {told}" in detail(name, value, statuses={"paid": "IN_PROGRESS"}, item_profile="strict")


@pytest.mark.parametrize("text", ["-0.0001", "-1.0000", "-99999999999999.9999", "-0.5000"])
def test_negative_money_is_written_with_its_sign(text):
    """A discount and an item's cost may be negative (D6): what people read is the amount."""
    assert money_text(signed_money(text)) == text
    with pytest.raises(InvalidValue, match="0 or more"):
        money(text)
