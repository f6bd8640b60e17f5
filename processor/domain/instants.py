"""Dates as events write them (D8): a text or a number in, milliseconds since the epoch out."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final

from processor.domain.values import InvalidValue

_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<minute>(?:[01][0-9]|2[0-3]):[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<offset>[Zz]|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?)?",
)
_DAY_FIRST = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2,4}\b.*", re.DOTALL)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are counted from it, without a zone
_FIRST_YEAR: Final = 1970
_WHOLE: Final = len("YYYY-MM-ddTHH:mm:ss")
_FIRST_MS: Final = 10**11  # a smaller number may be seconds
_LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999
_EXPECTED: Final = "expected YYYY-MM-ddTHH:mm:ss, with an optional fraction and offset, or a long of milliseconds"
_MILLISECONDS: Final = f"milliseconds expected: a whole number from {_FIRST_MS} to {_LAST_MS}"


def parse_date(value: object, zone: tzinfo) -> int:
    """Return a date's instant in ms since the epoch, UTC (D8).

    A date without an offset is local time in `zone`. If it occurs twice, it is the earlier one; if it never occurs, it
    moves forward by the gap. A fraction is cut to ms. Only the text's year must be 1970 to 9999; the instant may be
    outside. An integer or a whole double is the instant itself, in ms. Raises InvalidValue.
    """
    if isinstance(value, str):
        usual_ms = _usual(value, zone)
        return _any_form(value, zone) if usual_ms is None else usual_ms
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and _FIRST_MS <= value <= _LAST_MS:
        return value
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    raise InvalidValue(_MILLISECONDS if is_number else _EXPECTED)


def _usual(value: str, zone: tzinfo) -> int | None:
    """Read YYYY-MM-ddTHH:mm:ss, or with a space for the T, with a Z or without; None: `_any_form` must judge it.

    0.7 us instead of 1.3.
    """
    suffix = value[_WHOLE:]
    if (
        value[4:17:3] not in ("--T::", "-- ::")
        or len(value) < _WHOLE
        or (suffix and suffix != "Z")
        or value[11:13] >= "24"
    ):
        return None
    try:
        local = datetime.fromisoformat(value[:_WHOLE])
    except ValueError:
        return None
    if local.year < _FIRST_YEAR or local.tzinfo is not None:  # "T10:20:Z\0" is a time with its zone
        return None
    return _whole_ms(local - _EPOCH) - (0 if suffix or zone is UTC else _offset_ms(None, local, zone))


def _any_form(value: str, zone: tzinfo) -> int:
    trimmed = value.strip()  # D4
    parts = _DATE.fullmatch(trimmed)
    if parts is None:
        day_first = _DAY_FIRST.fullmatch(trimmed) is not None
        raise InvalidValue("day and month have two meanings: expected YYYY-MM-ddTHH:mm:ss" if day_first else _EXPECTED)
    day, minute, second, fraction, offset = parts.groups()
    try:
        # A day alone is its first moment, which is not midnight where the clocks change then.
        local = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}")
    except ValueError as error:
        raise InvalidValue("names a day or time that does not exist") from error
    if local.year < _FIRST_YEAR:
        raise InvalidValue("expected a year from 1970 to 9999")
    cut_ms = 0 if fraction is None else int(fraction.ljust(3, "0")[:3])
    return _whole_ms(local - _EPOCH) + cut_ms - _offset_ms(offset, local, zone)


def _whole_ms(span: timedelta) -> int:
    # Several times as fast as dividing by a timedelta.
    return (span.days * 86_400 + span.seconds) * 1_000 + span.microseconds // 1_000


def _offset_ms(written: str | None, local: datetime, zone: tzinfo) -> int:
    if written in ("Z", "z"):
        return 0
    if written is None:
        # fold=0: of two equal local times the first; in a gap the offset before it, which moves the time forward.
        return _whole_ms(zone.utcoffset(local) or timedelta(0))
    ahead_ms = (int(written[1:3]) * 60 + int(written[-2:])) * 60_000
    return ahead_ms if written[0] == "+" else -ahead_ms


def instant_text(ms: int) -> str:
    """Write an instant as ISO 8601 with ms and Z; one outside the years 1 to 9999 as its ms."""
    try:
        instant = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms}ms"
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
