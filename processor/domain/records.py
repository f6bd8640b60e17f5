"""The domain's records: what the rules take, pass on and give. Frozen data only.

The garbage collector does not track the records that a batch creates by the thousand (`gc=False`): none can be part of
a cycle, and the collector's passes over a batch cost more than some steps. This module is never compiled: the compiler
would not see how a record is built (`frozen`, `array_like`).
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, tzinfo
from typing import Any, Final, NamedTuple, final

import msgspec

LONGS: Final = range(-(1 << 63), 1 << 63)
"""The integers that Avro can hold."""
MAX_ELEMENTS: Final = 20_000
"""The limit for an event's arrays and maps together, for its items as JSON, and for an order's custom fields.

An event's cost grows with its elements, and a hostile megabyte could hold half a million: a second's work.
"""


Headers = tuple[tuple[str, bytes | None], ...]
"""A record's headers, by name, in their order."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record's place, its own timestamp in ms since the epoch, and its bytes."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        """How many bytes the record's key, value and headers take."""
        size_bytes = len(self.key or b"") + len(self.value or b"")
        if self.headers:
            size_bytes += sum(len(name) + len(text or b"") for name, text in self.headers)
        return size_bytes


class Event(msgspec.Struct, frozen=True, gc=False):
    """An OrderEvent as Avro holds it: `params` are its values by name, in the event's order.

    If a name occurs twice (D1), `repeated` is the first such name with its place in the event.
    """

    event_type: str
    key_value: str
    params: dict[str, Any]
    repeated: tuple[int, str] | None = None

    @classmethod
    def of(cls, event_type: str, key_value: str, params: Iterable[tuple[str, Any]]) -> "Event":
        """Return an event with any parameters, (name, value) in their order."""
        values: dict[str, Any] = {}
        for position, (name, value) in enumerate(params):
            if name in values:
                return cls(event_type, key_value, values, (position, name))
            values[name] = value
        return cls(event_type, key_value, values)


class Digits(msgspec.Struct, frozen=True):
    """A JSON integer too long for Python to read (4,300 digits), kept as its digits (D10)."""

    text: str


