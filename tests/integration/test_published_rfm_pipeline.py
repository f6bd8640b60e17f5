"""The published RFM table by the commands alone: events become facts, facts a snapshot, the snapshot the same table."""

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.support.commands import event
from tests.support.deployment import deployed
from tests.support.published_rfm import AS_OF, published_orders, published_table


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment whose contacts are the table's customers."""
    file = tmp_path / "contacts.csv"
    file.write_text("contactId\n" + "".join(f"{row.contact_id}\n" for row in published_table()), encoding="utf-8")
    with deployed(settings, tmp_path, partitions=3) as running:
        assert json.loads(running.command("contacts", "import", str(file)).stdout) == {"sent": 793, "refused": 0}
        running.index()
        yield running


def test_the_published_table_through_the_whole_pipeline(deployment, tmp_path):
    """R, F and M of all 793 are the published ones, and with four bins so are their classes, of which 1 is the best."""
    deployment.replica("a")
    events = "".join(f"{json.dumps(created(order))}\n" for order in published_orders())
    assert json.loads(deployment.command("events", "send", "-", stdin=events).stdout) == {"sent": 5009, "refused": 0}
    deployment.await_accounted(5009)
    folder = str(tmp_path / "snapshots")
    held = deployment.command("facts", "export", folder).stdout.splitlines()[0]
    assert held == f"{folder}/1: 5009 orders, 0 items, 793 contacts"
    asked = ("segments", "rfm", "--data", folder, "--as-of", AS_OF.isoformat(), "--bins", "4", "--format", "csv")
    found = list(csv.DictReader(deployment.command(*asked).stdout.splitlines()))
    assert [(row["contactId"], int(row["recency"]), int(row["frequency"]), row["monetary"]) for row in found] == [
        (row.contact_id, row.recency, row.frequency, f"{row.monetary:.4f}") for row in published_table()
    ]
    classes = [tuple(5 - int(row[score]) for score in "rfm") for row in found]
    assert classes == [row.quartiles for row in published_table()]


def created(order):
    """Give the event that creates an order."""
    params = {
        "ContactId": order.contact_id,
        "externalOrderId": order.external_order_id,
        "totalCost": str(Decimal(order.total_cost) / 10_000),
        "status": order.status,
        "date": datetime.fromtimestamp(order.date_ms / 1000, UTC).isoformat(),
        "currency": order.currency,
    }
    return event("orderCreated", params)
