"""Values of events and their items, mostly what shops send, sometimes what nobody should: strategies, and lists.

Every personal value holds the word `MARK`, and no name does: wherever the word turns up, something leaked.
"""

import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MARK = "needle"
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
SHORT_TEXT = st.text(max_size=12)
DATE_MARKS = "0123456789-Tt:ZWz .+\0\u0663"
FAST = "fast"  # Hypothesis' profile of `make test-fast`
FAST_EXAMPLES = 25


def examples(number):
    """Give a property test so many examples, on a machine of any speed; fewer in the fast run."""
    most = FAST_EXAMPLES if settings.get_current_profile_name() == FAST else number
    return settings(deadline=None, max_examples=min(number, most), suppress_health_check=[HealthCheck.too_slow])


def mostly(usual, unusual, times=7):
    """Draw from `usual`, and once in so many times from `unusual`."""
    return st.sampled_from(range(times)).flatmap(lambda number: unusual if number == times - 1 else usual)


def once_in(draw, times):
    """Draw True once in so many times."""
    return draw(st.sampled_from(range(times))) == times - 1


def spelt(names):
    """Names in their own spelling, or in another case."""
    return mostly(
        names, st.tuples(names, st.sampled_from([str.lower, str.upper, str.swapcase])).map(lambda p: p[1](p[0]))
    )


# --- single values -------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    SHORT_TEXT,
    st.sampled_from(["", " ", "null", " NULL\u2003", "\x1c", "\u200b", "0", f"{MARK} \n\x00"]),
    st.booleans(),
    LONGS,
    st.floats(),
)
NATIVE_ITEM_NAMES = st.sampled_from(
    ["externalItemId", "name", "quantity", "cost", "url", "imageUrl", "category", "description", "size", "", "Name"]
)
FINITE_SCALARS = SHORT_TEXT | st.booleans() | LONGS | st.floats(allow_nan=False, allow_infinity=False)
MAPS = st.dictionaries(NATIVE_ITEM_NAMES | SHORT_TEXT, SCALARS, max_size=4)
DECIMALS = st.integers(1 - 10**18, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-4))  # what fastavro writes
ANY_VALUE = SCALARS | st.lists(MAPS, max_size=3) | mostly(DECIMALS, MAPS, 2) | st.lists(SCALARS | MAPS, max_size=3)

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, "", " \u2003", "null", " NULL ", "\x1c", "\u200b", "nul", f"{MARK}", f"{MARK}\n\x00", "\U0010ffff"),
    *(False, True, 0, 1, -1, 2, (1 << 63) - 1, -(1 << 63), 10**14, 10**14 - 1),
    *(0.0, -0.0, 1.0, 1.5, 1e-9, -1e-9, 1.00005, 5e-324, 1e14, 1e300, float("nan"), float("inf"), float("-inf")),
    *("0", "-0", "-1", "+1", "1,5", "1e3", ".5", "5.", " 5", "5\n", "\u0663", "0x1", "NaN", "1_0"),
    *("-1e3", "1E-4", "1e+999", "1e-999", "-0e0", "1e1000", "1e", "1e3.0", "1.234,50", "1.234.567", "1 000", "1'000"),
    *(
        float(1 << 53),
        float((1 << 53) - 1),
        -1e15,
        1e11,
        99999999999.0,
        10**11,
        10**11 - 1,
        253402300799999,
        1e15 + 0.5,
    ),
    *("99999999999999.99985", "99999999999999.99995", "0" * 5000 + "1", "9" * 5000, "0." + "0" * 5000 + "1"),
    *("UAH", "eur", "EU", "EURO", "E1R", "\u0415UR", "\ufb00s", "INITIALIZED", "delivered", "DELIVERED "),
    *(
        "CANCEL\u013fED",
        "\u0131N_PROGRESS",
        "paid",
        " Paid\u2003",
        "\u041f\u043b\u0430\u0447\u0435\u043d\u043e",
        " eur ",
        "U H",
    ),
    *("1969-12-31T23:59:59", "2021-02-29T00:00:00", "2021-01-01T24:00:00", "2021-01-01T00:00:00z", "2021-01-01"),
    *(
        "2021-01-01 00:00:00",
        "2021-01-01t00:00",
        "2021-01-01T00:00:00 Z",
        " 2021-01-01\n",
        "2021-01-01Z",
        "2021-01-01T",
    ),
    *("01.02.2021", "1/2/2021 10:11", "1609459200000", "2018-11-04", "2011-12-30"),
    *("9999-12-31T23:59:59-23:59", "1970-01-01T00:00:00+23:59", "2021-01-01T00:00:00.1234567890"),
    *(MARK.ljust(300, "x"), MARK.ljust(301, "x"), [], [{}], [{"a": None}]),
    *(
        [{"a": 1, "b": 1.0, "c": True, "d": "\u2028"}],
        [{"a": float("nan")}],
        [{"externalItemId": "i-1", "quantity": 1}],
        *("[]", "[{}]", "{}", "[1]", '"[]"', '"{}"', '"\\"[]\\""', "[object Object]"),
        '{"externalItemId": 7.0, "quantity": "-1e0"}',
        '"[{\\"externalItemId\\": 1, \\"quantity\\": 0}]"',
    ),
)

