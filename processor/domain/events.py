"""One decoded order event in, one command or rejection out (D1 to D12, D25).

`parse` is total: it never raises for an event that Avro can hold. Checks run in the order of the reasons (see
`rejections`), and the first one that fails gives the reason.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from processor.domain.identifiers import in_order
from processor.domain.instants import parse_date
from processor.domain.items import InvalidItems, parse_items
from processor.domain.orders import CANCELLED, DELIVERED, STATUSES
from processor.domain.records import TEXTS, Candidate, Command, Create, Event, Parsing, Role, Scalar, SetStatus, Update
from processor.domain.rejections import Reason, Rejection, shown
from processor.domain.values import InvalidValue, finite, is_filled, json_text, money, number_text

ORDER_ID: Final = "externalOrderId"
MAX_EVENT_TYPE_CHARACTERS: Final = 100
MAX_KEY_VALUE_CHARACTERS: Final = 300
MAX_NAME_CHARACTERS: Final = 100
MAX_ORDER_ID_CHARACTERS: Final = 300
_TOO_LONG: Final = f"expected at most {MAX_ORDER_ID_CHARACTERS} characters"
_KEPT_NAMES: Final = 4_096  # producers choose the names, so this bounds how many are remembered

_CREATED: Final = "orderCreated"
_UPDATED: Final = "orderUpdated"
_STATUS_OF: Final = {"orderDelivered": DELIVERED, "orderCancelled": CANCELLED}  # D20
_TYPES: Final = frozenset({_CREATED, _UPDATED, *_STATUS_OF})  # D2


class _BadParameterError(ValueError):
    """A parameter that a rule refuses; the text names it."""


def parse(event: Event, key: bytes | None, parsing: Parsing) -> Command | Rejection:
    """Return what the event asks for, or why it is refused; `key` is the record's key."""
    event_type = event.event_type
    if fault := _event_fault(event, parsing):
        return Rejection(Reason.INVALID_EVENT, fault)
    if event_type not in _TYPES:
        return Rejection(Reason.UNSUPPORTED_EVENT_TYPE, f"eventTypeKey {shown(event_type)}")
    order_id = _order_id(event.params.get(ORDER_ID), key)
    if isinstance(order_id, Rejection):
        return order_id
    try:
        if event_type in _STATUS_OF:
            at_ms = _read_few(event.params, order_id, parsing)
            return SetStatus(order_id, event_type, _tried(event.params, parsing), _STATUS_OF[event_type], at_ms)
        changes, custom, tried = _read(event.params, parsing)
    except _BadParameterError as bad:  # a name for each class: the compiler gives a variable one type
        return Rejection(Reason.INVALID_PARAMETER, str(bad))
    except InvalidItems as wrong:
        return Rejection(Reason.INVALID_ITEMS, str(wrong))
    kind = Create if event_type == _CREATED else Update
    occurred_at_ms = changes.pop(_OCCURRED_AT_FIELD, None) if parsing.occurred_at is not None else None
    return kind(order_id, event_type, tried, changes, custom, occurred_at_ms)


def _event_fault(event: Event, parsing: Parsing) -> str | None:
    """Return what breaks D1, or None."""
    event_type = event.event_type
    if event_type not in _TYPES and (len(event_type) > MAX_EVENT_TYPE_CHARACTERS or not event_type.strip()):
        return f"eventTypeKey: expected 1 to {MAX_EVENT_TYPE_CHARACTERS} characters, not blank"
    if len(event.key_value) > MAX_KEY_VALUE_CHARACTERS:
        return f"keyValue: expected at most {MAX_KEY_VALUE_CHARACTERS} characters"
    if event.repeated is None and event.params.keys() <= parsing.roles.keys():
        return None  # names seen before have a valid length
    for position, name in enumerate(event.params):
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
            return f"params[{position}].name: expected 1 to {MAX_NAME_CHARACTERS} characters"
    if event.repeated is not None:
        position, name = event.repeated
        return f"params[{position}].name: {shown(name)} occurs twice"
    return None


