"""Who is meant: the identifiers of an event (D12 to D14) and the contacts that have them (C1 to C3)."""

import phonenumbers

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


def first_found(identifiers, contacts):
    """D13: the first candidate that finds a contact, as (contact id, contact field), or None."""
    for field, value in identifiers:
        contact_id = contacts.find(field, value)
        if contact_id is not None:
            return contact_id, field
    return None


class Contacts:
    """C1 to C3: who has an identifier, and who exists, over all records of contacts."""

    def __init__(self, records, rules):
        self._rules = rules
        self._in_force = in_force(records)
        self._winners = {}
        # C3: written in this order, the last claimant left is the winner.
        for record in sorted(self._in_force.values(), key=lambda record: (record.timestamp_ms, record.contact_id)):
            if record.contact is not None:
                for field, value in identifiers_of(record, rules.identification):
                    compared = compared_form(field, value, rules)
                    if compared is not None:
                        self._winners[field, compared] = record.contact_id

    def find(self, field, value):
        """Give the id of the contact that has this value of a contact field, or None."""
        compared = compared_form(field, value, self._rules)
        return None if compared is None else self._winners.get((field, compared))

    def exists(self, contact_id):
        """D15: whether the record in force for exactly this key is no deletion."""
        record = self._in_force.get(contact_id)
        return record is not None and record.contact is not None


def in_force(records):
    """C1: each contact's record in force, a deletion too, by the contact's id."""
    latest, found = {}, {}
    for record in sorted(records, key=lambda record: record.offset):
        # in its partition the newer record replaces the older one altogether
        latest[record.contact_id, record.partition] = record
    for record in sorted(latest.values(), key=lambda record: (record.timestamp_ms, record.offset, record.partition)):
        found[record.contact_id] = record  # of several partitions the latest timestamp counts
    return found


def compared_form(field, value, rules):
    """D12, C2: the text to compare, or None where the value matches nothing."""
    text = _searchable(value)
    if text is None or field not in ("email", "phone"):
        return text
    if field == "email":
        return text.lower()
    return _phone_form(text, rules)


def _searchable(value):
    if is_integer(value):
        return str(value)
    if isinstance(value, float) and value == value // 1 and abs(value) < 9_007_199_254_740_992:  # D5
        return str(int(value))
    trimmed = value.strip() if isinstance(value, str) else ""
    return trimmed if 1 <= len(trimmed) <= MAX_IDENTIFIER_LENGTH else None


def _phone_form(text, rules):
    if rules.phone_matching == "exact":
        return text
    digits = "".join(str(int(character)) for character in text if character.isdecimal())
    if digits == "":
        return None
    if digits.startswith("00"):
        return digits[2:] or None
    if rules.phone_region is not None and not text.startswith("+"):
        try:
            number = phonenumbers.parse(text, rules.phone_region)
        except phonenumbers.NumberParseException:
            return digits
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        return "".join(str(int(character)) for character in written if character.isdecimal())
    return digits


def identifiers_of(record, identification):
    """C2: what of a contact is indexed, as (contact field, value)."""
    contact = record.contact or {}
    yield "contactId", record.contact_id  # C1: the key is the id, whatever the value says
    for field in ("externalCustomerId", "email", "phone", "contactKey"):
        yield field, contact.get(field)
    for token in contact.get("pushTokens", ()):
        yield "pushToken", token
    for _, field in identification:
        if field not in BUILT_IN_FIELDS:  # D12: a custom field named like a built-in one is never reached
            yield field, contact.get("fields", {}).get(field)
