"""Holds back the partitions whose next event's schema the registry is still asked for; the others go on.

Most batches never come here: their decoding meets no unknown schema. Where one does, the records before the first
unknown one of each partition are the batch, and the partition waits: it is placed again when the schema is known, or
given up. What waits behind that record is looked ahead for, so that many unknown schemas are asked for at once.
"""

from collections.abc import Callable, Iterable

from processor.domain.batch import Parsed
from processor.domain.records import Record
from processor.errors import AwaitedSchemaError
from processor.kafka.holds import Holds
from processor.registry.wire import Wire
from processor.replica.group import Group
from processor.replica.partitions import Partitions


class Withholding:
    """What this replica's partitions wait for. `most_bytes` is the size above which no event is decoded."""

    def __init__(self, wire: Wire, partitions: Partitions, group: Group, most_bytes: int) -> None:
        self._wire, self._partitions, self._group = wire, partitions, group
        self._most_bytes = most_bytes
        self._holds = Holds(wire)

    def decoded(
        self, records: list[Record], decode: Callable[[list[Record]], list[Parsed]]
    ) -> tuple[list[Record], list[Parsed]]:
        """Return the records that can be decoded now, and what they ask for; give up the partitions of the others."""
        while True:
            try:
                return records, decode(records)
            except AwaitedSchemaError as error:
                records = self._without_awaited(records, error.prefix)

    def look(self) -> None:
        """Release the partitions whose schema is known by now, or given up. Call it at each turn."""
        self._holds.keep(self._partitions.withheld)
        for number in self._holds.released():
            self._partitions.release(number)

    def problems(self) -> dict[int, str]:
        """Return what the registry last answered, for each partition that waits."""
        return self._holds.problems()

    def _without_awaited(self, records: Iterable[Record], awaited: bytes) -> list[Record]:
        """Return the records before the first unknown ones. `awaited` is one, even if a decoder of it is left."""
        kept, dropped, behind = list[Record](), list[Record](), list[bytes]()
        first: dict[int, tuple[int, bytes]] = {}
        for record in records:
            number, prefix = record.partition, self._prefix_of(record)
            is_known = prefix is None or (prefix != awaited and self._wire.is_settled(prefix))
            if prefix is not None and not is_known and number not in first:
                first[number] = record.offset, prefix
            if number not in first:
                kept.append(record)
                continue
            dropped.append(record)
            if prefix is not None:
                behind.append(prefix)
        self._group.withhold(dropped)
        self._holds.add(first, behind)
        return kept

    def _prefix_of(self, record: Record) -> bytes | None:
        is_read = record.value is not None and len(record.value) <= self._most_bytes
        return self._wire.prefix_of(record) if is_read else None
