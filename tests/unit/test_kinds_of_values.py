"""Values of the kinds that only the newest version of OrderEvent has: decimals, maps, arrays of anything (D4 to D11).

They are given to the rules as the decoder gives them, and the outcome is the reference's.
"""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.avro import codec
from processor.domain.pipeline import fold, needs, read
from processor.domain.records import Event, Record
from processor.domain.rejections import Rejection
from processor.settings.rules import rules_of
from tests.reference import Contacts, Input, Rejected, Rules
from tests.reference import fold as reference_fold
from tests.support.cases import key_text
from tests.support.events import OWN_WORDS, RIGHT, RIGHT_ITEM, RULES, exact
from tests.support.facts import fact_of
from tests.support.hostile import ANY_VALUE, MARK, SCALARS, examples
from tests.unit.test_properties import ONE_CONTACT, assert_names_are_told, assert_one_clean_line, encoded_size
from tests.unit.test_rules import settings_of

NAMES = (*RIGHT, "shipping", "discount", "currency", "items", "cartId", "externalCustomerId", "size", "Phone")
DECIMALS = st.builds(lambda units: Decimal(units).scaleb(-4), st.integers(-(10**22), 10**22) | st.integers(-999, 999))
MAPS = st.dictionaries(st.sampled_from([*RIGHT_ITEM, "size", ""]) | st.text(max_size=3), SCALARS, max_size=4)
NEW_VALUES = DECIMALS | MAPS | st.lists(SCALARS | MAPS, max_size=4)
ITEMS = st.dictionaries(st.sampled_from(["note", "quantity", "url"]), SCALARS).map(lambda more: RIGHT_ITEM | more)
HOSTILE: tuple[Any, ...] = (
    *(Decimal(text) for text in ("0.0000", "-0.0001", "258.0000", "12.5000", "99999999999999.9999", "-1.0000")),
    *(Decimal(text) for text in ("100000000000000.0000", "-100000000000000.0000", "9" * 40 + ".0000", "5.0000")),
    *({}, {"a": None}, {"": float("nan")}, {"a": float("inf"), "b": 1}, {MARK: f"{MARK}\u2028"}, {"a": 1.0, "b": True}),
    *([], [None], ["x", 1, 1.0, True, None, {}], [float("nan")], [{"a": 1}, float("-inf")], [[]], ["[object Object]"]),
    *(RIGHT_ITEM, [RIGHT_ITEM, RIGHT_ITEM], [RIGHT_ITEM, "x"], {**RIGHT_ITEM, "quantity": 0}, {"quantity": 1}),
)


def assert_as_the_reference(params, rules=None):
    """Compare what the program makes of one event, as it is decoded, with what the reference fold makes of it."""
    rules = rules or Rules(statuses=OWN_WORDS)
    order_id = params.get("externalOrderId")
    key = None if order_id is None else key_text(order_id).encode()
    named = [{"name": name, "value": value} for name, value in params.items()]
    event = {"eventTypeKey": "orderCreated", "keyValue": "", "params": named}
    contacts = Contacts(ONE_CONTACT, rules)
    (wanted,) = reference_fold([Input(0, 0, 0, key, 1, event)], contacts, rules, encoded_size)

    configured = rules_of(settings_of(rules))
    parsed = read([Record(0, 0, 0, key, b"-")], lambda *_: Event.of("orderCreated", "", params.items()), configured)
    found = {one: contact for one in needs(parsed).identifiers if (contact := contacts.find(*one)) is not None}
    (output,) = fold(parsed, {}, found, codec().encode_fact, configured).outputs
    if isinstance(wanted, Rejected):
        assert isinstance(output.result, Rejection), wanted
        assert output.result.reason == wanted.reason
        assert_names_are_told(wanted, output.result.detail)
        assert_one_clean_line(output.result.detail)
    else:
        assert not isinstance(output.result, Rejection), output.result
        assert exact(fact_of(output.result.value)) == exact(wanted.fact)


@pytest.mark.parametrize("name", NAMES)
def test_each_hostile_value_of_a_new_kind_is_read_as_the_reference_reads_it(name):
    """Every value of the list, first or last in an event that is otherwise right."""
    for value in HOSTILE:
        assert_as_the_reference({**RIGHT, name: value})
        assert_as_the_reference({name: value} | RIGHT | {name: value})


@examples(400)
@given(params=st.dictionaries(st.sampled_from(NAMES), NEW_VALUES | ANY_VALUE, max_size=3), items=ITEMS, rules=RULES)
def test_values_of_the_new_kinds_are_read_as_the_reference_reads_them(params, items, rules):
    """Any few of them, in an event that is otherwise right, whatever is set."""
    assert_as_the_reference({**RIGHT, "items": items, **params}, rules)
