"""How long each step of a turn took, and which step it is at."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Step(StrEnum):
    """What a turn of the loop is at: placing partitions, or one of a batch's six steps."""

    PLACING = "positioning"
    POLL = "poll"
    DECODE = "decode"
    LOOK_UP = "lookup"
    FOLD = "fold"
    COMMIT = "commit"
    MIRROR = "mirror"


class Timing:
    """The times of a turn's steps in ms, by step; `step` is the present or the last one."""

    def __init__(self) -> None:
        self.step = Step.PLACING
        self.times_ms: dict[Step, float] = {}

    @contextmanager
    def of(self, step: Step) -> Iterator[None]:
        """Time the block as a step, even if it raises; a step that comes twice is summed."""
        self.step = step
        before_ms = self.times_ms.setdefault(step, 0.0)
        started = time.perf_counter()
        try:
            yield
        finally:
            self.times_ms[step] = round(before_ms + (time.perf_counter() - started) * 1000, 3)
