"""What the shop's clock shows: its zone's changes of offset, for SQL.

DuckDB has a table of zones of its own, which differs by version from the one that Python reads. With the changes in the
definitions, one table decides `--as-of` and windows, and every DuckDB gives the same answers.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_FIRST: Final = datetime(1800, 1, 1, tzinfo=UTC)  # no zone has an earlier change
_UNTIL: Final = 2100
_MOST: Final = 9998  # a year later there are no dates
_STEP: Final = timedelta(days=7)  # no two changes that are nearer undo each other
_SECOND: Final = timedelta(seconds=1)


class Clock(NamedTuple):
    """Moments in UTC, in order, at which the offset changes, and the offsets: before the first, and from each on."""

    changes: tuple[datetime, ...]
    offsets: tuple[timedelta, ...]


@cache
def clock_of(zone: ZoneInfo, year: int) -> Clock:
    """Return the changes from 1800 to the year 2100, or the one after `year` if that is later."""
    until = datetime(min(max(_UNTIL, year + 2), _MOST), 1, 1, tzinfo=UTC)
    at, changes, offsets = _FIRST, list[datetime](), [_offset(_FIRST, zone)]
    while at < until:
        before, after = at, at + _STEP
        if _offset(after, zone) != offsets[-1]:
            while after - before > _SECOND:
                middle = before + (after - before) // _SECOND // 2 * _SECOND
                if _offset(middle, zone) == offsets[-1]:
                    before = middle
                else:
                    after = middle
            changes.append(after)
            offsets.append(_offset(after, zone))
        at = after
    return Clock(tuple(changes), tuple(offsets))


def clock_macros(zone: ZoneInfo, as_of: datetime) -> str:
    """Return the macros that macros/orders.sql reads: lists, each of one constant text, which is quick to plan.

    Of a time that occurs twice the earlier moment is meant, and of one that never occurs the one as far behind the gap:
    both have the offset before the change. So the clock is read by another offset from the greater of its two times on.
    """
    clock = clock_of(zone, as_of.astimezone(UTC).year)
    changes = [change.replace(tzinfo=None) for change in clock.changes]
    both = zip(changes, clock.offsets, clock.offsets[1:], strict=False)
    turns = [change + max(before, after) for change, before, after in both]
    seconds = (offset // _SECOND for offset in clock.offsets)
    return f"""CREATE OR REPLACE MACRO _changes() AS {_listed(changes, "TIMESTAMP")};
CREATE OR REPLACE MACRO _turns() AS {_listed(turns, "TIMESTAMP")};
CREATE OR REPLACE MACRO _offsets() AS {_listed(seconds, "INTEGER")};"""


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _listed(values: Iterable[object], kind: str) -> str:
    return f"CAST('[{', '.join(map(str, values))}]' AS {kind}[])"
