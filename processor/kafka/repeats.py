"""Stops what fails again and again for a lasting cause (see `processor.errors`): a retry cannot help."""

import time
from collections.abc import Sequence
from typing import Final

from processor.domain.records import Record
from processor.errors import OrderFactsError, StopError

_MOST: Final = 5  # failures in a row of one thing, for one cause
_IN_A_ROW_S: Final = 60.0  # the longest time between two of them
_NO_PARTITION: Final = -1


class Repeats:
    """How often in a row each partition's next record failed, or work without records."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._last: dict[int, tuple[int, str, int, float]] = {}  # by partition: first offset, cause, how often, when

    def failed(self, error: OrderFactsError, batch: Sequence[Record] = ()) -> None:
        """Note the failure of a batch, or of work without records. Raises StopError if it repeats.

        A batch of several records is narrowed first (`replica.batch_size`), so that the stop names the right one.
        """
        if error.lasting is None:
            return
        now_s, most = time.monotonic(), 0
        firsts = {record.partition: record.offset for record in reversed(batch)} or {_NO_PARTITION: 0}
        for partition, offset in firsts.items():
            last = self._last.get(partition, (offset, error.lasting, 0, now_s))
            is_same = last[:2] == (offset, error.lasting) and now_s - last[3] <= _IN_A_ROW_S
            count = last[2] + 1 if is_same else 1
            self._last[partition] = offset, error.lasting, count, now_s
            most = max(most, count)
        if most >= _MOST and len(batch) <= 1:
            where = "".join(f"{self._topic}[{record.partition}]@{record.offset}: " for record in batch)
            raise StopError(
                f"{where}{error}; the same failed {most} times in a row: find the cause in the brokers' log and with "
                "`order-facts check`, remove it and start again; nothing of it was committed"
            ) from error

    def worked(self) -> None:
        """Note that work succeeded: failures without records are in a row no more."""
        self._last.pop(_NO_PARTITION, None)
