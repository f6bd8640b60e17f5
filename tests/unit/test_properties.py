"""Properties of steps 2 to 4 that hold for every event that Avro can hold, in any sequence and any batches."""

import io
import itertools
import json
from collections import defaultdict
from decimal import Decimal

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.avro import codec
from processor.codec.order_state import order_of, state_of
from processor.codec.packed_items import pack, unpacked, with_packed_items
from processor.domain.batch import OrderKey, Rules
from processor.domain.events import parse
from processor.domain.identifiers import comparable
from processor.domain.orders import STATUSES
from processor.domain.pipeline import needs, read
from processor.domain.records import Create, Item, Order, PlainItems, SetStatus, Update
from processor.domain.rejections import Outcome, Reason, Rejection, shown
from processor.settings.rules import rules_of
from tests.reference import ContactRecord, Contacts, Rejected
from tests.reference import Rules as ReferenceRules
from tests.reference import fold as reference_fold
from tests.reference.contacts import identifiers_of
from tests.support.cases import EMPTY_CONTACT
from tests.support.events import (
    CONTACT_IDS,
    OWN_WORDS,
    RIGHT,
    RIGHT_ITEM,
    RULES,
    SAME_IN_PYTHON,
    contact_records,
    events,
    exact,
    key_of,
    sent_with,
    topics,
    updates_of_one_value,
)
from tests.support.facts import AMOUNTS, fact_of, raw_schema
from tests.support.hostile import (
    ANY_VALUE,
    BAD_ITEMS,
    HOSTILE_TEXTS,
    HOSTILE_VALUES,
    ITEMS,
    LONGS,
    MARK,
    array_text,
    examples,
    object_text,
)
from tests.support.owners import claims_of, fold_all, owners_of
from tests.unit.test_rules import settings_of

DETAIL_CHARACTERS = 400
NEWEST_FACT = raw_schema("order-fact")
IDENTITY = ("externalOrderId", "createdAt", "updatedAt", "statusChangedAt", "revision", "sourcePartition")
NOT_COMPARED = {*IDENTITY, "sourceOffset", "eventTypeKey", "identifiedBy"}  # D22 compares the rest


def run(sent, contacts, reference_rules, batch=10**9, budget_bytes=1 << 62, *, before=None):
    """Send records through steps 2 to 4 in batches; give the outputs and the orders as they then are.

    `before` are the orders at the beginning.
    """
    rules = with_packed_items(rules_of(settings_of(reference_rules)))
    index = owners_of(contacts, rules.parsing.identification)
    waiting, outputs = [s.record for s in sent], []
    orders: dict[OrderKey, Order] = dict(before or {})
    while waiting:
        parsed = read(waiting[:batch], codec().read_event, rules)
        needed = needs(parsed)
        found = {identifier: index[identifier] for identifier in needed.identifiers & index.keys()}
        known = {(p, n): orders[p, n] for p, ids in needed.order_ids.items() for n in ids if (p, n) in orders}
        folded = fold_all(parsed, known, found, codec().encode_fact, rules, contacts, budget_bytes=budget_bytes)
        assert_counts_add_up(waiting, folded)
        for partition, changed in folded.changed.items():
            orders |= {(partition, order_id): kept(order) for order_id, order in changed.items()}
        outputs += folded.outputs
        waiting = waiting[len(folded.outputs) :]
    return outputs, orders


def kept(order):
    """Give an order as the mirror may have it: packed, or as it is read from its fact, after the mirror was lost."""
    return order if order.revision % 2 else unpacked(order)


def assert_counts_add_up(waiting, folded):
    """Check what a fold says about itself against its own outputs."""
    consumed = waiting[: len(folded.outputs)]
    assert [output.record for output in folded.outputs] == consumed
    assert consumed, "a fold that consumes nothing would be repeated for ever"
    rejections = [output.result for output in folded.outputs if isinstance(output.result, Rejection)]
    facts = [output.result for output in folded.outputs if not isinstance(output.result, Rejection)]
    assert folded.facts == len(facts)
    assert folded.reasons.total() == folded.outcomes.total() == len(rejections)
    assert folded.outcomes[Outcome.IGNORED] == sum(r.reason.outcome == Outcome.IGNORED for r in rejections)
    assert folded.next_offsets == {record.partition: record.offset + 1 for record in consumed}
    assert folded.input_bytes == sum(record.size_bytes for record in consumed)
    changed = {(partition, name) for partition, orders in folded.changed.items() for name in orders}
    assert changed == {
        (output.record.partition, output.result.key.decode())
        for output in folded.outputs
        if not isinstance(output.result, Rejection)
    }