AMOUNTS = st.one_of(
    st.integers(0, 10**6),
    st.decimals(0, 10**6, places=2).map(str),
    st.floats(0, 1e6),
    st.sampled_from(["258.0", "1.00005", "0", "000.5", 1.00005, -0.0, "99999999999999.9999", " 1e2", "5E-5\n"]),
)
SIGNED_AMOUNTS = AMOUNTS | st.integers(-(10**6), -1) | st.floats(-1e6, 0) | st.sampled_from(["-258.0", "-1e-4", "-0"])
BAD_VALUE = mostly(st.sampled_from(range(len(HOSTILE_VALUES))).map(HOSTILE_VALUES.__getitem__), ANY_VALUE, 3)
CURRENCIES = st.sampled_from(["UAH", "eur", "Usd"])
TEXTS = SHORT_TEXT.map(lambda text: f"{MARK} {text}")
ORDER_IDS = st.sampled_from([f"{MARK}-1", f"{MARK}-1", f"замовлення {MARK}", 42, 42.0, "42"])


@st.composite
def dates(draw):
    """Draw a date as D8 writes it, more often than chance near a change of the clocks."""
    change = st.sampled_from(
        ["1972-01-07", "2011-12-30", "2018-11-04", "2021-03-28", "2021-10-31", "2021-03-14", "2021-11-07"]
    )
    anywhere = st.dates().filter(lambda date: date.year >= 1970).map(lambda date: date.isoformat())
    day = draw(change | anywhere)
    if once_in(draw, 12):
        return day
    time = draw(st.times()).isoformat()[: draw(st.sampled_from([8, 8, 8, 8, 5]))]
    fraction = st.sampled_from(["", "", ".5", ".0009", ".123456789"]) if len(time) == 8 else st.just("")
    offset = st.sampled_from(["", "", "", "Z", "z", "+03:00", "-0530", "+23:59"])
    return day + draw(st.sampled_from("TTT t")) + time + draw(fraction) + draw(offset)


@st.composite
def changed_dates(draw):
    """Draw a date in which a few characters are others, missing, or too many."""
    text = draw(dates())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 2))
        text = text[:start] + draw(st.text(DATE_MARKS, max_size=2)) + text[end:]
    return text


# --- items ---------------------------------------------------------------------------------------------

