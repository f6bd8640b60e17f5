"""An order's life: (order so far, command, owner) -> the order as it is now, or a rejection (D15 to D23, D25).

                      order unknown                          order exists
    Create            D16: becomes the order                 D17: order_exists (or as Update)
    Update            D19: becomes the order, as Create      D18: filled parameters replace their fields
    SetStatus         D21: order_unknown                     D20: the status changes, nothing else

For an order that exists, an event that happened before the latest one that the order shows is stale (D25). The owner is
decided next (D15): an event without an identifier keeps the order's contact; another contact is a mismatch, but takes
the order over if the order's contact no longer exists, or if so configured. If every field stays as it was, there is no
change (D22). Any other change is revision + 1, and the new order is the fact (D23).

`decide` does all of it. It never changes its arguments and raises for no command; it raises only UndecodableError, if
it must compare items and their kept form is damaged.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from processor.domain.records import Command, Create, Order, Owner, Policy, SetStatus, Source, Update, public_name
from processor.domain.rejections import Reason, Rejection, shown
from processor.domain.values import same_values

DELIVERED: Final = "DELIVERED"
CANCELLED: Final = "CANCELLED"
STATUSES: Final = ("INITIALIZED", "IN_PROGRESS", DELIVERED, CANCELLED, "ABANDONED_SHOPPING_CART")


# D16, in the order in which a rejection names them
_REQUIRED_AT_CREATION: Final = (("totalCost", "total_cost"), ("status", "status"), ("date", "date_ms"))
_MOST_SHOWN: Final = 20  # names in a detail
_REQUIRED_FIELDS: Final = frozenset(field for _, field in _REQUIRED_AT_CREATION)


def decide(
    order: Order | None,
    command: Command,
    owner: Owner | None,
    source: Source,
    policy: Policy,
    gone: frozenset[str] = frozenset(),
) -> Order | Rejection:
    """Return the order as the event leaves it, or why it changes nothing.

    `owner`: whom the candidates found; `gone`: those of `pipeline.owners_in_doubt` that do not exist.
    """
    if order is None:
        if type(command) is SetStatus:
            return Rejection(Reason.ORDER_UNKNOWN, f"{command.event_type} of an order that does not exist")
        return _create(command, owner, source, policy)
    if type(command) is Create and not policy.update_on_duplicate_create:
        return Rejection(Reason.ORDER_EXISTS, _compared(order, command, owner))
    if command.occurred_at_ms is not None and _is_stale(order, command):
        return Rejection(Reason.STALE, "the order has changed by an event that happened later")
    return _change(order, command, owner, source, policy, gone)


def _create(command: Create | Update, owner: Owner | None, source: Source, policy: Policy) -> Order | Rejection:
    changes = command.changes
    if not changes.keys() >= _REQUIRED_FIELDS:
        missing = [name for name, field in _REQUIRED_AT_CREATION if field not in changes]
        return Rejection(Reason.MISSING_PARAMETER, f"missing: {', '.join(missing)}")
    if owner is None:
        return _nobody(command)
    if policy.default_currency is not None and changes.get("currency") is None:
        changes = {**changes, "currency": policy.default_currency}
    return Order(
        external_order_id=command.order_id,
        contact_id=owner.contact_id,
        identified_by=owner.identified_by,
        custom=command.custom,
        event_type=command.event_type,
        created_at_ms=source.timestamp_ms,
        updated_at_ms=source.timestamp_ms,
        status_changed_at_ms=source.timestamp_ms,
        revision=1,
        source_partition=source.partition,
        source_offset=source.offset,
        occurred_at_ms=command.occurred_at_ms,
        **changes,  # status, date and totalCost are there: checked above
    )


def _change(
    order: Order, command: Command, owner: Owner | None, source: Source, policy: Policy, gone: frozenset[str]
) -> Order | Rejection:
    changes = _replacements(order, command)
    if owner is None:
        if command.candidates:
            return _nobody(command)
    elif owner.contact_id != order.contact_id:
        if not policy.reassign_on_owner_conflict and order.contact_id not in gone:  # D15
            return Rejection(Reason.CONTACT_MISMATCH, "the order belongs to another contact")
        changes["contact_id"] = owner.contact_id
        changes["identified_by"] = owner.identified_by
    if not _differs(order, changes):
        return Rejection(Reason.NO_CHANGE, "the order is so already")
    if command.occurred_at_ms is not None or order.occurred_at_ms is not None:
        changes["occurred_at_ms"] = _occurred_at_ms(order, command, policy)
    status_changed = "status" in changes and changes["status"] != order.status
    return replace(
        order,
        event_type=command.event_type,
        updated_at_ms=source.timestamp_ms,
        status_changed_at_ms=source.timestamp_ms if status_changed else order.status_changed_at_ms,
        revision=order.revision + 1,
        source_partition=source.partition,
        source_offset=source.offset,
        **changes,
    )


def _is_stale(order: Order, command: Command) -> bool:
    """Return whether an event happened before the latest one that the order shows, by their own times (D25)."""
    given_ms, latest_ms = command.occurred_at_ms, order.occurred_at_ms
    return given_ms is not None and latest_ms is not None and given_ms < latest_ms


def _occurred_at_ms(order: Order, command: Command, policy: Policy) -> int | None:
    """Return the latest time that the order's events gave (D25); None where the facts cannot hold it."""
    if not policy.keeps_occurred_at:
        return None
    return order.occurred_at_ms if command.occurred_at_ms is None else command.occurred_at_ms


def _replacements(order: Order, command: Command) -> dict[str, Any]:
    """Return the fields that the command fills, with the values that the order would have."""
    if type(command) is SetStatus:
        return {"status": command.status}
    if not command.custom and not command.cleared:
        return {**command.changes}
    custom = {**order.custom, **command.custom}
    for name in command.cleared:
        custom.pop(name, None)
    return {**command.changes, "custom": custom}


def _compared(order: Order, command: Create, owner: Owner | None) -> str:
    """Return whether a second creation is the same, or what differs: a number used for another order shows so (D17)."""
    different = [] if owner is None or owner.contact_id == order.contact_id else ["contactId"]
    different += [public_name(field) for field, value in command.changes.items() if getattr(order, field) != value]
    known = order.custom
    different += [
        shown(name)
        for name, value in command.custom.items()
        if name not in known or not same_values({name: known[name]}, {name: value})
    ]
    if not different:
        return "the order exists: the same"
    more = f" and {len(different) - _MOST_SHOWN} more" if len(different) > _MOST_SHOWN else ""
    return f"the order exists: {', '.join(different[:_MOST_SHOWN])}{more} {'differ' if different[1:] else 'differs'}"


def _differs(order: Order, changes: Mapping[str, Any]) -> bool:
    """Return whether any replacement differs from the order's value; custom fields are compared with their types."""
    for name, value in changes.items():
        if name == "custom":
            if not same_values(order.custom, value):
                return True
        elif getattr(order, name) != value:
            return True
    return False


def _nobody(command: Command) -> Rejection:
    if not command.candidates:
        return Rejection(Reason.NO_IDENTIFIER, "no parameter says whose order it is")
    tried = dict.fromkeys(candidate.field for candidate in command.candidates)
    return Rejection(Reason.CONTACT_NOT_FOUND, f"no contact found by {', '.join(map(shown, tried))}")
