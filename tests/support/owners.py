"""What the contact index would say: the program's own identifiers of contacts, without a service."""

from processor.domain.claims import Claim, identifiers_of
from processor.domain.pipeline import owners_in_doubt
from processor.domain.records import Identifier
from tests.reference import Contacts, Rules, in_force


def claims_of(records, identification):
    """Give every identifier's claims, by the contacts' records in force (C1, C2)."""
    claims: dict[Identifier, list[Claim]] = {}
    for record in in_force(records).values():
        if record.contact is not None:
            for identifier in identifiers_of(record.contact_id, record.contact, identification):
                claims.setdefault(identifier, []).append(Claim(record.timestamp_ms, record.contact_id))
    return claims


def gone(parsed, orders, owners, rules, records):
    """Give the contacts that no longer exist, of those that a batch's orders depend on (D15): step 3's second half."""
    contacts = Contacts(records, Rules())
    return frozenset(one for one in owners_in_doubt(parsed, orders, owners, rules) if not contacts.exists(one))


def owners_of(records, identification):
    """Give every identifier's contact (C3)."""
    return {identifier: max(claims).contact_id for identifier, claims in claims_of(records, identification).items()}
