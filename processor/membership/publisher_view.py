"""What operators see of `segments publish --every`: log lines, metrics, health. Nothing here changes what it does."""

import time
from collections.abc import Collection
from datetime import datetime

from processor.logs import get_logger
from processor.membership import publisher_metrics as metrics
from processor.membership.publishing import Published
from processor.monitoring.process_view import ProcessView, age_s
from processor.settings import Settings

log = get_logger()


class PublisherView(ProcessView):
    """The rounds and waits of one process."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.http_host, settings.http_port, metrics.BLOCKED, metrics.EXPOSITION)
        self._rounds = 0
        self._read_s: float | None = None  # wall clock: when the last round that was published began to read

    def started(self, topic: str, segments: Collection[str], every_s: float) -> None:
        """Report the start."""
        metrics.EVERY.set(every_s)
        log.info("segments.started", topic=topic, segments=list(segments), every_s=round(every_s))
        self._health.lacks("publishing for the first time")

    def turned(self) -> None:
        """Note that it is alive."""
        self._health.turned()

    def published(self, done: Published, as_of: datetime, export_s: float, ask_s: float, publish_s: float) -> None:
        """Report one round."""
        self._rounds += 1
        for segment, count in done.members.items():
            metrics.MEMBERS.labels(segment).set(count)
            metrics.ENTERED.labels(segment).inc(done.entered.get(segment, 0))
            metrics.LEFT.labels(segment).inc(done.left.get(segment, 0))
        metrics.PUBLISHED.set(as_of.timestamp())
        self._read_s = time.time() - export_s - ask_s - publish_s
        times = {"export_ms": export_s, "ask_ms": ask_s, "publish_ms": publish_s}
        log.info(
            "segments.published",
            members=dict(done.members),
            entered=dict(done.entered),
            left=dict(done.left),
            foreign_records=done.foreign,
            freshness_s=self._freshness_s(),
            **{name: round(took_s * 1000) for name, took_s in times.items()},
        )

    def may_have_missed(self, topic: str) -> None:
        """Report a topic whose deletions may have gone before they were read."""
        log.warning("segments.may_have_missed", topic=topic)

    def blocked(self, waiting_for: str, error: str, backoff_s: float) -> None:
        """Report that it cannot continue now."""
        attempt = self.waiting(waiting_for, error)
        self._health.turned()
        backoff_ms = round(backoff_s * 1000)
        log.warning(
            "segments.waiting",
            waiting_for=waiting_for,
            error=error,
            attempt=attempt,
            backoff_ms=backoff_ms,
            freshness_s=self._freshness_s(),
        )

    def worked(self) -> None:
        """Note that a round is done, which ends a wait."""
        if (ended := self._wait.end()) is not None:
            waiting_for, waited_ms = ended
            log.info("segments.resumed", waiting_for=waiting_for, waited_ms=waited_ms)
        self._health.lacks(None)

    def _freshness_s(self) -> float | None:
        """Return how old what is not published is at most: what came after the last round began; None before one."""
        return age_s(self._read_s)

    def stopped(self) -> None:
        """Log the total, and stop answering."""
        log.info("segments.stopped", rounds=self._rounds)
        self._stop_answering()
