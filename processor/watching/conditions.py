"""What lasts: begun by one event, ended by another. A wait, a catch-up, a paused breaker.

Lines may come in any order, since files may be named in any order: a condition is open if it began after the last
event that ended it, and it is open since the first such beginning. Beginnings repeat (a wait has a line each attempt),
so they are kept, at most 128 of each condition; of more, every second is forgotten, and the first and the last never.
"""

from bisect import insort
from typing import Any, Final, NamedTuple

from processor.watching.log_lines import Line

RUN: Final = "run"
INDEX: Final = "contacts index"
HEALER: Final = "rejected replay"
PUBLISHER: Final = "segments publish"
COPIER: Final = "topics widen"
STARTS: Final = {
    "service.started": RUN,
    "contacts.started": INDEX,
    "healer.started": HEALER,
    "segments.started": PUBLISHER,
    "widen.started": COPIER,
}
STOPS: Final = {
    "service.stopped": RUN,
    "contacts.stopped": INDEX,
    "healer.stopped": HEALER,
    "segments.stopped": PUBLISHER,
    "widen.stopped": COPIER,
}
_MOST_BEGINNINGS: Final = 128
_MOST_KEPT: Final = 4_000  # conditions of one instance: partitions are numbered by lines


class Lasting(NamedTuple):
    """A kind of condition: the command it is of (None: of any), the state to show, what ends it."""

    command: str | None
    state: str
    ended_by: tuple[str, ...]
    is_of_partition: bool = False


# By the event that begins it; the worst first. A start or stop of the process ends each, but a stop no failure.
LASTING: Final = {
    "service.failed": Lasting(None, "failed", ("service.stats", "contacts.stats", "healer.stats", "widen.stats")),
    "breaker.paused": Lasting(RUN, "paused", ("service.resumed",)),
    "service.waiting": Lasting(RUN, "waits", ("service.resumed",)),
    "contacts.waiting": Lasting(INDEX, "waits", ("contacts.resumed_after_wait",)),
    "healer.waiting": Lasting(HEALER, "waits", ("healer.resumed",)),
    "segments.waiting": Lasting(PUBLISHER, "waits", ("segments.resumed",)),
    "widen.waiting": Lasting(COPIER, "waits", ("widen.resumed",)),
    "partition.unreadable": Lasting(None, "unreadable", ("partition.readable",), is_of_partition=True),
    "partition.waiting": Lasting(None, "withheld", ("partition.resumed",), is_of_partition=True),
    "mirror.behind": Lasting(RUN, "catches up", ("mirror.caught_up",), is_of_partition=True),
    "contacts.stale": Lasting(RUN, "stale index", ("contacts.fresh",)),
    "contacts.build_started": Lasting(INDEX, "builds", ("contacts.ready",)),
    "kafka.token_failed": Lasting(None, "no token", ("kafka.token_back",)),
}
_ENDS: Final = {
    event: tuple(begun for begun, lasting in LASTING.items() if event in lasting.ended_by)
    for event in {end for lasting in LASTING.values() for end in lasting.ended_by}
}
_MOVING: Final = {*LASTING, *_ENDS, *STARTS, *STOPS, "partition.revoked"}
_OF_PARTITIONS: Final = tuple(event for event, lasting in LASTING.items() if lasting.is_of_partition)
_NEVER: Final = float("-inf")


class Open(NamedTuple):
    """A condition that lasts."""

    event: str
    partition: int | None
    since_s: float
    latest: Line


class _Condition:
    """One condition of one instance: its beginnings since it last ended, and the latest line of it."""

    __slots__ = ("beginnings", "ended_s", "latest")

    def __init__(self) -> None:
        self.beginnings: list[float] = []
        self.ended_s = _NEVER
        self.latest: Line | None = None

    def begin(self, line: Line) -> None:
        if line.at_s <= self.ended_s:
            return
        insort(self.beginnings, line.at_s)
        if len(self.beginnings) > _MOST_BEGINNINGS:
            self.beginnings = [*self.beginnings[:-1:2], self.beginnings[-1]]
        if self.latest is None or standing(line) > standing(self.latest):
            self.latest = line

    def end(self, at_s: float) -> None:
        if at_s > self.ended_s:
            self.ended_s = at_s
            self.beginnings = [began_s for began_s in self.beginnings if began_s > at_s]


class Conditions:
    """All conditions of one instance."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, int | None], _Condition] = {}
        self._bounds_s: dict[str, float] = {}  # by command: its latest start or stop
        self._started_s = _NEVER  # the latest start of any command

    def add(self, line: Line) -> None:
        """Take a line into account; one of an event that neither begins nor ends anything changes nothing."""
        event = line.event
        if event not in _MOVING:
            return
        if event in LASTING:
            if (condition := self._condition(event, line)) is not None:
                condition.begin(line)
        elif event == "partition.revoked":
            self._revoked(line)
        for begun in _ENDS.get(event, ()):
            if (condition := self._condition(begun, line)) is not None:
                condition.end(line.at_s)
        if (command := STARTS.get(event) or STOPS.get(event)) is not None:
            self._bounds_s[command] = max(line.at_s, self._bounds_s.get(command, _NEVER))
        if event in STARTS:
            self._started_s = max(self._started_s, line.at_s)

    def open(self) -> list[Open]:
        """Return what lasts, the worst first."""
        found = []
        for (event, partition), condition in self._by_key.items():
            command = LASTING[event].command
            bound_s = self._started_s if command is None else self._bounds_s.get(command, _NEVER)
            since_s = next((began_s for began_s in condition.beginnings if began_s > bound_s), None)
            if since_s is not None and condition.latest is not None:
                found.append(Open(event, partition, since_s, condition.latest))
        order = list(LASTING)
        return sorted(found, key=lambda one: (order.index(one.event), one.since_s, one.partition or 0))

    def _condition(self, event: str, line: Line) -> _Condition | None:
        """Return the condition that a line is about, new if need be; None if there are too many."""
        return self._kept(event, _number(line.fields.get("partition")) if LASTING[event].is_of_partition else None)

    def _revoked(self, line: Line) -> None:
        """End what is of partitions that were taken away."""
        numbers = line.fields.get("partitions")
        for value in numbers if type(numbers) is list else ():
            for event in _OF_PARTITIONS if (number := _number(value)) is not None else ():
                if (condition := self._kept(event, number)) is not None:
                    condition.end(line.at_s)

    def _kept(self, event: str, partition: int | None) -> _Condition | None:
        found = self._by_key.get((event, partition))
        if found is None and len(self._by_key) < _MOST_KEPT:
            found = self._by_key[event, partition] = _Condition()
        return found


def standing(line: Line) -> tuple[float, Any]:
    """Return what orders lines: their moment; of several at once, their content, so that no order of reading counts."""
    return line.at_s, repr(line.fields)


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
