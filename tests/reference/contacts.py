"""Who is meant: the identifiers of an event (D12 to D14) and the contacts that have them (C1 to C3)."""

from tests.reference.values import is_filled, is_integer

MAX_IDENTIFIER_LENGTH = 300
# D12: (event parameter, contact field) in the order tried.
DEFAULT_IDENTIFICATION = (
    ("ContactId", "contactId"),
    ("Contact_id", "contactId"),
    ("externalCustomerId", "externalCustomerId"),
    ("Email", "email"),
    ("EmailAddress", "email"),
    ("UserEmail", "email"),
    ("ContactEmail", "email"),
    ("Phone", "phone"),
    ("SMS", "phone"),
    ("PhoneNumber", "phone"),
    ("PushToken", "pushToken"),
    ("ContactKey", "contactKey"),
    ("Contact_key", "contactKey"),
)
BUILT_IN_FIELDS = ("contactId", "externalCustomerId", "email", "phone", "pushToken", "contactKey")


def identifying_names(identification):
    """D11: the lower-cased names of parameters that identify; the defaults also while D14 replaces them."""
    return {name.lower() for name, _ in (*DEFAULT_IDENTIFICATION, *identification)}


def candidates(params, identification):
    """D12, D14: the event's identifiers as (contact field, value), in the order they are tried."""
    filled = [(name.lower(), value) for name, value in params.items() if is_filled(value)]
    wanted = [(parameter.lower(), field) for parameter, field in identification or DEFAULT_IDENTIFICATION]
    return [(field, value) for parameter, field in wanted for name, value in filled if name == parameter]


def first_found(identifiers, find_contact):
    """D13: the first candidate that finds a contact, as (contact id, contact field), or None."""
    for field, value in identifiers:
        searched = _searchable(value)
        contact_id = None if searched is None else find_contact(field, searched)
        if contact_id is not None:
            return contact_id, field
    return None


def _searchable(value):
    """D12, C2: the text to compare, or None where the value matches nothing."""
    if is_integer(value):
        return str(value)
    trimmed = value.strip() if isinstance(value, str) else ""
    return trimmed if 1 <= len(trimmed) <= MAX_IDENTIFIER_LENGTH else None


def _compared(field, trimmed):
    return trimmed.lower() if field == "email" else trimmed


def contact_lookup(records, identification):
    """C1 to C3: a function (contact field, value) -> contact id or None, over all records of contacts."""
    latest, in_force = {}, {}
    for record in sorted(records, key=lambda record: record.offset):
        # C1: in its partition the newer record replaces the older one altogether
        latest[record.contact_id, record.partition] = record
    for record in sorted(latest.values(), key=lambda record: (record.timestamp_ms, record.offset, record.partition)):
        in_force[record.contact_id] = record  # C1: of several partitions the latest timestamp counts
    winners = {}
    # C3: written in this order, the last claimant left is the winner.
    for record in sorted(in_force.values(), key=lambda record: (record.timestamp_ms, record.contact_id)):
        if record.contact is not None:
            for field, value in _identifiers_of(record, identification):
                searched = _searchable(value)
                if searched is not None:
                    winners[field, _compared(field, searched)] = record.contact_id

    def find_contact(field, value):
        searched = _searchable(value)
        return None if searched is None else winners.get((field, _compared(field, searched)))

    return find_contact


def _identifiers_of(record, identification):
    """C2: what of a contact is indexed, as (contact field, value)."""
    contact = record.contact
    yield "contactId", record.contact_id  # C1: the key is the id, whatever the value says
    for field in ("externalCustomerId", "email", "phone", "contactKey"):
        yield field, contact.get(field)
    for token in contact.get("pushTokens", ()):
        yield "pushToken", token
    for _, field in identification:
        if field not in BUILT_IN_FIELDS:  # D12: a custom field named like a built-in one is never reached
            yield field, contact.get("fields", {}).get(field)
