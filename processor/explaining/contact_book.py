"""What the contact index would say, from contacts in memory: who has an identifier (C1 to C3), and who exists (D15)."""

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from processor.domain.claims import Claim, ContactChange
from processor.domain.records import Identifier

ANYBODY: Final = "(anybody)"
"""The contact of every identifier where no contacts are known. It is nobody's id, and is not shown."""


class ContactBook(msgspec.Struct, frozen=True):
    """The contacts that exist, by id, and the contact of each identifier. `None` for both: anybody is found."""

    owners: dict[Identifier, str] | None = None
    existing: frozenset[str] | None = None

    def found(self, identifiers: Iterable[Identifier]) -> dict[Identifier, str]:
        """Return the contact of each identifier that finds one."""
        if self.owners is None:
            return dict.fromkeys(identifiers, ANYBODY)
        return {identifier: self.owners[identifier] for identifier in identifiers if identifier in self.owners}

    def gone(self, contact_ids: Collection[str]) -> frozenset[str]:
        """Return those of the contacts that do not exist."""
        return frozenset() if self.existing is None else frozenset(contact_ids) - self.existing


def contact_book(changes: Iterable[ContactChange]) -> ContactBook:
    """Return what the whole of one partition of the contacts topic says, given in its order."""
    in_force = {change.contact_id: change for change in changes}  # C1: of one partition, a contact's last record
    winners: dict[Identifier, Claim] = {}
    existing = set()
    for change in in_force.values():
        if change.identifiers is None:
            continue
        claim = Claim(change.timestamp_ms, change.contact_id.decode())
        existing.add(claim.contact_id)
        for identifier in change.identifiers:
            winners[identifier] = max(claim, winners.get(identifier, claim))  # C3
    return ContactBook({identifier: claim.contact_id for identifier, claim in winners.items()}, frozenset(existing))
