"""Which rule an event's fact or rejection comes from, by its number in the rules.

Takes what the rules gave; gives a text such as `D6`. Decides nothing: a reason of a single rule has that one, and only
for the others the event itself is asked.
"""

from collections.abc import Mapping
from typing import Final

from processor.domain.parameters import CURRENCY_ALIAS, ORDER_ID
from processor.domain.records import Event, Order
from processor.domain.rejections import Reason, Rejection, shown

_AT_CREATION: Final = {"orderCreated": "D16", "orderUpdated": "D19"}
_LATER: Final = {"orderCreated": "D17", "orderUpdated": "D18", "orderDelivered": "D20", "orderCancelled": "D20"}
OF_PARAMETERS: Final[Mapping[str, str]] = {
    ORDER_ID: "D5",
    **dict.fromkeys(("totalCost", "shipping", "discount", "taxes"), "D6"),
    "status": "D7",
    "date": "D8",
    **dict.fromkeys(("currency", CURRENCY_ALIAS), "D9"),
}
_OTHERS: Final = "D11"  # texts and custom fields


def rule_of_fact(order: Order) -> str:
    """Return the rule by which an order's last event changed it."""
    return (_AT_CREATION if order.revision == 1 else _LATER)[order.event_type]


def rule_of_rejection(rejection: Rejection, event: Event | None, occurred_at: str | None) -> str:
    """Return the rule, or the rules, that gave a rejection.

    `event` is None if it cannot be decoded, and `occurred_at` the parameter of D25.
    """
    match rejection.reason:
        case Reason.MISSING_PARAMETER if event is not None:
            # Only the order's id itself can be missing in an event of the other types.
            return "D5" if rejection.detail.endswith(f" {ORDER_ID}") else _AT_CREATION[event.event_type]
        case Reason.INVALID_PARAMETER if event is not None:
            return _rule_of_parameter(rejection.detail, event, occurred_at)
        case reason:
            return reason.rules


def _rule_of_parameter(detail: str, event: Event, occurred_at: str | None) -> str:
    """Return the rule of the parameter that a detail names first."""
    for name, value in event.params.items():
        if detail.startswith(f"{shown(name)}: "):
            if value is None:
                return "D18"  # only what must not be emptied is refused for being null
            return "D25" if name == occurred_at else OF_PARAMETERS.get(name, _OTHERS)
    return Reason.INVALID_PARAMETER.rules
