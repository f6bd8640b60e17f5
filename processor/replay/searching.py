"""Asks Redis for what rejected events wait for: contacts by their identifiers, orders by their ids.

Takes hashes and keys, some thousands at a time; gives which are found. Never writes.
"""

from collections.abc import Collection, Iterable
from typing import Final

from processor.contacts.lookup import ContactIndex
from processor.replay.waiting import OrderHash, Waiting
from processor.state.mirror import DamagedMirrorError, Mirror
from processor.state.watermark import ContactsPosition

ORDERS_AT_ONCE: Final = 2_000


class Search:
    """Finds the orders that can go back."""

    def __init__(self, index: ContactIndex, mirror: Mirror) -> None:
        self._index = index
        self._mirror = mirror

    def position(self) -> ContactsPosition:
        """Return how far the contact index is. Raises IndexNotReadyError (C4), RedisError or StopError."""
        return self._index.claimed(())[1]

    def found(self, waiting: Waiting, orders: Collection[OrderHash]) -> set[OrderHash]:
        """Return which of some orders are found, by a contact or because they exist. Raises as `position`."""
        by_digest: dict[bytes, list[OrderHash]] = {}
        for order, digest in waiting.digests(orders):
            by_digest.setdefault(digest, []).append(order)
        claimed = self._index.claimed(by_digest)[0] if by_digest else ()
        found = {order for digest in claimed for order in by_digest[digest]}
        for partition, keys in waiting.order_keys(orders).items():
            found.update(keys[key] for key in self._existing(partition, list(keys)))
        return found

    def _existing(self, partition: int, keys: list[bytes]) -> Iterable[bytes]:
        """Return which orders the mirror has; none of a mirror that cannot be read: its replica rebuilds it."""
        try:
            _, states = self._mirror.look(partition, keys)
        except DamagedMirrorError:
            return ()
        return [key for key, state in zip(keys, states, strict=True) if state is not None]
