"""The reducer: lines in, what is known of the deployment. No clock, no input or output.

Everything is a sum, an extreme or the latest by the lines' own timestamps, so files, and lines, may come in any order.
Memory does not grow with the number of lines: what lines name (instances, events, reasons) is kept in bounded number,
and of more instances than 300 those that were silent for longest are forgotten.
"""

from collections import Counter
from typing import Any, Final

from processor.logs.published import LOUD
from processor.watching.bounded_keys import counted
from processor.watching.conditions import COPIER, HEALER, INDEX, PUBLISHER, RUN, STARTS, STOPS, Conditions, standing
from processor.watching.counting import Sums, Window
from processor.watching.log_lines import Line, Other, read

_MOST_INSTANCES: Final = 300
_MOST_WARNINGS: Final = 500
_MOST_EVENTS: Final = 500
# the first word of an event -> the process that writes it; None: each of them may
_KIND: Final = {
    **dict.fromkeys(("service", "batch", "mirror", "producer", "predecessor", "breaker", "group", "events"), RUN),
    "contacts": INDEX,
    "healer": HEALER,
    "segments": PUBLISHER,
    "widen": COPIER,
}
_KIND_OF_EVENT: Final = {
    **dict.fromkeys(("contacts.stale", "contacts.fresh"), RUN),
    **dict.fromkeys((f"partition.{what}" for what in ("assigned", "revoked", "pending", "positioned", "stalled")), RUN),
    **dict.fromkeys(("service.failed", "service.stop_forced")),
}
STATS: Final = frozenset({"service.stats", "contacts.stats", "healer.stats", "widen.stats"})
# What is shown of the latest line that has it.
_LATEST: Final = {
    "service.stats": ("lag_records", "freshness_s", "partitions", "rss_bytes", "contacts_age_s"),
    "batch.committed": ("freshness_s",),
    "contacts.stats": ("records", "records_per_s", "lag_records", "freshness_s", "ready", "skipped", "conflicting"),
    "healer.stats": ("waiting", "sent", "expired", "freshness_s"),
    "widen.stats": ("records", "records_per_s", "lag_records"),
    "segments.published": ("members", "entered", "left", "freshness_s"),
    "segments.waiting": ("freshness_s",),
}
_HEALS: Final = {"healer.standby": False, "healer.ready": True}
_WAITS: Final = frozenset(
    (
        "service.resumed",
        "contacts.resumed_after_wait",
        "healer.resumed",
        "segments.resumed",
        "widen.resumed",
        "partition.resumed",
    )
)


class Process:
    """What is known of one process."""

    def __init__(self, window_s: float | None) -> None:
        self.last_s = float("-inf")
        self.started_s = float("-inf")
        self.stopped_s = float("-inf")
        self.has_stats = False  # whether it writes a line every ten seconds, so that silence means something
        self.window = Window(window_s)
        self._latest: dict[str, tuple[float, Any]] = {}

    def add(self, line: Line) -> None:
        """Take a line of this process into account."""
        event, at_s = line.event, line.at_s
        self.last_s = max(self.last_s, at_s)
        for name in _LATEST.get(event, ()):
            if name in line.fields:
                self._note(name, at_s, line.fields[name])
        if event == "batch.committed":
            self.window.add(line)
        elif event in STATS:
            self.has_stats = True
        elif event in STARTS:
            self.started_s = max(self.started_s, at_s)
            self.has_stats |= STARTS[event] != PUBLISHER  # one that dies in its first seconds wrote none yet
        elif event in STOPS:
            self.stopped_s = max(self.stopped_s, at_s)
        elif event in _HEALS:
            self._note("heals", at_s, _HEALS[event])

    def latest(self, name: str) -> Any:
        """Return the latest value of a field; None if no line had it."""
        return self._latest[name][1] if name in self._latest else None

    def _note(self, name: str, at_s: float, value: Any) -> None:
        known = self._latest.get(name)
        if known is None or at_s > known[0] or (at_s == known[0] and repr(value) > repr(known[1])):
            self._latest[name] = at_s, value


class WarnedOf:
    """The warnings and errors of one event of one instance: how many, the first's moment, and the latest."""

    def __init__(self, line: Line) -> None:
        self.count = 0
        self.first_s = line.at_s
        self.latest = line

    def add(self, line: Line) -> None:
        """Take one more into account, with those that were left out since the one before it."""
        self.count += line.times
        self.first_s = min(self.first_s, line.at_s)
        if standing(line) > standing(self.latest):
            self.latest = line


