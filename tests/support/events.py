"""Strategies for whole order events, contacts, topics and settings: mostly what the rules accept."""

import json
import struct
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from processor.codec.avro import codec
from processor.domain.records import Record
from tests.reference import ContactRecord, Input, Rules
from tests.support.cases import EMPTY_CONTACT, key_text
from tests.support.hostile import (
    AMOUNTS,
    ANY_VALUE,
    BAD_ITEMS,
    BAD_VALUE,
    CURRENCIES,
    ITEMS,
    MARK,
    ORDER_IDS,
    SCALARS,
    SIGNED_AMOUNTS,
    TEXTS,
    changed_dates,
    dates,
    mostly,
    once_in,
    spelt,
)

ZONES = (
    *("UTC", "Europe/Kyiv", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu"),
    *("Africa/Casablanca", "Africa/Monrovia", "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll"),
)
STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
OWN_WORDS = (("paid", "IN_PROGRESS"), ("Платимо", "DELIVERED"))  # a shop's, for statuses
TYPES = ("orderCreated", "orderCreated", "orderUpdated", "orderUpdated", "orderDelivered", "orderCancelled")
CREATION = ("totalCost", "status", "date", "email", "token", "colour")  # with an owner by each of the RULES
TEXT_NAMES = (
    *("firstName", "lastName", "statusDescription", "restoreUrl", "storeId", "source", "deliveryMethod"),
    *("paymentMethod", "deliveryAddress", "additionalInfo", "cartId"),
)
# --- contacts ------------------------------------------------------------------------------------------

_CONTACTS: dict[str, dict[str, Any]] = {
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
CONTACT_IDS = st.sampled_from(list(_CONTACTS))
_IDENTIFIERS_BY_NAME = {
    **dict.fromkeys(("ContactId", "Contact_id"), st.sampled_from([f"c-{MARK}", f" c-{MARK}", f"d-{MARK}", "42", 42])),
    **dict.fromkeys(
        ("Email", "EmailAddress", "UserEmail", "ContactEmail", "email"),
        st.sampled_from([f"{MARK}.ann@example.com", f"{MARK}.ANN@Example.com\t", f"{MARK}.bob@example.com"]),
    ),
    **dict.fromkeys(
        ("Phone", "phone", "SMS", "PhoneNumber"),
        st.sampled_from(
            [f"{MARK}-380501234567", f"{MARK} 00380 (50) 1234567", f"050 123 45 67 {MARK}", 380501234567.0]
        ),
    ),
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
    entries += draw(
        mostly(st.just([]), st.lists(st.tuples(CONTACT_IDS, st.none() | CONTACT_IDS), min_size=1, max_size=2), 4)
    )
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

OCCURRED = mostly(st.sampled_from(["2021-01-01T00:00:00", "2021-01-01T00:00:01", "2021-01-01T00:00:02Z"]), dates())
_MONEY_NAMES = ("totalCost", "shipping", "discount", "taxes")
GOOD_VALUES = {
    "externalOrderId": ORDER_IDS,
    **dict.fromkeys(_MONEY_NAMES, AMOUNTS),
    "discount": SIGNED_AMOUNTS,
    "status": mostly(st.sampled_from(STATUSES), st.sampled_from(["Delivered", " in_progress", " PAID ", "ПЛАТИМО"]), 4),
    "date": mostly(
        dates(), changed_dates() | st.sampled_from([1_589_451_060_000, 1.589451060007e12, 1_589_451_060]), 9
    ),
    **dict.fromkeys(("currency", "currencyCode"), CURRENCIES),
    "items": ITEMS,
    "occurredAt": OCCURRED,
    **dict.fromkeys(TEXT_NAMES, TEXTS),
    **_IDENTIFIERS_BY_NAME,
    **{name.lower(): good for name, good in _IDENTIFIERS_BY_NAME.items() if name != "externalCustomerId"},
    **{name.upper(): good for name, good in _IDENTIFIERS_BY_NAME.items()},
}
_CREATION_VALUES = {
    **GOOD_VALUES,
    "status": st.sampled_from(STATUSES),
    "date": dates(),
    "email": st.just(f"{MARK}.ann@example.com"),
    "token": st.just(f"{MARK}-gold"),
    "colour": st.just(f"{MARK}-77"),
}
BAD_VALUES = {
    "items": BAD_ITEMS,
    **dict.fromkeys(IDENTIFIER_NAMES, BAD_IDENTIFIERS),
}
_PLAIN_PARAMETERS = ("shipping", "discount", "taxes", "currency", "items", "items", "size", "occurredAt", *TEXT_NAMES)
_FURTHER_PARAMETERS = st.one_of(
    spelt(st.sampled_from(list(GOOD_VALUES))),
    st.sampled_from(IDENTIFIER_NAMES),
    *[st.just("items")] * 2,
    st.just("occurredAt"),
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
    if creation or (event_type in TYPES[:4] and once_in(draw, 3)):
        names += CREATION
    names += draw(st.lists(st.sampled_from(_PLAIN_PARAMETERS) if creation else _FURTHER_PARAMETERS, max_size=4))
    faults = 0 if creation else draw(st.sampled_from([0, 0, 0, 1, 0, 1, 2]))
    if faults and once_in(draw, 3):
        names.append("items")
    faulty = list(dict.fromkeys(names[::-1]))[:faults]
    good = {**(_CREATION_VALUES if creation else GOOD_VALUES), "externalOrderId": order_ids}
    params = [
        {"name": name, "value": draw(BAD_VALUES.get(name, BAD_VALUE) if name in faulty else good.get(name, ANY_VALUE))}
        for name in draw(st.permutations(list(dict.fromkeys(names))))
    ]
    event = {"eventTypeKey": event_type, "keyValue": MARK, "params": params}
    return draw(_broken_envelope(event)) if not creation and once_in(draw, 30) else event


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
    return key_text(ids[0]).encode() if ids and ids[0] is not None else None


@dataclass(frozen=True)
class Sent:
    """One record of the events topic, for the program and, as it reads, for the reference."""

    record: Record
    read: Input


@st.composite
def _sent(draw, *, creation, order_ids):
    event = draw(events(creation=creation, order_ids=order_ids))
    key, value = key_of(event), codec().encode_event(event)
    if not creation and once_in(draw, 25):
        key = draw(st.sampled_from([None, b"", b"\xff", f"{MARK}-2".encode()]))
    if not creation and once_in(draw, 25):
        event, value = None, draw(st.sampled_from([None, b"", value[:-1], value + b"\0", MARK.encode(), value[:9]]))
    timestamp_ms = written_ms = draw(st.sampled_from([0, 1, 5, 1_600_000_000_000, -1]))
    headers = draw(st.sampled_from([(), (), (("replay.timestamp", b"7"),), (("replay.timestamp", b"seven"),)]))
    if headers and headers[0][1] == b"7":
        timestamp_ms = 7  # a replayed record: the event's first timestamp counts
    partition = 0 if creation or not once_in(draw, 10) else 1
    record = Record(partition, 0, written_ms, key, value, headers)
    return Sent(record, Input(partition, 0, timestamp_ms, key, len(value or b""), event))


RIGHT = {
    "externalOrderId": f"{MARK}-1",
    "totalCost": "258.0",
    "status": "INITIALIZED",
    "date": "2021-01-01T00:00:00",
    "email": f"{MARK}.ann@example.com",
}
RIGHT_ITEM = {"externalItemId": "i-1", "name": "Lamp", "quantity": 1, "cost": 1, "url": "u", "imageUrl": "i"}


def sent_with(values, offset=0):
    """Give the record of an orderUpdated with these parameters."""
    params = [{"name": name, "value": value} for name, value in values.items()]
    event = {"eventTypeKey": "orderUpdated", "keyValue": "", "params": params}
    value = codec().encode_event(event)
    record = Record(0, offset, offset, key_of(event), value)
    return Sent(record, Input(0, offset, offset, key_of(event), len(value), event))


SAME_IN_PYTHON = st.sampled_from([0, 0.0, -0.0, False, 1, 1.0, True, "1", 1 << 53, float(1 << 53)])


@st.composite
def updates_of_one_value(draw):
    """Draw the life of one order in which nothing changes but one custom field and one attribute of an item."""
    items = SAME_IN_PYTHON.map(lambda size: [{**RIGHT_ITEM, "size": size}])
    changes = st.fixed_dictionaries({}, optional={"size": SAME_IN_PYTHON, "items": items | items.map(json.dumps)})
    given = [RIGHT, *draw(st.lists(changes, min_size=1, max_size=8))]
    order_id = {"externalOrderId": RIGHT["externalOrderId"]}
    return [sent_with(order_id | values, offset) for offset, values in enumerate(given)]


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


PHONES = st.sampled_from([("digits", None), ("digits", None), ("exact", None), ("digits", "UA")])
RULES = st.builds(
    lambda phones, **others: Rules(phone_matching=phones[0], phone_region=phones[1], **others),
    phones=PHONES,
    max_event_bytes=mostly(st.just(1_048_576), st.sampled_from([150, 250, 400]), 12),
    max_fact_bytes=mostly(st.just(900_000), st.sampled_from([150, 250, 400]), 6),
    time_zone=st.sampled_from(ZONES),
    default_currency=st.sampled_from([None, "UAH"]),
    item_profile=st.sampled_from(["strict", "lenient"]),
    statuses=st.sampled_from([(), OWN_WORDS]),
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
    on_null=st.sampled_from(["ignore", "clear"]),
    occurred_at_parameter=st.sampled_from([None, "occurredAt"]),
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
