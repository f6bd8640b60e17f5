"""The breaker: too many invalid events in a row, or in a window, mean that a producer's schema is broken. Pure.

It trips if the share of invalid events among the last `window` exceeds the limit, or if a quarter of a window is
invalid in a row, without a valid or ignored event between. Events before the last reset do not count.
"""

from collections import deque
from collections.abc import Iterable


class Breaker:
    """Judges events as they are committed."""

    def __init__(self, window: int, max_invalid_ratio: float) -> None:
        self._max_invalid = window * max_invalid_ratio
        self._window: deque[bool] = deque(maxlen=window)
        self._max_run = max(1, window // 4)
        self._invalid = self._run = 0

    def trips(self, invalid: Iterable[bool]) -> str | None:
        """Take a batch's events in order, True for an invalid one; return why it trips, None if it does not."""
        cause = None
        for is_invalid in invalid:
            if len(self._window) == self._window.maxlen:
                self._invalid -= self._window[0]
            self._window.append(is_invalid)
            self._invalid += is_invalid
            self._run = self._run + 1 if is_invalid else 0
            cause = cause or self._cause()
        return cause

    def _cause(self) -> str | None:
        if self._run >= self._max_run:
            return f"{self._run} invalid events in a row"
        if len(self._window) == self._window.maxlen and self._invalid > self._max_invalid:
            return f"{self._invalid} of the last {len(self._window)} events are invalid"
        return None

    def reset(self) -> None:
        """Forget all events so far."""
        self._window.clear()
        self._invalid = self._run = 0
