"""Single values: filled or not, money, dates, texts, custom fields (D4, D6 to D9, D11).

Each reader gives the value as the fact has it, or None where the rule is broken: no rule lets an unfilled
value through to a reader, so None is never a good value.
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_EVEN, Context, Decimal
from zoneinfo import ZoneInfo

STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
NUMBER = re.compile(r"(-?)[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")  # D6: nothing else, a point only between digits
DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
TIME = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))?")
EPOCH_MS = (10**11, 253402300799999)  # D8: a number of milliseconds is neither smaller nor greater
CURRENCY = re.compile(r"[A-Za-z]{3}")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # Python's strings hold no other surrogates
MONEY_LIMIT = Decimal(10) ** 14
# Wide enough for a text of any length: the digits before rounding never meet a limit of the context.
MONEY_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN, Emax=MAX_EMAX, Emin=MIN_EMIN)


@dataclass(frozen=True)
class BigInteger:
    """An integer of a JSON text beyond 64 bits: its digits, never converted (they may be millions)."""

    digits: str


def is_filled(value):
    """D4: not null, and not a string that is blank or null once trimmed."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "null")
    return value is not None


def is_integer(value):
    """Tell integers of either kind; in Python a boolean is an int, in Avro and JSON it is none."""
    return isinstance(value, int | BigInteger) and not isinstance(value, bool)


def integer_text(value):
    """Give an integer as its digits."""
    return value.digits if isinstance(value, BigInteger) else str(value)


def whole_number_text(value):
    """D5: the digits of an integer, or of a double that is a whole number below 2^53 in size; else None."""
    if is_integer(value):
        return integer_text(value)
    if isinstance(value, float) and abs(value) < 2**53 and value == math.floor(value):
        return str(math.floor(value))
    return None


def number_text(value, *, may_be_negative):
    """D4, D6: the number that a text holds, trimmed, or None."""
    trimmed = value.strip()
    match = NUMBER.fullmatch(trimmed)
    if match is None or (match[1] == "-" and not may_be_negative):
        return None
    return trimmed


def money(value, *, may_be_negative=False):
    """D6: a decimal(18,4), or None."""
    if isinstance(value, str):
        digits = number_text(value, may_be_negative=may_be_negative)
        if digits is None:
            return None
        number = Decimal(digits)
    elif isinstance(value, Decimal):
        number = value
    elif is_integer(value):
        number = Decimal(integer_text(value))
    elif isinstance(value, float) and math.isfinite(value):
        number = Decimal(repr(value))
    else:
        return None
    if number < 0 and not may_be_negative:
        return None
    if not -MONEY_LIMIT < number < MONEY_LIMIT:
        return None
    rounded = number.quantize(Decimal("0.0001"), context=MONEY_CONTEXT)
    rounded = MONEY_CONTEXT.add(rounded, Decimal(0))  # -0.0000 is 0
    return rounded if -MONEY_LIMIT < rounded < MONEY_LIMIT else None


def status(value, words):
    """D7: one of the five, in any case, or what the shop's own word for it stands for; words are (word, status)."""
    if not isinstance(value, str):
        return None
    trimmed = value.strip()
    upper = "".join(letter.upper() if "a" <= letter <= "z" else letter for letter in trimmed)
    if upper in STATUSES:
        return upper
    for word, known in words:
        if word.strip().lower() == trimmed.lower():
            return known
    return None


def date_ms(value, time_zone):
    """D8: milliseconds since the epoch, or None; time_zone names the zone of a date without an offset."""
    if isinstance(value, str):
        return _written_date_ms(value.strip(), time_zone)
    if isinstance(value, float) and math.isfinite(value) and value == math.floor(value):
        value = math.floor(value)
    first, last = EPOCH_MS
    return value if is_integer(value) and first <= value <= last else None


def _written_date_ms(text, time_zone):
    day_match = DAY.match(text)
    if day_match is None:
        return None
    year, month, day = (int(digits) for digits in day_match.groups())
    rest = text[day_match.end() :]
    # A day alone is its first moment.
    time_match = TIME.fullmatch(rest[1:] if rest[:1] in ("T", "t", " ") else "" if rest else "00:00")
    if time_match is None or year < 1970:
        return None
    hour, minute, second = (int(digits or "0") for digits in time_match.groups()[:3])
    fraction, utc, sign, offset_hours, offset_minutes = time_match.groups()[3:]
    try:
        # fold=0 is the earlier of a local time that occurs twice, and reads one that never occurs with
        # the offset before the gap, which is later on the clock by the length of the gap.
        local = datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(time_zone), fold=0)
    except ValueError:
        return None
    if utc:
        offset = timedelta(0)
    elif sign:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            return None
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
        offset = -offset if sign == "-" else offset
    else:
        offset = local.utcoffset() or timedelta(0)  # a zone always has one
    # Counted by hand: the instant may lie before 1970 or after 9999, where datetime ends.
    days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    thousandths = int((fraction or "").ljust(3, "0")[:3])
    return seconds * 1000 + thousandths - offset // timedelta(milliseconds=1)


def currency(value):
    """D9: three ASCII letters, trimmed and upper-cased."""
    return value.strip().upper() if isinstance(value, str) and CURRENCY.fullmatch(value.strip()) else None


def text(value):
    """D11: what a text column keeps of any value."""
    if isinstance(value, str):
        return value
    return json_text(value) if is_storable(value) else None


def id_text(value):
    """D11: what the columns externalCustomerId and phone keep: as others, but of a whole double its digits."""
    return whole_number_text(value) or text(value)


def custom(value):
    """D11: what a custom field keeps: scalars with their type, what else there is as text."""
    if not is_storable(value):
        return None
    return json_text(value) if isinstance(value, list | dict | Decimal) else value


def is_storable(value):
    """No NaN, no infinity (or number beyond double) and no lone surrogate, at any depth."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return LONE_SURROGATE.search(value) is None
    if isinstance(value, list):
        return all(is_storable(element) for element in value)
    if isinstance(value, dict):
        return all(is_storable(name) and is_storable(element) for name, element in value.items())
    return True


def json_text(value):
    """Write a value as compact JSON: names in their order, non-ASCII as itself, doubles as repr, decimals in full."""
    if isinstance(value, dict):
        members = (f"{json_text(name)}:{json_text(element)}" for name, element in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(element) for element in value) + "]"
    if is_integer(value):
        return integer_text(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value, ensure_ascii=False)  # None, booleans, strings, finite doubles


def same(one, other):
    """D22: equal, with numbers by value, but 1, 1.0 and true three different things."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other
