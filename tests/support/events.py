"""Strategies for order events as Avro can hold them: mostly what shops send, sometimes what nobody should.

Every personal value holds the word `MARK`, and no name does: wherever the word turns up, something leaked.
"""

import json
import struct
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from processor.adapters.avro import codec
from processor.domain.records import Record
from tests.reference import ContactRecord, Input, Rules
from tests.support.cases import EMPTY_CONTACT

MARK = "needle"
ZONES = (
    *("UTC", "Europe/Kyiv", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu"),
    *("Africa/Casablanca", "Africa/Monrovia", "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll"),
)
STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
TYPES = ("orderCreated", "orderCreated", "orderUpdated", "orderUpdated", "orderDelivered", "orderCancelled")
CREATION = ("totalCost", "status", "date", "email", "token", "colour")  # with an owner by each of the RULES
TEXT_NAMES = (
    *("firstName", "lastName", "statusDescription", "restoreUrl", "storeId", "source", "deliveryMethod"),
    *("paymentMethod", "deliveryAddress", "additionalInfo", "cartId"),
)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
SHORT_TEXT = st.text(max_size=12)


def mostly(usual, unusual, times=7):
    """Draw from `usual`, and once in so many times from `unusual`."""
    return st.sampled_from(range(times)).flatmap(lambda number: unusual if number == times - 1 else usual)


def _once_in(draw, times):
    return draw(st.sampled_from(range(times))) == times - 1


def _spelt(names):
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
ANY_VALUE = SCALARS | st.lists(st.dictionaries(NATIVE_ITEM_NAMES | SHORT_TEXT, SCALARS, max_size=4), max_size=3)

AMOUNTS = st.one_of(
    st.integers(0, 10**6),
    st.decimals(0, 10**6, places=2).map(str),
    st.floats(0, 1e6),
    st.sampled_from(["258.0", "1.00005", "0", "000.5", 1.00005, -0.0, "99999999999999.9999"]),
)
BAD_AMOUNTS = st.sampled_from(
    [f"{MARK}", "-1", "1,5", "1e3", ".5", " 5", "\u0663", "99999999999999.99995", 10**14, -1, -1e-9, 1e300, True, []]
)
CURRENCIES = st.sampled_from(["UAH", "eur", "Usd"])
BAD_CURRENCIES = st.sampled_from(["EU", "EURO", "E1R", "\u0415UR", "\ufb00s", f"{MARK}", 978])
BAD_STATUSES = st.sampled_from(["delivered", "DELIVERED ", f"{MARK}", 2, False])
TEXTS = SHORT_TEXT.map(lambda text: f"{MARK} {text}")
ORDER_IDS = st.sampled_from([f"{MARK}-1", f"{MARK}-1", f"замовлення {MARK}", 42, "42"])
BAD_ORDER_IDS = st.one_of(SCALARS, st.sampled_from([f"{MARK}".ljust(300, "x"), f"{MARK}".ljust(301, "x"), []]))


@st.composite
def dates(draw):
    """Draw a date as D8 writes it, more often than chance near a change of the clocks."""
    near_a_change = st.tuples(
        st.sampled_from(
            ["1972-01-07", "2011-12-30", "2018-11-04", "2021-03-28", "2021-10-31", "2021-03-14", "2021-11-07"]
        ),
        st.times().map(lambda time: time.isoformat()[:8]),
    ).map("T".join)
    anywhere = st.datetimes().filter(lambda date: date.year >= 1970).map(lambda date: date.isoformat()[:19])
    fraction = st.sampled_from(["", "", ".5", ".0009", ".123456789"])
    offset = st.sampled_from(["", "", "", "Z", "+03:00", "-0530", "+23:59"])
    return draw(near_a_change | anywhere) + draw(fraction) + draw(offset)


BAD_DATES = st.sampled_from(
    [
        f"{MARK}",
        "1969-12-31T23:59:59",
        "2021-02-29T00:00:00",
        "2021-01-01",
        "2021-01-01T24:00:00Z",
        1589451060,
        "2021-01-01T00:00:00+24:00",
    ]
)

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
    st.sampled_from([30, 4301, 5000]).map(lambda digits: "-" + "9" * digits),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    SHORT_TEXT.map(json.dumps),
    SHORT_TEXT.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
_BAD_LEAVES = st.one_of(
    st.sampled_from(
        [
            *(
                '"\\ud800"',
                '"x\\udfff"',
                '"\\ude00\\ud83d"',
                "-1",
                "0",
                "true",
                "[]",
                '" 1"',
                "1e400",
                "-1E400",
                "NaN",
                "-Infinity",
                "01",
                "1.",
                "+1",
                "'a'",
            ),
            *("\u0663", '"\n"', '"\\x"', '"open', "", "nul"),
        ]
    ),
    st.sampled_from([97, 98, 99, 100, 900, 3000]).map(lambda levels: "[" * levels + "]" * levels),
    st.sampled_from([98, 99]).map(lambda levels: '{"a":' * levels + "1" + "}" * levels),
)
_NAMES = st.one_of(
    NATIVE_ITEM_NAMES, SHORT_TEXT, st.sampled_from(["custom", "a\nb", "\u2028", "x" * 99, "x" * 100, "x" * 101])
)


def _array(values):
    return "[" + ",".join(values) + "]"


def _object(members):
    return "{" + ", ".join(f"{name}:{value}" for name, value in members) + "}"


def _json_texts(leaves, names):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(_array),
            st.lists(st.tuples(names, inner), max_size=3).map(_object),
        ),
        max_leaves=5,
    )


