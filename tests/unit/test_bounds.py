"""How many elements an event, its items and an order may have: so many are taken, one more is refused (D1, D10)."""

import json

import pytest

from processor.adapters.avro import codec
from processor.domain.records import MAX_ELEMENTS, UndecodableError
from tests.reference import Rules
from tests.support.avro_writer import block, text, varint
from tests.support.events import RIGHT, RIGHT_ITEM
from tests.unit.test_avro import ENVELOPE, HEADER
from tests.unit.test_properties import ONE_CONTACT, assert_as_the_reference, results, run, sent_with

NULL = b"\0"
LENIENT = Rules(item_profile="lenient")


def params_in_one_block(count):
    """Give an event with so many parameters."""
    return block([text(f"p{number}") + NULL for number in range(count)]) + NULL


def params_in_blocks_of_one(count):
    """Give the same, each parameter in a block of its own."""
    return b"".join(block([text(f"p{number}") + NULL]) for number in range(count)) + NULL


def maps_in_an_array(count):
    """Give an event with one parameter: an array of maps of three, four elements each."""
    full = block([text(name) + NULL for name in "abc"]) + NULL
    maps = [full] * ((count - 1) // 4) + [NULL] * ((count - 1) % 4)
    return block([text("p") + varint(5) + block(maps) + NULL]) + NULL


@pytest.mark.parametrize("params", [params_in_one_block, params_in_blocks_of_one, maps_in_an_array])
def test_elements_of_an_event(params):
    """However they are spread, by both ways of reading; the older way too."""
    start = HEADER["order-event"] + ENVELOPE
    most, too_many = start + params(MAX_ELEMENTS), start + params(MAX_ELEMENTS + 1)
    assert list(codec().read_event(most).params) == [p["name"] for p in codec().decode_event(most)["params"]]
    for read in (codec().read_event, codec().decode_event):
        with pytest.raises(UndecodableError, match="more than 20000 elements in arrays and maps"):
            read(too_many)


def reason(value, rules=LENIENT):
    """Give what becomes of an order with these items, as the reference has it too."""
    sent = [sent_with({**RIGHT, "items": value})]
    assert_as_the_reference(sent, ONE_CONTACT, rules)
    (result,) = results(run(sent, ONE_CONTACT, rules)[0])
    return getattr(result, "detail", "fact")


def test_attributes_of_items():
    """Of all items together, filled or not."""
    few = {"externalItemId": "i", "quantity": 1}
    other = few | {f"a{number}": None for number in range(MAX_ELEMENTS - len(few) - len(few))}
    assert reason(json.dumps([few, other])) == "fact"
    assert reason(json.dumps([few, other | {"more": None}])) == "items: have more than 20000 attributes"


def test_arrays_and_objects_of_items():
    """Brackets in texts are none."""
    item = RIGHT_ITEM | {"name": "[{" * MAX_ELEMENTS, "a": [[]] * (MAX_ELEMENTS - 3)}
    assert reason(json.dumps([item])) == "fact"
    item["a"] = [[]] * (MAX_ELEMENTS - 2)
    assert reason(json.dumps([item])) == "items: have more than 20000 arrays and objects"


def test_custom_fields_of_an_order():
    """An order grows by merging (D18); it stays as it was where it would grow too large."""
    half = MAX_ELEMENTS // 2
    first = {f"a{number}": 1 for number in range(half)}
    same = {"externalOrderId": RIGHT["externalOrderId"]}
    second = {f"b{number}": 1 for number in range(half)}
    changes = (RIGHT | first, same | second, same | {"one": 1}, same | {"a1": 2})
    sent = [sent_with(values, offset) for offset, values in enumerate(changes)]
    assert_as_the_reference(sent, ONE_CONTACT, Rules())
    outputs, orders = run(sent, ONE_CONTACT, Rules())
    told = [getattr(result, "detail", "fact") for result in results(outputs)]
    assert told == ["fact", "fact", "the order would have more than 20000 custom fields", "fact"]
    (order,) = orders.values()
    assert (len(order.custom), order.custom["a1"], order.revision) == (MAX_ELEMENTS, 2, 3)
