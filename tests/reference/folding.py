"""Events to facts and rejections, one after another (D1 to D5, D9, D11, D15 to D25 and the precedence)."""

from tests.reference.contacts import candidates, first_found, identifying_names
from tests.reference.items import read_items
from tests.reference.model import Fact, RefusedError, Rejected
from tests.reference.values import (
    currency,
    custom,
    date_ms,
    id_text,
    is_filled,
    money,
    same,
    status,
    text,
    whole_number_text,
)

EVENT_TYPES = ("orderCreated", "orderUpdated", "orderDelivered", "orderCancelled")
FINAL_STATUS = {"orderDelivered": "DELIVERED", "orderCancelled": "CANCELLED"}
IGNORED = ("unsupported_event_type", "order_exists", "order_unknown", "stale", "no_change")
MOST_CUSTOM_FIELDS = 20_000  # of an order
MONEY_COLUMNS = ("totalCost", "shipping", "discount", "taxes")
TEXT_COLUMNS = (
    *("externalCustomerId", "email", "phone", "firstName", "lastName", "statusDescription", "restoreUrl"),
    *("storeId", "source", "deliveryMethod", "paymentMethod", "deliveryAddress", "additionalInfo", "cartId"),
)
COLUMNS = (
    *("externalOrderId", "status", "date", "currency", "currencyCode"),
    *MONEY_COLUMNS,
    *TEXT_COLUMNS,
)
REQUIRED_TO_CREATE = ("totalCost", "status", "date")
# D22: identifiedBy is how the contact was found, not a field of the order.
ORDER_FIELDS = (
    *("contactId", "status", "date", "currency", "items", "custom"),
    *MONEY_COLUMNS,
    *TEXT_COLUMNS,
)


def fold(inputs, contacts, rules, encoded_size=None, orders=None):
    """Give one Fact or Rejected for each input, in the inputs' order (D24).

    An order is known by its externalOrderId within its partition. encoded_size(fact) gives the bytes of
    the fact's record value; None means that no fact is too large. `orders` are those so far, by partition and id, and
    are changed; None: there are none yet.
    """
    orders = {} if orders is None else orders
    outputs: list[Fact | Rejected] = []
    for record in inputs:
        try:
            fact = _new_fact(record, orders, contacts, rules)
            _check_size(fact, encoded_size, rules)
        except RefusedError as refused:
            outcome = "ignored" if refused.reason in IGNORED else "invalid"
            outputs.append(Rejected(record.partition, record.offset, refused.reason, outcome, refused.names))
        else:
            orders[record.partition, fact["externalOrderId"]] = fact
            outputs.append(Fact(record.partition, record.offset, fact))
    return outputs


def _new_fact(record, orders, contacts, rules):
    """Read the checks from top to bottom: this is the order of the reasons."""
    if record.size > rules.max_event_bytes:
        raise RefusedError("oversized")
    if record.event is None:
        raise RefusedError("undecodable")
    event_type = record.event["eventTypeKey"]
    _check_envelope(record.event)
    if event_type not in EVENT_TYPES:
        raise RefusedError("unsupported_event_type")
    params = {p["name"]: p["value"] for p in record.event["params"] if is_filled(p["value"])}
    order_id = _order_id(params, record.key)
    if event_type in FINAL_STATUS:
        looked_at = [name for name in params if name in ("externalOrderId", rules.occurred_at_parameter)]
        _read_parameters({name: params[name] for name in looked_at}, rules)
        changes = {"status": FINAL_STATUS[event_type]}  # D20: nothing else is looked at
    else:
        nulls = _nulls(record.event, rules)
        in_turn = [p["name"] for p in record.event["params"] if p["name"] in params or p["name"] in nulls]
        changes = _read_parameters({name: params.get(name) for name in in_turn}, rules)
    occurred_at = _occurred_at(params, rules)

    order = orders.get((record.partition, order_id))
    if order is None:
        if event_type in FINAL_STATUS:
            raise RefusedError("order_unknown")  # D21
        fact = _create(order_id, params, changes, contacts, rules)
    else:
        if event_type == "orderCreated" and rules.on_duplicate_create != "update":
            raise RefusedError("order_exists", *_told(order, params, changes, contacts, rules))  # D17
        if occurred_at is not None and order["occurredAt"] is not None and occurred_at < order["occurredAt"]:
            raise RefusedError("stale")  # D25
        fact = _change(order, params, changes, _emptied(record.event, params, rules), contacts, rules)
    known = [at for at in (occurred_at, order and order["occurredAt"]) if at is not None]
    return _stamp(fact, order, record) | {"occurredAt": max(known, default=None)}