_SOUND_TEXTS = _json_texts(_SOUND_LEAVES, _NAMES.map(json.dumps))
_BAD_TEXTS = _json_texts(mostly(_SOUND_LEAVES, _BAD_LEAVES, 2), mostly(_NAMES.map(json.dumps), st.just('"\\ud800"')))
_GOOD_ATTRIBUTES = {
    "externalItemId": st.sampled_from(['"i-1"', '"i-2"', "7", "9" * 30]),
    "name": st.sampled_from(['"Lamp"', "5", "5.0"]),
    "quantity": st.sampled_from(["1", "2.5", '"3"', "9007199254740993", "1" + "0" * 300]),
    "cost": st.sampled_from(["990.5", '"1.00005"', "0", "-0.0"]),
    "url": st.just('"https://shop.example/1"'),
    "imageUrl": st.just('"https://shop.example/1.png"'),
}
_FURTHER_NAMES = st.sampled_from(["size", "colour", "Name", "", "custom", "x" * 101]) | SHORT_TEXT.filter(
    lambda name: name not in {*_GOOD_ATTRIBUTES, "category", "description"}
)


@st.composite
def _item_texts(draw):
    """Draw one item as JSON text that keeps the rules: all six attributes and a few more, in any order."""
    members = [(json.dumps(name), draw(good)) for name, good in _GOOD_ATTRIBUTES.items()]
    further = draw(st.lists(st.tuples(_FURTHER_NAMES.map(json.dumps), _SOUND_TEXTS), max_size=2))
    return _object(draw(st.permutations(members + further)))


@st.composite
def _bad_item_texts(draw):
    """Draw one item with attributes left out, some twice, and some that nobody should send."""
    members = [(json.dumps(name), draw(good)) for name, good in _GOOD_ATTRIBUTES.items() if not _once_in(draw, 12)]
    members += draw(st.lists(st.tuples(_NAMES.map(json.dumps), _BAD_TEXTS), min_size=1, max_size=2))
    return _object(draw(st.permutations(members)))


@st.composite
def _items_with_one_fault(draw):
    """Draw items in which one attribute, of any name, has a value that is likely to be wrong."""
    names = st.sampled_from([*_GOOD_ATTRIBUTES, "category", "description", "size", "", "a\nb", "x" * 101])
    name, value = draw(names.map(json.dumps) | st.just('"\\ud800"')), draw(_BAD_LEAVES)
    value = draw(st.sampled_from([value, value, f"[{value}]", '{"a": ' + value + "}"]))
    members = [(json.dumps(good_name), draw(good)) for good_name, good in _GOOD_ATTRIBUTES.items()]
    members = [(name, value), *(member for member in members if member[0] != name)]
    return _array([*draw(st.lists(_item_texts(), max_size=1)), _object(draw(st.permutations(members)))])


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
                "quantity": st.sampled_from([1, 2.5, "3"]),
                "cost": cost,
                "url": st.just("u"),
                "imageUrl": st.just("i"),
            },
            optional={"category": SHORT_TEXT, "size": other},
        ),
        max_size=2,
    )


