"""One decoded order event in, one command or rejection out (D1 to D12).

`parse` is total: it never raises for any event that Avro can hold. Checks run in the order of the
reasons (see `rejections`), and the first that fails is the reason.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any, Final, cast

import msgspec

from processor.domain.identifiers import Identification, candidates, identification
from processor.domain.instants import parse_date
from processor.domain.items import InvalidItems, parse_items
from processor.domain.orders import (
    CANCELLED,
    DELIVERED,
    STATUSES,
    Changes,
    Command,
    Create,
    SetStatus,
    Update,
)
from processor.domain.rejections import Reason, Rejection, shown
from processor.domain.values import InvalidValue, Scalar, finite, is_filled, json_text, money, number_text

ORDER_ID: Final = "externalOrderId"
MAX_EVENT_TYPE_CHARACTERS: Final = 100
MAX_KEY_VALUE_CHARACTERS: Final = 300
MAX_NAME_CHARACTERS: Final = 100
MAX_ORDER_ID_CHARACTERS: Final = 300

_CREATED: Final = "orderCreated"
_UPDATED: Final = "orderUpdated"
_STATUS_OF: Final = {"orderDelivered": DELIVERED, "orderCancelled": CANCELLED}  # D20
_TYPES: Final = frozenset({_CREATED, _UPDATED, *_STATUS_OF})  # D2

# One parameter as Avro gives it: {"name": str, "value": ...}
Param = Mapping[str, Any]


class Parsing(msgspec.Struct, frozen=True):
    """The settings that change how an event is read (D8, D10, D14)."""

    zone: tzinfo = UTC
    lenient_items: bool = False
    identification: Identification = identification()


class _BadParameterError(ValueError):
    """A parameter that a rule refuses; the text names it."""


def parse(event: Mapping[str, Any], key: bytes | None, parsing: Parsing) -> Command | Rejection:
    """Return what the event asks for, or why it is refused.

    `event` is an OrderEvent as Avro decodes it, `key` the record's key.
    """
    event_type: str = event["eventTypeKey"]
    params: list[Param] = event["params"]
    if fault := _event_fault(event_type, event["keyValue"], params):
        return Rejection(Reason.INVALID_EVENT, fault)
    if event_type not in _TYPES:
        return Rejection(Reason.UNSUPPORTED_EVENT_TYPE, f"eventTypeKey {shown(event_type)}")
    filled = [(param["name"], param["value"]) for param in params if is_filled(param["value"])]
    order_id = _order_id(filled, key)
    if isinstance(order_id, Rejection):
        return order_id
    try:
        if event_type in _STATUS_OF:
            _check_length(order_id)
            tried = candidates(filled, parsing.identification)
            return SetStatus(order_id, event_type, tried, _STATUS_OF[event_type])
        changes, custom = _read(filled, parsing)
    except _BadParameterError as error:
        return Rejection(Reason.INVALID_PARAMETER, str(error))
    except InvalidItems as error:
        return Rejection(Reason.INVALID_ITEMS, str(error))
    kind = Create if event_type == _CREATED else Update
    return kind(order_id, event_type, candidates(filled, parsing.identification), changes, custom)


def _event_fault(event_type: str, key_value: str, params: list[Param]) -> str | None:
    """Return what breaks D1, or None."""
    if len(event_type) > MAX_EVENT_TYPE_CHARACTERS or not event_type.strip():
        return f"eventTypeKey: expected 1 to {MAX_EVENT_TYPE_CHARACTERS} characters, not blank"
    if len(key_value) > MAX_KEY_VALUE_CHARACTERS:
        return f"keyValue: expected at most {MAX_KEY_VALUE_CHARACTERS} characters"
    names: set[str] = set()
    for position, param in enumerate(params):
        name: str = param["name"]
        if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
            return f"params[{position}].name: expected 1 to {MAX_NAME_CHARACTERS} characters"
        if name in names:
            return f"params[{position}].name: {shown(name)} stands twice"
        names.add(name)
    return None


def _order_id(filled: list[tuple[str, Any]], key: bytes | None) -> str | Rejection:
    """Return the order's id (D5); its length is checked in its turn, by `_check_length`."""
    value = next((value for name, value in filled if name == ORDER_ID), None)
    if value is None:
        return Rejection(Reason.MISSING_PARAMETER, f"missing: {ORDER_ID}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        return Rejection(Reason.INVALID_PARAMETER, f"{ORDER_ID}: expected a text or an integer")
    order_id = str(value)
    if key != order_id.encode():
        return Rejection(Reason.KEY_MISMATCH, f"the record's key is not the {ORDER_ID}")
    return order_id


def _check_length(order_id: str) -> None:
    if len(order_id) > MAX_ORDER_ID_CHARACTERS:
        raise _BadParameterError(f"{ORDER_ID}: expected at most {MAX_ORDER_ID_CHARACTERS} characters")


def _read(filled: list[tuple[str, Any]], parsing: Parsing) -> tuple[Changes, dict[str, Scalar]]:
    """Read the order parameters of orderCreated and orderUpdated, items last (D6 to D11)."""
    changes: dict[str, object] = {}
    custom: dict[str, Scalar] = {}
    items = None
    for name, value in filled:
        try:
            if name in _COLUMNS:
                field, read = _COLUMNS[name]
                changes[field] = read(value)
            elif name == "date":
                changes["date_ms"] = parse_date(value, parsing.zone)
            elif name == "items":
                items = value
            elif name == ORDER_ID:
                _check_length(str(value))
            elif name.lower() not in parsing.identification.names:
                custom[name] = _custom(value)
        except InvalidValue as error:
            raise _BadParameterError(f"{shown(name)}: {error}") from error
    alias = changes.pop(_CURRENCY_ALIAS, None)
    if alias is not None:
        changes.setdefault("currency", alias)  # D9: where both are filled, currency wins
    if items is not None:
        changes["items"] = parse_items(items, lenient=parsing.lenient_items)
    return cast("Changes", changes), custom


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
        case bool() | int() | float():
            return number_text(value)
        case _:
            raise InvalidValue("expected a text")


def _custom(value: object) -> Scalar:
    """Read a custom field: with its type, an array as its JSON text (D11)."""
    match value:
        case float():
            return finite(value)
        case str() | bool() | int():
            return value
        case _:
            return json_text(value)


_CURRENCY_ALIAS: Final = "currencyCode"
_COLUMNS: Final[Mapping[str, tuple[str, Callable[[Any], object]]]] = {
    "totalCost": ("total_cost", money),
    "shipping": ("shipping", money),
    "discount": ("discount", money),
    "taxes": ("taxes", money),
    "status": ("status", _status),
    "currency": ("currency", _currency),
    _CURRENCY_ALIAS: (_CURRENCY_ALIAS, _currency),
    "externalCustomerId": ("external_customer_id", _text),
    "email": ("email", _text),
    "phone": ("phone", _text),
    "firstName": ("first_name", _text),
    "lastName": ("last_name", _text),
    "statusDescription": ("status_description", _text),
    "restoreUrl": ("restore_url", _text),
    "storeId": ("store_id", _text),
    "source": ("source", _text),
    "deliveryMethod": ("delivery_method", _text),
    "paymentMethod": ("payment_method", _text),
    "deliveryAddress": ("delivery_address", _text),
    "additionalInfo": ("additional_info", _text),
    "cartId": ("cart_id", _text),
}
