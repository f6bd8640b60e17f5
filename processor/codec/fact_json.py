"""A fact as people and programs read it: JSON with the names of the Avro schema."""

from typing import Any, Final

import msgspec

from processor.domain.instants import instant_text
from processor.domain.records import Item, Order
from processor.domain.values import money_text

_ENCODER: Final = msgspec.json.Encoder()


def fact_json(order: Order) -> bytes:
    """Return one JSON object: money as text with four places, times as ISO 8601 in UTC."""
    return _ENCODER.encode(fact_object(order))


def fact_object(order: Order) -> dict[str, Any]:
    """Return a fact's fields by their Avro names, in the schema's order, ready for JSON."""
    return {
        "externalOrderId": order.external_order_id,
        "contactId": order.contact_id,
        "identifiedBy": order.identified_by,
        "status": order.status,
        "date": instant_text(order.date_ms),
        "totalCost": money_text(order.total_cost),
        "currency": order.currency,
        "items": [_item(item) for item in order.items.lines],
        "externalCustomerId": order.external_customer_id,
        "email": order.email,
        "phone": order.phone,
        "firstName": order.first_name,
        "lastName": order.last_name,
        "shipping": _money(order.shipping),
        "discount": _money(order.discount),
        "taxes": _money(order.taxes),
        "statusDescription": order.status_description,
        "restoreUrl": order.restore_url,
        "storeId": order.store_id,
        "source": order.source,
        "deliveryMethod": order.delivery_method,
        "paymentMethod": order.payment_method,
        "deliveryAddress": order.delivery_address,
        "additionalInfo": order.additional_info,
        "cartId": order.cart_id,
        "custom": order.custom,
        "eventTypeKey": order.event_type,
        "createdAt": instant_text(order.created_at_ms),
        "updatedAt": instant_text(order.updated_at_ms),
        "statusChangedAt": instant_text(order.status_changed_at_ms),
        "revision": order.revision,
        "sourcePartition": order.source_partition,
        "sourceOffset": order.source_offset,
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "externalItemId": item.external_item_id,
        "name": item.name,
        "category": item.category,
        "url": item.url,
        "imageUrl": item.image_url,
        "description": item.description,
        "quantity": item.quantity,
        "cost": _money(item.cost),
        "custom": item.custom,
    }


def _money(units: int | None) -> str | None:
    return None if units is None else money_text(units)
