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
CREATION = ("totalCost", "status", "date", "email")
TEXT_NAMES = (
    *("firstName", "lastName", "statusDescription", "restoreUrl", "storeId", "source", "deliveryMethod"),
    *("paymentMethod", "deliveryAddress", "additionalInfo", "cartId"),
)
IDENTIFIER_NAMES = (
    *("ContactId", "Contact_id", "externalCustomerId", "Email", "EmailAddress", "UserEmail", "ContactEmail", "email"),
    *("Phone", "phone", "SMS", "PhoneNumber", "PushToken", "ContactKey", "Contact_key", "token", "colour"),
)
LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
SHORT_TEXT = st.text(max_size=12)


def mostly(usual, unusual, times=7):
    """Draw from `usual`, and once in so many times from `unusual`."""
    return st.integers(0, times).flatmap(lambda number: unusual if number == times else usual)


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
ORDER_IDS = st.sampled_from([f"{MARK}-1", f"{MARK}-1", f"{MARK}-2", 42, "42", f"замовлення {MARK}"])
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
            *(f"{1 << 63}", f"{(1 << 63) - 1}", f"{-(1 << 63)}", f"{-(1 << 63) - 1}", "9" * 4301, "-" + "9" * 5000),
            *('"\\ud83d\\ude00"', '"\\u0000\\n"', '"3"', '"1.5"', f'"{MARK}"'),
        ]
    ),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    SHORT_TEXT.map(json.dumps),
    SHORT_TEXT.map(lambda text: json.dumps(text, ensure_ascii=False)),
)
_BAD_LEAVES = st.sampled_from(
    [
        *('"\\ud800"', '"\\ude00\\ud83d"', "1e400", "-1E400", "NaN", "-Infinity", "01", "1.", "+1", "'a'", "\u0663"),
        *('"\n"', '"\\x"', '"open', "", "nul", "[" * 3000 + "]" * 3000, '{"a":' * 101 + "1" + "}" * 101),
        *(f"{'[' * levels}{']' * levels}" for levels in (97, 98, 99, 100, 900)),
    ]
)
_LEAVES = mostly(_SOUND_LEAVES, _BAD_LEAVES, 12)
_NAMES = st.one_of(
    NATIVE_ITEM_NAMES, SHORT_TEXT, st.sampled_from(["custom", "a\nb", "\u2028", "x" * 99, "x" * 100, "x" * 101])
)
_NAME_TEXTS = mostly(_NAMES.map(json.dumps), st.just('"\\ud800"'), 30)


def _array(values):
    return "[" + ",".join(values) + "]"


def _object(members):
    return "{" + ", ".join(f"{name}:{value}" for name, value in members) + "}"


_JSON_TEXTS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(_array),
        st.lists(st.tuples(_NAME_TEXTS, inner), max_size=3).map(_object),
    ),
    max_leaves=5,
)
_GOOD_ATTRIBUTES = {
    "externalItemId": st.sampled_from(['"i-1"', '"i-2"', "7", "9" * 30]),
    "name": st.sampled_from(['"Lamp"', "5", "5.0"]),
    "quantity": st.sampled_from(["1", "2.5", '"3"', "9007199254740993", "1" + "0" * 300]),
    "cost": st.sampled_from(["990.5", '"1.00005"', "0", "-0.0"]),
    "url": st.just('"https://shop.example/1"'),
    "imageUrl": st.just('"https://shop.example/1.png"'),
}


@st.composite
def _item_texts(draw):
    """Draw one item as JSON text: usually all six attributes and a few more, some of them twice."""
    members = [
        (json.dumps(name), draw(mostly(good, _JSON_TEXTS, 20)))
        for name, good in _GOOD_ATTRIBUTES.items()
        if draw(st.integers(0, 30)) < 30
    ]
    members += draw(st.lists(st.tuples(_NAME_TEXTS, _JSON_TEXTS), max_size=2))
    return _object(draw(st.permutations(members)))


@st.composite
def _broken(draw, texts):
    """Draw a text with something cut off, put in front or put behind."""
    text = draw(texts)
    cut = draw(st.integers(0, len(text)))
    return draw(st.sampled_from([text[:cut], text[cut:], f"\ufeff{text}", f"{text}]", f"{text[:cut]},{text[cut:]}"]))


ITEM_ARRAYS = st.lists(mostly(_item_texts(), _JSON_TEXTS, 20), max_size=3).map(_array)
NATIVE_ITEMS = st.lists(
    st.fixed_dictionaries(
        {"externalItemId": st.just("i-1"), "quantity": st.sampled_from([1, 2.5, "3"])},
        optional={
            "name": st.sampled_from(["Lamp", 5, 5.0]),
            "cost": AMOUNTS,
            "url": st.just("u"),
            "imageUrl": st.just("i"),
            "category": SCALARS,
            "size": SCALARS,
        },
    ),
    max_size=2,
)
ITEMS = mostly(ITEM_ARRAYS | NATIVE_ITEMS, _broken(ITEM_ARRAYS) | _JSON_TEXTS | ANY_VALUE, 12)

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
IDENTIFIERS = st.sampled_from(
    [
        *(f"c-{MARK}", f"d-{MARK}", "42", 42, f"{MARK}.ann@example.com", f"{MARK}.ANN@example.com "),
        *(f"{MARK}.bob@example.com", f"{MARK}-380501234567", f"{MARK}-push", f"{MARK}-gold", f"{MARK}-77"),
        *(f"{MARK}-key", f"{MARK}-shadow@example.com"),
    ]
)
BAD_IDENTIFIERS = SCALARS | st.sampled_from([f"{MARK}-nobody", MARK.ljust(301, "x"), [], 42.0])


