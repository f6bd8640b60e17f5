"""The items of an order (D10)."""

import json
import math
import re
from typing import Any

from tests.reference.model import RefusedError
from tests.reference.values import (
    LONE_SURROGATE,
    BigInteger,
    integer_text,
    is_filled,
    is_integer,
    is_storable,
    json_text,
    money,
    number_text,
    whole_number_text,
)

REQUIRED = {
    "strict": ("externalItemId", "name", "quantity", "cost", "url", "imageUrl"),
    "lenient": ("externalItemId", "quantity"),
}
TEXTS = ("name", "category", "url", "imageUrl", "description")
MOST_VALUES = 20_000  # one for each opening bracket and each comma
DEEPEST_LEVEL = 100  # the items array itself is level 1
STRING_OR_MARK = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]|,', re.DOTALL)


def read_items(value, item_profile):
    """Give the order's items as dicts of OrderItem; the first thing wrong raises RefusedError with its path."""
    if isinstance(value, str):
        value = _parse(value)
        if isinstance(value, str):
            value = _parse(value)  # JSON in JSON, and no deeper
    if item_profile == "lenient":
        value = _mended(value)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise RefusedError("invalid_items", "items")
    items = [_read_item(item, f"items[{index}]", item_profile) for index, item in enumerate(value)]
    return [item for item in items if item["quantity"] != 0]  # nothing was bought


def _mended(value):
    """Give the value with U+FFFD for each lone surrogate, at any depth."""
    if isinstance(value, str):
        return LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(element) for element in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(element) for name, element in value.items()}
    return value


def _parse(text):
    tokens = STRING_OR_MARK.findall(text)
    if sum(token in "[{," for token in tokens) > MOST_VALUES or _depth(tokens) > DEEPEST_LEVEL:
        raise RefusedError("invalid_items", "items")
    try:
        return json.loads(text, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except ValueError:
        raise RefusedError("invalid_items", "items") from None


def _depth(tokens):
    """Count the deepest nesting of brackets outside strings, before a parser has to go as deep."""
    # An object alone is the only one of an array that is not written.
    level = deepest = 1 if tokens[:1] == ["{"] else 0
    for token in tokens:
        if token in "[{":
            level += 1
            deepest = max(deepest, level)
        elif token in "]}":
            level -= 1
    return deepest


def _parse_integer(digits):
    if len(digits) > 20:  # JSON has no leading zeros: more than 64 bits
        return BigInteger(digits)
    number = int(digits)
    return number if -(2**63) <= number < 2**63 else BigInteger(digits)


def _refuse_constant(name):
    raise ValueError(name)  # NaN, Infinity, -Infinity: Python's parser knows them, JSON does not


def _read_item(item, path, item_profile):
    if not isinstance(item, dict):
        raise RefusedError("invalid_items", path)
    filled = {name: value for name, value in item.items() if is_filled(value)}
    for name in REQUIRED[item_profile]:
        if name not in filled:
            raise RefusedError("invalid_items", f"{path}.{name}")
    own: dict[str, Any] = {"externalItemId": None, **dict.fromkeys(TEXTS), "quantity": None, "cost": None}
    custom: dict[str, Any] = {}
    for name, value in filled.items():
        if not is_storable(name):
            raise RefusedError("invalid_items", path)
        kept = _read_attribute(name, value, item_profile)
        if kept is None:
            raise RefusedError("invalid_items", f"{path}.{name[:100]}")
        (own if name in own else custom)[name] = kept
    return {**own, "custom": custom}


def _read_attribute(name, value, item_profile):
    """Give the attribute as the fact has it, or None where it is wrong."""
    if not is_storable(value):
        return None
    if name == "externalItemId":
        return value if isinstance(value, str) else whole_number_text(value)
    if name in TEXTS:
        if isinstance(value, str):
            return value
        return json_text(value) if is_integer(value) or isinstance(value, float) else None
    if name == "quantity":
        quantity = _quantity(value)
        return None if item_profile == "strict" and quantity is not None and quantity <= 0 else quantity
    if name == "cost":
        return money(value, may_be_negative=True)
    if isinstance(value, BigInteger):
        return value.digits
    return json_text(value) if isinstance(value, list | dict) else value


def _quantity(value):
    """Give a finite double, or None; a text or integer too large for a double is none."""
    if isinstance(value, str):
        digits = number_text(value, may_be_negative=True)
        if digits is None:
            return None
        number = float(digits)
    elif is_integer(value):
        number = float(integer_text(value))
    elif isinstance(value, float):
        number = value
    else:
        return None
    return number if math.isfinite(number) else None
