"""The largest records: each kind repeats one thing until `max_event_bytes` are full, or the elements as many as may be.

What a record costs must stay within its limit at full size too: of what is refused for the number of its elements, and
just below that. Each kind is one case: what comes before, and last the record in question. `grown` makes more kinds
from a seed.
"""

import itertools
import json
from functools import partial

from processor.domain.records import MAX_ELEMENTS
from tests.fuzz.case import HEADER, KEY, MAX_EVENT_BYTES, OLDER_HEADER, Case, records_of, right, string, value_of
from tests.reference import Rules
from tests.support.avro_writer import block, text, varint
from tests.support.events import RIGHT, RIGHT_ITEM
from tests.support.hostile import HOSTILE_TEXTS

STRICT = Rules(item_profile="strict")
OBJECT = json.dumps(RIGHT_ITEM, separators=(",", ":"))[:-1]  # open: attributes may follow
ENVELOPE = text("orderCreated") + text("")
UPDATE = text("orderUpdated") + text("")
PARAMS = [text(name) + string(value) for name, value in RIGHT.items()]
ORDER_ID = PARAMS[:1]
ROOM = MAX_EVENT_BYTES - len(HEADER + ENVELOPE + b"".join(PARAMS)) - 200  # for what is repeated
LONG = b"\x06\x02"
TEXT_PLACES = ("items", "size", "cartId", "email", "phone", "date", "totalCost", "status", "currency", "PushToken")


def _event(params, header=HEADER, envelope=ENVELOPE):
    """Give the value of an event whose params are already written."""
    return header + envelope + block(params) + b"\0"


def _with(name, value):
    """Give a right orderCreated with one more parameter, already written, or with another value of one."""
    others = [text(other) + string(given) for other, given in RIGHT.items() if other != name]
    return _event([*others, text(name) + value])