Scalar = str | bool | int | float


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of an order. `cost` in units of 0.0001; `custom` holds all further attributes by name."""

    external_item_id: str
    quantity: float
    name: str | None = None
    category: str | None = None
    url: str | None = None
    image_url: str | None = None
    description: str | None = None
    cost: int | None = None
    custom: dict[str, Scalar] = {}


class Items:
    """The lines of an order, in the event's order: one value, whatever its kept form."""

    __slots__ = ()

    @property
    def lines(self) -> tuple[Item, ...]:
        """The items one by one. Raises UndecodableError if their kept form is damaged."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        """Compare by value, where 1, 1.0 and true differ (D22)."""
        if not isinstance(other, Items):
            return NotImplemented
        mine, others = self.lines, other.lines
        return mine == others and _custom_types(mine) == _custom_types(others)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(tuple(item.external_item_id for item in self.lines))


def _custom_types(lines: tuple[Item, ...]) -> list[dict[str, type]]:
    return [{name: type(value) for name, value in item.custom.items()} for item in lines]


class PlainItems(Items, msgspec.Struct, frozen=True, eq=False, gc=False):
    """Items kept one by one."""

    lines: tuple[Item, ...] = ()


class Identifier(NamedTuple):
    """A contact's field and a value in the form in which it is compared."""

    field: str
    value: str


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One parameter that may say whose order it is; `identifier` is None if it can match nobody."""

    field: str
    identifier: Identifier | None


class Owner(msgspec.Struct, frozen=True, gc=False):
    """A found contact, and the field that found it."""

    contact_id: str
    identified_by: str


Ranks = tuple[tuple[int, str], ...]


class PhoneRule(msgspec.Struct, frozen=True):
    """How phone numbers are compared (D12): `form` gives the text to compare, empty if it matches nothing.

    Two rules with the same `name` give the same forms: the contact index keeps the name of its rule.
    """

    name: str
    form: Callable[[str], str]


class Identification(msgspec.Struct, frozen=True):
    """Which parameters identify a contact, and how phone numbers are compared.

    `ranks` maps a lower-cased parameter name to its (rank, contact field) pairs; the lowest rank is tried
    first. `names` are all lower-cased names that only identify and are not copied into a fact (D11).
    `custom_fields` are the contact fields beyond the built-in ones that the index must know (C2).
    """

    ranks: Mapping[str, Ranks]
    names: frozenset[str]
    custom_fields: frozenset[str]
    phones: PhoneRule


class Role(NamedTuple):
    """The role of parameters with one name: `read` gives the value of the order's `field`; no field: a custom field.

    `read` is None if the parameter only says whose order it is; `ranks` are D12's; with `keeps_text` a text stays as it
    is.
    """

    field: str | None
    read: Callable[[Any], object] | None
    ranks: Ranks
    keeps_text: bool


class Parsing(msgspec.Struct, frozen=True):
    """How an event is read (D7, D8, D10, D14, D18), how an order's items are kept, and the roles of names seen so far.

    `statuses` maps a shop's own words, trimmed and by `lower()`, to statuses. `clearing` are the types of event in
    which a null empties its field.
    """

    identification: Identification
    zone: tzinfo = UTC
    lenient_items: bool = True
    statuses: Mapping[str, str] = {}
    occurred_at: str | None = None  # the parameter that says when an event happened (D25)
    clearing: frozenset[str] = frozenset()
    keep_items: Callable[[tuple[Item, ...]], Items] = PlainItems
    roles: dict[str, Role] = {}


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """What an event asks for, checked."""

    order_id: str
    event_type: str
    candidates: tuple[Candidate, ...]


class _Filled(_Asked, frozen=True, gc=False):
    """With the fields of `Order` that the event fills or empties; `custom` holds the parameters without one."""

    changes: dict[str, Any]
    custom: dict[str, Scalar]
    occurred_at_ms: int | None = None  # when it happened, if the event says so (D25)
    cleared: tuple[str, ...] = ()  # the custom fields that the event empties (D18)


@final
class Create(_Filled, frozen=True, gc=False):
    """orderCreated."""


@final
class Update(_Filled, frozen=True, gc=False):
    """orderUpdated."""


@final
class SetStatus(_Asked, frozen=True, gc=False):
    """orderDelivered or orderCancelled."""

    status: str
    occurred_at_ms: int | None = None  # as above


Command = Create | Update | SetStatus


class Source(msgspec.Struct, frozen=True, gc=False):
    """The record of an event: its place, and its timestamp in ms since the epoch."""

    partition: int
    offset: int
    timestamp_ms: int


@final
class Order(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A whole order, which is also the fact of its latest change.

    Amounts are integers in units of 0.0001; names ending in `_ms` are ms since the epoch, UTC.
    """

    external_order_id: str
    contact_id: str
    identified_by: str
    status: str
    date_ms: int
    total_cost: int
    event_type: str
    created_at_ms: int
    updated_at_ms: int
    status_changed_at_ms: int
    revision: int
    source_partition: int
    source_offset: int
    items: Items = PlainItems()
    custom: dict[str, Scalar] = {}
    currency: str | None = None
    external_customer_id: str | None = None
    email: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    shipping: int | None = None
    discount: int | None = None
    taxes: int | None = None
    status_description: str | None = None
    restore_url: str | None = None
    store_id: str | None = None
    source: str | None = None
    delivery_method: str | None = None
    payment_method: str | None = None
    delivery_address: str | None = None
    additional_info: str | None = None
    cart_id: str | None = None
    occurred_at_ms: int | None = None  # the last field: see `codec.order_state`


def public_name(field: str) -> str:
    """Return the name that events and facts have for a field of the records here: `created_at_ms` is createdAt."""
    if field == "event_type":
        return "eventTypeKey"
    first, *rest = field.removesuffix("_ms").split("_")
    return first + "".join(word.capitalize() for word in rest)


TEXTS: Final = {
    public_name(field.name): field.name for field in msgspec.structs.fields(Order) if field.type == str | None
}
"""The texts that an order may lack, by the names of the parameters that fill them."""


class Policy(msgspec.Struct, frozen=True):
    """The settings that change what happens to an order (D9, D15, D17, D25)."""

    default_currency: str | None = None
    reassign_on_owner_conflict: bool = False
    update_on_duplicate_create: bool = False
    keeps_occurred_at: bool = True  # facts of version 1 cannot hold it


class UndecodableError(ValueError):
    """A record's value that is not valid for its topic; the text says why, without the value."""


class UnknownSchemaError(UndecodableError):
    """A value of a schema that is not known here: perhaps of a later version."""