ITEM_ARRAYS = st.lists(_item_texts(), max_size=3).map(_array)
ITEMS = ITEM_ARRAYS | _native_items(AMOUNTS, FINITE_SCALARS)
BAD_ITEMS = st.one_of(
    _items_with_one_fault(),
    _items_with_one_fault(),
    st.lists(mostly(_item_texts(), _bad_item_texts(), 2), min_size=1, max_size=3).map(_array),
    st.lists(mostly(_item_texts(), _BAD_TEXTS, 2), min_size=1, max_size=3).map(_array),
    _broken(ITEM_ARRAYS),
    _native_items(AMOUNTS | BAD_AMOUNTS.filter(lambda value: value != []), SCALARS),
    st.lists(st.dictionaries(NATIVE_ITEM_NAMES, SCALARS, max_size=8), max_size=2),
    _BAD_TEXTS | ANY_VALUE,
)

# --- contacts ------------------------------------------------------------------------------------------

_CONTACTS = {
    f"c-{MARK}": {
        "email": f" {MARK}.Ann@Example.com",
        "phone": f"{MARK}-380501234567",
        "pushTokens": [f"{MARK}-push"],
        "fields": {"loyaltyToken": f"{MARK}-gold", "email": f"{MARK}-shadow@example.com"},
    },
    f"d-{MARK}": {
        "email": f"{MARK}.bob@example.com",
        "externalCustomerId": f"{MARK}-77",
        "contactKey": f"{MARK}-key",
        "fields": {"loyaltyToken": "42"},
    },
    "42": {"phone": f"{MARK}-380501234567", "email": "  "},
}
_IDENTIFIERS_BY_NAME = {
    **dict.fromkeys(("ContactId", "Contact_id"), st.sampled_from([f"c-{MARK}", f" c-{MARK}", f"d-{MARK}", "42", 42])),
    **dict.fromkeys(
        ("Email", "EmailAddress", "UserEmail", "ContactEmail", "email"),
        st.sampled_from([f"{MARK}.ann@example.com", f"{MARK}.ANN@Example.com\t", f"{MARK}.bob@example.com"]),
    ),
    **dict.fromkeys(("Phone", "phone", "SMS", "PhoneNumber"), st.just(f"{MARK}-380501234567")),
    "externalCustomerId": st.just(f"{MARK}-77"),
    "PushToken": st.just(f"{MARK}-push"),
    **dict.fromkeys(("ContactKey", "Contact_key"), st.just(f"{MARK}-key")),
    "token": st.sampled_from([f"{MARK}-gold", f"{MARK}-gold", 42]),
    "colour": st.just(f"{MARK}-77"),
}
IDENTIFIER_NAMES = tuple(_IDENTIFIERS_BY_NAME)
BAD_IDENTIFIERS = SCALARS | st.sampled_from(
    [f"{MARK}-nobody", f"{MARK}-shadow@example.com", MARK.ljust(301, "x"), [], 42.0]
)


@st.composite
def contact_records(draw):
    """Draw the contacts topic: the known contacts, then changes and deletions among them."""
    entries = [(contact_id, contact_id) for contact_id in _CONTACTS]
    ids = st.sampled_from(list(_CONTACTS))
    entries += draw(mostly(st.just([]), st.lists(st.tuples(ids, st.none() | ids), min_size=1, max_size=2), 4))
    return [
        ContactRecord(
            partition=0,
            offset=offset,
            timestamp_ms=draw(st.integers(0, 2)),
            contact_id=contact_id,
            contact=None if like is None else {"contactId": contact_id, **EMPTY_CONTACT, **_CONTACTS[like]},
        )
        for offset, (contact_id, like) in enumerate(entries)
    ]


# --- events --------------------------------------------------------------------------------------------

