"""What the contact index would say: the program's own identifiers of contacts, without a service."""

from processor.domain.claims import Claim, identifiers_of
from processor.domain.pipeline import fold, owners_in_doubt
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


def fold_all(parsed, orders, owners, encode, rules, records, **limits):
    """Fold a batch as a replica does: once more, with the contacts that no longer exist, if some do not (D15)."""
    folded = fold(parsed, orders, owners, encode, rules, **limits)
    if not folded.has_mismatch:
        return folded
    contacts = Contacts(records, Rules())
    gone = frozenset(one for one in owners_in_doubt(parsed, orders, owners, rules) if not contacts.exists(one))
    return fold(parsed, orders, owners, encode, rules, **limits, gone=gone) if gone else folded


def owners_of(records, identification):
    """Give every identifier's contact (C3)."""
    return {identifier: max(claims).contact_id for identifier, claims in claims_of(records, identification).items()}
