"""What operators see of a replica: log lines, metrics and health. Nothing here changes what the service does."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from processor.domain.batch import Folded
from processor.domain.rejections import Outcome
from processor.errors import UnreadableError
from processor.health import Health, rss_bytes, serve
from processor.logs import get_logger
from processor.replica import metrics
from processor.replica.index_age import IndexAge
from processor.replica.partitioners import Partitioners
from processor.replica.timing import Step
from processor.settings import Settings

STATS_EVERY_S: Final = 10.0
log = get_logger()


class Telemetry:
    """Counts, times and waits of one replica."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        self.health = Health()
        port, host = settings.http_port, settings.http_host
        self._server = serve(self.health, port, host, metrics.exposition) if port else None
        self._index_age = IndexAge(settings.contacts_max_age_s)
        self._partitioners = Partitioners(partitions)
        self._counts: Counter[str] = Counter(events=0, facts=0, ignored=0, invalid=0)
        self._totals_s = time.monotonic()  # when the last totals were logged
        self._events_then = 0
        self._waiting_for: str | None = None
        self._waiting_since_s = 0.0
        self._attempts = 0
        self._unread = False  # whether a partition is shown as unreadable

    def index_read(self, complete_at_ms: int) -> None:
        """Note when the contact index that a look-up found last held the whole topic."""
        self._index_age.seen(complete_at_ms)

    def committed(self, folded: Folded, times_ms: Mapping[Step, float]) -> None:
        """Report a committed batch."""
        outcomes = folded.outcomes
        ignored, invalid = outcomes[Outcome.IGNORED], outcomes[Outcome.INVALID]
        self._counts.update(events=len(folded.outputs), facts=folded.facts, ignored=ignored, invalid=invalid)
        self._partitioners.look(folded.outputs)
        metrics.BATCHES.inc()
        for outcome, count in (("fact", folded.facts), ("ignored", ignored), ("invalid", invalid)):
            metrics.EVENTS.labels(outcome).inc(count)
        for reason, count in folded.reasons.items():
            metrics.REJECTED.labels(reason.value).inc(count)
        for step, time_ms in times_ms.items():
            metrics.STEP.labels(step.value).observe(time_ms / 1000)
        log.info(
            "batch.committed",
            records=len(folded.outputs),
            facts=folded.facts,
            ignored=ignored,
            invalid=invalid,
            reasons={reason.value: count for reason, count in sorted(folded.reasons.items())},
            partitions=sorted(folded.next_offsets),
            input_bytes=folded.input_bytes,
            output_bytes=folded.output_bytes,
            **{f"{step}_ms": time_ms for step, time_ms in times_ms.items()},
        )

    def aborted(self, recovery: str, error: str, step: str, records: int) -> None:
        """Report a turn that failed: the recovery, the step, and the number of records of its batch."""
        metrics.RECOVERIES.labels(recovery).inc()
        log.warning("batch.aborted", recovery=recovery, error=error, step=step, records=records)

    def waiting(self, waiting_for: str, error: str) -> int:
        """Note what the replica waits for; return how many times in a row it has had to wait."""
        if self._waiting_for is None:
            self._waiting_since_s = time.monotonic()
        elif self._waiting_for != waiting_for:
            metrics.WAITING.labels(self._waiting_for).set(0)
        self._waiting_for = waiting_for
        self._attempts += 1
        metrics.WAITING.labels(waiting_for).set(1)
        self.health.lacks(f"waiting for {waiting_for}: {error}")
        return self._attempts

    def resumed(self) -> None:
        """End a wait, if there is one."""
        if self._waiting_for is None:
            return
        waited_ms = round((time.monotonic() - self._waiting_since_s) * 1000)
        metrics.WAITING.labels(self._waiting_for).set(0)
        log.info("service.resumed", waiting_for=self._waiting_for, waited_ms=waited_ms)
        self._waiting_for, self._attempts = None, 0

    def turned(
        self,
        placed: int,
        catching_up: int,
        owed: int,
        unread: Mapping[int, UnreadableError],
        *,
        stalled: int,
        has_joined: bool,
    ) -> None:
        """Note that the loop turned, how many partitions are in each state or stalled, and what cannot be read.

        `has_joined` is whether the group has answered with this member's partitions, be they none.
        """
        for state, count in (("placed", placed), ("catching_up", catching_up), ("owed", owed)):
            metrics.PARTITIONS.labels(state).set(count)
        if unread or self._unread:
            metrics.UNREADABLE.clear()
            for number, error in unread.items():
                metrics.UNREADABLE.labels(error.topic, number).set(error.offset)
            self._unread = bool(unread)
        self.health.turned()
        self._partitioners.judge()
        stale = self._index_age.check()
        if self._waiting_for is not None:
            return  # `waiting` said what is missing
        missing = stale
        if unread:
            missing = "; ".join(map(str, unread.values()))
        elif catching_up:
            missing = f"{catching_up} partitions are being caught up"
        elif owed:
            missing = f"{owed} partitions are not placed yet"
        elif stalled:
            missing = f"{stalled} partitions have records and give none"
        elif not has_joined:
            missing = "the group has not assigned partitions yet"
        self.health.lacks(missing)

    def is_due(self) -> bool:
        """Return whether the line of totals is due."""
        return time.monotonic() - self._totals_s >= STATS_EVERY_S

    def log_totals(self, lag_records: int | None, partitions: list[int]) -> None:
        """Log the totals, and the rate since the last line."""
        now_s, events = time.monotonic(), self._counts["events"]
        rate = (events - self._events_then) / (now_s - self._totals_s)
        self._totals_s, self._events_then = now_s, events
        log.info(
            "service.stats",
            **self._counts,
            events_per_s=round(rate, 1),
            lag_records=lag_records,
            partitions=partitions,
            waiting_for=self._waiting_for,
            contacts_age_s=self._index_age.age_s(),
            rss_bytes=rss_bytes(),
        )

    def stopped(self) -> None:
        """Log the totals of the whole run, and stop answering."""
        events, facts = self._counts["events"], self._counts["facts"]
        log.info("service.stopped", events=events, facts=facts, rejected=events - facts)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
