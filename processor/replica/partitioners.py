"""Watches whether the producers partition keys in one way: with two, an order's events are in two partitions.

It looks at one key in sixteen, of each batch at least one, and warns at most once a minute. It changes nothing that the
service does.
"""

import time
from collections.abc import Sequence
from typing import Final

from processor.domain.batch import Output
from processor.kafka.partitioning import KeySample
from processor.logs import get_logger
from processor.replica import metrics

ONE_IN: Final = 16
WINDOW_S: Final = 60.0
_LOOK_EVERY_S: Final = 1.0
_ENOUGH_KEYS: Final = 256  # a quiet minute counts with the next one
log = get_logger()


class Partitioners:
    """The sample of one topic's keys."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._judge_due_s = 0.0
        self._begin()

    def look(self, outputs: Sequence[Output]) -> None:
        """Look at some of a batch's events."""
        self._sample.add([output.record for output in outputs[::ONE_IN]])

    def judge(self) -> None:
        """Warn if producers differ. Call it at each turn; it is due once a second, and a minute after a warning."""
        now_s = time.monotonic()
        if now_s < self._judge_due_s:
            return
        self._judge_due_s = now_s + _LOOK_EVERY_S
        counts = self._sample.counts
        if self._sample.is_mixed():
            metrics.MIXED_PARTITIONERS.set(1)
            log.warning("events.mixed_partitioners", keys_following=counts.following, keys_elsewhere=counts.elsewhere)
            self._judge_due_s = now_s + WINDOW_S
            self._begin()
        elif now_s - self._begun_s >= WINDOW_S and sum(counts) >= _ENOUGH_KEYS:
            metrics.MIXED_PARTITIONERS.set(0)
            self._begin()

    def _begin(self) -> None:
        self._sample = KeySample(self._partitions)
        self._begun_s = time.monotonic()
