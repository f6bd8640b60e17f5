"""Bytes as a coverage-guided fuzzer changes them, read as a case: any bytes are one, and few of them are wasted.

    form    = settings byte, then records
    record  = kind byte, then up to the next FF: the event type, and a name and a value in turn, each after an FE
    value   = '"' text | '#' long | '.' double | '+' true | '-' false | '0' null | '$' a decimal's digits, four of them
              behind the point | '{' map: names and values in turn, each after an FC | '[' elements, each after an FD:
              a value after an '=', or a map

Kinds: E an event, B the same in sized blocks, K without its key; R takes all the rest as the bytes behind the first
version's header (N: the newest's, O: the older schema's), and H as a whole value. FC to FF are in no UTF-8, so that
they part any texts.
"""

import struct
from contextlib import suppress
from decimal import Decimal

from processor.domain.records import Record
from tests.fuzz.case import HEADER, KEY, MAX_EVENT_BYTES, NEWEST_HEADER, OLDER_HEADER, Case, value_of
from tests.reference import Rules
from tests.support.cases import key_text

RULES = (
    Rules(),
    Rules(item_profile="strict"),
    Rules(default_currency="UAH", time_zone="Europe/Kyiv"),
    Rules(on_owner_conflict="reassign", on_duplicate_create="update"),
    Rules(max_event_bytes=300, max_fact_bytes=250),
    Rules(identification=(("Token", "email"), ("colour", "externalCustomerId"))),
    Rules(identification=(("externalOrderId", "contactId"), ("email", "email")), time_zone="Pacific/Apia"),
    Rules(statuses=(("paid", "IN_PROGRESS"),), on_duplicate_create="update", time_zone="America/Sao_Paulo"),
    Rules(occurred_at_parameter="occurredAt", on_duplicate_create="update", on_null="clear", time_zone="Europe/Kyiv"),
)
RAW = {b"R": HEADER, b"N": NEWEST_HEADER, b"O": OLDER_HEADER, b"H": b""}
MAX_RECORDS = 6
NESTED = (b"[", b"{", b"$")  # not within a map or an array


def case_of(form):
    """Give the case that these bytes are."""
    rules = RULES[form[0] % len(RULES)] if form else RULES[0]
    records, rest = list[Record](), form[1:]
    while rest and len(records) < MAX_RECORDS:
        kind = rest[:1]
        if kind in RAW:
            key, value, rest = KEY, RAW[kind] + rest[1:], b""
        else:
            event, _, rest = rest[1:].partition(b"\xff")
            key, value = _event(kind, event)
        records.append(Record(0, len(records), 1_000, key, value[: MAX_EVENT_BYTES + 1]))
    return Case(tuple(records), rules, name="guided")


def form_of(params, event_type="orderCreated", kind=b"E", settings=0):
    """Give the bytes that are read as one event with these parameters."""
    fields = [event_type.encode()]
    for name, value in params.items():
        fields += [name.encode(), _written(value)]
    return bytes([settings]) + kind + b"\xfe".join(fields)


def _event(kind, event):
    event_type, *fields = event.split(b"\xfe")
    names, values = fields[::2], [*fields[1::2], b"0"]
    params = [(_text(name), _value(value)) for name, value in zip(names, values, strict=False)]
    cut = (lambda length: [(1, True)] * (length > 1)) if kind == b"B" else (lambda _length: [])
    order_id = next((value for name, value in params if name == "externalOrderId"), None)
    key = None if kind == b"K" or order_id is None else key_text(order_id).encode()
    return key, value_of(_text(event_type), params, cut)


def _value(raw):
    kind, rest = raw[:1], raw[1:]
    match kind:
        case b"#":
            return _long(rest)
        case b".":
            return struct.unpack("<d", rest[:8].ljust(8, b"\0"))[0]
        case b"+" | b"-":
            return kind == b"+"
        case b"0":
            return None
        case b"$":
            return Decimal(f"{_digits(rest)}E-4")
        case b"{":
            return _map(rest)
        case b"[":
            return [_element(part) for part in rest.split(b"\xfd")[1:]]
    return _text(rest if kind == b'"' else raw)


def _element(raw):
    return _scalar(raw[1:]) if raw[:1] == b"=" else _map(raw)


def _scalar(raw):
    return _value(b'"' + raw[1:] if raw[:1] in NESTED else raw)


def _map(raw):
    parts = raw.split(b"\xfc")
    return dict(zip(map(_text, parts[::2]), map(_scalar, parts[1::2]), strict=False))


def _long(digits):
    return max(-(1 << 63), min(_digits(digits), (1 << 63) - 1))


def _digits(digits):
    with suppress(ValueError):
        return int(digits[:30])
    return len(digits)


def _text(raw):
    return raw.decode(errors="replace")


def _written(value):
    match value:
        case None:
            return b"0"
        case bool():
            return b"+" if value else b"-"
        case int():
            return b"#%d" % value
        case float():
            return b"." + struct.pack("<d", value)
        case Decimal():
            return b"$%d" % int(value.scaleb(4))
        case dict():
            return b"{" + _written_map(value)
        case list():
            elements = (_written_map(one) if isinstance(one, dict) else b"=" + _written(one) for one in value)
            return b"[" + b"".join(b"\xfd" + element for element in elements)
    return b'"' + value.encode(errors="replace")


def _written_map(value):
    return b"\xfc".join(part for name, one in value.items() for part in (name.encode(), _written(one)))