def _text(name, unit, start="", end="", most=ROOM):
    """Give a right event with a text that repeats a unit as often as there is room."""
    count = min((ROOM - len((start + end).encode())) // len(unit.encode()), most)
    return _with(name, string(start + unit * count + end))


def _elements(element):
    """Give a right event whose items are this text again and again."""
    return _text("items", element + ",", "[", element + "]")


def _nested(element, last=None, most=ROOM):
    """Give a right event with one right item that has this text again and again in an attribute."""
    return _text("items", element + ",", f'[{OBJECT},"a":[', (last or element) + "]}]", most)


def _attribute(name, unit, start="", end=""):
    """Give a right event with one right item, one attribute of which repeats a unit."""
    return _text("items", unit, f'[{OBJECT},"{name}":{start}', end + "}]")


def _native(name, element, most=ROOM):
    """Give a right event with a native array that repeats an element already written."""
    count = min(ROOM // len(element), most)
    return _with(name, varint(5) + varint(count) + element * count + b"\0")


def _map(**values):
    written = [text(name) + (string(value) if isinstance(value, str) else value) for name, value in values.items()]
    return block(written) + b"\0" if written else b"\0"


def _until_full(written, room=ROOM, most=ROOM):
    """Give as many of these as there is room for, and no more than that."""
    sizes = itertools.accumulate(map(len, (kept := list(itertools.islice(written, min(most, room // 2))))))
    return kept[: sum(size <= room for size in sizes)]


def _params(value, start="p", **changes):
    """Give a right event with as many more parameters as there is room for, all of different names."""
    names = (text(f"{start}{number:x}") for number in itertools.count())
    more = _until_full((name + value for name in names), changes.pop("room", ROOM), changes.pop("most", ROOM))
    return _event(PARAMS + more, **changes)


def _spellings(name, most=ROOM):
    """Give a right event with an identifying name in as many spellings as there is room for."""
    both = itertools.product(*({letter.lower(), letter.upper()} for letter in name))
    return _event(PARAMS + _until_full((text("".join(letters)) + string("x") for letters in both), most=most))


def _attributes(room, most=ROOM):
    """Give one right item with as many more attributes as there is room for."""
    names = (f',"{number:x}":1' for number in itertools.count())
    return f"[{OBJECT}{''.join(_until_full(names, room, most))}}}]"


def _items(room, most=ROOM):
    """Give as many right items as there is room for."""
    return f"[{OBJECT}}}{f',{OBJECT}}}' * (min(room // (len(OBJECT) + 2), most) - 1)}]"


NATIVE_ITEM = _map(externalItemId="i", name="n", quantity=LONG, cost=LONG, url="u", imageUrl="i")
DECODING = {
    "params without a name": lambda: _event([b"\0\0"] * (ROOM // 2)),
    "params in blocks of one": lambda: HEADER + ENVELOPE + b"\x02\0\0" * (ROOM // 3) + b"\0",
    "params in sized blocks of one": lambda: HEADER + ENVELOPE + b"\x01\x04\0\0" * (ROOM // 4) + b"\0",
    "params that end too soon": lambda: _params(b"\0")[:-1],
    "params, bytes left over": lambda: _params(b"\0") + b"\0",
    "params, the last name twice": lambda: _params(b"\0")[:-1] + block([text("p0") + b"\0"]) + b"\0",
    "params of null": lambda: _params(b"\0"),
    "params of null, older schema": lambda: _params(b"\0", header=OLDER_HEADER, envelope=text("orderCreated")),
    "params of texts": lambda: _params(string("x")),
    "params of longs": lambda: _params(LONG),
    "params of doubles": lambda: _params(b"\x08" + b"\x11" * 8),
    "params of empty arrays": lambda: _params(b"\x0a\0"),
    "params of arrays of nothing": lambda: _params(b"\x0a\x02\0\0"),
    "identifiers in all spellings": lambda: _spellings("externalCustomerId"),
    "native items of nothing": lambda: _native("items", b"\0"),
    "native items of one null": lambda: _native("items", _map(a=b"\0")),
    "native items": lambda: _native("items", NATIVE_ITEM),
    "native field of nothing": lambda: _native("size", b"\0"),
    "native field of nulls": lambda: _native("size", _map(a=b"\0")),
    "native field of texts": lambda: _native("size", _map(a="")),
    "native field of doubles": lambda: _native("size", _map(a=b"\x08" + b"\x11" * 8)),
    "native field, one big map": lambda: _with(
        "size", b"\x0a" + block([block(_until_full(text(f"{n:x}") + LONG for n in itertools.count())) + b"\0"]) + b"\0"
    ),
}
READING = {
    **{f"items of {element}": partial(_elements, element) for element in ("0", "{}", "[]", '""', "null", "1.5")},
    **{f"an item's {element}": partial(_nested, element) for element in ("0", "{}", "[]", '""', "null", "1.5")},
    **{
        f"an item's {element}, and then {last[:6]}": partial(_nested, element, last)
        for element in ("1", "1.5", '"x"', "[]")
        for last in ("9" * 4_301, "1e400", '"\\ud800"', "x")
    },
    "items of escapes": lambda: _elements('"\\u0000"'),
    "items, right": lambda: right(items=_items(ROOM)),
    "items, one of many attributes": lambda: right(items=_attributes(ROOM)),
    "items, one of objects in each other": lambda: _nested('{"a":' * 90 + "1" + "}" * 90),
    "items, brackets open": lambda: _text("items", "["),
    "items, objects open": lambda: _text("items", '{"a":'),
    "items, brackets in texts": lambda: _elements('"["'),
    "items, a text that never ends": lambda: _text("items", '\\"', "[" * 101 + '"'),
    "items, backslashes that never end": lambda: _text("items", "\\", "[" * 101 + '"'),
    "items, quotes": lambda: _text("items", '"', "[" * 101),
    "items, white space": lambda: _text("items", " ", "[", "]"),
    "quantity of endless digits": lambda: _attribute("quantity", "9"),
    "cost of endless digits": lambda: _attribute("cost", "9"),
    "cost of endless places": lambda: _attribute("cost", "0", '"0.', '1"'),
    "attribute of endless digits": lambda: _attribute("a", "9"),
    "attribute of an endless exponent": lambda: _attribute("a", "0", "1e-"),
    "attribute of escaped quotes": lambda: _attribute("a", '\\"', '"', '"'),
    "attribute of surrogate pairs": lambda: _attribute("a", "\\ud83d\\ude00", '"', '"'),
    "e-mail address of white space": lambda: _text("email", " "),
    "e-mail address that grows in lower case": lambda: _text("email", "\u0130"),
    "text of wide white space": lambda: _text("cartId", "\u2003", "x", "x"),
    "text of four-byte characters": lambda: _text("cartId", "\U0010ffff"),
    "amount of endless digits": lambda: _text("totalCost", "0"),
    "amount of endless places": lambda: _text("totalCost", "0", "0.", "1"),
    "date of endless digits": lambda: _text("date", "1", "2021-01-01T00:00:00."),
    "order id of endless digits": lambda: _text("externalOrderId", "1"),
}
_MOST = 860_000  # bytes of an event whose fact still fits
_PARAMS = MAX_ELEMENTS - len(RIGHT) - 1  # beside the right ones and an array
_VALUES = MAX_ELEMENTS - len(RIGHT_ITEM) - 3  # elements of an array beside the right attributes of an item
_ITEMS = (MAX_ELEMENTS - 1) // (len(RIGHT_ITEM) + 1)
AT_THE_BOUND = {
    "most params of null": lambda: _params(b"\0", most=_PARAMS),
    "most params of null, older schema": lambda: _params(
        b"\0", most=_PARAMS, header=OLDER_HEADER, envelope=text("orderCreated")
    ),
    "most params of texts": lambda: _params(string("x"), most=_PARAMS),
    "most params of long names and texts": lambda: _params(string("x" * 24), start="p" * 20, most=_PARAMS),
    "most params of longs": lambda: _params(LONG, most=_PARAMS),
    "most params of doubles": lambda: _params(b"\x08" + b"\x11" * 8, most=_PARAMS),
    "most params of empty arrays": lambda: _params(b"\x0a\0", most=_PARAMS),
    "most params of arrays of nothing": lambda: _params(b"\x0a\x02\0\0", most=_PARAMS // 2),
    "most identifiers in all spellings": lambda: _spellings("externalCustomerId", most=_PARAMS),
    "most native items": lambda: _native("items", NATIVE_ITEM, _PARAMS // (1 + len(RIGHT_ITEM))),
    "most native field of nothing": lambda: _native("size", b"\0", _PARAMS),
    "most native field of texts": lambda: _native("size", _map(a=""), _PARAMS // 2),
    "most native field of doubles": lambda: _native("size", _map(a=b"\x08" + b"\x11" * 8), _PARAMS // 2),
    **{
        f"most of an item's {element[:6]}, and then {last[:6]}": partial(_nested, element, last, _VALUES)
        for element in ("1", "1.5", '"' + "x" * 40 + '"', "9" * 40, "[]")
        for last in ("1", "9" * 4_301, "1e400")
    },
    "most items": lambda: right(items=_items(_MOST, _ITEMS)),
    "most attributes of an item": lambda: right(items=_attributes(_MOST, _VALUES)),
}


def _onto(first, second):
    return lambda: [first(), second()]


_ORDERS = {
    "items": lambda: right(items=_items(_MOST, _ITEMS)),
    "an item of many attributes": lambda: right(items=_attributes(_MOST, _VALUES)),
    "fields": lambda: _params(LONG, most=_PARAMS),
}
_CHANGES = {
    "delivered": lambda: value_of("orderDelivered", {"externalOrderId": RIGHT["externalOrderId"]}),
    "updated by little": lambda: value_of("orderUpdated", {"externalOrderId": RIGHT["externalOrderId"], "source": "x"}),
    "updated by nothing": lambda: value_of("orderUpdated", {"externalOrderId": RIGHT["externalOrderId"]}),
    "updated by items": lambda: value_of(
        "orderUpdated", {"externalOrderId": RIGHT["externalOrderId"], "items": _items(_MOST, _ITEMS)}
    ),
    "updated by fields": lambda: _params(LONG, start="q", envelope=UPDATE, most=_PARAMS),
    "updated by the same fields": lambda: _params(string("x"), envelope=UPDATE, most=_PARAMS),
}
FOLDING = {
    f"order of {order}, {change}": _onto(first, second)
    for order, first in _ORDERS.items()
    for change, second in _CHANGES.items()
}
KINDS = {
    **{name: (lambda make=make: [make()]) for name, make in (DECODING | READING | AT_THE_BOUND).items()},
    **FOLDING,
}


ENDS = (("", ""), ("[", "]"), (f"[{OBJECT},", "}]"), (f'[{OBJECT},"a":[', "]}]"), ("[" * 101, ""))


def named(name):
    """Give the case of a kind."""
    values = KINDS[name]()
    key = KEY
    if name == "order id of endless digits":
        key = b"1" * (len(values[0]) - 1_000)
    return Case(records_of(values, key), name=name)


def grown(random):
    """Give a case in which something hostile is repeated, somewhere, up to the limit or near it."""
    unit = "".join(random.choices((*HOSTILE_TEXTS, *'[]{}",:\\ 0aé"', OBJECT + "}"), k=random.randrange(1, 4)))[:9000]
    start, end = random.choice(ENDS)
    comma = random.choice(("", ",", ":"))
    name = random.choice(TEXT_PLACES)
    last = unit if comma and end else ""
    unit = unit.encode(errors="replace").decode() + comma or " "
    value = _text(name, unit, start + random.choice(("", '"')), last + end)
    before = [right(items=_items(1_000))] if random.random() < 0.2 else []
    rules = random.choice((Rules(), STRICT, Rules(on_duplicate_create="update")))
    return Case(records_of([*before, value]), rules, name=f"{name} of {unit[:40]!r} after {start[-20:]!r}")
