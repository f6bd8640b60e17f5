"""Single values of events: what is filled, money, text, numbers (D4, D5, D6, D11).

Takes values as Avro or JSON has them; gives the value as an order keeps it, or raises `InvalidValue`.
"""

import json
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from json.encoder import encode_basestring as json_string
from math import isfinite
from typing import Any, Final

import msgspec

from processor.domain.records import Digits, Scalar

MONEY_PLACES: Final = 4
MONEY_LIMIT: Final = 10**14  # D6: an amount is below this, before and after rounding
_UNITS: Final = 10**MONEY_PLACES
_EXACT_BELOW: Final = 10.0**11  # 15 digits with four places
_MOST_DIGITS: Final = 4_300  # that int() takes
_SHORT: Final = 14  # characters: below the limit, whatever they are
_WHOLE_BELOW: Final = 2.0**53  # a double distinguishes all whole numbers below
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_SEPARATED = re.compile(r"[+-]?[0-9][0-9.,'\s]*")
_HALF = re.compile(r"[\ud800-\udfff]")  # Python's strings hold no other surrogates
_FOUR_PLACES = Decimal("0.0001")
_ROUNDING = Context(prec=40, rounding=ROUND_HALF_EVEN)


class InvalidValue(ValueError):  # noqa: N818
    """A value that a rule refuses; the text says what is expected, never the value itself."""


def is_filled(value: object) -> bool:
    """Return whether a parameter or attribute counts as present (D4).

    Not filled: null, and a string that is blank or `null` in any case after trimming Unicode white space.
    """
    if isinstance(value, str):
        trimmed = value.strip()
        return len(trimmed) > 4 or (trimmed != "" and trimmed.lower() != "null")
    return value is not None


def number_in(text: str) -> str:
    """Return the number that a text holds, trimmed: digits, at most one point between them, an exponent (D4, D6).

    It may have a minus. Raises InvalidValue for any other text, and says where one has two meanings.
    """
    trimmed = text.strip()
    if _NUMBER.fullmatch(trimmed) is not None:
        return trimmed
    if _SEPARATED.fullmatch(trimmed) is not None:
        raise InvalidValue("separators have two meanings (1,234 may be 1.234): expected digits with at most one point")
    raise InvalidValue("expected a number such as 258.0")


def whole_text(value: object) -> str | None:
    """Return the digits of an integer, or of a double that is a whole number below 2^53 in size; else None (D5)."""
    if isinstance(value, float):
        return str(int(value)) if -_WHOLE_BELOW < value < _WHOLE_BELOW and value.is_integer() else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def money(value: Any, *, signed: bool = False) -> int:
    """Return an amount in units of 0.0001, rounded half-even; with `signed` it may be negative (D6).

    Takes a text (see `number_in`), an integer, a double (the number its shortest text says) or a decimal.
    Raises InvalidValue for anything else, a non-finite number, and a size of 10^14 or more.
    """
    # Nearly all amounts are doubles with at most four places. Doubles distinguish decimals of up to 15 digits, so a
    # double that equals one with four places is the number of its shortest text. 0.2 us instead of 2.2.
    if value.__class__ is float:
        if 0 <= value < _EXACT_BELOW:
            units = round(value * _UNITS)
            if units / _UNITS == value:
                return units
    elif value.__class__ is int:
        if 0 <= value < MONEY_LIMIT:
            return value * _UNITS
    elif value.__class__ is str and len(value) < _SHORT and value.isascii():
        whole, point, fraction = value.partition(".")
        if whole.isdigit() and len(fraction) <= MONEY_PLACES and (fraction.isdigit() or not point):
            return int(whole + fraction.ljust(MONEY_PLACES, "0"))
    return _rounded(value, signed=signed)


def signed_money(value: Any) -> int:
    """Return an amount that may be negative: a discount, or the cost of an item (D6)."""
    return money(value, signed=True)


def _rounded(value: object, *, signed: bool) -> int:
    amount = _amount(value)
    if not amount.is_finite():
        raise InvalidValue("expected a finite number")
    # A text has no minus then, not even before a 0; of a double, -0.0 is 0.
    if not signed and (amount < 0 or (isinstance(value, str) and amount.is_signed())):
        raise InvalidValue("expected a number of 0 or more")
    if not -MONEY_LIMIT < amount < MONEY_LIMIT:
        raise InvalidValue("expected a number below 10^14")
    units = int(amount.quantize(_FOUR_PLACES, context=_ROUNDING).scaleb(MONEY_PLACES))
    if abs(units) >= MONEY_LIMIT * _UNITS:
        raise InvalidValue("expected a number below 10^14")
    return units


