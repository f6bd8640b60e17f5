"""An order's state, as the mirror keeps it: msgpack with its items packed, or the fact's own Avro value.

The first is what a batch writes, the second what a catch-up copies from the facts topic.
"""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.codec.packed_items import PackedItems, pack
from processor.codec.schemas import FRAMING
from processor.domain.records import Order, UndecodableError


def state_of(order: Order) -> bytes:
    """Return an order as a batch writes it.

    Without occurredAt it is what versions before that field wrote and read.
    """
    if type(order.items) is not PackedItems:
        order = replace(order, items=pack(order.items.lines))
    state = _ENCODER.encode(order)
    return state if order.occurred_at_ms is not None else _FORMER_HEAD + state[len(_FORMER_HEAD) : -1]


def order_of(state: bytes) -> Order:
    """Return the order from these bytes, without reading its packed items. Raises UndecodableError."""
    if state.startswith(FRAMING):
        return codec().decode_fact(state)
    try:
        return _DECODER.decode(state)
    except msgspec.MsgspecError as error:
        raise UndecodableError("not an order's state") from error


def _items(_type: type, packed: Any) -> PackedItems:
    if type(packed) is not bytes:
        raise TypeError("packed items are bytes")
    return PackedItems(packed)


_FORMER_HEAD: Final = b"\xdc" + (len(Order.__struct_fields__) - 1).to_bytes(2, "big")  # of an array without the last
_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=bytes.__bytes__)  # it takes no subclass of bytes as it is
_DECODER: Final = msgspec.msgpack.Decoder(Order, dec_hook=_items)
