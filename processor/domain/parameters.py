"""How each parameter of an order is read, by its name: the field that it fills and what reads its value (D5 to D12).

Takes single values as Avro has them; gives what the order keeps of them, or raises `InvalidValue`. Never looks at
another parameter: what they mean together is the business of `events`.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from processor.domain.instants import parse_date
from processor.domain.orders import STATUSES
from processor.domain.records import TEXTS, Parsing, Role, Scalar
from processor.domain.values import InvalidValue, finite, json_text, money, number_text, signed_money, whole_text

ORDER_ID: Final = "externalOrderId"
ORDER_ID_FIELD: Final = "order_id"
OCCURRED_AT_FIELD: Final = "occurred_at_ms"
CURRENCY_ALIAS: Final = "currencyCode"
MAX_ORDER_ID_CHARACTERS: Final = 300
_NO_WORDS: Final[Mapping[str, str]] = {}
_KEPT_NAMES: Final = 4_096  # producers choose the names, so this bounds how many are remembered


def role_of(name: str, parsing: Parsing) -> Role:
    """Work out the role of parameters with this name, and remember it."""
    lower = name.lower()
    ranks = parsing.identification.ranks.get(lower, ())
    field: str | None = None
    read: Callable[[Any], object] | None = _custom
    if name == "date":
        field, read = "date_ms", partial(parse_date, zone=parsing.zone)
    elif name == parsing.occurred_at:
        field, read = OCCURRED_AT_FIELD, partial(parse_date, zone=parsing.zone)
    elif name == "status":
        field, read = "status", partial(_status, words=parsing.statuses) if parsing.statuses else _status
    elif name in _COLUMNS:
        field, read = _COLUMNS[name]
    elif lower in parsing.identification.names:
        read = None
    role = Role(field, read, ranks, read in _KEEP_TEXTS)
    if len(parsing.roles) >= _KEPT_NAMES:
        parsing.roles.clear()
    parsing.roles[name] = role
    return role


def order_id_text(value: object) -> str | None:
    """Return the order id that a value stands for, None if it can be none: a text, or a whole number's digits (D5)."""
    return value if isinstance(value, str) else whole_text(value)


def short_id(value: object) -> str:
    """Return an order id that `order_id_text` takes, if it is short enough (D5)."""
    order_id = order_id_text(value)
    if order_id is None or len(order_id) > MAX_ORDER_ID_CHARACTERS:
        raise InvalidValue(f"expected at most {MAX_ORDER_ID_CHARACTERS} characters")
    return order_id


def own_word(status: str, parsing: Parsing) -> str | None:
    """Return the shop's own word for a status, trimmed, None if it is not one that is translated (D7)."""
    word = status.strip()
    return word if word.lower() in parsing.statuses else None


def _as_it_is(value: object) -> object:
    """Keep the items for last: their reason comes after those of all other parameters."""
    return value


def _status(value: object, words: Mapping[str, str] = _NO_WORDS) -> str:
    """Read a status, in any case, or one of the shop's own words for it (D7)."""
    if isinstance(value, str):
        if value in STATUSES:
            return value
        trimmed = value.strip()
        # ASCII letters only: upper() makes one of theirs of a dotless i, too.
        if trimmed.isascii() and (status := trimmed.upper()) in STATUSES:
            return status
        if (translated := words.get(trimmed.lower())) is not None:
            return translated
    raise InvalidValue(f"expected one of {', '.join(STATUSES)}; the setting `statuses` maps other words to them")


def _currency(value: object) -> str:
    """Read a currency (D9)."""
    if isinstance(value, str):
        letters = value if len(value) == 3 else value.strip()
        if len(letters) == 3 and letters.isascii() and letters.isalpha():
            return letters.upper()
    raise InvalidValue("expected three letters")


def _text(value: object) -> str:
    """Read a text; of another value its JSON text is kept, of a decimal all its places (D11)."""
    match value:
        case str():
            return value
        case list() | dict():
            return json_text(value)
        case int() | float() | Decimal():
            return number_text(value)
        case _:
            raise InvalidValue("expected a text")


def _id_text(value: object) -> str:
    """Read the text of a column that shops fill with numbers: a whole double is its digits (D11)."""
    digits = whole_text(value) if isinstance(value, float) else None
    return _text(value) if digits is None else digits


def _custom(value: object) -> Scalar:
    """Read a custom field: with its type; of an array or object its JSON text, of a decimal all its places (D11)."""
    match value:
        case float():
            return finite(value)
        case bool():  # not together with int: compiled, a pattern for both would give 1 for true
            return value
        case str() | int():
            return value
        case Decimal():
            return number_text(value)
        case _:
            return json_text(value)


_KEEP_TEXTS: Final = (_text, _id_text, _custom)  # these return a text unchanged
_COLUMNS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    **{name: (field, _text) for name, field in TEXTS.items()},
    "externalCustomerId": (TEXTS["externalCustomerId"], _id_text),
    "phone": (TEXTS["phone"], _id_text),
    ORDER_ID: (ORDER_ID_FIELD, short_id),
    "items": ("items", _as_it_is),
    "totalCost": ("total_cost", money),
    "shipping": ("shipping", money),
    "discount": ("discount", signed_money),
    "taxes": ("taxes", money),
    "currency": ("currency", _currency),
    CURRENCY_ALIAS: (CURRENCY_ALIAS, _currency),
}
ORDER_PARAMETERS: Final = frozenset({"date", "status", *_COLUMNS})
"""The names that the rules D5 to D11 read, exact."""
