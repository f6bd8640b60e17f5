"""What operators see of a replica: log lines, metrics and health. Nothing here changes what the service does."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from processor.domain.batch import Folded
from processor.domain.records import Record
from processor.domain.rejections import Outcome
from processor.errors import RegistryError, UnreadableError
from processor.logs import get_logger
from processor.monitoring.memory import rss_bytes
from processor.monitoring.process_view import ProcessView
from processor.replica import metrics
from processor.replica.index_age import IndexAge
from processor.replica.partitioners import Partitioners
from processor.replica.timing import Step
from processor.settings import Settings

STATS_EVERY_S: Final = 10.0
SCHEMAS: Final = RegistryError.waiting_for
_MOST_SHOWN: Final = 3  # partitions that wait for a schema
log = get_logger()


class Telemetry(ProcessView):
    """Counts, times and waits of one replica."""

    def __init__(self, settings: Settings, partitions: int) -> None:
        super().__init__(settings.http_host, settings.http_port, metrics.WAITING, metrics.EXPOSITION)
        self._index_age = IndexAge(settings.contacts_max_age_s)
        self._partitioners = Partitioners(partitions)
        self._counts: Counter[str] = Counter(events=0, facts=0, ignored=0, invalid=0)
        self._totals_s = time.monotonic()  # when the last totals were logged
        self._events_then = 0
        self._withheld: Mapping[int, str] = {}  # what each partition waits for that is withheld
        self._unread = False  # whether a partition is shown as unreadable

    def index_read(self, complete_at_ms: int) -> None:
        """Note when the contact index that a look-up found last held the whole topic."""
        self._index_age.seen(complete_at_ms)

    def committed(self, folded: Folded, times_ms: Mapping[Step, float], freshness_s: float | None) -> None:
        """Report a committed batch, and the age of the oldest event that waits after it."""
        now_s = time.time()
        waited_s = [max(0.0, now_s - first.timestamp_ms / 1000) for first in folded.first.values() if _is_timed(first)]
        outcomes = folded.outcomes
        ignored, invalid = outcomes[Outcome.IGNORED], outcomes[Outcome.INVALID]
        self._counts.update(events=len(folded.outputs), facts=folded.facts, ignored=ignored, invalid=invalid)
        self._partitioners.look(folded.outputs)
        metrics.BATCHES.inc()
        metrics.LAST_COMMIT.set(now_s)
        for latency_s in waited_s:
            metrics.LATENCY.observe(latency_s)
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
            freshness_s=freshness_s,
            latency_max_s=round(max(waited_s), 3) if waited_s else None,
            input_bytes=folded.input_bytes,
            output_bytes=folded.output_bytes,
            **{f"{step}_ms": time_ms for step, time_ms in times_ms.items()},
        )

    def aborted(self, recovery: str, error: str, step: str, records: int) -> None:
        """Report a turn that failed: the recovery, the step, and the number of records of its batch."""
        metrics.RECOVERIES.labels(recovery).inc()
        log.warning("batch.aborted", recovery=recovery, error=error, step=step, records=records)

    def resumed(self) -> None:
        """End a wait, if there is one."""
        if (ended := self._wait.end()) is not None:
            waiting_for, waited_ms = ended
            log.info("service.resumed", waiting_for=waiting_for, waited_ms=waited_ms)

    def withheld(self, problems: Mapping[int, str]) -> None:
        """Note the partitions that wait for a writer's schema, each with what the registry last answered."""
        if problems or self._withheld:
            metrics.WAITING.labels(SCHEMAS).set(bool(problems) or self._wait.waiting_for == SCHEMAS)
        self._withheld = problems
        metrics.PARTITIONS.labels("withheld").set(len(problems))

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
        self._health.turned()
        self._partitioners.judge()
        stale = self._index_age.check()
        if self._wait.waiting_for is not None:
            return  # `waiting` said what is missing
        lacks = (
            (unread, "; ".join(map(str, unread.values()))),
            (catching_up, f"{catching_up} partitions are being caught up"),
            (owed, f"{owed} partitions are not placed yet"),
            (self._withheld, _shown(self._withheld)),
            (stalled, f"{stalled} partitions have records and give none"),
            (not has_joined, "the group has not assigned partitions yet"),
        )
        self._health.lacks(next((text for is_so, text in lacks if is_so), stale))

    def is_due(self) -> bool:
        """Return whether the line of totals is due."""
        return time.monotonic() - self._totals_s >= STATS_EVERY_S

    def log_totals(self, lag_records: int | None, freshness_s: float | None, partitions: list[int]) -> None:
        """Log the totals, and the rate since the last line."""
        now_s, events = time.monotonic(), self._counts["events"]
        rate = (events - self._events_then) / (now_s - self._totals_s)
        self._totals_s, self._events_then = now_s, events
        log.info(
            "service.stats",
            **self._counts,
            events_per_s=round(rate, 1),
            lag_records=lag_records,
            freshness_s=freshness_s,
            partitions=partitions,
            waiting_for=self._wait.waiting_for or (SCHEMAS if self._withheld else None),
            contacts_age_s=self._index_age.age_s(),
            rss_bytes=rss_bytes(),
        )

    def stopped(self) -> None:
        """Log the totals of the whole run, and stop answering."""
        events, facts = self._counts["events"], self._counts["facts"]
        log.info("service.stopped", events=events, facts=facts, rejected=events - facts)
        self._stop_answering()


def _is_timed(record: Record) -> bool:
    return record.timestamp_ms >= 0


def _shown(withheld: Mapping[int, str]) -> str:
    each = ", ".join(f"{number} ({problem})" for number, problem in sorted(withheld.items())[:_MOST_SHOWN])
    return f"{len(withheld)} partitions wait for {SCHEMAS}: {each}"
