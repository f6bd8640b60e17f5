"""Items packed the way a fact holds them: so they go from an event to its fact and to the mirror, and back.

Most orders come back to be changed in other fields, and their items are only passed on. Packed they are one object
instead of a dozen, which the garbage collector does not see either.
"""

from msgspec.structs import replace

from processor.codec import generated
from processor.domain.batch import Rules
from processor.domain.records import Item, Items, Order, PlainItems


class PackedItems(Items, bytes):
    """Items as the bytes that a fact has for them."""

    __slots__ = ()  # a subclass of bytes without any is not tracked by the garbage collector

    @property
    def lines(self) -> tuple[Item, ...]:
        """The items one by one. Raises UndecodableError."""
        return generated.items_at(self, 0)

    def __eq__(self, other: object) -> bool:
        """Compare by value, most often without unpacking.

        The same items are as long when packed. Their bytes may differ even so: by the order of names, or a zero's sign.
        """
        if not isinstance(other, PackedItems):
            return Items.__eq__(self, other)
        return bytes.__eq__(self, other) or (len(self) == len(other) and Items.__eq__(self, other))

    __hash__ = Items.__hash__


def pack(lines: tuple[Item, ...]) -> PackedItems:
    """Return an order's items, packed."""
    return PackedItems(generated.packed_items(lines))


def with_packed_items(rules: Rules) -> Rules:
    """Return the same rules, by which items are packed as soon as an event is read."""
    return replace(rules, parsing=replace(rules.parsing, keep_items=pack))


def unpacked(order: Order) -> Order:
    """Return an order with its items one by one. Raises UndecodableError."""
    return replace(order, items=PlainItems(order.items.lines))
