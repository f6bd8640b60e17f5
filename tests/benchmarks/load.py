"""The input of all benchmarks, from a seed: contacts of a shop, and what happens to its orders.

Of all events 40% are orderCreated, 30% orderUpdated, 24% orderDelivered, 6% orderCancelled; 1% name a contact
that does not exist, 1% are invalid (of four kinds), 1% are for orders that do not exist. A created order has ten
parameters and one to three items. The same seed gives the same bytes.
"""

import json
import random
from array import array
from typing import Any

from processor.codec.avro import codec
from tests.support.traffic import Sent

SEED = 20_260_514
CONTACTS = 20_000
KINDS = ("orderCreated", "orderUpdated", "orderDelivered", "orderCancelled")
WEIGHTS = (40, 30, 24, 6)
CREATED_ONLY = (1, 0, 0, 0)
NOBODY = 90_000_000  # from this number on no contact exists
NEVER = 900_000_000  # from this number on no order exists
_UNKNOWN_CONTACT = 1 / 40  # of the created: 1% of all
_INVALID = 1 / 40  # of the created as well
_UNKNOWN_ORDER = 1 / 30  # of the delivered and cancelled: 1% of all
_SIZES = ("S", "M", "L", 42, 43.5)


def contacts(count=CONTACTS):
    """Yield the contacts, as Avro's Contact; each has five identifiers."""
    for number in range(count):
        yield {
            "contactId": f"c{number}",
            "externalCustomerId": f"AV{number}",
            "email": f"Buyer.{number}@shop.example",
            "phone": f"+38050{number:07}",
            "pushTokens": [f"token-{number}"],
        }


def identifiers(contact):
    """Give what finds a contact, as `field:value`, for the programs that have no contact index."""
    return [
        f"contactId:{contact['contactId']}",
        f"externalCustomerId:{contact['externalCustomerId']}",
        f"email:{contact['email'].lower()}",
        f"phone:{contact['phone'].removeprefix('+')}",
        *(f"pushToken:{token}" for token in contact["pushTokens"]),
    ]


def order_id(number):
    """Give the id of an order by its number."""
    return f"SO-{number:09}"


def number_of(key):
    """Give the number of an order by its key."""
    return int(key[3:])


def contact_of(number, contact_count):
    """Give the number of the contact that an order belongs to."""
    return number % contact_count


class Traffic:
    """Events about orders that exist, with the numbers from `first` on, and about new ones.

    Each belongs to one of `contact_count` contacts. `weights` are those of the kinds.
    """

    def __init__(self, seed=SEED, contact_count=CONTACTS, existing=0, first=0, weights=WEIGHTS):
        self._random = random.Random(seed)
        self._contacts = contact_count
        self._weights = weights
        self._open = array("q", range(first, first + existing))  # the orders that exist and are not closed
        self._next = first + existing
        self._items = [_item(number) for number in range(1_000)]

    def events(self, count):
        """Yield the next `count` records."""
        encode, choose = codec().encode_event, self._random.choices
        for _ in range(count):
            kind = choose(KINDS, self._weights)[0]
            fault = None
            if kind == "orderCreated" or not self._open:
                number, params, fault = self._created()
                kind = "orderCreated"
            elif kind == "orderUpdated":
                number, params = self._updated()
            else:
                number, params = self._closed()
            name = order_id(number)
            named = [{"name": "externalOrderId", "value": name}]
            named += [{"name": param, "value": value} for param, value in params.items()]
            value = encode({"eventTypeKey": kind, "keyValue": "", "params": named})
            is_cut = fault == "cut off"
            yield Sent(name.encode(), value[:-5] if is_cut else value, is_undecodable=is_cut)

    def _some_items(self):
        return self._random.sample(self._items, self._random.choices((1, 2, 3), (55, 30, 15))[0])

    def _created(self):
        source, number = self._random, self._next
        self._next += 1
        chance = source.random()
        is_unknown = chance < _UNKNOWN_CONTACT
        contact = contact_of(number, self._contacts) + (NOBODY if is_unknown else 0)
        minute, second = divmod(number, 60)
        date = f"2026-{1 + number % 9:02}-{1 + number % 28:02}T{8 + number % 12:02}:{minute % 60:02}:{second:02}"
        items = self._some_items()
        params = {
            **_identifier(number, contact),
            "totalCost": f"{source.randrange(100, 100_000) / 100}",
            "status": "INITIALIZED",
            "date": date + ("Z" if number % 2 else ""),
            "currency": "UAH",
            "items": json.dumps(items, separators=(",", ":")) if source.random() < 0.5 else items,
            "deliveryMethod": "courier",
            "paymentMethod": "card",
            "points": source.randrange(500),
        }
        fault = None
        if not is_unknown and chance < _UNKNOWN_CONTACT + _INVALID:
            fault = source.choice(("cut off", "price", "quantity", "date"))
            _spoil(params, items, fault)
        elif not is_unknown:
            self._open.append(number)
        return number, params, fault

    def _updated(self):
        source = self._random
        number = self._open[source.randrange(len(self._open))]
        params: dict[str, Any]
        match source.randrange(4):
            case 0:
                params = {"status": "IN_PROGRESS", "statusDescription": f"packed in box {source.randrange(10_000)}"}
            case 1:
                params = {"totalCost": source.randrange(100, 100_000) / 100, "shipping": "49.50"}
            case 2:
                params = {"points": source.randrange(500), "storeId": f"shop {source.randrange(100)}", "gift": True}
            case _:
                params = {"items": self._some_items(), "taxes": 12.25}
        if source.random() < 0.5:
            params = {**_identifier(number, contact_of(number, self._contacts)), **params}
        return number, params

    def _closed(self):
        source = self._random
        if source.random() < _UNKNOWN_ORDER:
            return NEVER + source.randrange(1_000_000), {}
        at = source.randrange(len(self._open))
        number, last = self._open[at], self._open.pop()
        if at < len(self._open):
            self._open[at] = last
        return number, _identifier(number, contact_of(number, self._contacts)) if source.random() < 0.3 else {}


def _identifier(number, contact):
    """Give the parameter that names a contact, each order's in one of four ways."""
    match number % 4:
        case 0:
            return {"phone": f"+38050{contact:07}"}
        case 1:
            return {"Email": f"BUYER.{contact}@shop.example"}
        case 2:
            return {"externalCustomerId": f"AV{contact}"}
        case _:
            return {"ContactId": f"c{contact}"}


def _item(number):
    item = {
        "externalItemId": f"{20_000 + number}",
        "name": f"Device {number}",
        "quantity": 1 + number % 3,
        "cost": (995 + number * 7) / 100,
        "url": f"s.example/{number}",
        "imageUrl": f"s.example/{number}.png",
    }
    return item | {"size": _SIZES[number % len(_SIZES)]} if number % 3 == 0 else item


def _spoil(params, items, fault):
    """Make an order's parameters invalid in one of the ways; what is cut off is cut off later."""
    if fault == "price":
        params["totalCost"] = "12,50"
    elif fault == "quantity":
        params["items"] = [{**items[0], "quantity": "1,5"}]
    elif fault == "date":
        del params["date"]
