"""Snapshots on disk from orders and contacts, without Kafka: what `facts export` writes for the same records."""

from datetime import UTC, datetime

from processor.codec.avro import codec
from processor.codec.fact_json import fact_object
from processor.domain.records import Record
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.snapshots.columns import CONTACTS, ORDERS
from processor.snapshots.engine import database
from processor.snapshots.exporting import schemas
from processor.snapshots.merging import Merge
from processor.snapshots.rows import ContactRows, FactRows
from processor.snapshots.snapshot import Manifest, ReadTopic, put_in_place, work_folder
from processor.snapshots.staging import staging_of

WIRE = Wire(Settings())


def snapshot_of(folder, orders, contact_ids, *, personal=False):
    """Put a snapshot of these orders and contacts in place in a folder, and give it."""
    facts = [
        Record(0, offset, 0, order.external_order_id.encode(), codec().encode_fact(order))
        for offset, order in enumerate(orders)
    ]
    contacts = [
        Record(0, offset, 0, contact_id.encode(), codec().encode_contact({"contactId": contact_id}))
        for offset, contact_id in enumerate(contact_ids)
    ]
    return snapshot_of_records(folder, facts, contacts, personal=personal)


def snapshot_of_records(folder, facts, contacts, *, personal=False):
    """Put a snapshot of records of both topics in place in a folder, and give it."""
    with work_folder(folder) as work:
        made = work / "made"
        made.mkdir()
        merge, rows = merged(work, made, facts, contacts, personal=personal)
        manifest = _manifest(facts, contacts, rows, merge.currencies, personal=personal)
        return put_in_place(folder, made, manifest)


def merged(work, made, facts, contacts, before=None, *, personal=False, forget_before_ms=0):
    """Write a snapshot's files from records, perhaps on those of one before; give the merge and the counts of rows."""
    staged = {}
    with database(work) as connection:
        for table, records, rows in (
            (ORDERS, facts, FactRows(WIRE, "facts", personal=personal)),
            (CONTACTS, contacts, ContactRows(WIRE, personal=personal)),
        ):
            with staging_of(connection, work, table, personal=personal) as staging:
                for row in filter(None, map(rows.row, records)):
                    staging.add(row)
            staged[table] = staging.files
        merge = Merge(connection, made, before, personal=personal)
        return merge, merge.orders(staged[ORDERS]) | merge.contacts(staged[CONTACTS], forget_before_ms)


def facts_of(orders):
    """Give orders as `facts show --latest` prints them."""
    return [fact_object(codec().decode_fact(codec().encode_fact(order))) for order in orders]


def _manifest(facts, contacts, rows, currencies, *, personal):
    fact_schema, contact_schema = schemas()
    ends = [max([0, *(record.offset + 1 for record in records)]) for records in (facts, contacts)]
    return Manifest(
        time=datetime.now(UTC),
        cluster_id="none",
        facts=ReadTopic("facts", "id of facts", {0: ends[0]}),
        contacts=ReadTopic("contacts", "id of contacts", {0: ends[1]}),
        fact_schema=fact_schema,
        contact_schema=contact_schema,
        personal=personal,
        one_place_an_order=True,
        currencies=currencies,
        rows=rows,
    )
