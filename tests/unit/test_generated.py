"""The generated codec: the same bytes, values and refusals as the plain way, whatever comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from deploy.build import codegen
from processor.codec import generated
from processor.codec.avro import codec
from processor.codec.packed_items import pack
from processor.codec.varints import long_at, long_bytes
from processor.domain.records import Item, Order, PlainItems, UndecodableError
from tests.support.avro_writer import cuts, varint, write
from tests.support.events import exact
from tests.support.hostile import examples
from tests.unit.test_avro import EXAMPLES, HEADER, SCHEMA, mutations, written

LONG_TEXT = "ї" * 5000  # more bytes than the tables of lengths hold


def test_the_generated_codec_is_that_of_the_schemas():
    """Whoever changes a schema runs `make codec`; the codec is in use."""
    assert codegen.TARGET.read_text(encoding="utf-8") == codegen.source()
    assert HEADER["order-event"] == generated.EVENT_HEADER
    assert HEADER["order-fact"] == generated.FACT_HEADER


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


def event_outcomes(value):
    """Give what both ways make of an event."""
    return (
        outcome(lambda raw: plainly(codec().decode_event(raw)), value),
        outcome(lambda raw: quickly(codec().read_event(raw)), value),
    )


def fact_outcomes(value):
    """Give what both ways make of a fact."""
    return (
        outcome(lambda raw: asdict_deep(codec().decode_fact_plainly(raw)), value),
        outcome(lambda raw: asdict_deep(codec().decode_fact(raw)), value),
    )


def asdict_deep(order):
    """Give an order and its items as dictionaries."""
    return {**asdict(order), "items": [asdict(item) for item in order.items.lines]}


@examples(300)
@given(record=written(subjects=("order-event",)), data=st.data())
def test_events_are_read_alike(record, data):
    """Written in blocks of any cut, and then changed at random: both ways give the same value or refusal."""
    _, value, encoded = record
    plain, quick = event_outcomes(encoded)
    assert plain == quick == exact(plainly(value))
    plain, quick = event_outcomes(data.draw(mutations(encoded)))
    assert plain == quick


@examples(300)
@given(record=written(subjects=("order-fact",)), data=st.data())
def test_facts_are_read_alike(record, data):
    """As for events; and what was read is written alike."""
    _, _, encoded = record
    plain, quick = fact_outcomes(encoded)
    assert plain == quick
    order = codec().decode_fact(encoded)
    assert codec().encode_fact(order) == codec().encode_fact_plainly(order)
    plain, quick = fact_outcomes(data.draw(mutations(encoded)))
    assert plain == quick


@pytest.mark.parametrize(("subject", "outcomes"), [("order-event", event_outcomes), ("order-fact", fact_outcomes)])
def test_a_record_cut_anywhere_is_refused_alike(subject, outcomes):
    """At every byte: a length beyond the end is not read as a short text."""
    whole = HEADER[subject] + write(SCHEMA[subject], EXAMPLES[subject])
    for end in range(len(whole)):
        plain, quick = outcomes(whole[:end])
        assert isinstance(plain, str)
        assert plain == quick
    for more in (b"\0", whole):
        plain, quick = outcomes(whole + more)
        assert plain == quick


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
        st.builds(Item, quantity=st.floats(min_value=0.001, max_value=1e300), cost=st.none() | st.integers(0, 10**18)),
        max_size=3,
    )
    .map(tuple)
    .map(PlainItems),
    email=st.none() | st.text() | st.just(LONG_TEXT),
    shipping=st.none() | st.integers(0, 10**18),
)


@examples(300)
@given(order=ORDERS)
def test_orders_are_written_alike_and_read_back(order):
    """The same bytes from both ways, long texts and all, and the same order from them; so with its items packed."""
    value = codec().encode_fact(order)
    assert value == codec().encode_fact_plainly(order)
    lines = order.items.lines
    packed = replace(order, items=pack(lines))
    assert bytes(packed.items) == codec().pack_items_plainly(lines)
    assert packed == order
    assert packed.items.lines == codec().unpack_items_plainly(packed.items) == lines
    assert codec().encode_fact(packed) == codec().encode_fact_plainly(packed) == value
    assert codec().decode_fact(value) == codec().decode_fact_plainly(value) == order


@examples(300)
@given(number=st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 70).map(lambda bits: (1 << bits % 63) - 1))
def test_longs_are_written_as_avro_has_them(number):
    """Of any size: the bytes that the plain writer of the tests makes, and read back."""
    written_number = long_bytes(number)
    assert written_number == varint(number)
    assert long_at(b"x" + written_number, 1) == (number, 1 + len(written_number))


@examples(50)
@given(count=st.integers(8_000, 20_000), cut=cuts())
def test_more_elements_than_the_tables_hold(count, cut):
    """Many parameters and many custom fields go the plain way or the quick one, alike."""
    event = {
        "eventTypeKey": "orderCreated",
        "keyValue": "",
        "params": [{"name": "a", "value": None}] * count,
    }
    value = HEADER["order-event"] + write(SCHEMA["order-event"], event, cut)
    assert quickly(codec().read_event(value)) == plainly(event)
    order = codec().decode_fact(HEADER["order-fact"] + write(SCHEMA["order-fact"], EXAMPLES["order-fact"]))
    order.custom.update({str(number): number for number in range(count)})
    assert codec().encode_fact(order) == codec().encode_fact_plainly(order)