_SOUND_LEAVES = st.one_of(
    st.sampled_from(
        [
            *("null", "true", "false", "0", "-0", "-0.0", "1", "2.50", "1e2", "5e-324", '"null"', '""', '" "'),
            *(f"{1 << 63}", f"{(1 << 63) - 1}", f"{-(1 << 63)}", f"{-(1 << 63) - 1}"),
            *('"\\ud83d\\ude00"', '"\\u0000\\n"', '"3"', '"1.5"', f'"{MARK}"'),
        ]
    ),
    st.integers().map(str),
    st.sampled_from([30, 310, 4300, 4301, 5000]).map(lambda digits: "-" + "9" * digits),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    SHORT_TEXT.map(json.dumps),
    SHORT_TEXT.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
HOSTILE_TEXTS = (
    *("null", "true", "false", "0", "-0", "-0.0", "-1", "1", "1.0", "2.50", "1e2", "5e-324", "1e400", "-1E400"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "9" * 5000),
    *("-" + "9" * 5000, "1" + "0" * 400, "-1" + "0" * 309, "1.00005", "99999999999999.99995", "100000000000000"),
    *(
        '""',
        '" "',
        '"null"',
        '"3"',
        '"1.5"',
        '" 1"',
        '"-1"',
        '"1e3"',
        '"-1e-400"',
        '"1e400"',
        '"1,5"',
        "7.0",
        "9e15",
        "7.5",
        f'"{MARK}"',
        '"\\u0000\\n\u2028"',
        '"\\u0663"',
    ),
    *('"\\ud83d\\ude00"', '"\\ud800"', '"x\\udfff"', '"\\ude00\\ud83d"'),
    *('["\\ud800"]', '{"\\ud800": 1}', '{"a": "\\ud800"}'),
    *("[]", "{}", "[[1]]", '{"a": {"b": 1, "a": 2, "b": 3}}', '["\\u00e9 é"]', "[1e400]", "[null, 1.0, 1]", '[""]'),
    *("NaN", "-Infinity", "[NaN]", "01", "1.", ".1", "+1", "'a'", "\u0663", '"\n"', '"\\x"', '"open', "", "nul", "1 2"),
    *("[" * levels + "]" * levels for levels in (97, 98, 99, 100, 3000)),
    *('{"a":' * levels + "1" + "}" * levels for levels in (98, 99)),
)
_BAD_LEAVES = st.sampled_from(range(len(HOSTILE_TEXTS))).map(HOSTILE_TEXTS.__getitem__)
_NAMES = st.one_of(
    NATIVE_ITEM_NAMES, SHORT_TEXT, st.sampled_from(["custom", "a\nb", "\u2028", "x" * 99, "x" * 100, "x" * 101])
)


def array_text(values):
    """Write a JSON array of values already written."""
    return "[" + ",".join(values) + "]"


def object_text(members):
    """Write a JSON object of names and values already written; a name may stand twice."""
    return "{" + ", ".join(f"{name}:{value}" for name, value in members) + "}"


def _json_texts(leaves, names):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(array_text),
            st.lists(st.tuples(names, inner), max_size=3).map(object_text),
        ),
        max_leaves=5,
    )


_SOUND_TEXTS = _json_texts(_SOUND_LEAVES, _NAMES.map(json.dumps))
_BAD_TEXTS = _json_texts(mostly(_SOUND_LEAVES, _BAD_LEAVES, 2), mostly(_NAMES.map(json.dumps), st.just('"\\ud800"')))
GOOD_ATTRIBUTES = {
    "externalItemId": st.sampled_from(['"i-1"', '"i-2"', "7", "7.0", "9" * 30]),
    "name": st.sampled_from(['"Lamp"', "5", "5.0"]),
    "quantity": st.sampled_from(["1", "2.5", '"3"', '" 1e1"', "9007199254740993", "1" + "0" * 300]),
    "cost": st.sampled_from(["990.5", '"1.00005"', "0", "-0.0", "-2.5", '"-1e-3"']),
    "url": st.just('"https://shop.example/1"'),
    "imageUrl": st.just('"https://shop.example/1.png"'),
}
_FURTHER_NAMES = st.sampled_from(["size", "colour", "Name", "", "custom", "x" * 101]) | SHORT_TEXT.filter(
    lambda name: name not in {*GOOD_ATTRIBUTES, "category", "description"}
)


@st.composite
def _item_texts(draw):
    """Draw one item as JSON text that keeps the rules: all six attributes and a few more, in any order."""
    members = [(json.dumps(name), draw(good)) for name, good in GOOD_ATTRIBUTES.items()]
    further = draw(st.lists(st.tuples(_FURTHER_NAMES.map(json.dumps), _SOUND_TEXTS), max_size=2))
    return object_text(draw(st.permutations(members + further)))