_MONEY_NAMES = ("totalCost", "shipping", "discount", "taxes")
GOOD_VALUES = {
    "externalOrderId": ORDER_IDS,
    **dict.fromkeys(_MONEY_NAMES, AMOUNTS),
    "status": st.sampled_from(STATUSES),
    "date": dates(),
    **dict.fromkeys(("currency", "currencyCode"), CURRENCIES),
    "items": ITEMS,
    **dict.fromkeys(TEXT_NAMES, TEXTS),
    **_IDENTIFIERS_BY_NAME,
    **{name.lower(): good for name, good in _IDENTIFIERS_BY_NAME.items() if name != "externalCustomerId"},
    **{name.upper(): good for name, good in _IDENTIFIERS_BY_NAME.items()},
}
_CREATION_VALUES = {
    **GOOD_VALUES,
    "email": st.just(f"{MARK}.ann@example.com"),
    "token": st.just(f"{MARK}-gold"),
    "colour": st.just(f"{MARK}-77"),
}
BAD_VALUES = {
    "externalOrderId": BAD_ORDER_IDS,
    **dict.fromkeys(_MONEY_NAMES, mostly(BAD_AMOUNTS, ANY_VALUE, 2)),
    "status": mostly(BAD_STATUSES, ANY_VALUE, 2),
    "date": mostly(BAD_DATES, ANY_VALUE, 2),
    **dict.fromkeys(("currency", "currencyCode"), mostly(BAD_CURRENCIES, ANY_VALUE, 2)),
    "items": BAD_ITEMS,
    **dict.fromkeys(IDENTIFIER_NAMES, BAD_IDENTIFIERS),
}
_PLAIN_PARAMETERS = ("shipping", "discount", "taxes", "currency", "items", "items", "size", *TEXT_NAMES)
_FURTHER_PARAMETERS = st.one_of(
    _spelt(st.sampled_from(list(GOOD_VALUES))),
    st.sampled_from(IDENTIFIER_NAMES),
    *[st.just("items")] * 2,
    st.text(min_size=1, max_size=8),
    st.sampled_from([" ", "size", "a\nb", "x" * 100]),
)


@st.composite
def events(draw, *, creation=False, order_ids=ORDER_IDS):
    """Draw an OrderEvent: one that the rules accept, or one with up to two things wrong; parameters in any order.

    With `creation`, only such as create an order where the default identifiers are used.
    """
    event_type = draw(st.sampled_from(TYPES[:4] if creation else TYPES))
    names = ["externalOrderId"]
    if creation or (event_type in TYPES[:4] and _once_in(draw, 3)):
        names += CREATION
    names += draw(st.lists(st.sampled_from(_PLAIN_PARAMETERS) if creation else _FURTHER_PARAMETERS, max_size=4))
    faults = 0 if creation else draw(st.sampled_from([0, 0, 0, 1, 0, 1, 2]))
    if faults and _once_in(draw, 3):
        names.append("items")
    faulty = list(dict.fromkeys(names[::-1]))[:faults]
    good = {**(_CREATION_VALUES if creation else GOOD_VALUES), "externalOrderId": order_ids}
    params = [
        {"name": name, "value": draw((BAD_VALUES if name in faulty else good).get(name, ANY_VALUE))}
        for name in draw(st.permutations(list(dict.fromkeys(names))))
    ]
    event = {"eventTypeKey": event_type, "keyValue": MARK, "params": params}
    return draw(_broken_envelope(event)) if not creation and _once_in(draw, 30) else event


def _broken_envelope(event):
    """Draw the event as another team's, or as one that D1 refuses, or nearly."""
    params = event["params"]
    more = st.sampled_from(["", "x" * 100, "x" * 101, *(param["name"] for param in params)])
    return st.one_of(
        st.sampled_from(["", " ", "orderSeen", "a\nb", "t" * 100, "t" * 101]).map(
            lambda t: {**event, "eventTypeKey": t}
        ),
        st.sampled_from(["k" * 300, "k" * 301]).map(lambda k: {**event, "keyValue": k}),
        st.tuples(more, ANY_VALUE).map(lambda p: {**event, "params": [*params, {"name": p[0], "value": p[1]}]}),
        st.just({**event, "params": params[1:]}),
    )


def key_of(event):
    """Give the key that the event's record should have."""
    ids = [param["value"] for param in event["params"] if param["name"] == "externalOrderId"]
    return str(ids[0]).encode() if ids and ids[0] is not None else None


@dataclass(frozen=True)
class Sent:
    """One record of the events topic, for the program and, as it reads, for the reference."""

    record: Record
    read: Input


@st.composite
def _sent(draw, *, creation, order_ids):
    event = draw(events(creation=creation, order_ids=order_ids))
    key, value = key_of(event), codec().encode_event(event)
    if not creation and _once_in(draw, 25):
        key = draw(st.sampled_from([None, b"", b"\xff", f"{MARK}-2".encode()]))
    if not creation and _once_in(draw, 25):
        event, value = None, draw(st.sampled_from([None, b"", value[:-1], value + b"\0", MARK.encode(), value[:9]]))
    timestamp_ms = written_ms = draw(st.sampled_from([0, 1, 5, 1_600_000_000_000, -1]))
    headers = draw(st.sampled_from([(), (), (("replay.timestamp", b"7"),), (("replay.timestamp", b"seven"),)]))
    if headers and headers[0][1] == b"7":
        timestamp_ms = 7  # a replayed record: the event's first timestamp counts
    partition = 0 if creation or not _once_in(draw, 10) else 1
    record = Record(partition, 0, written_ms, key, value, headers)
    return Sent(record, Input(partition, 0, timestamp_ms, key, len(value or b""), event))


