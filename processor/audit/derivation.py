"""What an event leads to, by the processor's own rules. Pure.

An audit knows the event, the order before it and what was written. It does not know what the contact index said at
that moment. So it takes the contact from the fact, and for a rejected record tries every answer that the index can
have given. An order that moved to another contact may have done so because its own was gone (D15).
"""

import itertools
from collections.abc import Mapping
from typing import Final

from processor.codec.fact_json import fact_object
from processor.domain.batch import Parsed, Rules
from processor.domain.identifiers import CONTACT_ID
from processor.domain.pipeline import fold
from processor.domain.records import Create, Identifier, Order
from processor.domain.rejections import Reason, Rejection
from processor.domain.values import same_values

_STRANGER: Final = "\0"  # stands for any contact that is not the order's; no contact has this id


def same_order(one: Order, other: Order | Rejection) -> bool:
    """Compare whole orders with their types: 1, 1.0 and true differ (D22)."""
    return isinstance(other, Order) and one == other and same_values(one.custom, other.custom)


def differing_fields(one: Order, other: Order) -> str:
    """Return the names of the fact's fields that differ, without values."""
    first, second = fact_object(one), fact_object(other)
    return ", ".join(name for name, value in first.items() if value != second[name]) or "the type of a value"


def derived(parsed: Parsed, previous: Order | None, fact: Order, rules: Rules) -> Order | Rejection:
    """Return what the event makes of the order before it, if it finds the fact's contact."""
    return _applied(parsed, previous, _contacts_of(parsed, previous, fact), rules, _owner_of(previous))


def fits(parsed: Parsed, fact: Order, rules: Rules) -> bool:
    """Return whether a fact can be the event's, if the order before it is unknown.

    Applied to its own outcome, an event changes nothing.
    """
    if isinstance(parsed.result, Rejection) or parsed.result.event_type != fact.event_type:
        return False
    if isinstance(parsed.result, Create) and not rules.policy.update_on_duplicate_create:
        return fact.revision == 1
    again = derived(parsed, fact, fact, rules)
    return isinstance(again, Rejection) and again.reason is Reason.NO_CHANGE


def may_be_rejected(parsed: Parsed, previous: Order | None, reason: Reason, rules: Rules) -> bool:
    """Return whether an event can have been rejected for this reason, whatever the contact index said."""
    if isinstance(parsed.result, Rejection):
        return parsed.result.reason is reason
    identifiers = [candidate.identifier for candidate in parsed.result.candidates if candidate.identifier]
    found = [_STRANGER] if previous is None else [previous.contact_id, _STRANGER]
    answers = ({}, *(dict.fromkeys(identifiers[:1], contact) for contact in found))
    outcomes = (
        _applied(parsed, previous, contacts, rules, gone)
        for contacts, gone in itertools.product(answers, (frozenset[str](), _owner_of(previous)))
    )
    return any(
        reason is (outcome.reason if isinstance(outcome, Rejection) else Reason.FACT_TOO_LARGE) for outcome in outcomes
    )


def _owner_of(order: Order | None) -> frozenset[str]:
    return frozenset() if order is None else frozenset({order.contact_id})


def _applied(
    parsed: Parsed, previous: Order | None, contacts: Mapping[Identifier, str], rules: Rules, gone: frozenset[str]
) -> Order | Rejection:
    """Run the processor's own fold on one event. It encodes nothing: only the order is wanted."""
    partition = parsed.record.partition
    known = {} if previous is None else {(partition, previous.external_order_id): previous}
    folded = fold([parsed], known, contacts, lambda _: b"", rules, gone=gone)
    result = folded.outputs[0].result
    return result if isinstance(result, Rejection) else next(iter(folded.changed[partition].values()))


def _contacts_of(parsed: Parsed, previous: Order | None, fact: Order) -> dict[Identifier, str]:
    """Return what the contact index must have said for the event to find the fact's contact."""
    if isinstance(parsed.result, Rejection):
        return {}
    inherited = previous is not None and previous.contact_id == fact.contact_id
    for candidate in parsed.result.candidates:
        identifier = candidate.identifier
        if identifier is None or not (inherited or candidate.field == fact.identified_by):
            continue
        if candidate.field != CONTACT_ID or identifier.value == fact.contact_id.strip():
            return {identifier: fact.contact_id}
    return {}
