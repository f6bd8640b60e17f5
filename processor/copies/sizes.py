"""What a deployment takes in Redis, by order and by what the contact index holds."""

from collections.abc import Collection
from typing import Final

import msgspec

from processor.contacts.shards import shared_key
from processor.copies.listing import bytes_of
from processor.state.servers import Servers

_OF_MIRROR: Final = 3  # fields that are no order
_OF_SHARD: Final = 4  # fields that are neither identifier nor contact


class Size(msgspec.Struct, frozen=True):
    """How many there are, and the bytes that they take together."""

    count: int
    taken_bytes: int

    @property
    def each(self) -> int:
        """The bytes of one of them, rounded; 0 if there is none."""
        return round(self.taken_bytes / self.count) if self.count else 0


def size_of_mirrors(servers: Servers, keys: Collection[str]) -> Size | None:
    """Return how many orders mirrors hold, and what they take; None if Redis forbids to ask."""
    return _size(servers, keys, _OF_MIRROR)


def size_of_index(servers: Servers, keys: Collection[str]) -> Size | None:
    """Return how many identifiers and contacts an index holds, and what they take; None if Redis forbids to ask."""
    found, shared = _size(servers, keys, _OF_SHARD), bytes_of(servers, map(shared_key, keys), fields="ZCARD")
    if found is None or shared is None:
        return None
    return Size(found.count, found.taken_bytes + sum(taken for taken, _ in shared))


def _size(servers: Servers, keys: Collection[str], own_fields: int) -> Size | None:
    found = bytes_of(servers, keys)
    if found is None:
        return None
    return Size(sum(max(0, fields - own_fields) for _, fields in found), sum(taken for taken, _ in found))