SAME_IN_PYTHON = st.sampled_from([0, 0.0, -0.0, False, 1, 1.0, True, "1", 1 << 53, float(1 << 53)])


@st.composite
def updates_of_one_value(draw):
    """Draw the life of one order in which nothing changes but one custom field and one attribute of an item."""
    changes = st.fixed_dictionaries({}, optional={"size": SAME_IN_PYTHON, "items": _items_of_one_value()})
    given = [
        {"status": "INITIALIZED", "totalCost": 1, "date": "2021-01-01T00:00:00", "email": f"{MARK}.ann@example.com"}
    ]
    given += draw(st.lists(changes, min_size=1, max_size=8))
    sent = []
    for offset, values in enumerate(given):
        params = [{"name": name, "value": value} for name, value in {"externalOrderId": f"{MARK}-1", **values}.items()]
        event = {"eventTypeKey": "orderUpdated", "keyValue": "", "params": params}
        value = codec().encode_event(event)
        record = Record(0, offset, offset, key_of(event), value)
        sent.append(Sent(record, Input(0, offset, offset, key_of(event), len(value), event)))
    return sent


def _items_of_one_value():
    item = {"externalItemId": "i-1", "name": "Lamp", "quantity": 1, "cost": 1, "url": "u", "imageUrl": "i"}
    items = SAME_IN_PYTHON.map(lambda size: [{**item, "size": size}])
    return items | items.map(json.dumps)


@st.composite
def creations_with(draw, name, values):
    """Draw one record that would create an order, with one parameter put in, or replaced, at any place."""
    event = draw(events(creation=True))
    params = [param for param in event["params"] if param["name"] != name]
    params.insert(draw(st.integers(0, len(params))), {"name": name, "value": draw(values)})
    event = {**event, "params": params}
    value = codec().encode_event(event)
    return Sent(Record(0, 0, 1, key_of(event), value), Input(0, 0, 1, key_of(event), len(value), event))


@st.composite
def topics(draw, max_records=9):
    """Draw the records of the events topic: few orders, two partitions, offsets with gaps."""
    ids = st.sampled_from(draw(st.lists(ORDER_IDS, min_size=1, max_size=2)))
    sent = [draw(_sent(creation=True, order_ids=ids)) for _ in range(draw(st.sampled_from([1, 2, 1, 0])))]
    sent += [
        draw(_sent(creation=False, order_ids=ids)) for _ in range(draw(st.sampled_from([3, 5, max_records - 2, 1, 0])))
    ]
    step = draw(st.sampled_from([1, 3]))
    return [
        Sent(
            Record(s.record.partition, step * n, s.record.timestamp_ms, s.record.key, s.record.value, s.record.headers),
            replace(s.read, offset=step * n),
        )
        for n, s in enumerate(sent)
    ]


RULES = st.builds(
    Rules,
    max_event_bytes=mostly(st.just(1_048_576), st.sampled_from([150, 250, 400]), 12),
    max_fact_bytes=mostly(st.just(900_000), st.sampled_from([150, 250, 400]), 6),
    time_zone=st.sampled_from(ZONES),
    default_currency=st.sampled_from([None, "UAH"]),
    item_profile=st.sampled_from(["strict", "lenient"]),
    identification=st.sampled_from(
        [
            *(
                (),
                (),
                (("Token", "loyaltyToken"),),
                (("token", "loyaltyToken"), ("TOKEN", "contactId"), ("SMS", "email")),
            ),
            (("colour", "externalCustomerId"), ("storeId", "phone"), ("externalOrderId", "contactId")),
        ]
    ),
    on_owner_conflict=st.sampled_from(["reject", "reassign"]),
    on_duplicate_create=st.sampled_from(["ignore", "update"]),
)


def exact(value):
    """Give a value in a form whose equality tells 1, 1.0 and True apart, 0.0 and -0.0 too, and NaN from nothing."""
    match value:
        case float():
            return "double", struct.pack(">d", value)
        case dict():
            return "map", {name: exact(element) for name, element in value.items()}
        case list() | tuple():
            return type(value).__name__, [exact(element) for element in value]
    return type(value).__name__, value
