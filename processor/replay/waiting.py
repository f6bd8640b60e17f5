"""The rejected events that wait for their contact, order by order, and which of them go back, in which order. Pure.

Takes the records of the rejected topic, each partition's in order. Never holds an event: of each record it keeps where
it is, until when it waits, and the hashes of its identifiers (16 bytes each). An order is a hash of its key.

- A record waits if it can be found: by an identifier (`contact_not_found`), or because its order exists
  (`order_unknown`, if that is healed too). It is a *head*.
- What was rejected of the same order after a head waits behind it: it was rejected because the order was not there.
- As soon as one head of an order is found, the order goes back as a whole: everything that waits, from the first record
  on. So no event of an order overtakes an earlier one, and the rules judge each of them.
- What was rejected before a copy was judged goes back too, behind it: a record whose event is in the events topic
  before the copy. What was rejected after that has another cause, and waits only if it is a head itself. The same holds
  for a copy that is rejected again beside others of its own round: these were judged with it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Final

import msgspec

from processor.codec.healed import Place

HASH_BYTES: Final = 16
_NEVER_MS: Final = 1 << 63
_LET_GO_PART: Final = 100  # how much goes at once if too many wait: one in so many
OrderHash = bytes


def order_hash(partition: int, key: bytes | None) -> OrderHash:
    """Return what names an order here: its partition, and a hash of its key."""
    return partition.to_bytes(4, "big") + blake2b(key or b"", digest_size=12).digest()


class Sighting(msgspec.Struct, frozen=True):
    """A record of the rejected topic that may wait.

    `event_offset` is the event's own, `rounds` how often it was sent back before; `digests` are the joined hashes of
    the identifiers that may find a contact; `order_key` is the order's key if it waits for the order itself. A record
    with neither can only wait behind others. `from_ms` is when it may be looked up: its order waits until then.
    """

    order: OrderHash
    place: Place
    event_offset: int
    rounds: int
    expires_ms: int
    digests: bytes = b""
    order_key: bytes | None = None
    from_ms: int = 0


class _Record(msgspec.Struct, frozen=True, gc=False):
    offset: int
    rounds: int
    expires_ms: int
    digests: bytes
    order_key: bytes | None

    @property
    def is_head(self) -> bool:
        return bool(self.digests) or self.order_key is not None


class _Order(msgspec.Struct, gc=False):
    """What waits of an order, in order; what is on its way; and what was sent back, until it is judged.

    `copies` are the greatest offset in the events topic of each round's copies: (round, offset).
    """

    partition: int
    records: list[_Record]
    leaving: int = 0  # records that go back now, not committed yet
    copies: tuple[tuple[int, int], ...] = ()
    until_ms: int = 0  # how long they matter
    from_ms: int = 0  # when what waits may be looked up

    def copied(self, rounds: int, offset: int) -> None:
        """Note the copy of a record that was sent back `rounds` times before."""
        copies = dict(self.copies)
        copies[rounds + 1] = max(copies.get(rounds + 1, -1), offset)
        self.copies = tuple(copies.items())

    def is_followed_by(self, seen: Sighting) -> bool:
        """Return whether a record was rejected before a copy of a later round was judged."""
        return any(number > seen.rounds and seen.event_offset < offset for number, offset in self.copies)


class Waiting:
    """What waits, at most `most` records: then the oldest are let go."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._orders: dict[OrderHash, _Order] = {}  # the one that began to wait first comes first
        self._leaving: dict[Place, tuple[OrderHash, int]] = {}  # with the rounds before
        self._judged: dict[int, int] = {}  # by partition: up to which event the processor has come, as far as is seen
        self._fresh: dict[OrderHash, None] = {}
        self._later: list[tuple[int, OrderHash]] = []  # a heap: when an order is fresh
        self.records = 0

    @property
    def leaving(self) -> Collection[Place]:
        """The records that go back now."""
        return self._leaving.keys()

    def passed(self, partition: int, event_offset: int) -> None:
        """Note a rejected record of this deployment, whatever its reason: all before it is judged."""
        self._judged[partition] = max(self._judged.get(partition, -1), event_offset)

    def copied(self, seen: Sighting, copy_offset: int) -> None:
        """Note a record that was sent back before, and where its copy is."""
        order = self._order(seen)
        order.copied(seen.rounds, copy_offset)
        order.until_ms = max(order.until_ms, seen.expires_ms)

    def add(self, seen: Sighting) -> int:
        """Take a record; return how many had to be let go for it."""
        order = self._orders.get(seen.order)
        record = _Record(seen.place.offset, seen.rounds, seen.expires_ms, seen.digests, seen.order_key)
        if order is not None and (order.leaving or order.is_followed_by(seen)):
            self._leave(seen.order, order, record)
        elif record.is_head or (order is not None and order.records):
            held = self._order(seen)
            held.records.append(record)
            held.from_ms = max(held.from_ms, seen.from_ms)
            self.records += 1
            if held.from_ms:
                heappush(self._later, (held.from_ms, seen.order))
            elif record.is_head:
                self._fresh[seen.order] = None
        return self._let_go() if self.records > self._most else 0

    def fresh(self, now_ms: int) -> list[OrderHash]:
        """Return the orders with a head that came since the last call, or that may be looked up since then."""
        while self._later and self._later[0][0] <= now_ms:
            _, name = heappop(self._later)
            self._fresh[name] = None
        found = [name for name in self._fresh if name not in self._orders or self._orders[name].from_ms <= now_ms]
        self._fresh.clear()
        return found

    def all(self, now_ms: int = _NEVER_MS) -> list[OrderHash]:
        """Return all orders of which something waits and, by this time, may be looked up."""
        return [order for order, held in self._orders.items() if held.records and held.from_ms <= now_ms]

    def digests(self, orders: Iterable[OrderHash]) -> Iterator[tuple[OrderHash, bytes]]:
        """Yield the hash of each identifier that orders wait for."""
        for name, record in self._records(orders):
            for at in range(0, len(record.digests), HASH_BYTES):
                yield name, record.digests[at : at + HASH_BYTES]

    def order_keys(self, orders: Iterable[OrderHash]) -> dict[int, dict[bytes, OrderHash]]:
        """Return the keys of orders that events wait for, by partition."""
        found: dict[int, dict[bytes, OrderHash]] = {}
        for name, record in self._records(orders):
            if record.order_key is not None:
                found.setdefault(self._orders[name].partition, {})[record.order_key] = name
        return found

    def found(self, names: Iterable[OrderHash]) -> None:
        """Have all that waits of these orders go back."""
        for name in names:
            order = self._orders.get(name)
            if order is not None:
                records, order.records, order.from_ms = order.records, [], 0
                self.records -= len(records)
                for record in records:
                    self._leave(name, order, record)

    def sent(self, copies: Mapping[Place, int]) -> None:
        """Note records that were sent back, each with its copy's offset in the events topic."""
        for place, copy_offset in copies.items():
            order, rounds = self._left(place)
            order.copied(rounds, copy_offset)

    def lost(self, places: Iterable[Place]) -> None:
        """Note records that were to go back and are no longer in the rejected topic."""
        for place in places:
            self._left(place)

    def expire(self, now_ms: int, starts: Mapping[int, int]) -> int:
        """Let go what has waited long enough, or is before the start of its partition; return how many records.

        What waited behind the last head goes with it.
        """
        gone = 0
        for name, order in list(self._orders.items()):
            start = starts.get(order.partition, 0)
            if any(record.expires_ms <= now_ms or record.offset < start for record in order.records):
                kept = [record for record in order.records if record.expires_ms > now_ms and record.offset >= start]
                while kept and not kept[0].is_head:
                    del kept[0]
                gone += len(order.records) - len(kept)
                order.records = kept
            last = max((offset for _, offset in order.copies), default=-1)
            is_judged = last < self._judged.get(order.partition, -1) or order.until_ms <= now_ms
            if not order.records and not order.leaving and is_judged:
                del self._orders[name]
        self.records -= gone
        return gone

    def _records(self, orders: Iterable[OrderHash]) -> Iterator[tuple[OrderHash, _Record]]:
        for name in orders:
            held = self._orders.get(name)
            if held is not None:
                for record in held.records:
                    yield name, record

    def _order(self, seen: Sighting) -> _Order:
        order = self._orders.get(seen.order)
        if order is None:
            order = self._orders[seen.order] = _Order(seen.place.partition, [])
        return order

    def _leave(self, name: OrderHash, order: _Order, record: _Record) -> None:
        order.leaving += 1
        order.until_ms = max(order.until_ms, record.expires_ms)
        self._leaving[Place(order.partition, record.offset)] = name, record.rounds

    def _left(self, place: Place) -> tuple[_Order, int]:
        name, rounds = self._leaving.pop(place)
        order = self._orders[name]
        order.leaving -= 1
        return order, rounds

    def _let_go(self) -> int:
        """Let the oldest records go: a part of all, so that this is rare."""
        gone, wanted = 0, self._most // _LET_GO_PART + 1
        for order in self._orders.values():
            if gone >= wanted:
                break
            gone += len(order.records)
            order.records = []
        self.records -= gone
        return gone