def _order_id(value: object, key: bytes | None) -> str | Rejection:
    """Return the order's id (D5); `_short_id` checks its length later."""
    if type(value) is str and len(value.strip()) > 4 and value.encode() == key:  # nearly all ids
        return value
    if not is_filled(value):
        return Rejection(Reason.MISSING_PARAMETER, f"missing: {ORDER_ID}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return Rejection(Reason.INVALID_PARAMETER, f"{ORDER_ID}: expected a text or an integer")
    order_id = str(value)
    if key != order_id.encode():
        return Rejection(Reason.KEY_MISMATCH, f"the record's key is not the {ORDER_ID}")
    return order_id


def _read_few(params: dict[str, Any], order_id: str, parsing: Parsing) -> int | None:
    """Check what is checked in orderDelivered and orderCancelled (D5, D20); return when it happened (D25)."""
    is_too_long = len(order_id) > MAX_ORDER_ID_CHARACTERS
    if parsing.occurred_at is None and not is_too_long:
        return None
    occurred_at_ms = None
    for name, value in params.items():
        if name == ORDER_ID and is_too_long:
            raise _BadParameterError(f"{ORDER_ID}: {_TOO_LONG}")
        if name == parsing.occurred_at and is_filled(value):
            try:
                occurred_at_ms = parse_date(value, parsing.zone)
            except InvalidValue as error:
                raise _BadParameterError(f"{shown(name)}: {error}") from error
    return occurred_at_ms


def _tried(params: dict[str, Any], parsing: Parsing) -> tuple[Candidate, ...]:
    """Return what the filled parameters say of the order's owner."""
    roles = parsing.roles
    found = []
    for name, value in params.items():
        ranks = (roles.get(name) or _role(name, parsing)).ranks
        if ranks and is_filled(value):
            found.append((ranks, value))
    return in_order(found, parsing.identification.phones)


def _read(params: dict[str, Any], parsing: Parsing) -> tuple[dict[str, Any], dict[str, Scalar], tuple[Candidate, ...]]:
    """Read the filled parameters of orderCreated and orderUpdated, items last (D6 to D13).

    Returns the order's fields, the custom fields, and what the event says about the order's owner.
    """
    roles = parsing.roles
    changes: dict[str, Any] = {}
    custom: dict[str, Scalar] = {}
    found = []
    name = ""
    try:
        for name, value in params.items():
            is_text = type(value) is str
            # The same as `is_filled`, mostly without the call.
            if value is None or (is_text and len(value.strip()) < 5 and not is_filled(value)):
                continue
            field, read, ranks, keeps_text = roles.get(name) or _role(name, parsing)
            if ranks:
                found.append((ranks, value))
            if read is not None:
                kept: Any = value if is_text and keeps_text else read(value)
                if field is None:
                    custom[name] = kept
                else:
                    changes[field] = kept
    except InvalidValue as error:
        raise _BadParameterError(f"{shown(name)}: {error}") from error
    del changes[_ORDER_ID_FIELD]
    if _CURRENCY_ALIAS in changes:
        alias = changes.pop(_CURRENCY_ALIAS)
        changes.setdefault("currency", alias)  # D9: if both are filled, currency wins
    if "items" in changes:
        # Kept at once, while they are in the core's caches: a batch is larger than those.
        changes["items"] = parsing.keep_items(parse_items(changes["items"], lenient=parsing.lenient_items))
    return changes, custom, in_order(found, parsing.identification.phones)


def _role(name: str, parsing: Parsing) -> Role:
    """Work out the role of parameters with this name, and remember it."""
    lower = name.lower()
    ranks = parsing.identification.ranks.get(lower, ())
    field: str | None = None
    read: Callable[[Any], object] | None = _custom
    if name == "date":
        field, read = "date_ms", partial(parse_date, zone=parsing.zone)
    elif name == parsing.occurred_at:
        field, read = _OCCURRED_AT_FIELD, partial(parse_date, zone=parsing.zone)
    elif name in _COLUMNS:
        field, read = _COLUMNS[name]
    elif lower in parsing.identification.names:
        read = None
    role = Role(field, read, ranks, read in _KEEP_TEXTS)
    if len(parsing.roles) >= _KEPT_NAMES:
        parsing.roles.clear()
    parsing.roles[name] = role
    return role


def _short_id(value: str | int) -> str:
    """Check the length of the order id; `_order_id` checked the rest (D5)."""
    order_id = str(value)
    if len(order_id) > MAX_ORDER_ID_CHARACTERS:
        raise InvalidValue(_TOO_LONG)
    return order_id


def _as_it_is(value: object) -> object:
    """Keep the items for last: their reason comes after those of all other parameters."""
    return value


def _status(value: object) -> str:
    """Read a status (D7)."""
    if not isinstance(value, str) or value not in STATUSES:
        raise InvalidValue(f"expected one of {', '.join(STATUSES)}")
    return value


def _currency(value: object) -> str:
    """Read a currency (D9)."""
    if not (isinstance(value, str) and len(value) == 3 and value.isascii() and value.isalpha()):
        raise InvalidValue("expected three letters")
    return value.upper()


def _text(value: object) -> str:
    """Read a text; a number or boolean is kept as its JSON text, an array as its JSON text (D11)."""
    match value:
        case str():
            return value
        case list():
            return json_text(value)
        case int() | float():
            return number_text(value)
        case _:
            raise InvalidValue("expected a text")


def _custom(value: object) -> Scalar:
    """Read a custom field: with its type, an array as its JSON text (D11)."""
    match value:
        case float():
            return finite(value)
        case bool():  # not together with int: compiled, a pattern for both would give 1 for true
            return value
        case str() | int():
            return value
        case _:
            return json_text(value)


_KEEP_TEXTS: Final = (_text, _custom)  # these return a text unchanged
_ORDER_ID_FIELD: Final = "order_id"
_OCCURRED_AT_FIELD: Final = "occurred_at_ms"
_CURRENCY_ALIAS: Final = "currencyCode"
_COLUMNS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    **{name: (field, _text) for name, field in TEXTS.items()},
    ORDER_ID: (_ORDER_ID_FIELD, _short_id),
    "items": ("items", _as_it_is),
    "totalCost": ("total_cost", money),
    "shipping": ("shipping", money),
    "discount": ("discount", money),
    "taxes": ("taxes", money),
    "status": ("status", _status),
    "currency": ("currency", _currency),
    _CURRENCY_ALIAS: (_CURRENCY_ALIAS, _currency),
}
ORDER_PARAMETERS: Final = frozenset({"date", *_COLUMNS})
"""The names that the rules D5 to D11 read, exact."""