def results(outputs):
    """Give what became of each record, without the records."""
    return [output.result for output in outputs]


def assert_one_clean_line(detail):
    """Check that a detail fits a header and a log: printable, one line, short, and nobody's data."""
    assert detail
    assert detail.isprintable()
    assert len(detail) <= DETAIL_CHARACTERS
    assert MARK not in detail.lower()


@examples(200)
@given(event=events(), reference_rules=RULES, key=st.none() | st.binary(max_size=3))
def test_any_event_is_a_command_or_a_rejection_with_a_clean_line(event, reference_rules, key):
    """Parsing never raises, with the right key or a wrong one, and its details hold one line and no value (D24)."""
    parsing = rules_of(settings_of(reference_rules)).parsing
    decoded = codec().read_event(codec().encode_event(event))
    for any_key in (key_of(event), key):
        result = parse(decoded, any_key, parsing)
        if isinstance(result, Rejection):
            assert_one_clean_line(result.detail)
        else:
            assert isinstance(result, Create | Update | SetStatus)
            assert result.order_id.encode() == any_key
        assert parse(decoded, any_key, parsing) == result


NAMES = st.sampled_from(["externalOrderId", "totalCost", "status", "date", "items", "email", "custom"])


@examples(150)
@given(
    event_type=st.sampled_from(["orderCreated", "orderUpdated", "orderDelivered"]) | st.text(max_size=3),
    key_value=st.text(max_size=5),
    params=st.lists(st.tuples(NAMES | st.text(max_size=4), ANY_VALUE), max_size=6),
)
def test_an_event_without_any_sense_is_a_command_or_a_rejection(event_type, key_value, params):
    """Parsing is total even where nothing was drawn with the rules in mind."""
    event = {
        "eventTypeKey": event_type,
        "keyValue": key_value,
        "params": [{"name": name, "value": value} for name, value in params],
    }
    result = parse(codec().read_event(codec().encode_event(event)), key_of(event), Rules().parsing)
    assert isinstance(result, Rejection | Create | Update | SetStatus)
    if isinstance(result, Rejection):
        assert result.detail.isprintable()
        assert len(result.detail) <= DETAIL_CHARACTERS


@examples(120)
@given(sent=topics(), contacts=contact_records(), reference_rules=RULES, budget_bytes=st.integers(1, 5000))
def test_outputs_do_not_depend_on_how_the_records_are_cut(sent, contacts, reference_rules, budget_bytes):
    """One record at a time, seven, all, or what a byte budget lets through: the same facts and rejections (D24)."""
    whole, orders = run(sent, contacts, reference_rules)
    assert [output.record for output in whole] == [s.record for s in sent]
    assert run(sent, contacts, reference_rules) == (whole, orders)
    for batch, budget in ((1, 1 << 62), (7, 1 << 62), (10**9, budget_bytes), (3, 1)):
        assert run(sent, contacts, reference_rules, batch, budget) == (whole, orders)
    for output in whole:
        if isinstance(output.result, Rejection):
            assert_one_clean_line(output.result.detail)


@examples(100)
@given(sent=topics(), contacts=contact_records(), reference_rules=RULES)
def test_facts_of_an_order_are_its_revisions_in_turn(sent, contacts, reference_rules):
    """Revisions count from 1 without a gap, times follow D23, and no fact stands without a change (D22)."""
    outputs, _ = run(sent, contacts, reference_rules)
    lives = defaultdict(list)
    for s, output in zip(sent, outputs, strict=True):
        if not isinstance(output.result, Rejection):
            fact = fact_of(output.result.value)
            assert output.result.key == fact["externalOrderId"].encode() == s.record.key
            assert (fact["sourcePartition"], fact["sourceOffset"]) == (s.record.partition, s.record.offset)
            assert fact["updatedAt"] == s.read.timestamp_ms
            assert fact["eventTypeKey"] == s.read.event["eventTypeKey"]
            lives[fact["sourcePartition"], fact["externalOrderId"]].append(fact)
    for facts in lives.values():
        assert [fact["revision"] for fact in facts] == list(range(1, len(facts) + 1))
        assert {fact["createdAt"] for fact in facts} == {facts[0]["updatedAt"]}
        assert facts[0]["statusChangedAt"] == facts[0]["updatedAt"]
        assert facts[0]["eventTypeKey"] in {"orderCreated", "orderUpdated"}
        for before, after in itertools.pairwise(facts):
            same_status = before["status"] == after["status"]
            assert after["statusChangedAt"] == (before if same_status else after)["statusChangedAt"]
            assert same_status or after["statusChangedAt"] == after["updatedAt"]
            assert exact(compared(before)) != exact(compared(after))
            if after["contactId"] == before["contactId"]:
                assert after["identifiedBy"] == before["identifiedBy"]


