"""What operators see of `topics widen`: log lines. Nothing here changes what it does."""

import time
from collections.abc import Sequence
from typing import Final

from processor.domain.records import Record
from processor.kafka.partitioning import Counts
from processor.kafka.unreadable import Unreadable
from processor.logs import get_logger
from processor.widening.new_names import Widened

_STATS_EVERY_S: Final = 10.0
log = get_logger()


class CopyView:
    """Counts and waits of one copier."""

    def __init__(self, names: Widened) -> None:
        self._topic, self._new = names.former.events_topic, names.new.events_topic
        self._stats_s = time.monotonic()
        self._stats_records = 0
        self._blocked_s: float | None = None
        self._has_caught_up = False
        self._has_told_of_keys = False
        self.records = 0
        self.attempts = 0

    def started(self, partitions: int) -> None:
        """Report the start."""
        log.info("widen.started", topic=self._topic, new_topic=self._new, partition_count=partitions)

    def copied(self, records: int) -> None:
        """Note a transaction."""
        self.records += records

    def turned(self, lag_records: int) -> None:
        """Note a turn that worked; log the totals now and then."""
        if self._blocked_s is not None:
            log.info("widen.resumed", waited_ms=round((time.monotonic() - self._blocked_s) * 1000))
            self._blocked_s, self.attempts = None, 0
        now_s = time.monotonic()
        if (passed_s := now_s - self._stats_s) < _STATS_EVERY_S:
            return
        per_s = round((self.records - self._stats_records) / passed_s, 1)
        log.info("widen.stats", new_topic=self._new, records=self.records, records_per_s=per_s, lag_records=lag_records)
        self._stats_s, self._stats_records = now_s, self.records

    def caught_up(self, counts: Counts) -> None:
        """Report once that everything is copied, and what to do next."""
        if not self._has_caught_up:
            self._has_caught_up = True
            log.info("widen.caught_up", topic=self._topic, new_topic=self._new, records=self.records)
            self._tell_of_keys(counts)

    def finished(self, counts: Counts) -> None:
        """Report the end of the copy."""
        self._tell_of_keys(counts)
        log.info("widen.finished", topic=self._topic, new_topic=self._new, records=self.records)

    def _tell_of_keys(self, counts: Counts) -> None:
        if counts.elsewhere and not self._has_told_of_keys:
            self._has_told_of_keys = True
            keys = {"keys_following": counts.following, "keys_elsewhere": counts.elsewhere}
            log.warning("widen.other_partitioner", topic=self._topic, new_topic=self._new, **keys)

    def blocked(self, error: str, backoff_s: float) -> None:
        """Report that it cannot continue now."""
        self.attempts += 1
        self._blocked_s = self._blocked_s or time.monotonic()
        log.warning("widen.waiting", error=error, attempt=self.attempts, backoff_ms=round(backoff_s * 1000))

    def skipped(self, partition: int, gap: Unreadable) -> None:
        """Report offsets that were left out, since they cannot be read."""
        at = {"partition": partition, "offset": gap.offsets.start, "to_offset": gap.offsets.stop - 1}
        log.warning("widen.skipped", topic=self._topic, **at, error=gap.problem)

    def headers_lost(self, records: Sequence[Record]) -> None:
        """Report records that are copied without their headers."""
        at = {"partition": records[0].partition, "offset": records[0].offset}
        log.warning("widen.headers_lost", topic=self._topic, records=len(records), **at)

    def stopped(self) -> None:
        """Log the total."""
        log.info("widen.stopped", records=self.records)
