"""Turns real invoices into input: a CSV in the form of Online Retail becomes contacts and order events.

Takes the invoices that deploy/demo/invoices.py reads. Gives contacts for `order-facts contacts import`, and order
events for `order-facts events send`, in the order in which they would have happened. It sends invoices unchanged: the
processor judges a line without a customer, with a quantity below 1 or without a description. The same file always
gives the same output. Never uses the network.

    python -m deploy.demo.retail CSV --contacts OUT --events OUT
"""

import argparse
import json
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.demo.invoices import Invoice, Line, RetailFileError, read_invoices

CURRENCY = "GBP"
DELIVERY_DAYS_MAX = 5
CANCELLED_AFTER_DELIVERY = timedelta(hours=1)
"""An order is cancelled at least this long after its delivery, even if its credit note is older."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer with the identifiers that orders use; e-mail and phone are made up from the id."""

    contact_id: str

    @property
    def external_customer_id(self) -> str:
        """The shop's own name for the customer."""
        return f"retail-{self.contact_id}"

    @property
    def email(self) -> str:
        """An address in a domain that is reserved for examples (RFC 2606), with capitals."""
        return f"Customer.{quote(self.contact_id, safe='')}@shop.example"

    @property
    def phone(self) -> str:
        """Twelve digits under +999, a country code that is not assigned (ITU-T E.164)."""
        digest = blake2b(self.contact_id.encode(), digest_size=8).digest()
        return f"+999{int.from_bytes(digest) % 10**12:012d}"

    def as_json(self) -> dict[str, Any]:
        """Return the contact in the form of the Avro Contact."""
        return {
            "contactId": self.contact_id,
            "externalCustomerId": self.external_customer_id,
            "email": self.email,
            "phone": self.phone,
            "contactKey": None,
            "pushTokens": [],
            "fields": {},
        }


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One order event; `at` only decides its place in the order, since events carry the time of sending."""

    at: datetime
    type_key: str
    order_id: str
    params: tuple[tuple[str, Any], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the event in the vendor's documented form, with the order's id also as keyValue."""
        return {
            "eventTypeKey": self.type_key,
            "keyValue": self.order_id,
            "params": [
                {"name": name, "value": value} for name, value in (("externalOrderId", self.order_id), *self.params)
            ],
        }


IDENTIFIERS: tuple[tuple[str, Callable[[Contact], str]], ...] = (
    ("externalCustomerId", lambda contact: contact.external_customer_id),
    ("externalCustomerId", lambda contact: contact.external_customer_id),
    ("externalCustomerId", lambda contact: contact.external_customer_id),
    ("contactId", lambda contact: contact.contact_id),
    ("email", lambda contact: contact.email),
    ("Email", lambda contact: contact.email.upper()),
    ("phone", lambda contact: contact.phone),
    ("SMS", lambda contact: contact.phone),
)
"""How an order names its customer: each document's number picks one of these, in equal shares."""


def contacts(invoices: Iterable[Invoice]) -> list[Contact]:
    """Return every customer of the invoices and credit notes once, by id."""
    return [Contact(customer) for customer in sorted({each.customer for each in invoices if each.customer})]


def order_events(invoices: Sequence[Invoice]) -> list[OrderEvent]:
    """Return the events of the invoices in time order.

    An invoice is created at its date and delivered some days later. A credit note cancels the latest earlier invoice
    on which its customer bought one of its goods, after that invoice's delivery. Without such an invoice it names its
    own number, an unknown order.
    """
    orders = [each for each in invoices if not each.is_credit_note]
    bought = _purchases(orders)
    events = [event for order in orders for event in (_created(order), _delivered(order))]
    events += [_cancelled(note, _returned_order(note, bought)) for note in invoices if note.is_credit_note]
    # The sort is stable: events of the same moment keep their order here, creations by invoice number.
    return sorted(events, key=lambda event: event.at)


