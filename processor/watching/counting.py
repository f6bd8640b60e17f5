"""What batches did, added up: over all lines, or over the newest of them.

Sums, and nothing that depends on the order of lines. With a window there is one sum for each five seconds; the newest
are kept, and what is older is one sum.
"""

from collections import Counter
from typing import Any, Final

from processor.watching.bounded_keys import counted
from processor.watching.log_lines import Line, number_of
from processor.watching.quantiles import Quantiles

STEPS: Final = ("poll", "decode", "lookup", "fold", "commit", "mirror")
_STEP_FIELDS: Final = {step: f"{step}_ms" for step in STEPS}
OUTCOMES: Final = ("facts", "ignored", "invalid")
SLOT_S: Final = 5.0
_MOST_REASONS: Final = 64
_MOST: Final = 1 << 53


class Sums:
    """Events by outcome, rejections by reason, and the time of each step of their batches if `has_steps`."""

    __slots__ = ("outcomes", "reasons", "steps")

    def __init__(self, *, has_steps: bool = True) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.reasons: Counter[str] = Counter()
        self.steps = {step: Quantiles() for step in STEPS} if has_steps else {}

    @property
    def events(self) -> int:
        """Return how many events became something."""
        return sum(self.outcomes.values())

    def add(self, line: Line) -> None:
        """Add a line `batch.committed`."""
        fields = line.fields
        for outcome in OUTCOMES:
            self.outcomes[outcome] += _count(fields.get(outcome))
        for step, quantiles in self.steps.items():
            took_ms = fields.get(_STEP_FIELDS[step])
            if (number := took_ms if type(took_ms) is float else number_of(took_ms)) is not None:
                quantiles.add(number)
        reasons, known = fields.get("reasons"), self.reasons
        for reason, count in reasons.items() if type(reasons) is dict else ():
            if type(count) is int and 0 <= count < _MOST:
                known[reason if reason in known else counted(known, reason, _MOST_REASONS)] += count

    def merge(self, other: "Sums") -> None:
        """Add another one's sums."""
        for outcome, count in other.outcomes.items():
            self.outcomes[outcome] += count
        for reason, count in other.reasons.items():
            self.reasons[counted(self.reasons, reason, _MOST_REASONS)] += count
        for step, quantiles in self.steps.items():
            if step in other.steps:
                quantiles.merge(other.steps[step])


class Window:
    """Sums of the newest lines: those of `window_s` seconds, or all if that is None."""

    def __init__(self, window_s: float | None) -> None:
        self._kept = None if window_s is None else int(window_s / SLOT_S) + 3
        self._slots: dict[int, Sums] = {}
        self._newest = -1
        self._older = Sums(has_steps=False)

    def add(self, line: Line) -> None:
        """Add a line `batch.committed`."""
        slot = 0 if self._kept is None else int(line.at_s // SLOT_S)
        sums = self._slots.get(slot)
        if sums is None:
            sums = self._new(slot)
        sums.add(line)

    def recent(self, begin_s: float) -> Sums:
        """Return the sums from a moment on, which is a whole number of SLOT_S; those of all lines without a window."""
        found = Sums()
        for slot, sums in self._slots.items():
            if self._kept is None or slot * SLOT_S >= begin_s:
                found.merge(sums)
        return found

    def total(self) -> Sums:
        """Return the sums of all lines, without steps."""
        found = Sums(has_steps=False)
        for sums in (self._older, *self._slots.values()):
            found.merge(sums)
        return found

    def _new(self, slot: int) -> Sums:
        """Return where a slot's lines are added that has none yet: with what is older, if it is older."""
        if self._kept is not None:
            self._newest = max(self._newest, slot)
            for number in [number for number in self._slots if number <= self._newest - self._kept]:
                self._older.merge(self._slots.pop(number))
            if slot <= self._newest - self._kept:
                return self._older
        return self._slots.setdefault(slot, Sums())


def _count(value: Any) -> int:
    """Return a number of records; 0 for anything else."""
    return value if type(value) is int and 0 <= value < _MOST else 0
