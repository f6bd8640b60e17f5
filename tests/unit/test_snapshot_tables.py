"""Proves what a snapshot's tables hold, without a broker: from records to Parquet, whole and step by step."""

import random
from contextlib import closing
from itertools import count

import duckdb
import pytest

from processor.codec.avro import codec
from processor.domain.records import Record
from processor.errors import RegistryError, StopError
from processor.registry.framing import HEADER, prefix_of
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.snapshots import staging as staging_module
from processor.snapshots.columns import ITEMS, TABLES, columns_of
from processor.snapshots.merging import ScatteredError
from processor.snapshots.rows import ContactRows, FactRows
from tests.support.exports import contact_records, expected, fact_records, order, tables
from tests.support.schemas import schema_of
from tests.support.scripted_registry import PathRegistry
from tests.support.snapshots import merged

WIRE = Wire(Settings())
PARTITIONS = {0: 0, 1: 0, 2: 0}


@pytest.fixture
def snapshot(tmp_path):
    """Give the function that makes a snapshot's files from records, perhaps on those before."""
    numbers = count(1)

    def make(facts, contacts, before=None, *, personal=False, forget_before_ms=0):
        work = tmp_path / f"work {next(numbers)}'"
        made = work / "1"
        made.mkdir(parents=True)
        given = {"personal": personal, "forget_before_ms": forget_before_ms}
        merge, rows = merged(work, made, facts, contacts, before, **given)
        assert rows == {table: len(found) for table, found in tables(made).items()}
        made.with_suffix(".whole" if merge.one_place_an_order else ".scattered").touch()
        return made

    return make


@pytest.mark.parametrize("personal", [False, True])
def test_columns_are_those_of_the_schemas(snapshot, personal):
    """By the Avro names, in their order; exact decimals, instants, JSON; personal ones only if they are asked for."""
    made = snapshot([], [], personal=personal)
    with duckdb.connect() as connection:
        found = {
            table: {
                name: kind
                for name, kind, *_ in connection.execute(f"DESCRIBE FROM '{_sql(made)}/{table}.parquet'").fetchall()
            }
            for table in TABLES
        }
    fact = [field["name"] for field in schema_of("order-fact")["fields"]]
    hidden = {"email", "phone", "firstName", "lastName", "deliveryAddress", "additionalInfo", "restoreUrl"}
    assert list(found["orders"]) == [name for name in fact if name != "items" and (personal or name not in hidden)]
    item = next(field for field in schema_of("order-fact")["fields"] if field["name"] == "items")["type"]["items"]
    assert list(found["items"]) == ["externalOrderId", *(field["name"] for field in item["fields"])]
    contact = [field["name"] for field in schema_of("contact")["fields"]]
    assert list(found["contacts"]) == (contact if personal else ["contactId", "externalCustomerId"])
    kind = "TIMESTAMP WITH TIME ZONE"
    kinds = {
        **dict.fromkeys(("totalCost", "shipping", "discount", "taxes"), "DECIMAL(18,4)"),
        **dict.fromkeys(("date", "createdAt", "updatedAt", "statusChangedAt", "occurredAt"), kind),
        "custom": "JSON",
        "revision": "INTEGER",
        "sourceOffset": "BIGINT",
        "status": "VARCHAR",
    }
    assert {name: found["orders"][name] for name in kinds} == kinds
    assert (found["items"]["cost"], found["items"]["quantity"]) == ("DECIMAL(18,4)", "DOUBLE")
    assert found["items"]["custom"] == "JSON"


@pytest.mark.parametrize("seed", range(4))
def test_step_by_step_equals_whole_equals_the_records(snapshot, monkeypatch, seed):
    """Whatever comes in which step: facts, contacts, deletions, values of all types, in many small files."""
    monkeypatch.setattr(staging_module, "_CHUNK_BYTES", 2_000)
    source, personal = random.Random(seed), seed % 2 == 0
    facts, contacts, before = [], [], None
    fact_ends, contact_ends = dict(PARTITIONS), dict(PARTITIONS)
    for step in range(3):
        new_facts = list(fact_records((seed, step).__hash__(), source.randrange(30), fact_ends))
        new_contacts = list(contact_records((seed, step).__hash__(), source.randrange(15), contact_ends))
        for ends, records in ((fact_ends, new_facts), (contact_ends, new_contacts)):
            ends.update({record.partition: record.offset + 1 for record in records})
        facts += new_facts
        contacts += new_contacts
        source.shuffle(new_facts)
        before = snapshot(new_facts, new_contacts, before, personal=personal)
        assert tables(before) == expected(facts, contacts, personal=personal)
    shuffled = source.sample(facts, len(facts))
    assert tables(snapshot(shuffled, contacts, personal=personal)) == tables(before)


@pytest.mark.parametrize("seed", range(3))
def test_orders_in_several_partitions(snapshot, seed):
    """The latest of the last ones counts; a deletion ends its own partition's; nothing is built on such a snapshot."""
    facts = list(fact_records(seed, 60, PARTITIONS, scattered=True))
    made = snapshot(facts, [])
    assert tables(made) == expected(facts, [], personal=False)
    assert made.with_suffix(".scattered").exists()