@st.composite
def _lenient_item_texts(draw):
    """Draw one item as JSON text that keeps the lenient rules: what it may lack, and quantities below 1."""
    kept = [name for name in GOOD_ATTRIBUTES if name in {"externalItemId", "quantity"} or not once_in(draw, 2)]
    members = {name: draw(GOOD_ATTRIBUTES[name]) for name in kept}
    if once_in(draw, 2):
        members["quantity"] = draw(st.sampled_from(["0", "-0.0", '"0.00"', '"1e-400"', "-1", '"-2.5"']))
    further = draw(
        st.sampled_from([{}, {}, {"imageUrl": '""'}, {"url": "null"}, {"note": '"\\ud800"'}, {"\ud800": "1"}])
    )
    pairs = [(json.dumps(name), value) for name, value in (members | further).items()]
    return object_text(draw(st.permutations(pairs)))


@st.composite
def _other_forms(draw):
    """Draw one item alone, or items as JSON in JSON: once, which is read, or twice."""
    item = draw(_item_texts() | _lenient_item_texts())
    text = draw(st.sampled_from([item, array_text([item]), array_text([item, item])]))
    return draw(st.sampled_from([text, json.dumps(text), json.dumps(text), json.dumps(json.dumps(text))]))


@st.composite
def _bad_item_texts(draw):
    """Draw one item with attributes left out, some twice, and some that nobody should send."""
    members = [(json.dumps(name), draw(good)) for name, good in GOOD_ATTRIBUTES.items() if not once_in(draw, 12)]
    members += draw(st.lists(st.tuples(_NAMES.map(json.dumps), _BAD_TEXTS), min_size=1, max_size=2))
    return object_text(draw(st.permutations(members)))


@st.composite
def _items_with_one_fault(draw):
    """Draw items in which one attribute, of any name, has a value that is likely to be wrong."""
    names = st.sampled_from([*GOOD_ATTRIBUTES, "category", "description", "size", "", "a\nb", "x" * 101])
    name, value = draw(names.map(json.dumps) | st.just('"\\ud800"')), draw(_BAD_LEAVES)
    value = draw(st.sampled_from([value, value, f"[{value}]", '{"a": ' + value + "}"]))
    members = [(json.dumps(good_name), draw(good)) for good_name, good in GOOD_ATTRIBUTES.items()]
    members = [(name, value), *(member for member in members if member[0] != name)]
    return array_text([*draw(st.lists(_item_texts(), max_size=1)), object_text(draw(st.permutations(members)))])


@st.composite
def _broken(draw, texts):
    """Draw a text with something cut off, put in front or put behind."""
    text = draw(texts)
    cut = draw(st.integers(0, len(text)))
    return draw(st.sampled_from([text[:cut], text[cut:], f"\ufeff{text}", f"{text}]", f"{text[:cut]},{text[cut:]}"]))


def _native_items(cost, other):
    return st.lists(
        st.fixed_dictionaries(
            {
                "externalItemId": st.just("i-1"),
                "name": st.sampled_from(["Lamp", 5, 5.0]),
                "quantity": st.sampled_from([1, 2.5, "3", " 2e0 "]),
                "cost": cost,
                "url": st.just("u"),
                "imageUrl": st.just("i"),
            },
            optional={"category": SHORT_TEXT, "size": other},
        ),
        max_size=2,
    )


ITEM_ARRAYS = st.lists(_item_texts(), max_size=3).map(array_text)
ITEMS = ITEM_ARRAYS | _native_items(SIGNED_AMOUNTS, FINITE_SCALARS)
BAD_ITEMS = st.one_of(
    _items_with_one_fault(),
    _items_with_one_fault(),
    st.lists(_lenient_item_texts(), min_size=1, max_size=3).map(array_text),
    _other_forms(),
    st.lists(mostly(_item_texts(), _bad_item_texts(), 2), min_size=1, max_size=3).map(array_text),
    st.lists(mostly(_item_texts(), _BAD_TEXTS, 2), min_size=1, max_size=3).map(array_text),
    _broken(ITEM_ARRAYS),
    _native_items(AMOUNTS | SCALARS, SCALARS),
    st.lists(st.dictionaries(NATIVE_ITEM_NAMES, SCALARS, max_size=8), max_size=2),
    _BAD_TEXTS | ANY_VALUE,
)
