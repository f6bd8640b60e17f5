"""Sums lines that repeat: a failure that comes back many times a second writes a few lines, not thousands.

Warnings, errors, what the Kafka client says, ends of waits, and catch-ups that begin are alike if they differ in
nothing but numbers. Of lines that are alike, three are written in ten seconds, and of equal ones in a row the first.
The next one that is written has `repeated`, how many were left out before it; if none comes, the last one that was left
out is written after the ten seconds, together with another line. So each line stands for itself and `repeated` others.
"""

import re
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from processor.logs.published import LOUD, REPEATED

Line = MutableMapping[str, Any]

WINDOW_S: Final = 10.0
MOST_ALIKE: Final = 3
_REMEMBERED: Final = 1_000
_SUMMED_TOO: Final = frozenset({"kafka.client", "mirror.behind"})
_ENDS: Final = frozenset({"resumed", "resumed_after_wait", "readable", "fresh", "token_back"})  # of waits
_LAST: Final = frozenset({"stopped", "stop_forced", "failed"})  # of a process
_PLACES: Final = ("partition", "shard", "partitions")
_NUMBER: Final = re.compile(r"(?<![\w.:/#-])\d+(?:[.,]\d+)*(?:ms|s|%)?(?![\w:/-])")  # not of an address or a name


@dataclass(slots=True)
class _Alike:
    """Lines that are alike, in a window that began at `begun_s`."""

    begun_s: float
    written: int = 0
    left_out: int = 0
    last: Line | None = None


class Repeats:
    """Which lines are written. Threads may share it. `now_s` is a clock that never goes back."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._alike: dict[tuple[object, ...], _Alike] = {}
        self._due_s = float("inf")  # when the first window ends that left lines out

    def take(self, line: Line) -> list[Line]:
        """Return the lines to write now: what was left out and is due, then this one, unless it is left out."""
        kind = line["event"].partition(".")[2]
        is_end = kind in _ENDS
        is_summed = line["level"] in LOUD or is_end or line["event"] in _SUMMED_TOO
        if not is_summed and kind not in _LAST and self._now_s() < self._due_s:
            return [line]
        with self._lock:
            now_s = self._now_s()
            kept = [self._kept(line, now_s)] if is_summed else [line]
            is_over = kept != [None] and (is_end or kind in _LAST)
            due = self._taken_out(float("inf") if is_over else now_s)
            return [*due, *(found for found in kept if found is not None)]

    def rest(self) -> list[Line]:
        """Return what was left out so far: for the end of a process."""
        with self._lock:
            return self._taken_out(float("inf"))

    def _kept(self, line: Line, now_s: float) -> Line | None:
        """Return the line as it is written, None if it is left out."""
        key = _key(line)
        alike = self._alike.get(key)
        if alike is None or now_s - alike.begun_s >= WINDOW_S:
            if len(self._alike) >= _REMEMBERED:
                self._forget(now_s)
            left_out = 0 if alike is None else alike.left_out
            self._alike[key] = alike = _Alike(now_s, left_out=left_out)
        is_equal = alike.last is not None and _own(alike.last) == _own(line)
        alike.last = line
        if alike.written >= (1 if is_equal else MOST_ALIKE):
            alike.left_out += 1
            self._due_s = min(self._due_s, alike.begun_s + WINDOW_S)
            return None
        alike.written += 1
        left_out, alike.left_out = alike.left_out, 0
        return {**line, REPEATED: left_out} if left_out else line

    def _taken_out(self, now_s: float) -> list[Line]:
        """Return a line for each window that is over and left lines out, by time; they are left out no more."""
        if now_s < self._due_s:
            return []
        over = [alike for alike in self._alike.values() if alike.left_out and now_s - alike.begun_s >= WINDOW_S]
        lines = [_summed(alike) for alike in over]
        waiting = [alike.begun_s for alike in self._alike.values() if alike.left_out]
        self._due_s = min(waiting) + WINDOW_S if waiting else float("inf")
        return sorted(lines, key=lambda line: str(line["timestamp"]))

    def _forget(self, now_s: float) -> None:
        """Forget what left nothing out and whose window is over, or else the oldest."""
        old = [key for key, alike in self._alike.items() if not alike.left_out and now_s - alike.begun_s >= WINDOW_S]
        for key in old or [next(iter(self._alike))]:
            del self._alike[key]


def _own(line: Line) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "timestamp"}


def _key(line: Line) -> tuple[object, ...]:
    """Return what lines that are alike share: all but their numbers, and the partition or shard that they are about."""
    texts = (_NUMBER.sub("#", value) for name, value in line.items() if name != "timestamp" and isinstance(value, str))
    return *(str(line.get(name)) for name in _PLACES), *texts


def _summed(alike: _Alike) -> Line:
    """Return the last line that was left out, which stands for the others; it is no longer left out."""
    assert alike.last is not None
    others, alike.left_out = alike.left_out - 1, 0
    return {**alike.last, REPEATED: others} if others else alike.last