@st.composite
def contact_records(draw):
    """Draw the contacts topic: the known contacts, then changes and deletions among them."""
    entries = [(contact_id, contact_id) for contact_id in _CONTACTS]
    ids = st.sampled_from(list(_CONTACTS))
    entries += draw(st.lists(st.tuples(ids, st.none() | ids), max_size=2))
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

_VALUES = {
    "externalOrderId": mostly(ORDER_IDS, BAD_ORDER_IDS, 20),
    **dict.fromkeys(("totalCost", "shipping", "discount", "taxes"), mostly(AMOUNTS, BAD_AMOUNTS | ANY_VALUE, 15)),
    "status": mostly(st.sampled_from(STATUSES), BAD_STATUSES | ANY_VALUE, 15),
    "date": mostly(dates(), BAD_DATES | ANY_VALUE, 15),
    **dict.fromkeys(("currency", "currencyCode"), mostly(CURRENCIES, BAD_CURRENCIES | ANY_VALUE)),
    "items": ITEMS,
    **dict.fromkeys(TEXT_NAMES, mostly(TEXTS, ANY_VALUE, 4)),
    **dict.fromkeys(IDENTIFIER_NAMES, mostly(IDENTIFIERS, BAD_IDENTIFIERS, 10)),
}
_EXTRA_NAMES = st.one_of(
    _spelt(st.sampled_from(list(_VALUES))),
    st.sampled_from(IDENTIFIER_NAMES),
    st.just("items"),
    st.text(min_size=1, max_size=8),
    st.sampled_from([" ", "size", "a\nb", "x" * 100]),
)


@st.composite
def events(draw):
    """Draw an OrderEvent: usually one that the rules accept, with a few more parameters in any order."""
    event_type = draw(mostly(st.sampled_from(TYPES), st.sampled_from(["", "orderSeen", "a\nb", "t" * 101]), 30))
    names = ["externalOrderId"]
    if event_type in TYPES[:4] and draw(st.integers(0, 4)):
        names += CREATION
    names += draw(st.lists(_EXTRA_NAMES, max_size=4))
    if draw(st.integers(0, 30)) < 30:
        names = list(dict.fromkeys(names))
    else:
        names.append(draw(st.sampled_from(["", "x" * 101, names[0]])))
    names = draw(mostly(st.permutations(names), st.just(names[1:]), 30))
    params = [{"name": name, "value": draw(_VALUES.get(name, ANY_VALUE))} for name in names]
    return {"eventTypeKey": event_type, "keyValue": draw(mostly(TEXTS, st.just("k" * 301), 40)), "params": params}


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
def _sent(draw):
    event = draw(events())
    wrong_keys = st.sampled_from([None, b"", b"\xff", f"{MARK}-2".encode()])
    key = draw(mostly(st.just(key_of(event)), wrong_keys, 30))
    value = codec().encode_event(event)
    if draw(st.integers(0, 30)) == 30:
        event, value = None, draw(st.sampled_from([None, b"", value[:-1], value + b"\0", MARK.encode(), value[:9]]))
    timestamp_ms = written_ms = draw(st.sampled_from([0, 1, 5, 1_600_000_000_000, -1]))
    headers = draw(st.sampled_from([(), (), (("replay.timestamp", b"7"),), (("replay.timestamp", b"seven"),)]))
    if headers and headers[0][1] == b"7":
        timestamp_ms = 7  # a replayed record: the event's first timestamp counts
    partition = draw(st.integers(0, 1))
    record = Record(partition, 0, written_ms, key, value, headers)
    return Sent(record, Input(partition, 0, timestamp_ms, key, len(value or b""), event))


@st.composite
def topics(draw, max_records=8):
    """Draw the records of the events topic: few orders, two partitions, offsets with gaps."""
    sent = draw(st.lists(_sent(), max_size=max_records))
    step = draw(st.integers(1, 3))
    return [
        Sent(
            Record(s.record.partition, step * n, s.record.timestamp_ms, s.record.key, s.record.value, s.record.headers),
            replace(s.read, offset=step * n),
        )
        for n, s in enumerate(sent)
    ]


RULES = st.builds(
    Rules,
    max_event_bytes=mostly(st.just(1_048_576), st.sampled_from([150, 250, 400])),
    max_fact_bytes=mostly(st.just(900_000), st.sampled_from([150, 250, 400])),
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
