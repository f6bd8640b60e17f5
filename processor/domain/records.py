"""One record of the order events topic, as it was read, and the event that its value holds.

What is made by the thousand in a batch is not tracked by the garbage collector (`gc=False`): none of it can
be part of a cycle, and the collector's passes over a batch cost more than many a step.
"""

from typing import Any

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands, its own timestamp in ms since the epoch, and its bytes."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @property
    def size_bytes(self) -> int:
        """How many bytes the record's key and value take."""
        return len(self.key or b"") + len(self.value or b"")


class Event(msgspec.Struct, frozen=True, gc=False):
    """An OrderEvent as Avro holds it: `params` are (name, value) pairs in the event's order."""

    event_type: str
    key_value: str
    params: list[tuple[str, Any]]


class UndecodableError(ValueError):
    """A record's value that is not what its topic holds; the text says why, without the value."""
