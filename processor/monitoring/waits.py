"""A wait for a service that does not answer: for which one, since when, for which time in a row; and the backoff."""

import random
import time

from prometheus_client import Gauge


class Wait:
    """What a process waits for, if it does. `gauge` shows it to operators: its one label is what is waited for."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._since_s = 0.0
        self.waiting_for: str | None = None
        self.attempts = 0  # how many times in a row it has had to wait

    def begin(self, waiting_for: str) -> int:
        """Note that it must wait, maybe once more; return how many times in a row."""
        if self.waiting_for is None:
            self._since_s = time.monotonic()
        elif self.waiting_for != waiting_for:
            self._gauge.labels(self.waiting_for).set(0)
        self.waiting_for = waiting_for
        self.attempts += 1
        self._gauge.labels(waiting_for).set(1)
        return self.attempts

    def end(self) -> tuple[str, int] | None:
        """End the wait; return what it was for and how many milliseconds it took, None if there is none."""
        waiting_for = self.waiting_for
        if waiting_for is None:
            return None
        self._gauge.labels(waiting_for).set(0)
        self.waiting_for, self.attempts = None, 0
        return waiting_for, round((time.monotonic() - self._since_s) * 1000)


def backoff_s(attempt: int, least_s: float, most_s: float) -> float:
    """Return how long to wait: twice as long with each attempt, up to `most_s`, and up to half of it less by chance."""
    doubled_s: float = least_s * 2.0 ** min(attempt, 10)
    return min(most_s, doubled_s) * random.uniform(0.5, 1.0)  # noqa: S311
