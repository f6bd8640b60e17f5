"""A record of the healed topic: which rejected record was sent back by itself, and where its copy is.

The key names the rejected record: the group that sent it back, the id of the rejected topic, partition and offset. The
value is JSON, with the copy's offset in the events topic. A null value forgets a record that the rejected topic no
longer holds.
"""

from typing import Final, NamedTuple

import msgspec

_VERSION: Final = 1


class Place(NamedTuple):
    """A record of the rejected topic."""

    partition: int
    offset: int


class _Value(msgspec.Struct, frozen=True):
    v: int
    event_offset: int


class Healed:
    """Writes and reads the records of one group and one rejected topic; others may be in the same topic."""

    def __init__(self, group_id: str, topic_id: str) -> None:
        self._prefix = f"{group_id} {topic_id} ".encode()  # neither has a blank

    def key(self, place: Place) -> bytes:
        """Return the key of a rejected record."""
        return self._prefix + b"%d %d" % place

    def place(self, key: bytes | None) -> Place | None:
        """Return which rejected record a key names; None for one of another group or topic."""
        if key is None or not key.startswith(self._prefix):
            return None
        partition, _, offset = key[len(self._prefix) :].partition(b" ")
        return Place(int(partition), int(offset)) if partition.isdigit() and offset.isdigit() else None


def value(event_offset: int) -> bytes:
    """Return the value for a copy at an offset of the events topic."""
    return msgspec.json.encode(_Value(_VERSION, event_offset))


def event_offset(value: bytes) -> int:
    """Return the copy's offset. Raises ValueError for bytes that are no such value, or of a newer version."""
    found = msgspec.json.decode(value, type=_Value)
    if found.v != _VERSION:
        raise ValueError(f"format {found.v}")
    return found.event_offset
