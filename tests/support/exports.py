"""Random facts and contacts, and what a snapshot of them must hold by plain Python, without SQL."""

import json
import random
import string
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb

from processor.codec.avro import codec
from processor.codec.fact_json import fact_object
from processor.domain.records import Item, Order, PlainItems, Record
from processor.snapshots.columns import TABLES
from tests.support.producing import quick_producer

STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
PERSONAL = ("email", "phone", "firstName", "lastName", "deliveryAddress", "additionalInfo", "restoreUrl")
TIMES = ("date", "createdAt", "updatedAt", "statusChangedAt", "occurredAt")
MONEY = ("totalCost", "shipping", "discount", "taxes", "cost")
MOST_UNITS = 10**18 - 1
NAMES = ("giftWrap", "it's", 'a "quoted" name', "a.b[0]", "", "ім'я", "new\nline", "nul\0")
VALUES = (True, False, 1, 1.0, -0.0, "1", "true", "", 2**63 - 1, -(2**63), 5e-324, 1.7976931348623157e308, 1e22, 0.1)
REQUEST_S = 30.0


def order(source, order_id, partition, offset, **changes):
    """Give an order with random fields."""
    maybe = lambda value: source.choice((None, value))  # noqa: E731 - used a dozen times below
    text = lambda: "".join(source.choices(string.printable + "é😀\0", k=source.randrange(12)))  # noqa: E731
    units = lambda: source.choice((0, 1, -1, 2_580_000, MOST_UNITS, -MOST_UNITS, source.randrange(10**9)))  # noqa: E731
    fields = {
        "external_order_id": order_id,
        "contact_id": f"c{source.randrange(8)}",
        "identified_by": "email",
        "status": source.choice(STATUSES),
        "date_ms": source.choice((0, -1, 253_402_300_799_999, source.randrange(2 * 10**12))),
        "total_cost": units(),
        "event_type": "orderUpdated",
        "created_at_ms": source.randrange(2 * 10**12),
        "updated_at_ms": source.randrange(2 * 10**12),
        "status_changed_at_ms": source.randrange(2 * 10**12),
        "revision": source.randrange(1, 2**31),
        "source_partition": partition,
        "source_offset": offset,
        "items": PlainItems(tuple(_item(source, text, units) for _ in range(source.randrange(4)))),
        "custom": _custom(source),
        **{field: maybe(text()) for field in ("currency", "email", "phone", "first_name", "restore_url", "source")},
        **{field: maybe(text()) for field in ("last_name", "delivery_address", "additional_info", "cart_id")},
        **{field: maybe(units()) for field in ("shipping", "discount", "taxes")},
        "occurred_at_ms": maybe(source.randrange(2 * 10**12)),
    }
    return Order(**fields | changes)


def _item(source, text, units):
    return Item(
        external_item_id=text(),
        quantity=source.choice((1.0, -2.5, 0.1)),
        name=source.choice((None, text())),
        cost=source.choice((None, units())),
        custom=_custom(source),
    )


def _custom(source):
    return {source.choice(NAMES): source.choice(VALUES) for _ in range(source.randrange(4))}


def fact_records(seed, count, ends, *, keys=12, scattered=False):
    """Give records of facts behind the ends of some partitions; a fifth are deletions. Each key has one partition."""
    source, ends = random.Random(seed), dict(ends)
    for _ in range(count):
        number = source.randrange(keys)
        partition = source.randrange(len(ends)) if scattered else number % len(ends)
        key, offset = f"order {number}'", ends[partition]
        ends[partition] += 1 + source.randrange(2)
        value = None
        if source.random() > 0.2:
            value = codec().encode_fact(order(source, key, partition, offset))
        yield Record(partition, offset, source.randrange(5), key.encode(), value)


