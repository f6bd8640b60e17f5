"""Why an event became no fact: the reasons, in their order of precedence, and their outcomes."""

from enum import StrEnum
from typing import Self, final

import msgspec


class Outcome(StrEnum):
    """What a rejected record means to its producer."""

    INVALID = "invalid"  # the event is wrong, or no contact was found: somebody has something to repair
    IGNORED = "ignored"  # the event is fine, and the rules ignore it


class Reason(StrEnum):
    """Every reason, in the order in which the first that applies is given, and what a producer does about it."""

    outcome: Outcome
    rules: str  # that give it, by their numbers; this and the next are for people, not for a record
    what_to_do: str

    UNREADABLE = (
        "unreadable",
        "D24",
        "send it again, in smaller batches: Kafka's client could not read it, and `state skip` stepped over it",
    )
    OVERSIZED = ("oversized", "D1", "send less, or raise `max_event_bytes`")
    UNDECODABLE = (
        "undecodable",
        "D1",
        (
            "correct the producer: framing, schema version or bytes are wrong, or there are more than 20,000 "
            "parameters, items and attributes"
        ),
    )
    INVALID_EVENT = (
        "invalid_event",
        "D1",
        "correct the producer: type, keyValue or a parameter's name breaks a limit, or a name occurs twice",
    )
    UNSUPPORTED_EVENT_TYPE = ("unsupported_event_type", "D2", "nothing", Outcome.IGNORED)
    MISSING_PARAMETER = ("missing_parameter", "D5, D16, D19", "send what `detail` names")
    KEY_MISMATCH = ("key_mismatch", "D5", "send the externalOrderId as the record's key")
    INVALID_PARAMETER = (
        "invalid_parameter",
        "D5 to D9, D11, D18, D25",
        "correct the parameter that `detail` names, or map the shop's own statuses by `statuses`",
    )
    INVALID_ITEMS = ("invalid_items", "D10", "correct what `detail` names, such as `items[2].quantity`")
    ORDER_UNKNOWN = (
        "order_unknown",
        "D21",
        "nothing; or look for its creation: was it rejected, or is it in another partition?",
        Outcome.IGNORED,
    )
    ORDER_EXISTS = ("order_exists", "D17", "nothing; or set `on_duplicate_create=update`", Outcome.IGNORED)
    STALE = (
        "stale",
        "D25",
        "nothing: an event of the order that happened later came first, by `occurred_at_parameter`",
        Outcome.IGNORED,
    )
    NO_IDENTIFIER = ("no_identifier", "D13", "send a parameter that says whose order it is")
    CONTACT_NOT_FOUND = (
        "contact_not_found",
        "D13, D15",
        "import the contact; `rejected replay --follow` then sends the event back, with what followed from it",
    )
    CONTACT_MISMATCH = (
        "contact_mismatch",
        "D15",
        "somebody else's order: correct the identifier, or set `on_owner_conflict=reassign`",
    )
    NO_CHANGE = ("no_change", "D22", "nothing", Outcome.IGNORED)
    FACT_TOO_LARGE = (
        "fact_too_large",
        "D23",
        (
            "send less, or raise `max_fact_bytes` and the topic's `max.message.bytes` (20,000 custom fields of "
            "an order are the most)"
        ),
    )

    def __new__(
        cls, name: str, rules: str = "", what_to_do: str = "nothing", outcome: Outcome = Outcome.INVALID
    ) -> Self:
        """Make a reason whose value is its name."""
        reason = str.__new__(cls, name)
        reason._value_, reason.rules, reason.what_to_do, reason.outcome = name, rules, what_to_do, outcome
        return reason


@final
class Rejection(msgspec.Struct, frozen=True, gc=False):
    """An event that became no fact. `detail` is one line without personal data."""

    reason: Reason
    detail: str


def shown(name: str) -> str:
    """Return a producer's name as a one-line detail may show it: at most 100 characters, all printable."""
    cut = name if len(name) <= 100 else name[:99] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)
