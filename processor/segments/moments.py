"""The moment that a question is asked for: `--as-of`."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from processor.errors import UsageError


def moment_of(given: str | None, zone: ZoneInfo) -> datetime:
    """Return a moment with its offset: of a date its first one in the shop's zone; now if none is given.

    Raises UsageError for anything but a date or an instant with an offset, in ISO 8601.
    """
    if given is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        found = None
    if found is not None and found.tzinfo is not None:
        return _utc(found, given)
    if found is None or len(given) > len("2026-11-30"):
        raise UsageError(
            f"{given} is no moment; give a date (2026-11-30) or an instant with an offset (2026-11-30T08:00Z)"
        )
    # Where the day begins later, since the clocks are put forward at midnight, the time before the gap stands for it.
    return _utc(found.replace(tzinfo=zone), given)


def _utc(moment: datetime, given: str) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise UsageError(f"{given} is out of range; give a moment from the year 1 to 9999") from None