def compared(fact):
    """Give the fields of a fact that make a change (D22)."""
    return {name: value for name, value in fact.items() if name not in NOT_COMPARED}


@examples(100)
@given(sent=topics(), contacts=contact_records(), reference_rules=RULES)
def test_an_orders_state_is_the_fact_of_its_latest_change(sent, contacts, reference_rules):
    """What the next batch continues from is exactly what the facts topic holds: the mirror can be rebuilt from it."""
    outputs, orders = run(sent, contacts, reference_rules)
    latest = {}
    for output in outputs:
        if not isinstance(output.result, Rejection):
            latest[output.record.partition, output.result.key.decode()] = output.result.value
    assert {place: codec().decode_fact(value) for place, value in latest.items()} == orders
    for order in orders.values():
        assert_survives_both_forms(order)


@examples(100)
@given(records=contact_records(), reference_rules=RULES, shuffled=st.permutations(range(3)))
def test_the_claims_of_contacts_decide_as_the_reference_does(records, reference_rules, shuffled):
    """Each identifier of any contact finds the reference's winner, in whatever order claims were made (C1 to C3)."""
    rules = rules_of(settings_of(reference_rules)).parsing.identification
    contacts, index = Contacts(records, reference_rules), claims_of(records, rules)
    for record in records:
        for field, value in identifiers_of(record, reference_rules.identification):
            identifier = comparable(field, value, rules.phones)
            claims = index.get(identifier, []) if identifier is not None else []
            expected = contacts.find(field, value)
            assert (max(claims).contact_id if claims else None) == expected
            if claims:
                assert max(claims[place] for place in shuffled if place < len(claims)).contact_id == expected


SCALARS = st.text() | st.booleans() | LONGS | st.floats(allow_nan=False, allow_infinity=False)
CUSTOM = st.dictionaries(st.text(), SAME_IN_PYTHON | SCALARS, max_size=4)
UNITS = st.integers(0, 10**18 - 1)
SIGNED_UNITS = UNITS | st.integers(1 - 10**18, -1)
MAYBE_TEXT = st.none() | st.text()
ITEM_VALUES = st.builds(
    Item,
    external_item_id=st.text(),
    quantity=st.floats(allow_nan=False, allow_infinity=False),
    **dict.fromkeys(("name", "category", "url", "image_url", "description"), MAYBE_TEXT),
    cost=st.none() | SIGNED_UNITS,
    custom=CUSTOM,
)
ORDERS = st.builds(
    Order,
    **dict.fromkeys(("external_order_id", "contact_id", "identified_by", "event_type"), st.text()),
    **dict.fromkeys(("date_ms", "created_at_ms", "updated_at_ms", "status_changed_at_ms", "source_offset"), LONGS),
    status=st.sampled_from(STATUSES),
    total_cost=UNITS,
    **dict.fromkeys(("shipping", "taxes"), st.none() | UNITS),
    discount=st.none() | SIGNED_UNITS,
    revision=st.integers(1, (1 << 31) - 1),
    source_partition=st.integers(0, (1 << 31) - 1),
    items=st.lists(ITEM_VALUES, max_size=3).map(tuple).map(PlainItems),
    custom=CUSTOM,
    currency=st.none() | st.sampled_from(["UAH", "EUR"]),
    external_customer_id=MAYBE_TEXT,
    additional_info=MAYBE_TEXT,
)


@examples(150)
@given(order=ORDERS)
def test_an_order_survives_its_fact_and_its_state(order):
    """An order read again from either is the same to the bit: 1, 1.0 and true stay apart (D22). So packed."""
    assert_survives_both_forms(order)


def assert_survives_both_forms(order):
    """Check the forms in which an order is kept."""
    packed = msgspec.structs.replace(order, items=pack(order.items.lines))
    assert packed == order
    fact, state = codec().encode_fact(order), state_of(order)
    assert (codec().encode_fact(packed), state_of(packed)) == (fact, state)
    for kept in (codec().decode_fact(fact), order_of(state), order_of(fact), packed):
        assert type(kept) is Order
        assert exact(plain(kept)) == exact(plain(order))


