"""Step 3 of a batch: what Redis knows of its orders and contacts, and the marks that this is as of.

Takes decoded records; gives `Known`, or raises what the recovery path needs. Decides nothing: the domain says what to
ask for.
"""

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec.structs import replace

from processor.contacts.lookup import ContactIndex
from processor.domain.batch import OrderKey, Parsed, Rules
from processor.domain.pipeline import needs, owners_in_doubt
from processor.domain.records import Identifier, Order
from processor.errors import MirrorMovedError
from processor.replica.partitions import Partitions
from processor.state.line import Line
from processor.state.mirror import Mirror
from processor.state.watermark import ContactsPosition, Watermark


class Known(msgspec.Struct, frozen=True):
    """What step 3 found: the mirror's watermarks, the known orders, the contacts by identifier.

    `gone` are the contacts that no longer exist, of those that the batch's orders depend on (D15). `index` is how far
    the contact index was, and `indexed_at_ms` when (wall clock) it last held the whole topic.
    """

    marks: dict[int, Watermark | None]
    orders: dict[OrderKey, Order]
    contacts: dict[Identifier, str]
    gone: frozenset[str]
    index: ContactsPosition
    indexed_at_ms: int


class LookUp:
    """Looks up what batches need. Its line is the one that mirrors are written on: it sees those writes."""

    def __init__(self, line: Line, mirror: Mirror, index: ContactIndex, partitions: Partitions, rules: Rules) -> None:
        self._line, self._mirror, self._index = line, mirror, index
        self._partitions, self._rules = partitions, rules

    def known(self, parsed: list[Parsed], ended: Collection[int]) -> Known:
        """Return what a batch, and the partitions that `ended`, need, in one round trip.

        One atomic command reads each partition, and each shard of the index. `gone` is empty: see `owners`.
        Raises MirrorMovedError if a mirror is not as this replica left it; IndexNotReadyError; RedisError.
        """
        wanted = needs(parsed)
        order_ids: dict[int, list[str]] = {partition: [] for partition in ended}
        order_ids |= {partition: list(names) for partition, names in wanted.order_ids.items()}
        self._mirror.add_lookups(self._line, order_ids)
        of_orders, of_identifiers = list[Any](), list[Any]()
        self._line.send(of_orders.extend)  # Redis looks for the orders while the identifiers are hashed
        plan = self._index.add_lookups(self._line, wanted.identifiers)
        self._line.send(of_identifiers.extend)
        self._line.answers()
        marks, orders = self._mirror.read(order_ids, of_orders)
        moved = [partition for partition, mark in marks.items() if mark != self._partitions.placed[partition].mark]
        if moved:
            raise MirrorMovedError(f"the mirror of partitions {moved} is not as this replica left it")
        found = self._index.read(plan, of_identifiers)
        return Known(marks, orders, found.contacts, frozenset(), found.position, found.complete_at_ms)

    def owners(self, known: Known, parsed: list[Parsed]) -> Known:
        """Return it with the contacts that no longer exist, of those that the batch's orders depend on (D15).

        A second round trip, for a batch in which an event found another contact than its order's. Raises
        IndexNotReadyError; RedisError.
        """
        doubted = owners_in_doubt(parsed, known.orders, known.contacts, self._rules)
        if not doubted:
            return known
        existing, position = self._index.existing(doubted)
        return replace(known, gone=frozenset(doubted - existing), index=position)
