"""The story of the vendor's page, by the commands alone: a contact, an order, a fact one can segment by."""

import json
from typing import Any

import pytest

from tests.support.commands import VENDOR_EXAMPLE
from tests.support.deployment import deployed

CONTACT = "contactId,externalCustomerId,email,phone\n101,AV13760,buyer@shop.example,380501234567\n"
ITEM = {
    "externalItemId": "200600",
    "name": "Super Device",
    "category": "devices",
    "url": "http://example.com/item/200600",
    "imageUrl": "http://example.com/item/200600/image.png",
    "description": "High quality",
    "quantity": 1.0,
    "cost": "990.0000",
    "custom": {},
}
FACT: dict[str, Any] = {
    "externalOrderId": "12345679",
    "contactId": "101",
    "identifiedBy": "externalCustomerId",  # D12: tried before the phone, whatever the event's order
    "status": "INITIALIZED",
    "date": "2020-05-14T10:11:00.000Z",
    "totalCost": "258.0000",  # not the items' sum: the page's own numbers, and no error (D11)
    "currency": "UAH",
    "items": [ITEM],
    "externalCustomerId": "AV13760",
    "email": None,
    "phone": "380501234567",
    "firstName": None,
    "lastName": None,
    "shipping": None,
    "discount": None,
    "taxes": None,
    "occurredAt": None,
    "statusDescription": None,
    "restoreUrl": None,
    "storeId": None,
    "source": None,
    "deliveryMethod": None,
    "paymentMethod": None,
    "deliveryAddress": None,
    "additionalInfo": None,
    "cartId": None,
    "custom": {},
    "eventTypeKey": "orderCreated",
    "revision": 1,
}


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment whose only contact came by `contacts import`."""
    file = tmp_path / "contacts.csv"
    file.write_text(CONTACT, encoding="utf-8")
    with deployed(settings, tmp_path, partitions=2) as running:
        assert json.loads(running.command("contacts", "import", str(file)).stdout) == {"sent": 1, "refused": 0}
        running.index()
        yield running


def test_the_vendors_order_becomes_a_fact(deployment):
    """The page's example, items as array and as JSON string, gives the fact field by field; then it lives on."""
    as_text = json.loads(VENDOR_EXAMPLE)
    as_text["params"][1]["value"] = "12345680"
    as_text["params"][-1]["value"] = json.dumps(as_text["params"][-1]["value"])
    replica = deployment.replica("a")
    send(deployment, VENDOR_EXAMPLE)
    send(deployment, json.dumps(as_text))
    deployment.await_accounted(2)
    assert shown(deployment, "12345679") == [FACT]
    assert shown(deployment, "12345680") == [FACT | {"externalOrderId": "12345680"}]
    send(deployment, later("orderDelivered"))
    send(deployment, later("orderUpdated", statusDescription="left at the door", giftWrap=True))
    deployment.await_accounted(4)
    delivered = FACT | {"status": "DELIVERED", "eventTypeKey": "orderDelivered", "revision": 2}
    updated = delivered | {
        "statusDescription": "left at the door",
        "custom": {"giftWrap": True},
        "eventTypeKey": "orderUpdated",
        "revision": 3,
    }
    assert shown(deployment, "12345679") == [FACT, delivered, updated]
    replica.stop()
    assert deployment.require_right_outputs() == {"fact": 4}


def send(deployment, text):
    """Send events as somebody who pipes them."""
    assert json.loads(deployment.command("events", "send", "-", stdin=text).stdout) == {"sent": 1, "refused": 0}


def later(event_type, **params):
    """Give a later event of the order, which names it and what changes."""
    named = [{"name": name, "value": value} for name, value in ({"externalOrderId": "12345679"} | params).items()]
    return json.dumps({"eventTypeKey": event_type, "keyValue": "380501234567", "params": named})


def shown(deployment, order_id):
    """Give an order's facts as `facts show` prints them, without what depends on when and where they were made."""
    facts = [json.loads(line) for line in deployment.command("facts", "show", "--order", order_id).stdout.splitlines()]
    for fact in facts:
        times = [fact.pop(name) for name in ("createdAt", "statusChangedAt", "updatedAt")]
        assert times == sorted(times)
        assert {type(fact.pop(name)) for name in ("sourcePartition", "sourceOffset")} == {int}
    return facts