def test_an_order_that_comes_to_another_partition_is_not_built_on(snapshot):
    """What the snapshot before holds of it is of another partition: only all facts show which is the latest."""
    (fact,) = fact_records(1, 1, {0: 0}, keys=1)
    made = snapshot([fact], [])
    moved = _fact("order 0'", 1, 7)
    for records in ([moved], [Record(1, 7, 0, b"order 0'", None)], [moved, _fact("order 0'", 0, 9)]):
        with pytest.raises(ScatteredError):
            snapshot(records, [], made)


def test_a_fact_that_names_another_partition_is_not_built_on(snapshot):
    """Its partition could not be told from the snapshot."""
    made = snapshot([_fact("a", 0, 0, source_partition=1)], [])
    assert made.with_suffix(".scattered").exists()


def test_a_deletion_is_remembered_for_its_time(snapshot):
    """A contact deleted in one partition stays so when an older record comes in another; but not for ever."""
    deleted, older = Record(0, 0, 9, b"c", None), Record(1, 0, 5, b"c", _contact("c"))
    before = snapshot([], [deleted])
    assert tables(snapshot([], [older], before))["contacts"] == []
    before = snapshot([], [deleted], forget_before_ms=10)
    assert len(tables(snapshot([], [older], before))["contacts"]) == 1
    both = snapshot([], [deleted, older], forget_before_ms=10)
    assert tables(snapshot([], [], both))["contacts"] == []


def test_large_facts(snapshot):
    """20,000 custom fields, and a line longer than DuckDB's usual buffer."""
    many = {f"field {number} \"'": number for number in range(20_000)}
    wide = _fact("wide", 0, 0, custom=many, additional_info="x" * (17 << 20))
    facts = [wide, _fact("small", 0, 1)]
    made = snapshot(facts, [], personal=True)
    assert tables(made) == expected(facts, [], personal=True)


def test_a_damaged_snapshot_before_is_named(snapshot):
    """The line says how to do without it."""
    before = snapshot([_fact("a", 0, 0)], [])
    (before / "orders.parquet").write_bytes(b"damaged")
    with pytest.raises(StopError, match=r"work 1'/1 \(if that is damaged: --full\): Invalid Input Error: "):
        snapshot([_fact("a", 0, 1)], [], before)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (b"a", b"no fact", "is not a valid fact"),
        (b"another", codec().encode_fact(order(random.Random(1), "a", 0, 0)), "its key is not its externalOrderId"),
        (b"a", codec().encode_fact(order(random.Random(1), "a", 0, 0, total_cost=10**18)), "more than 18 digits"),
    ],
)
def test_what_is_no_fact_is_named_by_its_place(snapshot, key, value, problem):
    """One line says where it is."""
    with pytest.raises(StopError, match=f"^facts: partition 2, offset 7 .*{problem}"):
        snapshot([Record(2, 7, 0, key, value)], [])


@pytest.mark.parametrize("in_header", [False, True])
def test_a_contact_of_an_unknown_schema_is_not_left_out(in_header):
    """The registry may have lost it, or one of its nodes may lag: the line names the id and the place, as of facts."""
    body = codec().encode_contact({"contactId": "c1"})[10:]
    headers = ((HEADER, prefix_of(7)),) if in_header else ()
    record = Record(2, 5, 0, b"c1", body if in_header else prefix_of(7) + body, headers)
    told = r"schema id 7: .* does not know it, and the contacts topic holds contacts of it \(partition 2, offset 5\)"
    with closing(PathRegistry()) as registry:
        settings = Settings(schema_registry_url=registry.url)
        with closing(Wire(settings, patience_s=20.0)) as wire:
            rows = ContactRows(wire, personal=False)
            with pytest.raises(RegistryError, match=told):
                rows.row(record)
            assert rows.skipped == 0
        registry.add(7, schema_of("contact"))
        with closing(Wire(settings, patience_s=20.0)) as wire:
            row = ContactRows(wire, personal=False).row(record)
            assert row is not None
            assert row["contactId"] == "c1"
            assert ContactRows(wire, personal=False).row(Record(2, 6, 0, b"c2", b"none")) is None


def test_instants_out_of_range_are_the_farthest(snapshot):
    """A timestamp that DuckDB cannot hold stops nothing."""
    made = snapshot([_fact("a", 0, 0, date_ms=2**62, updated_at_ms=-(2**62))], [])
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT epoch_ms(date), epoch_ms(\"updatedAt\") FROM '{_sql(made)}/orders.parquet'"
        ).fetchone()
    assert found == (9_223_372_022_399_999, -9_223_372_022_399_999)


def test_personal_fields_reach_no_file(tmp_path):
    """Without --personal they are left out before anything is written."""
    fact = _fact("a", 0, 0, email="secret", phone="secret", restore_url="secret", delivery_address="secret")
    row = FactRows(WIRE, "facts", personal=False).row(fact)
    assert "secret" not in str(row)
    assert "secret" in str(FactRows(WIRE, "facts", personal=True).row(fact))
    assert {column.name for column in columns_of(ITEMS, personal=False)} == {
        column.name for column in columns_of(ITEMS, personal=True)
    }


def _fact(order_id, partition, offset, **changes):
    value = codec().encode_fact(order(random.Random(1), order_id, partition, offset, **changes))
    return Record(partition, offset, 0, order_id.encode(), value)


def _contact(contact_id):
    return codec().encode_contact({"contactId": contact_id})


def _sql(path):
    return str(path).replace("'", "''")
