"""What the generated codec is made of: the variable-length integers of Avro, and the values around them.

Reading is for what writers usually make. Anything else raises, ValueError or IndexError, and is then the
strict decoder's to judge: a negative count with a block's size, a number written longer than it need be.
"""

import struct
from typing import Final

_DOUBLE: Final = struct.Struct("<d")
double_at: Final = _DOUBLE.unpack_from
double_bytes: Final = _DOUBLE.pack
_LONGS: Final = range(-(1 << 63), 1 << 63)


class UnusualAvro(ValueError):  # noqa: N818
    """Avro that the strict decoder must judge."""


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# Two bytes hold lengths up to 8,191 and numbers of 14 bits. Tables of them cost 2 MiB and save 10 us a fact.
_TWO_BYTES: Final = 1 << 14
_LAST: Final = [
    bytes((number & 0x7F | 0x80, number >> 7)) if number > 0x7F else bytes((number,)) for number in range(_TWO_BYTES)
]
_MORE: Final = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(_TWO_BYTES)]
LENGTHS: Final = [_LAST[length * 2] for length in range(_TWO_BYTES // 2)]
"""How a length stands before so many bytes or elements. IndexError: it is longer than the table."""
SOME_LENGTHS: Final = {index: [_varint(index * 2) + length for length in LENGTHS] for index in (1, 4)}
"""The same after a union's index."""


def long_bytes(value: int) -> bytes:
    """Write a long. Raises ValueError for more than 64 bits."""
    number = value << 1 if value >= 0 else ~(value << 1)
    if number < 1 << 14:
        return _LAST[number]
    if number < 1 << 28:
        return _MORE[number & 0x3FFF] + _LAST[number >> 14]
    if number < 1 << 42:
        low = number & 0xFFFFFFF  # one digit of Python's: what is done with it takes half the time
        return _MORE[low & 0x3FFF] + _MORE[low >> 14] + _LAST[number >> 28]
    if value not in _LONGS:
        raise ValueError("a long of more than 64 bits")
    return _varint(number)


def amount_bytes(units: int) -> bytes:
    """Write a decimal's unscaled bytes: two's complement, big-endian, as short as they can be, with their length."""
    size = units.bit_length() // 8 + 1
    # the size leaves room for a sign, and without the keyword it takes half the time
    return LENGTHS[size] + (units.to_bytes(size) if units >= 0 else units.to_bytes(size, signed=True))


def long_at(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a long; return it and the position after it. Raises UnusualAvro, or IndexError at the end."""
    number = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise UnusualAvro
    if number >> 64:
        raise UnusualAvro
    return (number >> 1) ^ -(number & 1), position


def length_at(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a length or a count that is not in one byte; return it and the position after it."""
    number, position = long_at(buffer, position)
    if number < 0:
        raise UnusualAvro
    return number, position
