"""An order's state: an existing mirror stays readable, byte by byte, and what is damaged is refused."""

import msgspec
import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.codec.order_state import order_of, state_of
from processor.codec.packed_items import PackedItems, pack, unpacked
from processor.domain.records import Item, Order, PlainItems, UndecodableError

LINES = (
    Item("i-1", 2.0, "Lamp", None, "u", "i", None, 128_5000, {"size": 1, "big": True, "w": 1.5, "ї": "є"}),
    Item("i-2", 0.5, None, "c", None, None, "d" * 70, None, {}),
)
ORDER = Order(
    *("o-1", "c-1", "email", "CANCELLED", 1_609_459_200_000, 257_9999, "orderUpdated", 1, 2, 3, 7, 5, 1 << 40),
    items=PlainItems(LINES),
    custom={"n": -5, "t": "x", "f": 2.0, "b": False},
    currency="UAH",
    email="a@b.c",
    shipping=0,
    cart_id="k",
)
START = (
    "dc0021a36f2d31a3632d31a5656d61696ca943414e43454c4c4544cf00000176bb3e7000ce00275e1fac6f72646572557064617465640102"
    "030705cf0000010000000000c4"
)
ITEMS = (
    "0406692d3102084c616d70000202750202690000000000000000400206139b88080873697a650402066269670201027706000000000000f83f"
    "04d1970804d1940006692d32000202630000028c01" + "64" * 70 + "000000000000e03f000000"
)
END = "84a16efba174a178a166cb4000000000000000a162c2a3554148c0a56140622e63c0c0c000c0c0c0c0c0c0c0c0c0c0a16b"
# what the program wrote before items had a type of their own
KEPT = bytes.fromhex(START + "9f" + ITEMS + END)
KEPT_WITHOUT_ITEMS = bytes.fromhex(START + "0100" + END)
FACT_1 = bytes.fromhex(
    "c3014745bd1babb20ec1066f2d3106632d310a656d61696c0680c0f3b3d75d06275e1f0206554148"
    + ITEMS
    + "00020a6140622e630000000202000000000000000000000002026b08026e0409027408027802660600000000000000400262020000186f72"
    "646572557064617465640204060e0a808080808040"
)
FACT = bytes.fromhex("c301a07bbeed9a297184") + FACT_1[10:] + b"\0"


@pytest.mark.parametrize(("lines", "kept"), [(LINES, KEPT), ((), KEPT_WITHOUT_ITEMS)], ids=["items", "none"])
def test_a_state_is_the_bytes_that_it_always_was(lines, kept):
    """Written from items in either form; read, it is the order, and its items stay packed."""
    for items in (PlainItems(lines), pack(lines)):
        assert state_of(replace(ORDER, items=items)) == kept
    order = order_of(kept)
    assert order == replace(ORDER, items=PlainItems(lines))
    assert type(order.items) is PackedItems
    assert order.items.lines == lines


def test_a_fact_is_a_state_too():
    """A catch-up copies a fact as it is."""
    for version, fact in ((1, FACT_1), (2, FACT)):
        encode = codec().fact_encoders[version]
        assert encode(ORDER) == encode(order_of(KEPT)) == fact
        assert order_of(fact) == ORDER


def test_the_time_of_its_events_is_kept_behind_all_else():
    """The state of an order that has one is longer; all others are what a former version reads and writes."""
    order = replace(ORDER, occurred_at_ms=5)
    state = state_of(order)
    assert state == b"\xdc\x00\x22" + KEPT[3:] + b"\x05"
    assert order_of(state) == order
    assert order_of(codec().encode_fact(order)) == order
    assert order_of(codec().fact_encoders[1](order)) == ORDER


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xc1",
        FACT[:-1],
        KEPT[:-1],
        bytes.fromhex(START[:-2] + "90" + END),  # an array where packed items stand
        bytes.fromhex(START[:-2] + "05" + END),  # a number
        msgspec.msgpack.encode({}),
    ],
    ids=lambda damaged: damaged.hex()[-20:],
)
def test_a_state_that_is_none_is_refused(damaged):
    """Whatever stands there instead of an order."""
    with pytest.raises(UndecodableError):
        order_of(damaged)


def test_items_that_are_damaged_are_refused_where_they_are_looked_at():
    """Not before: most orders are changed in other fields."""
    sound = pack(LINES)
    state = state_of(replace(ORDER, items=PackedItems(b"\xff" * len(sound))))
    order = order_of(state)
    assert state_of(order) == state
    assert order.items != pack(())
    for look in (unpacked, lambda order: order.items == sound, lambda order: order.items == PlainItems()):
        look(ORDER)
        with pytest.raises(UndecodableError):
            look(order)
