"""Order events as a shop sends them, from a seed: all types, all reasons, orders interleaved, poison among them."""

import json
import random
from dataclasses import dataclass
from typing import Any

from processor.codec.avro import codec

CONTACTS = 40
PARTLY = ("shipping", "discount", "storeId", "source", "giftWrap", "points", "isFirst", "weight")


@dataclass(frozen=True)
class Sent:
    """One record to send; `is_undecodable` tells the reference what the bytes are."""

    key: bytes | None
    value: bytes | None
    is_undecodable: bool = False


def contacts():
    """Give the contacts that the events name, as Avro's Contact."""
    return [
        {
            "contactId": f"c{number}",
            "externalCustomerId": f"AV{number}",
            "email": f"Buyer.{number}@shop.example",
            "phone": f"+999{number:06}",
            "pushTokens": [f"token-{number}"],
        }
        for number in range(CONTACTS)
    ]


def traffic(seed, count, orders=None):
    """Give `count` records: 40% created, 30% updated, 24% delivered, 6% cancelled, some of them wrong."""
    source = random.Random(seed)
    return [_record(source, source.randrange(orders or max(1, count // 4))) for _ in range(count)]


def poison(max_event_bytes=100_000):
    """Give one record of every kind that must be refused without harm to its neighbours, by name."""
    good = codec().encode_event(event("orderCreated", "p1", phone="+999000001"))
    header, body = good[:10], good[10:]
    return {
        "null value": Sent(b"p1", None, is_undecodable=True),
        "empty value": Sent(b"p1", b"", is_undecodable=True),
        "no framing": Sent(b"p1", body, is_undecodable=True),
        "unknown fingerprint": Sent(b"p1", b"\xc3\x01" + b"\0" * 8 + body, is_undecodable=True),
        "cut off": Sent(b"p1", good[:-5], is_undecodable=True),
        "left over": Sent(b"p1", good + b"\0", is_undecodable=True),
        "union index": Sent(b"p1", header + b"\x02a\x00\x02\x02x\x0c\x00", is_undecodable=True),
        "negative union index": Sent(b"p1", header + b"\x02a\x00\x02\x02x\x01\x00", is_undecodable=True),
        "boolean byte": Sent(b"p1", header + b"\x02a\x00\x02\x02x\x04\x02\x00", is_undecodable=True),
        "negative length": Sent(b"p1", header + b"\x01a\x00\x00", is_undecodable=True),
        "huge count": Sent(b"p1", header + b"\x02a\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", is_undecodable=True),
        "bad UTF-8": Sent(b"p1", header + b"\x02\xff\x00\x00", is_undecodable=True),
        "oversized": Sent(b"p1", b"\xc3" * (max_event_bytes + 1), is_undecodable=True),
        "no key": Sent(None, good),
        "another key": Sent(b"p2", good),
        "key that is no text": Sent(b"\xff\xfe", good),
        "blank type": Sent(b"p1", codec().encode_event(event(" ", "p1"))),
        "unknown type": Sent(b"p1", codec().encode_event(event("orderViewed", "p1"))),
        "nested a thousand deep": _with_items("p3", "[" * 1000 + "]" * 1000),
        "nested beyond the parser": _with_items("p3", "[" * 40_000 + "]" * 40_000),
        "half a surrogate pair": _with_items("p3", '[{"externalItemId": "\\ud800"}]'),
        "number beyond double": _with_items("p3", '[{"externalItemId": "1", "quantity": 1e999}]'),
        "endless integer": _with_items("p3", '[{"externalItemId": "1", "quantity": ' + "9" * 20_000 + "}]"),
        "not JSON": _with_items("p3", "[NaN]"),
    }


def event(event_type, order_id, **params):
    """Give an OrderEvent with these parameters."""
    named = [{"name": name, "value": value} for name, value in params.items()]
    return {
        "eventTypeKey": event_type,
        "keyValue": "",
        "params": [{"name": "externalOrderId", "value": order_id}, *named],
    }


def created(order_id, **params):
    """Give the record of a valid orderCreated."""
    filled = {"totalCost": "258.0", "status": "INITIALIZED", "date": "2026-05-14T10:11:00", "phone": "+999000001"}
    return Sent(order_id.encode(), codec().encode_event(event("orderCreated", order_id, **(filled | params))))


def _with_items(order_id, items):
    return created(order_id, items=items)


def _record(source, number):
    order_id = f"o{number}"
    kind = source.choices(("orderCreated", "orderUpdated", "orderDelivered", "orderCancelled"), (40, 30, 24, 6))[0]
    params = {}
    if kind in {"orderCreated", "orderUpdated"}:
        params = _order_params(source, number, whole=kind == "orderCreated" or source.random() < 0.3)
    else:
        params = source.choice(({}, {}, _identifier(number)))
    if source.random() < 0.02:
        params["totalCost"] = "1,5"
    if source.random() < 0.01:
        return Sent(order_id.encode(), b"\xc3\x01" + source.randbytes(20), is_undecodable=True)
    key = b"elsewhere" if source.random() < 0.005 else order_id.encode()
    return Sent(key, codec().encode_event(event(kind, order_id, **params)))


def _order_params(source, number, *, whole):
    params: dict[str, Any] = {}
    if whole:
        params |= {
            "totalCost": f"{source.randrange(100_000) / 100}",
            "status": source.choice(("INITIALIZED", "IN_PROGRESS")),
            "date": f"2026-0{source.randrange(1, 10)}-14T10:11:00",
            "currency": "UAH",
            "items": _items(source),
        }
        if source.random() < 0.02:
            del params["date"]
    if source.random() < 0.97:
        params |= _identifier(number if source.random() < 0.97 else number + 1)
    for name in source.sample(PARTLY, source.randrange(4)):
        params[name] = source.choice(("1", 2, 2.5, True)) if name[0] in "gpiw" else "12.5"
    return params


def _identifier(number):
    contact = number % (CONTACTS + 1)  # the last one does not exist
    return (
        {"phone": f"+999{contact:06}"},
        {"Email": f"BUYER.{contact}@shop.example"},
        {"externalCustomerId": f"AV{contact}"},
        {"PushToken": f"token-{contact}", "ContactKey": "nobody's"},
    )[number % 4]


def _items(source):
    items = [
        {
            "externalItemId": str(200_600 + n),
            "name": "Super Device",
            "quantity": n + 1,
            "cost": 9.9,
            "url": "http://example.com/item",
            "imageUrl": "http://example.com/item.png",
            "size": source.choice(("M", 4, 4.0, True)),
        }
        for n in range(source.randrange(1, 4))
    ]
    if source.random() < 0.02:
        items[0]["quantity"] = 0 if len(items) == 1 else "1,5"
    return json.dumps(items) if source.random() < 0.5 else items
