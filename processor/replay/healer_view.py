"""What operators see of the healer: log lines, metrics and health. Nothing here changes what it does."""

import math
import time
from typing import Final

from processor.logs import get_logger
from processor.monitoring.memory import rss_bytes
from processor.monitoring.process_view import ProcessView, age_s
from processor.replay import healer_metrics as metrics
from processor.settings import Settings

STATS_EVERY_S: Final = 10.0
log = get_logger()


class HealerView(ProcessView):
    """Counts and waits of one process that heals, or waits to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.http_host, settings.http_port, metrics.BLOCKED, metrics.EXPOSITION)
        self._is_active: bool | None = None
        self._stats_s = time.monotonic()
        self._waiting = 0
        self._is_behind = True
        self._since_s: float | None = None  # wall clock: since when something may wait that was not looked up
        self.sent_records = 0
        self.expired_records = 0

    def active(self, *, is_active: bool) -> None:
        """Note whether this process heals; a standby is ready, and says once that it waits."""
        self._health.turned()
        if is_active == self._is_active:
            return
        self._is_active = is_active
        metrics.ACTIVE.set(is_active)
        self._since_s = time.time() if is_active else None
        if not is_active:
            for gauge in (metrics.WAITING, metrics.LAG, metrics.COMPLETE):
                gauge.set(0)
            self._health.lacks(None)
            log.info("healer.standby")

    def reading(self) -> None:
        """Note that what waits is being read."""
        self._is_behind = True
        self._health.lacks("reading what waits")

    def ready(self, waiting: int, healed: int, took_s: float) -> None:
        """Report that what waits is known."""
        self._health.lacks(None)
        log.info("healer.ready", waiting=waiting, healed=healed, took_ms=round(took_s * 1000))

    def behind(self, lag_records: int, asked_s: float) -> None:
        """Note how much of the rejected topic was not read, by the ends that it had at a time (wall clock)."""
        metrics.LAG.set(lag_records)
        self._is_behind = lag_records > 0
        if not self._is_behind:
            self._since_s = asked_s
            metrics.COMPLETE.set(asked_s)

    def sent(self, records: int, partitions: list[int], took_s: float) -> None:
        """Report one transaction."""
        self.sent_records += records
        metrics.SENT.inc(records)
        log.info("healer.sent", records=records, partitions=partitions, send_ms=round(took_s * 1000))

    def expired(self, records: int) -> None:
        """Report what no longer waits, since it waited long enough or is no longer there."""
        self.expired_records += records
        metrics.EXPIRED.inc(records)
        log.info("healer.expired", records=records)

    def let_go(self, records: int, most: int) -> None:
        """Report what no longer waits because too many do."""
        metrics.LET_GO.inc(records)
        log.warning("healer.let_go", records=records, most=most)

    def blocked(self, waiting_for: str, error: str, backoff_s: float) -> None:
        """Report that it cannot continue now."""
        attempt = self.waiting(waiting_for, error)
        metrics.LAG.set(math.nan)
        self._health.turned()
        backoff_ms = round(backoff_s * 1000)
        log.warning("healer.waiting", waiting_for=waiting_for, error=error, attempt=attempt, backoff_ms=backoff_ms)
        self._log_totals()

    def resumed(self) -> None:
        """End a wait, if there is one."""
        if (ended := self._wait.end()) is not None:
            waiting_for, waited_ms = ended
            log.info("healer.resumed", waiting_for=waiting_for, waited_ms=waited_ms)
            self._health.lacks(None)

    def turned(self, waiting: int) -> None:
        """Note a turn, and how many records wait; log the totals now and then."""
        self._health.turned()
        self._waiting = waiting
        metrics.WAITING.set(waiting)
        self._log_totals()

    def _log_totals(self) -> None:
        """Log the totals, if it is time to: also while it cannot continue, so that the age is seen to grow."""
        if time.monotonic() - self._stats_s < STATS_EVERY_S:
            return
        self._stats_s = time.monotonic()
        totals = {"sent": self.sent_records, "expired": self.expired_records}
        log.info(
            "healer.stats", waiting=self._waiting, **totals, freshness_s=self._freshness_s(), rss_bytes=rss_bytes()
        )

    def _freshness_s(self) -> float | None:
        """Return how old what was not looked up is at most; None in a standby."""
        return age_s(self._since_s, is_done=not self._is_behind and not self._is_waiting)

    def stopped(self) -> None:
        """Log the total, and stop answering."""
        log.info("healer.stopped", sent=self.sent_records)
        self._stop_answering()
