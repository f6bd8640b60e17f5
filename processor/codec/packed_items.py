"""Items in the bytes that a fact holds for them: in this form they go from an event to its fact, the mirror, and back.

Most later events change other fields of an order and only pass its items on. Packed, they are one object instead of a
dozen, and the garbage collector does not track it.
"""

from msgspec.structs import replace

from processor.codec import generated
from processor.domain.batch import Rules
from processor.domain.records import Item, Items, Order, PlainItems


class PackedItems(Items, bytes):
    """Items as the bytes that a fact has for them."""

    __slots__ = ()  # without slots the garbage collector does not track a subclass of bytes

    @property
    def lines(self) -> tuple[Item, ...]:
        """The items one by one. Raises UndecodableError."""
        return generated.items_at(self, 0)

    def __eq__(self, other: object) -> bool:
        """Compare by value, mostly without unpacking.

        The same items have the same packed length. Yet their bytes may differ: by the order of names, or a zero's sign.
        """
        if not isinstance(other, PackedItems):
            return Items.__eq__(self, other)
        return bytes.__eq__(self, other) or (len(self) == len(other) and Items.__eq__(self, other))

    __hash__ = Items.__hash__


def pack(lines: tuple[Item, ...]) -> PackedItems:
    """Return an order's items, packed."""
    return PackedItems(generated.packed_items(lines))


def with_packed_items(rules: Rules) -> Rules:
    """Return the same rules, but pack items as soon as an event is read."""
    return replace(rules, parsing=replace(rules.parsing, keep_items=pack))


def unpacked(order: Order) -> Order:
    """Return an order with its items one by one. Raises UndecodableError."""
    return replace(order, items=PlainItems(order.items.lines))
