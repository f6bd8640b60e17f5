"""How many elements an event, its items and an order may have: so many are taken, one more is refused (D1, D10)."""

import pytest

from processor.codec.avro import codec
from processor.domain.records import MAX_ELEMENTS, UndecodableError
from tests.reference import Rules
from tests.support.avro_writer import block, text, varint
from tests.support.events import RIGHT, sent_with
from tests.unit.test_avro import ENVELOPE, HEADER
from tests.unit.test_properties import ONE_CONTACT, assert_as_the_reference, results, run

NULL = b"\0"
LENIENT = Rules()


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


def one_map(count):
    """Give an event of version 2 with one parameter: a map."""
    return block([text("p") + varint(7) + block([text(f"k{n}") + NULL for n in range(count - 1)]) + NULL]) + NULL


def scalars_and_maps_in_an_array(count):
    """Give an event of version 2 with one parameter: an array of texts, and of maps of three, four elements each."""
    full = varint(5) + block([text(name) + NULL for name in "abc"]) + NULL
    elements = [full] * ((count - 1) // 8)
    elements += [varint(1) + text("x")] * (count - 1 - 4 * len(elements))
    return block([text("p") + varint(5) + block(elements) + NULL]) + NULL


@pytest.mark.parametrize(
    ("version", "params"),
    [
        *((1, params) for params in (params_in_one_block, params_in_blocks_of_one, maps_in_an_array)),
        *((2, params) for params in (params_in_one_block, one_map, scalars_and_maps_in_an_array)),
    ],
)
def test_elements_of_an_event(version, params):
    """However they are spread, by both ways of reading, in every version."""
    start = HEADER[f"order-event.{version}"] + ENVELOPE
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


TOO_MANY = f"items: have more than {MAX_ELEMENTS} values"
ITEM = '{"externalItemId":"i","quantity":1'  # with the array around it two brackets and a comma


def array_in_an_item(element, count):
    """Give items: one, with an attribute that is an array of so many elements."""
    return f'[{ITEM},"a":[{",".join([element] * count)}]}}]'


@pytest.mark.parametrize("element", ["null", "1.5", '"],[{"', r'"\\"', r'"\\\",[{"', "9" * 40])
def test_values_of_items(element):
    """Every comma outside texts counts for a value, and every opening bracket."""
    most = MAX_ELEMENTS - 5 + 1
    assert reason(array_in_an_item(element, most)) == "fact"
    assert reason(array_in_an_item(element, most + 1)) == TOO_MANY


@pytest.mark.parametrize("element", ["[]", "{}"])
def test_empty_arrays_and_objects_of_items(element):
    """They count by bracket and comma."""
    most = (MAX_ELEMENTS - 5 + 1) // 2
    assert reason(array_in_an_item(element, most)) == "fact"
    assert reason(array_in_an_item(element, most + 1)) == TOO_MANY


def test_attributes_of_items_that_later_ones_replace():
    """What is read counts, not what is left of it."""
    most = MAX_ELEMENTS - 3
    assert reason("[" + ITEM + ',"a":1' * most + "}]") == "fact"
    assert reason("[" + ITEM + ',"a":1' * (most + 1) + "}]") == TOO_MANY


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
