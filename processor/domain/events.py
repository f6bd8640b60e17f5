"""One decoded order event in, one command or rejection out (D1 to D12, D25).

`parse` is total: it never raises for an event that Avro can hold. Checks run in the order of the reasons (see
`rejections`), and the first one that fails gives the reason.
"""

from typing import Any, Final

from processor.domain.identifiers import in_order
from processor.domain.instants import parse_date
from processor.domain.items import InvalidItems, parse_items
from processor.domain.orders import CANCELLED, DELIVERED
from processor.domain.parameters import (
    CURRENCY_ALIAS,
    MAX_ORDER_ID_CHARACTERS,
    OCCURRED_AT_FIELD,
    ORDER_ID,
    ORDER_ID_FIELD,
    order_id_text,
    own_word,
    role_of,
    short_id,
)
from processor.domain.records import Candidate, Command, Create, Event, Parsing, Scalar, SetStatus, Update
from processor.domain.rejections import Reason, Rejection, shown
from processor.domain.values import InvalidValue, is_filled

MAX_EVENT_TYPE_CHARACTERS: Final = 100
MAX_KEY_VALUE_CHARACTERS: Final = 300
MAX_NAME_CHARACTERS: Final = 100

CREATED: Final = "orderCreated"
UPDATED: Final = "orderUpdated"
_STATUS_OF: Final = {"orderDelivered": DELIVERED, "orderCancelled": CANCELLED}  # D20
_NEVER_EMPTY: Final = frozenset({"totalCost", "status", "date"})
_TYPES: Final = frozenset({CREATED, UPDATED, *_STATUS_OF})  # D2


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
        nulls: list[str] | None = [] if event_type in parsing.clearing else None
        changes, custom, tried = _read(event.params, parsing, nulls)
        cleared = _emptied(nulls, changes, parsing) if nulls else ()
    except _BadParameterError as bad:  # a name for each class: the compiler gives a variable one type
        return Rejection(Reason.INVALID_PARAMETER, str(bad))
    except InvalidItems as wrong:
        return Rejection(Reason.INVALID_ITEMS, str(wrong))
    kind = Create if event_type == CREATED else Update
    occurred_at_ms = changes.pop(OCCURRED_AT_FIELD, None) if parsing.occurred_at is not None else None
    return kind(order_id, event_type, tried, changes, custom, occurred_at_ms, cleared)


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
    """Return the order's id (D5); `short_id` checks its length later."""
    if type(value) is str and len(value.strip()) > 4 and value.encode() == key:  # nearly all ids
        return value
    if not is_filled(value):
        return Rejection(Reason.MISSING_PARAMETER, f"missing: {ORDER_ID}")
    order_id = order_id_text(value)
    if order_id is None:
        return Rejection(Reason.INVALID_PARAMETER, f"{ORDER_ID}: expected a text or a whole number")
    if key != order_id.encode():
        return Rejection(Reason.KEY_MISMATCH, f"the record's key is not the {ORDER_ID}")
    return order_id


def _read_few(params: dict[str, Any], order_id: str, parsing: Parsing) -> int | None:
    """Check what is checked in orderDelivered and orderCancelled (D5, D20); return when it happened (D25)."""
    if parsing.occurred_at is None and len(order_id) <= MAX_ORDER_ID_CHARACTERS:
        return None
    occurred_at_ms = None
    name = ""
    try:
        for name, value in params.items():
            if name == ORDER_ID:
                short_id(order_id)
            elif name == parsing.occurred_at and is_filled(value):
                occurred_at_ms = parse_date(value, parsing.zone)
    except InvalidValue as error:
        raise _BadParameterError(f"{shown(name)}: {error}") from error
    return occurred_at_ms


def _tried(params: dict[str, Any], parsing: Parsing) -> tuple[Candidate, ...]:
    """Return what the filled parameters say of the order's owner."""
    roles = parsing.roles
    found = []
    for name, value in params.items():
        ranks = (roles.get(name) or role_of(name, parsing)).ranks
        if ranks and is_filled(value):
            found.append((ranks, value))
    return in_order(found, parsing.identification.phones)


def _read(
    params: dict[str, Any], parsing: Parsing, nulls: list[str] | None
) -> tuple[dict[str, Any], dict[str, Scalar], tuple[Candidate, ...]]:
    """Read the filled parameters of orderCreated and orderUpdated, items last (D6 to D13).

    Returns the order's fields, the custom fields, and what the event says about the order's owner. Notes in `nulls` the
    parameters that are null; None: they are as absent.
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
                if nulls is not None and value is None:
                    nulls.append(_nullable(name))
                continue
            field, read, ranks, keeps_text = roles.get(name) or role_of(name, parsing)
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
    _complete(changes, params, parsing)
    return changes, custom, in_order(found, parsing.identification.phones)


def _complete(changes: dict[str, Any], params: dict[str, Any], parsing: Parsing) -> None:
    """Do what takes more than one parameter: the alias of currency, the word of a status; and read the items."""
    del changes[ORDER_ID_FIELD]
    if CURRENCY_ALIAS in changes:
        alias = changes.pop(CURRENCY_ALIAS)
        changes.setdefault("currency", alias)  # D9: if both are filled, currency wins
    if parsing.statuses and "status" in changes and (word := own_word(params["status"], parsing)) is not None:
        changes.setdefault("status_description", word)  # D7
    if "items" in changes:
        # Kept at once, while they are in the core's caches: a batch is larger than those.
        changes["items"] = parsing.keep_items(parse_items(changes["items"], lenient=parsing.lenient_items))


def _nullable(name: str) -> str:
    """Return the name of a parameter that is null, if its field may be emptied (D18)."""
    if name in _NEVER_EMPTY:
        raise InvalidValue("cannot be emptied: expected a value")
    return name


def _emptied(nulls: list[str], changes: dict[str, Any], parsing: Parsing) -> tuple[str, ...]:
    """Put the columns that nulls empty among the changes, and return the custom fields that they empty (D18).

    What the event fills stays: of `currency` and its alias a value beats a null.
    """
    cleared = []
    for name in nulls:
        field, read, _, _ = parsing.roles.get(name) or role_of(name, parsing)
        if read is None or field == OCCURRED_AT_FIELD:
            continue
        if field is None:
            cleared.append(name)
        else:
            empty = parsing.keep_items(()) if field == "items" else None
            changes.setdefault("currency" if field == CURRENCY_ALIAS else field, empty)
    return tuple(cleared)
