"""What decoders and encoders made from schemas call: Avro's variable-length integers, and the errors in them.

A decoder reads the usual forms in place and leaves all others to the functions here: what takes several bytes, and what
no writer makes. Their errors say what is wrong, without the value. The end of the bytes shows as an IndexError, which
`malformed` explains.
"""

import struct
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Final

from processor.domain.records import LONGS, MAX_ELEMENTS, UndecodableError

_DOUBLE: Final = struct.Struct("<d")
double_at: Final = _DOUBLE.unpack_from
double_bytes: Final = _DOUBLE.pack
float_at: Final = struct.Struct("<f").unpack_from
_BAD_LENGTH: Final = "a length is negative or beyond the end"
_EXACT: Final = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)
_SMALL_BYTES: Final = 11  # at most 27 digits: the default context holds 28
_PART_BYTES: Final = 512  # of a large number


def long_at(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a long; return it and the position after it."""
    number = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise UndecodableError("an integer is longer than 10 bytes")
    if number >> 64:
        raise UndecodableError("an integer is beyond 64 bits")
    return (number >> 1) ^ -(number & 1), position


def int_at(buffer: bytes, position: int) -> tuple[int, int]:
    """Read an int; return it and the position after it."""
    number, position = long_at(buffer, position)
    if not -(1 << 31) <= number < 1 << 31:
        raise UndecodableError("an integer is beyond 32 bits")
    return number, position


def length_at(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a length; return it and the position after it."""
    length, position = long_at(buffer, position)
    if not 0 <= length <= len(buffer) - position:
        raise UndecodableError(_BAD_LENGTH)
    return length, position


def index_at(buffer: bytes, position: int, count: int, of: str) -> tuple[int, int]:
    """Read the index of a union or enum with so many choices; return twice the index and the position after it."""
    index, position = long_at(buffer, position)
    if not 0 <= index < count:
        raise UndecodableError(f"{of} index is out of range")
    return index * 2, position


def block_at(buffer: bytes, position: int) -> tuple[int, int, int | None]:
    """Read the head of an array's or map's block: element count, where they start, and end if it says so."""
    count, position = long_at(buffer, position)
    end = None
    if count < 0:
        size, position = long_at(buffer, position)
        count, end = -count, position + size
        if size < 0 or end > len(buffer):
            raise UndecodableError("a block's size is negative or beyond the end")
    if count > len(buffer) - position:
        raise UndecodableError("a block has more elements than bytes")
    return count, position, end


def require_end(end: int, position: int) -> None:
    """Require that a block ends where it said that it would."""
    if position != end:
        raise UndecodableError("a block's size is not that of its elements")


def decimal_of(unscaled: bytes, scale: int) -> Decimal:
    """Return the decimal of unscaled bytes, exactly, whatever its size. No bytes are no number."""
    if not unscaled:
        raise UndecodableError("a decimal has no bytes")
    number = int.from_bytes(unscaled, "big", signed=True)
    if number.bit_length() <= 8 * _SMALL_BYTES:
        return Decimal(number).scaleb(-scale)
    large = _large_decimal(abs(number))
    return _EXACT.scaleb(large if number >= 0 else _EXACT.minus(large), -scale)


def _large_decimal(number: int) -> Decimal:
    """Return an integer as a decimal, built up from parts: Python's own way takes minutes for a megabyte."""
    raw = number.to_bytes((number.bit_length() + 7) // 8, "little")
    parts = [Decimal(int.from_bytes(raw[at : at + _PART_BYTES], "little")) for at in range(0, len(raw), _PART_BYTES)]
    power = Decimal(1 << (8 * _PART_BYTES))
    while len(parts) > 1:
        rest = parts[-1:] if len(parts) % 2 else []
        parts = [_EXACT.fma(high, power, low) for low, high in zip(parts[::2], parts[1::2], strict=False)] + rest
        if len(parts) > 1:
            power = _EXACT.multiply(power, power)
    return parts[0]


def too_many_elements() -> UndecodableError:
    """Return the error of a value with more elements than it may have."""
    return UndecodableError(f"more than {MAX_ELEMENTS} elements in arrays and maps")


def malformed(buffer: bytes, position: int, error: Exception | None = None) -> UndecodableError:
    """Return the error of a value that does not end with the bytes, or of an error met within it.

    `position` is the furthest that a length led to.
    """
    if position > len(buffer):
        return UndecodableError(_BAD_LENGTH)
    match error:
        case None:
            return UndecodableError(f"{len(buffer) - position} bytes are left over")
        case UnicodeDecodeError():
            return UndecodableError("a string is not UTF-8")
        case struct.error():
            return UndecodableError("ends within a double")
        case _:
            return UndecodableError("ends within an integer")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


# Two bytes hold lengths up to 8,191 and numbers of 14 bits. Tables of them cost 2 MiB and save 10 us a fact.
_ENDS: Final = [
    bytes((part,)) for part in range(0x80)
]  # 7 bits of a number: the last ones, and ones that others follow
_PARTS: Final = [bytes((part | 0x80,)) for part in range(0x80)]
_LAST: Final = _ENDS + [low + high for high in _ENDS[1:] for low in _PARTS]
_MORE: Final = [low + high for high in _PARTS for low in _PARTS]
LENGTHS: Final = _LAST[::2]
"""The encoded lengths of bytes, strings, arrays and maps. IndexError: the length is beyond the table."""
SOME_LENGTHS: Final = {index: [of + length for length in LENGTHS] for index in (1, 4) for of in [_varint(index * 2)]}
"""The same after a union's index."""


def long_bytes(value: int) -> bytes:
    """Write a long. Raises ValueError for more than 64 bits."""
    number = value << 1 if value >= 0 else ~(value << 1)
    if number < 1 << 14:
        return _LAST[number]
    if number < 1 << 28:
        return _MORE[number & 0x3FFF] + _LAST[number >> 14]
    if number < 1 << 42:
        low = number & 0xFFFFFFF  # one of Python's internal digits: arithmetic on it takes half the time
        return _MORE[low & 0x3FFF] + _MORE[low >> 14] + _LAST[number >> 28]
    if value not in LONGS:
        raise ValueError("a long of more than 64 bits")
    return _varint(number)


def amount_bytes(units: int) -> bytes:
    """Write a decimal's unscaled bytes: two's complement, big-endian, as short as possible, with their length."""
    size = units.bit_length() // 8 + 1
    # the size leaves room for a sign, and without the keyword it takes half the time
    length = LENGTHS[size] if size < len(LENGTHS) else long_bytes(size)
    return length + (units.to_bytes(size) if units >= 0 else units.to_bytes(size, signed=True))
