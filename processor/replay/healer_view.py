"""What operators see of the healer: log lines, metrics and health. Nothing here changes what it does."""

import time
from typing import Final

from processor.health import Health, rss_bytes, serve
from processor.logs import get_logger
from processor.replay import healer_metrics as metrics
from processor.settings import Settings

STATS_EVERY_S: Final = 10.0
log = get_logger()


class HealerView:
    """Counts and waits of one process that heals, or waits to."""

    def __init__(self, settings: Settings) -> None:
        self._health = Health()
        port, host = settings.http_port, settings.http_host
        self._server = serve(self._health, port, host, metrics.exposition) if port else None
        self._is_active: bool | None = None
        self._blocked_by: str | None = None
        self._blocked_since_s = 0.0
        self._attempts = 0
        self._stats_s = time.monotonic()
        self.sent_records = 0
        self.expired_records = 0

    def active(self, *, is_active: bool) -> None:
        """Note whether this process heals; a standby is ready, and says once that it waits."""
        self._health.turned()
        if is_active == self._is_active:
            return
        self._is_active = is_active
        metrics.ACTIVE.set(is_active)
        if not is_active:
            metrics.WAITING.set(0)
            self._health.lacks(None)
            log.info("healer.standby")

    def reading(self) -> None:
        """Note that what waits is being read."""
        self._health.lacks("reading what waits")

    def ready(self, waiting: int, healed: int, took_s: float) -> None:
        """Report that what waits is known."""
        self._health.lacks(None)
        log.info("healer.ready", waiting=waiting, healed=healed, took_ms=round(took_s * 1000))

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
        if self._blocked_by is None:
            self._blocked_since_s = time.monotonic()
        elif self._blocked_by != waiting_for:
            metrics.BLOCKED.labels(self._blocked_by).set(0)
        self._blocked_by = waiting_for
        self._attempts += 1
        metrics.BLOCKED.labels(waiting_for).set(1)
        self._health.turned()
        self._health.lacks(f"waiting for {waiting_for}: {error}")
        backoff_ms = round(backoff_s * 1000)
        log.warning(
            "healer.waiting", waiting_for=waiting_for, error=error, attempt=self._attempts, backoff_ms=backoff_ms
        )

    def resumed(self) -> None:
        """End a wait, if there is one."""
        if self._blocked_by is None:
            return
        metrics.BLOCKED.labels(self._blocked_by).set(0)
        waited_ms = round((time.monotonic() - self._blocked_since_s) * 1000)
        log.info("healer.resumed", waiting_for=self._blocked_by, waited_ms=waited_ms)
        self._health.lacks(None)
        self._blocked_by, self._attempts = None, 0

    @property
    def attempts(self) -> int:
        """How many times in a row it could not continue."""
        return self._attempts

    def turned(self, waiting: int) -> None:
        """Note a turn, and how many records wait; log the totals now and then."""
        self._health.turned()
        metrics.WAITING.set(waiting)
        if time.monotonic() - self._stats_s < STATS_EVERY_S:
            return
        self._stats_s = time.monotonic()
        totals = {"sent": self.sent_records, "expired": self.expired_records}
        log.info("healer.stats", waiting=waiting, **totals, rss_bytes=rss_bytes())

    def stopped(self) -> None:
        """Log the total, and stop answering."""
        log.info("healer.stopped", sent=self.sent_records)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
