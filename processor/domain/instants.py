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
_MS: Final = timedelta(milliseconds=1)
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
    try:
        local = datetime.fromisoformat(parts["local"])
    except ValueError as error:
        raise InvalidValue("names a day or time that does not exist") from error
    if local.year < _FIRST_YEAR:
        raise InvalidValue("expected a year from 1970 to 9999")
    whole_ms = (local - _EPOCH) // _MS + int((parts["fraction"] or "0").ljust(3, "0")[:3])
    return whole_ms - _offset(parts["offset"], local, zone) // _MS


def _offset(written: str | None, local: datetime, zone: tzinfo) -> timedelta:
    if written is None:
        # fold=0: the first of two equal local times; in a gap the offset before it, which moves forward
        return zone.utcoffset(local) or timedelta(0)
    if written == "Z":
        return timedelta(0)
    ahead = timedelta(hours=int(written[1:3]), minutes=int(written[-2:]))
    return ahead if written[0] == "+" else -ahead


def instant_text(ms: int) -> str:
    """Write an instant as ISO 8601 with ms and Z; one outside the years 1 to 9999 as its ms."""
    try:
        instant = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms}ms"
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
