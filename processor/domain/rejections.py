"""Why an event became no fact: the reasons, in their order of precedence, and their outcomes."""

from enum import StrEnum
from typing import Final, final

import msgspec


class Outcome(StrEnum):
    """What a rejected record means to its producer."""

    INVALID = "invalid"  # the event is wrong, or nobody was found for it: something to repair
    IGNORED = "ignored"  # the event is fine, and the rules pass it over


class Reason(StrEnum):
    """Every reason, in the order in which the first that applies is given."""

    OVERSIZED = "oversized"
    UNDECODABLE = "undecodable"
    INVALID_EVENT = "invalid_event"
    UNSUPPORTED_EVENT_TYPE = "unsupported_event_type"
    MISSING_PARAMETER = "missing_parameter"
    KEY_MISMATCH = "key_mismatch"
    INVALID_PARAMETER = "invalid_parameter"
    INVALID_ITEMS = "invalid_items"
    ORDER_UNKNOWN = "order_unknown"
    ORDER_EXISTS = "order_exists"
    NO_IDENTIFIER = "no_identifier"
    CONTACT_NOT_FOUND = "contact_not_found"
    CONTACT_MISMATCH = "contact_mismatch"
    NO_CHANGE = "no_change"
    FACT_TOO_LARGE = "fact_too_large"

    @property
    def outcome(self) -> Outcome:
        """Whether the event is wrong or was passed over."""
        return Outcome.IGNORED if self in _IGNORED else Outcome.INVALID


_IGNORED = frozenset({Reason.UNSUPPORTED_EVENT_TYPE, Reason.ORDER_EXISTS, Reason.ORDER_UNKNOWN, Reason.NO_CHANGE})

WHAT_TO_DO: Final = {
    Reason.OVERSIZED: "send less, or raise `max_event_bytes`",
    Reason.UNDECODABLE: "correct the producer: framing, schema version or bytes are wrong, or there are more than "
    "20,000 parameters, items and attributes",
    Reason.INVALID_EVENT: "correct the producer: type, keyValue or a parameter's name breaks a limit, or a name occurs "
    "twice",
    Reason.UNSUPPORTED_EVENT_TYPE: "nothing",
    Reason.MISSING_PARAMETER: "send what `detail` names",
    Reason.KEY_MISMATCH: "send the externalOrderId as the record's key",
    Reason.INVALID_PARAMETER: "correct the parameter that `detail` names",
    Reason.INVALID_ITEMS: "correct what `detail` names, such as `items[2].quantity`",
    Reason.ORDER_UNKNOWN: "nothing; or look for its creation: was it rejected, or is it in another partition?",
    Reason.ORDER_EXISTS: "nothing; or set `on_duplicate_create=update`",
    Reason.NO_IDENTIFIER: "send a parameter that says whose order it is",
    Reason.CONTACT_NOT_FOUND: "import the contact, then replay the event with what followed from it",
    Reason.CONTACT_MISMATCH: "somebody else's order: correct the identifier, or set `on_owner_conflict=reassign`",
    Reason.NO_CHANGE: "nothing",
    Reason.FACT_TOO_LARGE: "send less, or raise `max_fact_bytes` and the topic's `max.message.bytes` (20,000 custom "
    "fields of an order are the most)",
}
"""What a producer does about each reason; for the documents, not for a record."""


@final
class Rejection(msgspec.Struct, frozen=True, gc=False):
    """An event that became no fact. `detail` is one line without personal data."""

    reason: Reason
    detail: str


def shown(name: str) -> str:
    """Return a foreign name fit for a one-line detail: at most 100 characters, all printable."""
    cut = name if len(name) <= 100 else name[:99] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)
