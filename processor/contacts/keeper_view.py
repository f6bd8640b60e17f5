"""What operators see of `contacts index` beside its session's log lines: totals, waits, metrics, health.

It decides nothing.
"""

import math
import time
from typing import Final

from msgspec.structs import replace

from processor.contacts import keeper_metrics as metrics
from processor.contacts.session import Session, Totals
from processor.logs import get_logger
from processor.monitoring.process_view import ProcessView, age_s
from processor.settings import Settings

STATS_EVERY_S: Final = 10.0
log = get_logger()


class KeeperView(ProcessView):
    """The waits and the health of one process. It is ready while its index is complete and it waits for nothing."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.http_host, settings.http_port, metrics.BLOCKED, metrics.EXPOSITION)
        self._totals = Totals()  # as of the last turn
        self._stats_s, self._records_at_stats = time.monotonic(), 0
        self._lag_records = 0
        self._complete_s: float | None = None  # wall clock: when the index last held the whole topic
        self._is_ready = False

    def turned(self, session: Session, totals: Totals) -> None:
        """Note that a step worked, which ends a wait."""
        if (ended := self._wait.end()) is not None:
            log.info("contacts.resumed_after_wait", waited_ms=ended[1])
        metrics.RECORDS.inc(totals.records - self._totals.records)
        self._totals = replace(totals)
        self._lag_records, self._is_ready = session.lag_records, session.is_ready
        self._complete_s = session.complete_at_ms / 1000
        metrics.READY.set(self._is_ready)
        metrics.COMPLETE.set(self._complete_s)
        metrics.LAG.set(self._lag_records)
        self._health.turned()
        self._health.lacks(None if session.is_ready else "the contact index is being built")
        self._log_totals()

    def blocked(self, waiting_for: str, error: str, backoff_s: float) -> None:
        """Report that it cannot continue now."""
        attempt = self.waiting(waiting_for, error)
        metrics.LAG.set(math.nan)
        self._health.turned()
        log.warning("contacts.waiting", error=error, attempt=attempt, backoff_ms=round(backoff_s * 1000))
        self._log_totals()

    def _log_totals(self) -> None:
        """Log the totals, if it is time to: also while it cannot continue, so that the age is seen to grow."""
        took_s = time.monotonic() - self._stats_s
        if took_s < STATS_EVERY_S:
            return
        rate = (self._totals.records - self._records_at_stats) / took_s
        self._stats_s, self._records_at_stats = time.monotonic(), self._totals.records
        log.info(
            "contacts.stats",
            records=self._totals.records,
            skipped=self._totals.skipped,
            records_per_s=round(rate, 1),
            lag_records=None if self._is_waiting else self._lag_records,
            freshness_s=self._freshness_s(),
            ready=self._is_ready,
            conflicting=self._totals.conflicting,
        )

    def _freshness_s(self) -> float | None:
        """Return how old what is not in the index is at most; during a build from nothing: since that began."""
        return age_s(self._complete_s, is_done=self._is_ready and not self._lag_records and not self._is_waiting)

    def stopped(self, totals: Totals) -> None:
        """Log the total, and stop answering."""
        log.info("contacts.stopped", records=totals.records)
        self._stop_answering()
