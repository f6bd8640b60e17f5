"""Records as rows: a fact, a contact or a deletion in, an object for a JSON line out, with the record's place.

Personal fields are left out here already, if they are not asked for, so that no file ever holds them.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

from processor.codec.fields import STRUCTS, fields_of
from processor.domain.records import Item, Order, Record, UndecodableError
from processor.errors import RegistryError, StopError
from processor.registry.wire import Wire
from processor.registry.writers import AbsentSchemaError
from processor.snapshots.columns import CONTACT_ID, CONTACTS, ITEMS, ORDER_ID, ORDERS, Column, columns_of

Row = dict[str, Any]
RowOf = Callable[[Record], Row | None]
"""Gives a record's row, None for a record that is skipped."""
_MOST_UNITS: Final = 10**18  # DECIMAL(18,4) holds less


class FactRows:
    """Rows of facts; an order's items are a list in its row. A deletion's row has the order's id and its place only."""

    def __init__(self, wire: Wire, topic: str, *, personal: bool) -> None:
        self._decode = wire.decode_fact
        self._topic = topic
        columns, lines = columns_of(ORDERS, personal=personal), columns_of(ITEMS, personal=personal)[1:]
        self._names, self._values = _getter(columns, "OrderFact")
        self._line_names, self._line_values = _getter(lines, "OrderItem")
        _, self._amounts = _getter([column for column in columns if "DECIMAL" in column.type], "OrderFact")

    def row(self, record: Record) -> Row | None:
        """Return a record's row. Raises StopError for what is no fact."""
        try:
            return self._row(record)
        except UndecodableError as error:
            raise StopError(
                f"{self._topic}: partition {record.partition}, offset {record.offset} is not a valid fact: {error}"
            ) from error

    def _row(self, record: Record) -> Row | None:
        if record.value is None:
            order_id = _text(record.key)
            return None if order_id is None else _with_place({ORDER_ID: order_id}, record)
        order = self._decode(record.value)
        if record.key != order.external_order_id.encode():
            raise UndecodableError(f"its key is not its {ORDER_ID}")
        row = dict(zip(self._names, self._values(order), strict=True))
        row["items"] = self._lines(order)
        for amount in self._amounts(order):
            if amount is not None and not -_MOST_UNITS < amount < _MOST_UNITS:
                raise UndecodableError("an amount has more than 18 digits")
        return _with_place(row, record)

    def _lines(self, order: Order) -> list[Row]:
        lines: tuple[Item, ...] = order.items.lines
        for line in lines:
            if line.cost is not None and not -_MOST_UNITS < line.cost < _MOST_UNITS:
                raise UndecodableError("an item's cost has more than 18 digits")
        return [dict(zip(self._line_names, self._line_values(line), strict=True)) for line in lines]


class ContactRows:
    """Rows of contacts. A record that is no contact is skipped and counted (C1); `first_skipped` says why and where."""

    def __init__(self, wire: Wire, *, personal: bool) -> None:
        self._decode = wire.decode_contact
        self._names = [column.name for column in columns_of(CONTACTS, personal=personal)]
        self.skipped = 0
        self.first_skipped = ""

    def row(self, record: Record) -> Row | None:
        """Return a record's row; the contact's id is the key, whatever the value says (C1).

        Raises RegistryError for a contact whose schema the registry does not know: it may be one that was lost.
        """
        try:
            contact_id = _text(record.key)
            if contact_id is None:
                raise UndecodableError("the record has no key that is a text")  # noqa: TRY301 - one place counts
            if record.value is None:
                return _with_place({CONTACT_ID: contact_id}, record)
            contact: Mapping[str, Any] = self._decode(record.value, record.headers)
        except AbsentSchemaError as error:
            place = f"partition {record.partition}, offset {record.offset}"
            raise RegistryError(
                f"{error}, and the contacts topic holds contacts of it ({place}): restore the registry's schemas"
            ) from error
        except UndecodableError as error:
            self.skipped += 1
            self.first_skipped = self.first_skipped or f"partition {record.partition}, offset {record.offset}: {error}"
            return None
        row = {name: contact[name] for name in self._names}
        row[CONTACT_ID] = contact_id
        return _with_place(row, record)


def _getter(columns: Iterable[Column], struct: str) -> tuple[list[str], Callable[[Any], tuple[Any, ...]]]:
    """Return the names of columns, and what gives their values of one of the domain's records."""
    fields = fields_of(STRUCTS[struct])
    names = [column.name for column in columns]
    return names, attrgetter(*(fields[name] for name in names))


def _with_place(row: Row, record: Record) -> Row:
    row["_partition"] = record.partition
    row["_offset"] = record.offset
    row["_timestampMs"] = record.timestamp_ms
    row["_isDeleted"] = record.value is None
    return row


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None
