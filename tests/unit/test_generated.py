"""The generated codec: the values and refusals of the strict reference, and fastavro's bytes, whatever comes."""

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.build import codegen
from processor.codec import generated
from processor.codec.avro import codec
from processor.codec.fields import fields_of
from processor.codec.packed_items import pack
from processor.codec.varints import long_at, long_bytes
from processor.domain.records import Item, Order, PlainItems, UndecodableError
from tests.support.avro_writer import cuts, varint, write
from tests.support.events import exact
from tests.support.hostile import examples
from tests.unit.test_avro import EVENTS, EXAMPLES, FACTS, HEADER, RAW, SCHEMA, judged, mutations, with_numbers, written

REFUSED = "refused"
AMOUNTS = ("totalCost", "shipping", "discount", "taxes")
LONG_TEXT = "ї" * 5000  # more bytes than the tables of lengths hold


RAW_ITEMS = next(field["type"] for field in RAW["order-fact.2"]["fields"] if field["name"] == "items")


def test_the_generated_codec_is_that_of_the_schemas():
    """Whoever changes a schema runs `make codec`; the codec is in use."""
    assert codegen.TARGET.read_text(encoding="utf-8") == codegen.source()
    assert {version: HEADER[f"order-event.{version}"] for version in (1, 2)} == generated.EVENT_HEADERS
    assert {version: HEADER[f"order-fact.{version}"] for version in (1, 2)} == generated.FACT_HEADERS
    assert generated.EVENT_DECODERS.items() <= codec().events.items()
    assert generated.FACT_DECODERS.items() <= codec().facts.items()


def plainly(event):
    """Give an event as the plain way has it; what comes after a name that stands twice does not matter (D1)."""
    params, repeated = {}, None
    for position, param in enumerate(event["params"]):
        if param["name"] in params:
            repeated = (position, param["name"])
            break
        params[param["name"]] = param["value"]
    return event["eventTypeKey"], event["keyValue"], list(params.items()), repeated


def quickly(event):
    """Give an event that the domain takes as the plain way has it."""
    return event.event_type, event.key_value, list(event.params.items()), event.repeated


def outcome(read, value):
    """Give what reading a value leads to: the value, told apart by types and bits, or the refusal's text."""
    try:
        return exact(read(value))
    except UndecodableError as error:
        return str(error)


def event_outcomes(value, subject="order-event.2"):
    """Give what the strict reference makes of an event, and the program; both of its forms are refused alike."""
    found = outcome(lambda raw: quickly(codec().read_event(raw)), value)
    assert outcome(lambda raw: plainly(codec().decode_event(raw)), value) == found
    expected = judged(subject, value)
    return REFUSED if expected is None else exact(plainly(expected)), REFUSED if isinstance(found, str) else found


def fact_outcomes(value, subject="order-fact.2"):
    """Give what the strict reference makes of a fact, and the program."""
    found = outcome(lambda raw: raw_of(codec().decode_fact(raw)), value)
    expected = judged(subject, value)
    return REFUSED if expected is None else exact(with_units(expected)), REFUSED if isinstance(found, str) else found


def raw_of(order):
    """Give an order by the names of its fact, amounts in units."""
    raw = {avro: getattr(order, field) for avro, field in fields_of(Order).items()}
    lines = [{avro: getattr(item, field) for avro, field in fields_of(Item).items()} for item in order.items.lines]
    return raw | {"items": lines}


def with_units(fact):
    """Give a raw fact with its amounts in units instead of bytes."""
    items = [item | {"cost": units(item["cost"])} for item in fact["items"]]
    return {"occurredAt": None} | fact | {"items": items} | {name: units(fact[name]) for name in AMOUNTS}


def units(unscaled):
    """Give the integer that a decimal's bytes are."""
    return None if unscaled is None else int.from_bytes(unscaled, "big", signed=True)


def by_fastavro(schema, raw):
    """Write a value in units as fastavro has it."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, raw, strict_allow_default=True)
    return buffer.getvalue()


def unscaled(amount):
    """Give the bytes of a decimal, as short as they can be."""
    return None if amount is None else amount.to_bytes(amount.bit_length() // 8 + 1, "big", signed=True)


def fact_by_fastavro(order, subject="order-fact.2"):
    """Write an order's fact with fastavro."""
    raw = raw_of(order)
    raw["items"] = [item | {"cost": unscaled(item["cost"])} for item in raw["items"]]
    raw |= {name: unscaled(raw[name]) for name in AMOUNTS}
    if subject == "order-fact.1":
        del raw["occurredAt"]  # it has no such field
    return HEADER[subject] + by_fastavro(RAW[subject], raw)


@examples(300)
@given(record=written(subjects=EVENTS), data=st.data())
def test_events_are_read_alike(record, data):
    """Written in blocks of any cut, and then changed at random: the reference's value, or refused as it refuses it."""
    subject, value, encoded = record
    expected, found = event_outcomes(encoded, subject)
    assert expected == found == exact(plainly(with_numbers(subject, value)))
    expected, found = event_outcomes(data.draw(mutations(encoded)), subject)
    assert expected == found


