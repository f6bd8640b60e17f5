"""What a condition of segments finds, and how answers are combined; a part of the second `segments`."""

from collections import defaultdict
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """The contacts that are found, and pairs of a contact and an order that put it there."""

    members: frozenset[str]
    pairs: frozenset[tuple[str, str]]

    @property
    def contacts(self):
        """Give the contacts' ids, sorted."""
        return sorted(self.members)

    @property
    def reasons(self):
        """Give the pairs of a contact and an order that put it there, sorted."""
        return sorted(self.pairs)

    def __or__(self, other):
        return Found(self.members | other.members, self.pairs | other.pairs)

    def __and__(self, other):
        return _kept(self.members & other.members, self.pairs | other.pairs)

    def __sub__(self, other):
        return _kept(self.members - other.members, self.pairs)


def _kept(members, pairs):
    return Found(members, frozenset(pair for pair in pairs if pair[0] in members))


def of_contacts(orders):
    """Give the contacts by whom there are orders, which are the reasons, and may be none."""
    pairs = ((contact, order["externalOrderId"]) for contact, own in orders.items() for order in own)
    return Found(frozenset(orders), frozenset(pairs))


def of_orders(orders):
    """Give the contacts of orders, each of which is a reason."""
    own = defaultdict(list)
    for order in orders:
        own[order["contactId"]].append(order)
    return of_contacts(own)
