"""Pairs a key's events with its copies by their content: the first event with the first copy that has the same.

Both come in their order, one at a time, and go out in that order: each with its other, or with none. Only so many that
wait for their other are kept, so that memory is bounded also where one key has millions of events.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Final

import msgspec

WINDOW: Final = 100_000  # how many rows may come between an event and its copy
CONTENT: Final = 3  # where a row has its content
Row = tuple[bytes, int, int, bytes, int, int]
"""A row of either topic: key, partition, offset, content; of an event whether its partition was added, and its time;
of a copy whether it is behind the last copies, and 0."""


class Matched(msgspec.Struct):
    """A row, and the row of the other topic that has the same content, if any."""

    row: Row
    is_event: bool
    other: Row | None = None


class _Side:
    """The rows of one topic that have not gone out yet."""

    def __init__(self) -> None:
        self.queue: deque[Matched] = deque()
        self._waiting: defaultdict[bytes, deque[Matched]] = defaultdict(deque)

    def add(self, matched: Matched) -> None:
        """Take the next row."""
        self.queue.append(matched)
        if matched.other is None:
            self._waiting[matched.row[CONTENT]].append(matched)

    def take(self, content: bytes) -> Matched | None:
        """Return the first row that waits for this content, which then waits no more."""
        waiting = self._waiting.get(content)
        if waiting is None:
            return None
        found = waiting.popleft()
        if not waiting:
            del self._waiting[content]
        return found

    def out(self, window: int) -> Iterator[Matched]:
        """Yield, in order, the rows that have their other, and those that more than so many came behind."""
        while self.queue and (self.queue[0].other is not None or len(self.queue) > window):
            matched = self.queue.popleft()
            if matched.other is None:
                self.take(matched.row[CONTENT])  # it is the first that waits: equal ones wait in order
            yield matched


def pairs(events: Iterable[Row], copies: Iterable[Row], window: int = WINDOW) -> Iterator[Matched]:
    """Yield each event and each copy, both in their order."""
    former, new = _Side(), _Side()
    for event, copy in zip_longest(events, copies):
        for row, is_event, own, others in ((event, True, former, new), (copy, False, new, former)):
            if row is not None:
                matched = Matched(row, is_event)
                if (other := others.take(row[CONTENT])) is not None:
                    matched.other, other.other = other.row, row
                own.add(matched)
        yield from former.out(window)
        yield from new.out(window)
    yield from former.out(-1)
    yield from new.out(-1)