@examples(300)
@given(record=written(subjects=FACTS), data=st.data())
def test_facts_are_read_alike(record, data):
    """As for events; and what was read is written as fastavro writes it."""
    subject, _, encoded = record
    expected, found = fact_outcomes(encoded, subject)
    assert expected == found != REFUSED
    order = codec().decode_fact(encoded)
    assert codec().fact_encoders[1](order) == fact_by_fastavro(order, "order-fact.1")
    assert codec().encode_fact(order) == codec().fact_encoders[2](order) == fact_by_fastavro(order)
    expected, found = fact_outcomes(data.draw(mutations(encoded)), subject)
    assert expected == found


OUTCOMES = dict.fromkeys(EVENTS, event_outcomes) | dict.fromkeys(FACTS, fact_outcomes)


@pytest.mark.parametrize("subject", OUTCOMES)
def test_a_record_cut_anywhere_is_refused_alike(subject):
    """At every byte: a length beyond the end is not read as a short text."""
    outcomes, whole = OUTCOMES[subject], HEADER[subject] + write(SCHEMA[subject], EXAMPLES[subject])
    for end in range(10, len(whole)):
        assert outcomes(whole[:end], subject) == (REFUSED, REFUSED)
    for more in (b"\0", whole):
        assert outcomes(whole + more, subject) == (REFUSED, REFUSED)


@pytest.mark.parametrize("subject", [*EVENTS, "order-fact.2"])
def test_a_record_with_any_byte_changed_is_read_alike(subject):
    """Each byte in turn, to each value: nothing that is short by one or odd by one is missed."""
    outcomes = OUTCOMES[subject]
    whole = HEADER[subject] + write(SCHEMA[subject], EXAMPLES[subject])
    for place in range(10, len(whole)):
        for byte in range(256):
            expected, found = outcomes(whole[:place] + bytes([byte]) + whole[place + 1 :], subject)
            assert expected == found


ORDERS = st.builds(
    Order,
    total_cost=st.integers(0, 10**18),
    date_ms=st.integers(-(10**14), 10**15),
    status=st.sampled_from(["INITIALIZED", "IN_PROGRESS", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART"]),
    created_at_ms=st.integers(0, 1 << 62),
    updated_at_ms=st.integers(0, 1 << 45),
    status_changed_at_ms=st.integers(-(1 << 63), (1 << 63) - 1),
    revision=st.integers(1, (1 << 31) - 1),
    source_partition=st.integers(0, 5000),
    source_offset=st.integers(0, 1 << 50),
    custom=st.dictionaries(
        st.text(max_size=5),
        st.one_of(st.text(), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False)),
        max_size=5,
    ),
    items=st.lists(
        st.builds(
            Item,
            quantity=st.floats(min_value=0.001, max_value=1e300),
            cost=st.none() | st.integers(0, 10**18),
            name=st.none() | st.text() | st.just(LONG_TEXT),
            custom=st.dictionaries(st.text(max_size=3), st.text() | st.just(LONG_TEXT), max_size=2),
        ),
        max_size=3,
    )
    .map(tuple)
    .map(PlainItems),
    email=st.none() | st.text() | st.just(LONG_TEXT),
    shipping=st.none() | st.integers(0, 10**18),
    occurred_at_ms=st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
)


@examples(300)
@given(order=ORDERS)
def test_orders_are_written_alike_and_read_back(order):
    """Fastavro's bytes, long texts and all, and the same order from them; so with its items packed."""
    value = codec().encode_fact(order)
    assert value == fact_by_fastavro(order)
    former = codec().fact_encoders[1](order)
    assert former == fact_by_fastavro(order, "order-fact.1")
    assert codec().decode_fact(former) == replace(order, occurred_at_ms=None)
    lines = order.items.lines
    packed = replace(order, items=pack(lines))
    raw_lines = [line | {"cost": unscaled(line["cost"])} for line in raw_of(order)["items"]]
    assert bytes(packed.items) == by_fastavro(RAW_ITEMS, raw_lines)
    assert packed == order
    assert packed.items.lines == lines
    assert codec().encode_fact(packed) == value
    assert codec().decode_fact(value) == order


@examples(300)
@given(number=st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 70).map(lambda bits: (1 << bits % 63) - 1))
def test_longs_are_written_as_avro_has_them(number):
    """Of any size: the bytes that the plain writer of the tests makes, and read back."""
    written_number = long_bytes(number)
    assert written_number == varint(number)
    assert long_at(b"x" + written_number, 1) == (number, 1 + len(written_number))


@examples(12)
@given(count=st.integers(8_000, 20_000), cut=cuts())
def test_more_elements_than_the_tables_hold(count, cut):
    """Many parameters and many custom fields, as the references have them."""
    event = {
        "eventTypeKey": "orderCreated",
        "keyValue": "",
        "params": [{"name": "a", "value": None}] * count,
    }
    value = HEADER["order-event.2"] + write(SCHEMA["order-event.2"], event, cut)
    assert quickly(codec().read_event(value)) == plainly(event)
    expected, found = event_outcomes(value)
    assert expected == found
    order = codec().decode_fact(HEADER["order-fact.2"] + write(SCHEMA["order-fact.2"], EXAMPLES["order-fact.2"]))
    order.custom.update({str(number): number for number in range(count)})
    assert codec().encode_fact(order) == fact_by_fastavro(order)