def _check_size(fact, encoded_size, rules):
    """Refuse the fact that would be too large; the order then stays as it was."""
    if len(fact["custom"]) > MOST_CUSTOM_FIELDS:
        raise RefusedError("fact_too_large")
    if encoded_size is not None and encoded_size(fact) > rules.max_fact_bytes:
        raise RefusedError("fact_too_large")


def _check_envelope(event):
    """D1: the only rule that also looks at unfilled parameters."""
    names = [param["name"] for param in event["params"]]
    is_valid = (
        event["eventTypeKey"].strip() != ""
        and len(event["eventTypeKey"]) <= 100
        and len(event["keyValue"]) <= 300
        and all(1 <= len(name) <= 100 for name in names)
        and len(set(names)) == len(names)
    )
    if not is_valid:
        raise RefusedError("invalid_event")


def _order_id(params, key):
    """D5, except for the length: that is checked in its turn."""
    value = params.get("externalOrderId")
    if value is None:
        raise RefusedError("missing_parameter", "externalOrderId")
    order_id = value if isinstance(value, str) else whole_number_text(value)
    if order_id is None:
        raise RefusedError("invalid_parameter", "externalOrderId")
    if key != order_id.encode():
        raise RefusedError("key_mismatch")
    return order_id


def _read_parameters(params, rules):
    """Give the fact's fields that the event supplies; the first bad parameter is refused, items last."""
    identifying = identifying_names(rules.identification)
    changes, custom_fields = {}, {}
    for name, value in params.items():
        if value is None:  # D18: only where a null empties its field
            if name in REQUIRED_TO_CREATE:
                raise RefusedError("invalid_parameter", name)
            continue
        if name in COLUMNS:
            kept = _read_column(name, value, rules)
            changes[name] = kept
        elif name == rules.occurred_at_parameter:
            kept = date_ms(value, rules.time_zone)  # D25: no field that an event fills
        elif name == "items" or name.lower() in identifying:
            continue  # D11: what only identifies is not copied, and not looked at
        else:
            kept = custom(value)
            custom_fields[name] = kept
        if kept is None:
            raise RefusedError("invalid_parameter", name)
    changes = _with_what_they_mean_together(changes, params)
    if params.get("items") is not None:
        changes["items"] = read_items(params["items"], rules.item_profile)
    return {**changes, "custom": custom_fields}


def _with_what_they_mean_together(changes, params):
    """D7, D9."""
    if "status" in changes and status(params["status"], ()) is None:
        # D7: a shop's own word is kept, unless the event says something better
        changes = {"statusDescription": params["status"].strip(), **changes}
    if "currencyCode" in changes:  # D9: both are checked, currency wins
        changes = {"currency": changes.pop("currencyCode"), **changes}
    return changes


def _nulls(event, rules):
    """D18: the parameters that are null, where that empties their fields."""
    clearing = ("orderUpdated", "orderCreated") if rules.on_duplicate_create == "update" else ("orderUpdated",)
    if rules.on_null != "clear" or event["eventTypeKey"] not in clearing:
        return []
    return [param["name"] for param in event["params"] if param["value"] is None]


def _emptied(event, params, rules):
    """D18: the columns, items or custom fields that the event empties."""
    if event["eventTypeKey"] in FINAL_STATUS:
        return []
    nulls = _nulls(event, rules)
    identifying = identifying_names(rules.identification)
    emptied = [name for name in nulls if name == "items" or name in COLUMNS or name.lower() not in identifying]
    emptied = [name for name in emptied if name not in ("currency", "currencyCode", rules.occurred_at_parameter)]
    if {"currency", "currencyCode"} & {*nulls} and not {"currency", "currencyCode"} & params.keys():
        emptied.append("currency")  # a value beats a null
    return emptied