class WaitedFor:
    """Waits of one kind that ended: how many, how long in all, and the longest, in ms.

    If some have no line of their own, it is not known how long they took (`is_least`).
    """

    def __init__(self) -> None:
        self.count = 0
        self.is_least = False
        self.total_ms = 0.0
        self.longest_ms = 0.0

    def add(self, waited_ms: float, times: int) -> None:
        """Take one more into account, and the other `times` - 1 that its line stands for."""
        self.count += times
        self.is_least |= times > 1
        self.total_ms += waited_ms
        self.longest_ms = max(self.longest_ms, waited_ms)


class Watched:
    """What is known from all lines so far. `window_s` is how far rates and steps look back; None: over everything."""

    def __init__(self, window_s: float | None = None) -> None:
        self.window_s = window_s
        self.lines = 0
        self.others: Counter[Other] = Counter()
        self.first_s = float("inf")
        self.last_s = float("-inf")
        self.gone = Sums(has_steps=False)  # what forgotten instances did
        self.events: Counter[str] = Counter()
        self.facts_caught_up = 0.0
        self.dropped_lines = 0.0
        self.processes: dict[tuple[str, str], Process] = {}  # by instance and command
        self.conditions: dict[str, Conditions] = {}  # by instance
        self.warned: dict[tuple[str, str], WarnedOf] = {}  # by instance and event
        self.waited: dict[str, WaitedFor] = {}  # by what was waited for
        self.forgotten = 0  # instances, when there were too many

    def feed(self, line: bytes) -> None:
        """Take a line into account, whatever it is."""
        found = read(line)
        if found is None:
            return
        self.lines += 1
        if isinstance(found, Other):
            self.others[found] += 1
        else:
            self._add(found)

    def _add(self, line: Line) -> None:
        event, at_s = line.event, line.at_s
        self.first_s, self.last_s = min(self.first_s, at_s), max(self.last_s, at_s)
        self.events[counted(self.events, event, _MOST_EVENTS)] += line.times
        conditions = self.conditions.get(line.instance)
        if conditions is None:
            self._make_room()
            conditions = self.conditions[line.instance] = Conditions()
        conditions.add(line)
        kind = kind_of(event)
        if kind is not None:
            process = self.processes.get((line.instance, kind))
            if process is None:
                process = self.processes[line.instance, kind] = Process(self.window_s)
            process.add(line)
        if event == "mirror.caught_up":
            self.facts_caught_up += line.number("facts_read") or 0
        elif event in _WAITS and (waited_ms := line.number("waited_ms")) is not None:
            what = ": ".join(filter(None, (kind or "partition", line.text("waiting_for"))))
            what = counted(self.waited, what, _MOST_EVENTS)
            self.waited.setdefault(what, WaitedFor()).add(waited_ms, line.times)
        if line.level in LOUD:
            self._warn(line)
        if "dropped_lines" in line.fields:
            self.dropped_lines += line.number("dropped_lines") or 0

    def _warn(self, line: Line) -> None:
        key = line.instance, line.event
        warned = self.warned.get(key)
        if warned is None:
            if len(self.warned) >= _MOST_WARNINGS:
                del self.warned[min(self.warned, key=lambda one: self.warned[one].latest.at_s)]
            warned = self.warned[key] = WarnedOf(line)
        warned.add(line)

    def _make_room(self) -> None:
        """Forget the instance that has been silent for longest, if there are too many."""
        if len(self.conditions) < _MOST_INSTANCES:
            return
        seen = dict.fromkeys(self.conditions, float("-inf"))
        for (instance, _), process in self.processes.items():
            seen[instance] = max(seen[instance], process.last_s)
        oldest = min(seen, key=lambda instance: seen[instance])
        del self.conditions[oldest]
        for key in [key for key in self.processes if key[0] == oldest]:
            self.gone.merge(self.processes.pop(key).window.total())
        self.forgotten += 1


def kind_of(event: str) -> str | None:
    """Return the command that writes an event; None if several do, or if it is not known."""
    if event in _KIND_OF_EVENT:
        return _KIND_OF_EVENT[event]
    return _KIND.get(event.partition(".")[0])