@examples(150)
@given(order=ORDERS)
def test_items_that_are_the_same_are_as_long_when_packed(order):
    """Names in another order and a zero's sign make other bytes, not more: what the fold takes for a change (D22)."""
    lines = order.items.lines
    turned = tuple(msgspec.structs.replace(item, custom=turned_around(item.custom)) for item in lines)
    assert len(pack(turned)) == len(pack(lines))
    assert_told_apart(lines, turned, are_same=True)


SIMILAR_ITEMS = st.lists(
    st.builds(
        Item,
        external_item_id=st.sampled_from("ij"),
        quantity=st.sampled_from([1.0, 2.0]),
        custom=st.dictionaries(st.sampled_from("ab"), SAME_IN_PYTHON, max_size=2),
    ),
    max_size=2,
).map(tuple)


@examples(500)
@given(one=SIMILAR_ITEMS, other=SIMILAR_ITEMS)
def test_items_are_the_same_or_not_in_whatever_form_they_are_kept(one, other):
    """By value: 1, 1.0 and true differ, 0.0 and -0.0 do not, nor does the order of names matter (D22)."""
    assert_told_apart(one, other, are_same=typed(one) == typed(other))
    assert PlainItems(one) != one


def typed(lines):
    """Give lines in a form whose equality is that of D22."""
    return [
        (msgspec.structs.astuple(item)[:-1], {name: (type(value), value) for name, value in item.custom.items()})
        for item in lines
    ]


def assert_told_apart(one, other, *, are_same):
    """Compare lines in both of the forms that they are kept in."""
    for first, second in itertools.product((PlainItems(one), pack(one)), (PlainItems(other), pack(other))):
        assert (first == second) is (second == first) is are_same
        assert (first != second) is (second != first) is not are_same


def turned_around(custom):
    """Give the same fields from the last to the first, each zero with the other sign."""
    is_zero = {name: type(value) is float and value == 0 for name, value in custom.items()}
    return {name: -value if is_zero[name] else value for name, value in reversed(custom.items())}


def plain(order):
    """Give an order as tuples all the way down; a struct's own equality would take 1 for True."""
    items = tuple(msgspec.structs.astuple(item) for item in order.items.lines)
    return msgspec.structs.astuple(msgspec.structs.replace(order, items=items))


@examples(200)
@given(sent=topics(), contacts=contact_records(), reference_rules=RULES)
def test_the_program_is_the_reference(sent, contacts, reference_rules):
    """Facts field by field, reasons, outcomes and the names in details are the reference fold's, whatever is set."""
    assert_as_the_reference(sent, contacts, reference_rules)


ONE_CONTACT = [ContactRecord(0, 0, 0, f"c-{MARK}", {**EMPTY_CONTACT, "email": RIGHT["email"]})]


@pytest.mark.parametrize("name", [*RIGHT, "shipping", "currency", "currencyCode", "items", "cartId", "size", "SMS"])
def test_each_hostile_value_of_a_parameter_is_read_as_the_reference_reads_it(name):
    """Every value of the list, first or last in an event that is otherwise right (D4 to D12)."""
    for value in HOSTILE_VALUES:
        for params in (RIGHT | {name: value}, {name: value} | RIGHT | {name: value}):
            rules = ReferenceRules(default_currency="UAH", statuses=OWN_WORDS)
            assert_as_the_reference([sent_with(params)], ONE_CONTACT, rules)


@pytest.mark.parametrize("name", [*RIGHT_ITEM, "category", "size", "", "x" * 101, "a\nb"])
def test_each_hostile_value_of_an_attribute_is_read_as_the_reference_reads_it(name):
    """Every text and value of the lists, in items that are otherwise right (D10)."""
    members = {json.dumps(other): json.dumps(value) for other, value in RIGHT_ITEM.items()}
    for text in HOSTILE_TEXTS:
        for nested in (text, f"[{text}]", '{"a": ' + text + "}"):
            item = object_text({**members, json.dumps(name): nested}.items())
            for profile in ("strict", "lenient"):
                sent = [sent_with(RIGHT | {"items": array_text([item])})]
                assert_as_the_reference(sent, ONE_CONTACT, ReferenceRules(item_profile=profile))
    for value in HOSTILE_VALUES:
        if not isinstance(value, list):
            items = [{**RIGHT_ITEM, name: value}]
            for profile in ("strict", "lenient"):
                sent = [sent_with(RIGHT | {"items": items})]
                assert_as_the_reference(sent, ONE_CONTACT, ReferenceRules(item_profile=profile))


@examples(200)
@given(items=ITEMS | BAD_ITEMS, item_profile=st.sampled_from(["strict", "lenient"]))
def test_items_are_read_as_the_reference_reads_them(items, item_profile):
    """Items of any kind, sound or broken, in an event that is otherwise right (D10)."""
    sent = [sent_with({**RIGHT, "items": items})]
    assert_as_the_reference(sent, ONE_CONTACT, ReferenceRules(item_profile=item_profile))