def contact_records(seed, count, ends, *, keys=8):
    """Give records of contacts behind the ends of some partitions, any key in any of them; the fourth is no contact."""
    source, ends = random.Random(seed), dict(ends)
    for number in range(count):
        partition, key = source.randrange(len(ends)), f"c{source.randrange(keys)}"
        offset = ends[partition]
        ends[partition] += 1 + source.randrange(2)
        contact = {
            "contactId": "another",
            "externalCustomerId": source.choice((None, "AV1")),
            "email": source.choice((None, "a@b.example")),
            "pushTokens": ["t"] * source.randrange(3),
            "fields": {source.choice(NAMES): "x"},
        }
        value = b"none" if number == 3 else source.choice((None, *[codec().encode_contact(contact)] * 4))
        yield Record(partition, offset, source.randrange(5), key.encode(), value)


def latest(records):
    """Give each order's latest fact as an object, whatever order the partitions come in."""
    last: dict = {}
    for record in sorted(records, key=lambda one: (one.partition, one.offset)):
        last.setdefault(record.key, {})[record.partition] = record
    for lives in last.values():
        standing = [record for record in lives.values() if record.value is not None]
        if standing:
            yield fact_object(codec().decode_fact(max(standing, key=_standing).value))


def expected_contacts(records):
    """Give the contacts whose record in force is no deletion (C1)."""
    last: dict = {}
    for record in sorted(records, key=lambda one: (one.partition, one.offset)):
        if record.value != b"none":
            last.setdefault(record.key, {})[record.partition] = record
    for key, lives in last.items():
        record = max(lives.values(), key=_standing)
        if record.value is not None:
            yield codec().decode_contact(record.value) | {"contactId": key.decode()}


def _standing(record):
    return record.timestamp_ms, record.offset, record.partition


def expected(facts, contacts, *, personal):
    """Give the three tables that a snapshot of these records must hold, as `tables` gives them."""
    hidden = () if personal else PERSONAL
    orders = list(latest(facts))
    lines = [{"externalOrderId": one["externalOrderId"]} | line for one in orders for line in one["items"]]
    found = list(expected_contacts(contacts))
    if not personal:
        found = [{name: one[name] for name in ("contactId", "externalCustomerId")} for one in found]
    rows = {
        "orders": [{name: one[name] for name in one if name not in {"items", *hidden}} for one in orders],
        "items": lines,
        "contacts": found,
    }
    return {table: _comparable(map(_typed, rows[table])) for table in TABLES}


def _typed(row):
    """Give a fact's or item's fields with the types that they have in a snapshot."""
    typed = dict(row)
    for name, value in row.items():
        if value is not None and name in MONEY:
            typed[name] = Decimal(value)
        elif value is not None and name in TIMES:
            typed[name] = datetime.fromisoformat(value)
        elif name in {"custom", "fields"}:
            typed[name] = _of_types(value)
    return typed


def _of_types(fields):
    """Give a map's values with their types: 1, 1.0 and true differ."""
    return {name: (type(value), repr(value)) for name, value in fields.items()}


def tables(folder):
    """Give a snapshot's three tables, each with its rows in an order of their own."""
    found = {}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='America/New_York'")
        for table in TABLES:
            cursor = connection.execute("SELECT * FROM read_parquet(?)", [f"{folder}/{table}.parquet"])
            names = [column[0] for column in cursor.description]
            found[table] = _comparable(_read(names, row) for row in cursor.fetchall())
    return found


def _read(names, values):
    row = dict(zip(names, values, strict=True))
    for name, value in row.items():
        if name in {"custom", "fields"}:
            row[name] = _of_types(json.loads(value))
        elif isinstance(value, datetime):
            row[name] = value.astimezone(UTC)
    return row


def _comparable(rows):
    return sorted(rows, key=repr)


def send(settings, topic, records):
    """Produce records as they are, each on its partition and with its timestamp, not its offset."""
    producer = quick_producer(settings)
    base = datetime.now(UTC) - timedelta(minutes=1)
    for record in records:
        timestamp = int(base.timestamp() * 1000) + record.timestamp_ms
        producer.produce(topic, record.value, record.key, record.partition, timestamp=timestamp)
    assert producer.flush(REQUEST_S) == 0
