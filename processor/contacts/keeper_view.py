"""What operators see of `contacts index` beside its session's log lines: waits, metrics, health. It decides nothing."""

import math

from processor.contacts import keeper_metrics as metrics
from processor.contacts.session import Session, Totals
from processor.logs import get_logger
from processor.monitoring.process_view import ProcessView
from processor.settings import Settings

log = get_logger()


class KeeperView(ProcessView):
    """The waits and the health of one process. It is ready while its index is complete and it waits for nothing."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.http_host, settings.http_port, metrics.BLOCKED, metrics.EXPOSITION)
        self._records = 0

    def turned(self, session: Session, totals: Totals) -> None:
        """Note that a step worked, which ends a wait."""
        if (ended := self._wait.end()) is not None:
            log.info("contacts.resumed_after_wait", waited_ms=ended[1])
        metrics.RECORDS.inc(totals.records - self._records)
        self._records = totals.records
        metrics.READY.set(session.is_ready)
        metrics.COMPLETE.set(session.complete_at_ms / 1000)
        metrics.LAG.set(session.lag_records)
        self._health.turned()
        self._health.lacks(None if session.is_ready else "the contact index is being built")

    def blocked(self, waiting_for: str, error: str, backoff_s: float) -> None:
        """Report that it cannot continue now."""
        attempt = self.waiting(waiting_for, error)
        metrics.LAG.set(math.nan)
        self._health.turned()
        log.warning("contacts.waiting", error=error, attempt=attempt, backoff_ms=round(backoff_s * 1000))

    def stopped(self, totals: Totals) -> None:
        """Log the total, and stop answering."""
        log.info("contacts.stopped", records=totals.records)
        self._stop_answering()
