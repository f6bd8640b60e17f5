"""Who an order belongs to: from an event's parameters to the identifiers to try, in order (D12 to D14).

An identifier is a contact's field and a value in the form in which values are compared. The contact index uses the same
form (C2), so only `comparable` decides what equals what.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from processor.domain.phones import DIGITS
from processor.domain.records import Candidate, Identification, Identifier, Owner, PhoneRule, Ranks
from processor.domain.values import whole_text

CONTACT_ID: Final = "contactId"
EMAIL: Final = "email"
PHONE: Final = "phone"
PUSH_TOKEN: Final = "pushToken"  # noqa: S105 - the name of a field

# D12: a contact's fields, each with the parameters that mean it, in the order in which they are tried.
_PARAMETERS: Final = {
    CONTACT_ID: ("ContactId", "Contact_id"),
    "externalCustomerId": ("externalCustomerId",),
    EMAIL: ("Email", "EmailAddress", "UserEmail", "ContactEmail"),
    PHONE: ("Phone", "SMS", "PhoneNumber"),
    PUSH_TOKEN: ("PushToken",),
    "contactKey": ("ContactKey", "Contact_key"),
}
BUILT_IN_FIELDS: Final = tuple(_PARAMETERS)
_DEFAULT_RULES: Final = tuple((parameter, field) for field, names in _PARAMETERS.items() for parameter in names)
MAX_IDENTIFIER_CHARACTERS: Final = 300


def identification(configured: Iterable[tuple[str, str]] = (), phones: PhoneRule = DIGITS) -> Identification:
    """Compile the configured rules, (event parameter, contact field) pairs, or the defaults if there are none (D14)."""
    rules = tuple(configured)
    ranks: dict[str, Ranks] = {}
    for rank, (parameter, field) in enumerate(rules or _DEFAULT_RULES):
        name = parameter.lower()
        ranks[name] = (*ranks.get(name, ()), (rank, field))
    return Identification(
        ranks=ranks,
        names=frozenset(parameter.lower() for parameter, _ in (*_DEFAULT_RULES, *rules)),
        custom_fields=frozenset(field for _, field in rules) - frozenset(BUILT_IN_FIELDS),
        phones=phones,
    )


def comparable(field: str, value: object, phones: PhoneRule) -> Identifier | None:
    """Return the form in which a value is compared, or None if it can match nothing (D12, C2).

    Trimmed; an e-mail address in lower case, a phone number as `phones` says; an integer as its digits, and so a
    double that is a whole number (D5). Blank values, those over 300 characters after trimming, booleans, other doubles,
    decimals, arrays and objects match nothing.
    """
    text = value.strip() if isinstance(value, str) else whole_text(value)
    if not text or len(text) > MAX_IDENTIFIER_CHARACTERS:
        return None
    if field == EMAIL:
        text = text.lower()
    elif field == PHONE:
        text = phones.form(text)
        if not text:
            return None
    return Identifier(field, text)


def candidates(filled: Iterable[tuple[str, object]], rules: Identification) -> tuple[Candidate, ...]:
    """Return the identifiers to try from an event's filled parameters, (name, value) in the event's order.

    They are in the rule's order, then the event's (D12). An empty tuple: no identifier.
    """
    ranks = rules.ranks
    return in_order([(ranks[lower], value) for name, value in filled if (lower := name.lower()) in ranks], rules.phones)


def in_order(found: Sequence[tuple[Ranks, object]], phones: PhoneRule) -> tuple[Candidate, ...]:
    """Return the candidates of identifying parameters, each with its ranks, in the event's order."""
    if not found:
        return ()
    if len(found) == 1 and len(found[0][0]) == 1:
        ((((_, field),), value),) = found
        return (Candidate(field, comparable(field, value, phones)),)
    tried = [(rank, position, field, value) for position, (ranks, value) in enumerate(found) for rank, field in ranks]
    tried.sort(key=lambda entry: entry[:2])
    return tuple([Candidate(field, comparable(field, value, phones)) for _, _, field, value in tried])


def find_owner(tried: Iterable[Candidate], contacts: Mapping[Identifier, str]) -> Owner | None:
    """Return the contact of the first candidate that finds one (D13). `contacts`: identifier -> contact id."""
    for candidate in tried:
        if candidate.identifier is not None:
            contact_id = contacts.get(candidate.identifier)
            if contact_id is not None:
                return Owner(contact_id, candidate.field)
    return None
