"""How many records the next batch may have: half after a batch that was too much, then double after each whole one."""


class BatchSize:
    """The most records of the next batch, from 1 to `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.records = most

    def too_much(self, records: int) -> None:
        """Halve: a batch of `records` took too long, or was more than Redis could answer."""
        self.records = max(1, records // 2)

    def committed(self, records: int, *, is_whole: bool) -> None:
        """Double after a whole batch; stay at `records` if the byte budget ended the batch."""
        self.records = min(self._most, self.records * 2) if is_whole else records