def _amount(value: object) -> Decimal:
    match value:
        case str():
            return Decimal(number_in(value))
        case Decimal():
            return value
        case float():
            return Decimal(repr(value))
        case Digits(text):
            return Decimal(text)
        case int() if not isinstance(value, bool):
            return Decimal(value)
        case _:
            raise InvalidValue("expected a number")


def money_text(units: int) -> str:
    """Write an amount given in units of 0.0001 as a decimal number with four places."""
    whole, fraction = divmod(abs(units), _UNITS)
    return f"{'-' if units < 0 else ''}{whole}.{fraction:04d}"


def number_text(value: float | Digits | Decimal) -> str:
    """Return a number's or boolean's JSON text: `5`, `5.0`, `true`; a decimal with all its places (D10, D11)."""
    match value:
        case bool():
            return "true" if value else "false"
        case Digits(text):
            return text
        case float():
            return repr(finite(value))
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def finite(value: float) -> float:
    """Return the double, or raise InvalidValue for a NaN or an infinity."""
    if not isfinite(value):
        raise InvalidValue("expected a finite number")
    return value


def sound(text: str) -> str:
    """Return the text, or raise InvalidValue if it holds a lone surrogate (D10)."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue("holds half a surrogate pair") from error
    return text


def json_text(value: object) -> str:
    """Rewrite a JSON value (D10, D11): compact, names in order, non-ASCII as itself, integers exact.

    Raises InvalidValue for a NaN, an infinity, a number beyond double, or a lone surrogate.
    """
    if isinstance(value, list | dict):
        try:
            return sound(_JSON_WRITER.encode(value))  # in C: a tenth of the time
        except (TypeError, ValueError):  # `Digits`, or a value to be refused below
            return _json_text_plainly(value)
    return _json_text_plainly(value)


def _json_text_plainly(value: object) -> str:
    match value:
        case None:
            return "null"
        case str():
            return json_string(sound(value))
        case list():
            return "[" + ",".join([_json_text_plainly(element) for element in value]) + "]"
        case dict():
            pairs = [f"{json_string(sound(name))}:{_json_text_plainly(element)}" for name, element in value.items()]
            return "{" + ",".join(pairs) + "}"
        case int() | float() | Digits():
            return number_text(value)
        case _:
            raise InvalidValue(f"cannot be written as JSON: {type(value).__name__}")


def same_values(one: dict[str, Scalar], other: dict[str, Scalar]) -> bool:
    """Compare two maps of scalars, whatever the order of their names (D22)."""
    return one == other and all(type(value) is type(other[name]) for name, value in one.items())


def parse_json(text: str) -> object:
    """Read JSON: integers too long for Python become `Digits`, a number beyond double an infinity.

    Raises InvalidValue if it is not JSON; NaN and Infinity are not (D10).
    """
    try:
        return _QUICK_JSON.decode(text)  # a third of the time, and the same value if it takes the text (tested)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _parse_json_plainly(text)


def parse_mended_json(text: str) -> object:
    """Read JSON as `parse_json` does, but lone surrogates become U+FFFD, in names too (D10)."""
    try:
        return _QUICK_JSON.decode(text)  # takes no lone surrogate
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _mended(_parse_json_plainly(text))


def _mended(value: Any) -> Any:
    match value:
        case str():
            return value if value.isascii() else _HALF.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_mended(element) for element in value]
        case dict():
            return {_mended(name): _mended(element) for name, element in value.items()}
        case _:
            return value


def _parse_json_plainly(text: str) -> object:
    try:
        return _JSON.decode(text)
    except RecursionError as too_deep:
        raise InvalidValue("is nested too deep") from too_deep
    except ValueError as error:
        raise InvalidValue("is not JSON") from error


def _integer(digits: str) -> int | Digits:
    return int(digits) if len(digits) <= _MOST_DIGITS else Digits(digits)


def _no_constant(name: str) -> object:
    raise ValueError(name)


_JSON_WRITER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_QUICK_JSON: Final = msgspec.json.Decoder()
_JSON: Final = json.JSONDecoder(parse_int=_integer, parse_constant=_no_constant)
