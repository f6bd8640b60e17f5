"""One record of the order events topic, as it was read."""

import msgspec


class Record(msgspec.Struct, frozen=True):
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


class UndecodableError(ValueError):
    """A record's value that is not what its topic holds; the text says why, without the value."""