def _occurred_at(params, rules):
    """D25: when the event happened, if it says so."""
    name = rules.occurred_at_parameter
    return date_ms(params[name], rules.time_zone) if name in params else None


def _read_column(name, value, rules):
    """Give the parameter as the fact has it, or None where it is bad."""
    if name == "externalOrderId":
        order_id = value if isinstance(value, str) else whole_number_text(value)
        return order_id if len(order_id) <= 300 else None
    if name in MONEY_COLUMNS:
        return money(value, may_be_negative=name == "discount")
    if name == "status":
        return status(value, rules.statuses)
    if name == "date":
        return date_ms(value, rules.time_zone)
    if name in ("currency", "currencyCode"):
        return currency(value)
    return id_text(value) if name in ("externalCustomerId", "phone") else text(value)


def _create(order_id, params, changes, contacts, rules):
    """D16, D19."""
    missing = [name for name in REQUIRED_TO_CREATE if name not in params]
    if missing:
        raise RefusedError("missing_parameter", *missing)
    identifiers = candidates(params, rules.identification)
    if not identifiers:
        raise RefusedError("no_identifier")
    found = first_found(identifiers, contacts)
    if found is None:
        raise RefusedError("contact_not_found")
    contact_id, identified_by = found
    empty = {**dict.fromkeys(MONEY_COLUMNS + TEXT_COLUMNS), "currency": rules.default_currency, "items": []}
    owner = {"externalOrderId": order_id, "contactId": contact_id, "identifiedBy": identified_by}
    return {**owner, **empty, **changes}


def _change(order, params, changes, emptied, contacts, rules):
    """D15, D18, D20, D22."""
    owner = {}
    identifiers = candidates(params, rules.identification)
    if identifiers:
        found = first_found(identifiers, contacts)
        if found is None:
            raise RefusedError("contact_not_found")
        contact_id, identified_by = found
        if contact_id != order["contactId"]:
            if rules.on_owner_conflict != "reassign" and contacts.exists(order["contactId"]):
                raise RefusedError("contact_mismatch")
            owner = {"contactId": contact_id, "identifiedBy": identified_by}
    fact = {**order, **owner, **changes, "custom": {**order["custom"], **changes.get("custom", {})}}
    for name in emptied:
        if name == "items":
            fact["items"] = []
        elif name in COLUMNS and name not in changes:
            fact[name] = None
        elif name not in COLUMNS:
            fact["custom"].pop(name, None)
    if all(same(order[field], fact[field]) for field in ORDER_FIELDS):
        raise RefusedError("no_change")
    return fact


def _told(order, params, changes, contacts, rules):
    """D17: the names of what differs from the order as it is, or that it is the same."""
    found = first_found(candidates(params, rules.identification), contacts)
    names = [] if found is None or found[0] == order["contactId"] else ["contactId"]
    columns = {name: value for name, value in changes.items() if name in ORDER_FIELDS and name != "custom"}
    names += [name for name, value in columns.items() if not same(order[name], value)]
    known = order["custom"]
    names += [name for name, value in changes["custom"].items() if not (name in known and same(known[name], value))]
    return names or ["the same"]


def _stamp(fact, order, record):
    """D23: when, which revision, and where from; order is the fact before, None at creation."""
    is_new_status = order is None or order["status"] != fact["status"]
    return {
        **fact,
        "eventTypeKey": record.event["eventTypeKey"],
        "createdAt": record.timestamp_ms if order is None else order["createdAt"],
        "updatedAt": record.timestamp_ms,
        "statusChangedAt": record.timestamp_ms if is_new_status else order["statusChangedAt"],
        "revision": 1 if order is None else order["revision"] + 1,
        "sourcePartition": record.partition,
        "sourceOffset": record.offset,
    }
