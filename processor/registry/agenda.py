"""Which schema a registry is asked for next, and when: pure, given the time.

A schema that is wanted is asked for at once, before those that are only looked ahead for. After a failure it is asked
for again, later each time. One that the registry does not know (404) is asked for again until `grace_s` have passed
since the first such answer: another of its nodes may lag. What is only looked ahead for is asked for once more, at the
end of that time, so that thousands of made-up ids take two requests each. Only an answer that was asked for after that
makes a schema `missing`, which it stays for a while; then it may be asked for anew.

All times are monotonic seconds. `prefix` is as in `registry.framing`.
"""

import heapq
import random
from collections import OrderedDict
from typing import Final

import msgspec

FIRST_PAUSE_S: Final = 0.5
MOST_PAUSE_S: Final = 10.0
MISSING_FOR_S: Final = 30.0
MOST_AHEAD: Final = 5_000  # prefixes that are asked for without being wanted yet
_MOST_MISSING: Final = 20_000
ASKED: Final = "the schema registry is being asked for it"


class _Ask(msgspec.Struct, eq=False):
    """A prefix on the agenda."""

    prefix: bytes
    due_s: float
    is_urgent: bool
    missing_since_s: float | None = None  # of the first answer that it is not there
    attempts: int = 0
    problem: str = ASKED
    is_out: bool = False  # being asked for


class Agenda:
    """What is asked for, and what is known to be missing."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._asks: dict[bytes, _Ask] = {}
        self._queues: tuple[list[tuple[float, int, _Ask]], ...] = ([], [])  # the urgent ones, and the others
        self._numbers = 0  # makes entries of one time comparable
        self._missing: OrderedDict[bytes, float] = OrderedDict()  # when each was found missing, the oldest first

    def __len__(self) -> int:
        """How many are asked for."""
        return len(self._asks)

    def want(self, prefix: bytes, now_s: float, *, is_urgent: bool) -> None:
        """Put a prefix on the agenda; one that is not urgent only while there is room."""
        ask = self._asks.get(prefix)
        if ask is None:
            if is_urgent or len(self._asks) < MOST_AHEAD:
                ask = self._asks[prefix] = _Ask(prefix, now_s, is_urgent)
                self._queue(ask)
        elif is_urgent and not ask.is_urgent:
            ask.is_urgent = True
            if not ask.is_out:
                ask.due_s = now_s
                self._queue(ask)

    def is_missing(self, prefix: bytes, now_s: float) -> bool:
        """Return whether the registry is known not to have a prefix; it is forgotten after MISSING_FOR_S."""
        while self._missing and now_s - next(iter(self._missing.values())) >= MISSING_FOR_S:
            self._missing.popitem(last=False)
        return prefix in self._missing

    def problem(self, prefix: bytes) -> str:
        """Return what was last answered for a prefix on the agenda."""
        ask = self._asks.get(prefix)
        return ASKED if ask is None else ask.problem

    def next(self, now_s: float) -> tuple[bytes, int] | None:
        """Take the prefix that is due, with how often it was asked for before; None if none is."""
        for queue in self._queues:
            while queue and (queue[0][0] <= now_s or not self._is_current(queue[0])):
                entry = heapq.heappop(queue)
                if self._is_current(entry):
                    entry[2].is_out = True
                    return entry[2].prefix, entry[2].attempts
        return None

    def wait_s(self, now_s: float) -> float | None:
        """Return how long no prefix is due; None if none is on the agenda. Call it after `next` gave None."""
        due = [queue[0][0] for queue in self._queues if queue]
        return max(0.0, min(due) - now_s) if due else None

    def known(self, prefix: bytes) -> None:
        """Take a prefix off the agenda: its schema is known."""
        self._asks.pop(prefix, None)

    def failed(self, prefix: bytes, now_s: float, problem: str) -> None:
        """Note that a prefix got no answer that counts."""
        ask = self._asks[prefix]
        ask.problem = problem
        self._again(ask, now_s, now_s + self._pause_s(ask))

    def not_there(self, prefix: bytes, asked_s: float, now_s: float) -> bool:
        """Note that the registry does not know a prefix, asked at a time; return whether it is missing now."""
        ask = self._asks[prefix]
        ask.problem = "the schema registry does not know it yet"
        if ask.missing_since_s is None:
            ask.missing_since_s = now_s
        end_s = ask.missing_since_s + self._grace_s
        if asked_s >= end_s or self._grace_s == 0:
            del self._asks[prefix]
            self._missing[prefix] = now_s
            if len(self._missing) > _MOST_MISSING:
                self._missing.popitem(last=False)
            return True
        pause_s = self._pause_s(ask)
        self._again(ask, now_s, min(end_s, now_s + pause_s) if ask.is_urgent else end_s)
        return False

    def _pause_s(self, ask: _Ask) -> float:
        ask.attempts += 1
        pause_s: float = min(MOST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(ask.attempts - 1, 10))
        return pause_s * random.uniform(0.75, 1)  # noqa: S311

    def _again(self, ask: _Ask, now_s: float, due_s: float) -> None:
        ask.due_s, ask.is_out = max(now_s, due_s), False
        self._queue(ask)

    def _queue(self, ask: _Ask) -> None:
        self._numbers += 1
        heapq.heappush(self._queues[not ask.is_urgent], (ask.due_s, self._numbers, ask))

    def _is_current(self, entry: tuple[float, int, _Ask]) -> bool:
        """Return whether an entry of a queue still stands: asks leave the agenda, and move between queues."""
        due_s, _, ask = entry
        return self._asks.get(ask.prefix) is ask and not ask.is_out and ask.due_s == due_s
