"""The published RFM table of `data/rfm`: its orders as orders here, and its rows."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from processor.domain.records import Order

FOLDER = Path(__file__).parents[1] / "data" / "rfm"
# It counts the orders of its last day: those of that moment are before this one.
AS_OF, ZONE = datetime(2014, 12, 31, 0, 0, 1, tzinfo=UTC), ZoneInfo("UTC")


class PublishedRow(NamedTuple):
    """A customer's values, and its quartiles, of which 1 is the best."""

    contact_id: str
    recency: int
    frequency: int
    monetary: Decimal
    quartiles: tuple[int, int, int]


def published_orders():
    """Give the orders, all of them delivered, in US dollars, at midnight UTC."""
    return [
        Order(
            external_order_id=row["order_id"],
            contact_id=row["customer"],
            identified_by="contactId",
            status="DELIVERED",
            date_ms=int(datetime.fromisoformat(row["order_date"]).replace(tzinfo=UTC).timestamp()) * 1000,
            total_cost=int(Decimal(row["grand_total"]) * 10_000),
            event_type="orderDelivered",
            created_at_ms=0,
            updated_at_ms=0,
            status_changed_at_ms=0,
            revision=1,
            source_partition=0,
            source_offset=number,
            currency="USD",
        )
        for number, row in enumerate(_rows("orders.csv"))
    ]


def published_table():
    """Give the rows by customer."""
    return [
        PublishedRow(
            row["customer"],
            int(row["recency"]),
            int(row["frequency"]),
            Decimal(row["monetary"]),
            (int(row["r_quartile"]), int(row["f_quartile"]), int(row["m_quartile"])),
        )
        for row in _rows("table.csv")
    ]


def _rows(name):
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
