"""Contacts that come after their orders: which ones, and how many events the healer must send back for them.

Takes the invoices and the lines of `rejected show`. Gives contacts, order numbers, counts. Starts nothing.
"""

import json
from collections.abc import Iterable, Sequence

from deploy.demo.invoices import Invoice
from deploy.demo.retail import Contact

ONE_IN = 20
_HEAD = "contact_not_found"
_BEHIND = frozenset({_HEAD, "missing_parameter", "no_identifier", "order_unknown"})


def split(contacts: Sequence[Contact]) -> tuple[list[Contact], list[Contact]]:
    """Return the contacts that are there at first, and one in twenty that comes late."""
    late = list(contacts[ONE_IN - 1 :: ONE_IN])
    names = {contact.contact_id for contact in late}
    return [contact for contact in contacts if contact.contact_id not in names], late


def orders_of(invoices: Iterable[Invoice], contacts: Iterable[Contact]) -> frozenset[str]:
    """Return the numbers of these contacts' orders."""
    names = {contact.contact_id for contact in contacts}
    return frozenset(each.number for each in invoices if each.customer in names)


def healable(rejected: Iterable[str], late_orders: frozenset[str]) -> int:
    """Count the rejected events that wait for a late contact: those without it, and what followed from them."""
    begun: set[str] = set()
    count = 0
    for line in rejected:
        record = json.loads(line)
        key, reason = record["key"], record["reason"]
        if key not in late_orders or reason not in _BEHIND:
            continue
        if reason == _HEAD:
            begun.add(key)
        count += key in begun
    return count
