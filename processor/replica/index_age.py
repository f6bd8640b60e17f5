"""How old the contact index is that this replica uses, and what is said of it. Orders never wait for a younger one.

Its age is the time since it last held the whole contacts topic, by the clocks of two machines. `contacts index` renews
it every few seconds, so a growing age shows that nobody keeps the index, or that it does not keep up.
"""

import time

from processor.contacts.lookup import staleness
from processor.logs import get_logger
from processor.replica import metrics

log = get_logger()


class IndexAge:
    """The index's age. `seen` notes what a look-up found, `check` compares and reports."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._complete_at_ms: int | None = None  # None before the first look-up
        self._is_stale = False

    def seen(self, complete_at_ms: int) -> None:
        """Note when the index last held the whole topic."""
        self._complete_at_ms = complete_at_ms

    def age_s(self) -> float | None:
        """Return the age, None before the first look-up."""
        if self._complete_at_ms is None:
            return None
        return round(max(0.0, time.time() - self._complete_at_ms / 1000), 1)

    def check(self) -> str | None:
        """Set the metric, log when the index becomes too old or is no longer; return what is wrong with it."""
        age_s = self.age_s()
        if age_s is None:
            return None
        metrics.CONTACTS_AGE.set(age_s)
        problem = staleness(age_s, self._max_age_s)
        if problem is not None and not self._is_stale:
            log.warning("contacts.stale", age_s=age_s, max_age_s=self._max_age_s)
        elif problem is None and self._is_stale:
            log.info("contacts.fresh", age_s=age_s)
        self._is_stale = problem is not None
        return problem