def write_json_lines(records: Iterable[Contact | OrderEvent], path: Path) -> int:
    """Write one JSON object a line; return their number."""
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for record in records:
            stream.write(json.dumps(record.as_json(), ensure_ascii=False, separators=(",", ":")) + "\n")
            count += 1
    return count


def _purchases(orders: Iterable[Invoice]) -> Mapping[tuple[str, str], list[Invoice]]:
    """Return the orders of each customer and stock code, in the order given."""
    bought: defaultdict[tuple[str, str], list[Invoice]] = defaultdict(list)
    for order in orders:
        if order.customer is not None:
            for stock_code in {line.stock_code for line in order.lines}:
                bought[order.customer, stock_code].append(order)
    return bought


def _returned_order(note: Invoice, bought: Mapping[tuple[str, str], list[Invoice]]) -> Invoice | None:
    if note.customer is None:
        return None
    earlier = [
        order for line in note.lines for order in bought.get((note.customer, line.stock_code), ()) if order.at < note.at
    ]
    return max(earlier, key=lambda order: (order.at, order.number), default=None)


def _created(order: Invoice) -> OrderEvent:
    params = (
        *_identifier(order),
        ("totalCost", f"{order.total_cost:.4f}"),
        ("status", "INITIALIZED"),
        ("date", order.at.isoformat()),
        ("currency", CURRENCY),
        ("items", [_item(line) for line in order.lines]),
        ("country", order.country),
    )
    return OrderEvent(order.at, "orderCreated", order.number, params)


def _delivered(order: Invoice) -> OrderEvent:
    # The carrier knows only the order's number: the contact is inherited (D15).
    return OrderEvent(_delivered_at(order), "orderDelivered", order.number, ())


def _cancelled(note: Invoice, order: Invoice | None) -> OrderEvent:
    if order is None:
        return OrderEvent(note.at, "orderCancelled", note.number, _identifier(note))
    at = max(note.at, _delivered_at(order) + CANCELLED_AFTER_DELIVERY)
    return OrderEvent(at, "orderCancelled", order.number, _identifier(note))


def _delivered_at(order: Invoice) -> datetime:
    return order.at + timedelta(days=1 + zlib.crc32(order.number.encode()) % DELIVERY_DAYS_MAX)


def _identifier(document: Invoice) -> tuple[tuple[str, Any], ...]:
    share = zlib.crc32(document.number.encode())
    if document.customer is None:  # a guest: no contact can be found, whether there is an address or nothing
        return (("email", f"guest.{document.number}@shop.example"),) if share % 2 else ()
    name, value_of = IDENTIFIERS[share % len(IDENTIFIERS)]
    return ((name, value_of(Contact(document.customer))),)


def _item(line: Line) -> dict[str, Any]:
    quantity = line.quantity
    page = f"https://shop.example/item/{quote(line.stock_code, safe='')}"
    return {
        "externalItemId": line.stock_code,
        "name": line.description,
        "quantity": int(quantity) if quantity == quantity.to_integral_value() else float(quantity),
        "cost": float(line.unit_price),
        "url": page,
        "imageUrl": f"{page}/image.png",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert a file; return the exit code: 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.demo.retail", description="Turn invoices into contacts and order events."
    )
    parser.add_argument("csv", type=Path, help="CSV or CSV.gz with the columns of the Online Retail data set")
    parser.add_argument("--contacts", type=Path, required=True, metavar="OUT", help="contacts, as JSON lines")
    parser.add_argument("--events", type=Path, required=True, metavar="OUT", help="order events, as JSON lines")
    options = parser.parse_args(arguments)
    try:
        invoices = read_invoices(options.csv)
        contact_count = write_json_lines(contacts(invoices), options.contacts)
        event_count = write_json_lines(order_events(invoices), options.events)
    except (RetailFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"invoices": len(invoices), "contacts": contact_count, "events": event_count}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
