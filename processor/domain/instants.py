"""Dates as events write them (D8): text in, milliseconds since the epoch out."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from processor.domain.values import InvalidValue

_DATE = re.compile(
    r"(?P<local>[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?P<offset>Z|[+-](?:[01][0-9]|2[0-3]):?[0-5][0-9])?",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are counted from it, without a zone
_FIRST_YEAR: Final = 1970
_EXPECTED: Final = "expected YYYY-MM-ddTHH:mm:ss, with an optional fraction and offset"


def parse_date(value: object, zone: tzinfo) -> int:
    """Return a date's instant in ms since the epoch, UTC (D8).

    A date without an offset is local time in `zone`: of a time that occurs twice the earlier one, and
    one that never occurs moves forward by the gap. A fraction is cut to ms. The instant may lie
    outside the years 1970 to 9999, which only the text must keep. Raises InvalidValue.
    """
    parts = _DATE.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        raise InvalidValue(_EXPECTED)
    text, fraction, offset = parts.groups()
    try:
        local = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidValue("names a day or time that does not exist") from error
    if local.year < _FIRST_YEAR:
        raise InvalidValue("expected a year from 1970 to 9999")
    cut_ms = 0 if fraction is None else int(fraction.ljust(3, "0")[:3])
    return _whole_ms(local - _EPOCH) + cut_ms - _offset_ms(offset, local, zone)


def _whole_ms(span: timedelta) -> int:
    # several times as fast as a division by a timedelta
    return (span.days * 86_400 + span.seconds) * 1_000 + span.microseconds // 1_000


def _offset_ms(written: str | None, local: datetime, zone: tzinfo) -> int:
    if written == "Z":
        return 0
    if written is None:
        # fold=0: the first of two equal local times; in a gap the offset before it, which moves forward
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