@examples(150)
@given(sent=updates_of_one_value())
def test_what_python_takes_for_equal_is_told_apart_as_the_reference_does(sent):
    """1, 1.0 and true are changes, 0.0 and -0.0 are none, in a custom field and in an item's (D22)."""
    assert_as_the_reference(sent, ONE_CONTACT, ReferenceRules())


@examples(150)
@given(
    sent=topics(),
    contacts=contact_records(),
    reference_rules=RULES,
    cut=st.integers(1, 12),
    deleted=st.sets(CONTACT_IDS, min_size=1),
    batch=st.sampled_from([1, 3, 10**9]),
)
def test_an_order_goes_to_who_is_found_once_its_contact_is_gone(sent, contacts, reference_rules, cut, deleted, batch):
    """Contacts are deleted between two events: facts and rejections are the reference's, in any batches (D15)."""
    later = [*contacts, *(ContactRecord(0, len(contacts) + n, 3, one, None) for n, one in enumerate(deleted))]
    expected, outputs = [], []
    of_reference: dict[tuple[int, str], dict] = {}
    orders: dict[OrderKey, Order] = {}
    for part, records in ((sent[:cut], contacts), (sent[cut:], later)):
        known = Contacts(records, reference_rules)
        expected += reference_fold([s.read for s in part], known, reference_rules, encoded_size, of_reference)
        some, orders = run(part, records, reference_rules, batch, before=orders)
        outputs += some
    assert_same(expected, outputs)


def assert_as_the_reference(sent, contacts, reference_rules):
    """Compare what the program makes of records with what the reference fold makes of them."""
    expected = reference_fold(
        [s.read for s in sent], Contacts(contacts, reference_rules), reference_rules, encoded_size
    )
    outputs, _ = run(sent, contacts, reference_rules)
    assert_same(expected, outputs)


def assert_same(expected, outputs):
    """Compare the program's outputs with the reference's."""
    for wanted, output in zip(expected, outputs, strict=True):
        assert (wanted.source_partition, wanted.source_offset) == (output.record.partition, output.record.offset)
        if isinstance(wanted, Rejected):
            assert isinstance(output.result, Rejection), wanted
            assert (output.result.reason, output.result.reason.outcome) == (wanted.reason, wanted.outcome)
            assert_names_are_told(wanted, output.result.detail)
            assert_one_clean_line(output.result.detail)
        else:
            assert not isinstance(output.result, Rejection), output.result
            assert exact(fact_of(output.result.value)) == exact(wanted.fact)


def assert_names_are_told(wanted, detail):
    """Check that a detail begins with the names that the reference gives, as far as foreign names are shown."""
    if wanted.reason == Reason.MISSING_PARAMETER:
        assert detail == f"missing: {', '.join(wanted.detail_names)}"
        return
    if wanted.reason == Reason.ORDER_EXISTS:
        assert_differences_are_told(wanted.detail_names, detail)
        return
    for name in wanted.detail_names:
        printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
        cut = printable[:-1] + "…"  # of a name too long to show
        assert detail.startswith((f"{printable}: ", f"{cut}: "))


def assert_differences_are_told(names, detail):
    """Check that the detail of an order that exists has all the names that differ, in any order, or twenty of them."""
    told = detail.removeprefix("the order exists: ")
    if names == ("the same",):
        assert told == "the same"
    elif len(names) == 1:
        assert told == f"{shown(names[0])} differs"
    elif len(names) <= 20:
        assert told.endswith(" differ")
        assert sorted(told.removesuffix(" differ").split(", ")) == sorted(", ".join(map(shown, names)).split(", "))
    else:
        assert told.endswith(f" and {len(names) - 20} more differ")


def encoded_size(fact):
    """Give the bytes of a fact's record value: its header and what fastavro makes of it."""
    with_units = {**fact, "items": [_units(item, ("cost",)) for item in fact["items"]]}
    body = io.BytesIO()
    fastavro.schemaless_writer(body, NEWEST_FACT, _units(with_units, AMOUNTS))
    return 10 + len(body.getvalue())


def _units(holder, names):
    return {**holder, **{name: _unscaled(holder[name]) for name in names}}


def _unscaled(amount):
    if amount is None:
        return None
    units = int(amount.scaleb(4))
    assert Decimal(units).scaleb(-4) == amount
    return units.to_bytes((units.bit_length() + 8) // 8, "big", signed=True)
