"""The reference for what is refused: Avro bodies read strictly, one small function a type.

fastavro says what a value is, and this says whether it is one: it accepts union and enum indexes out of range, any
boolean byte, and lengths that lie. Here each of them is `MalformedAvro`. Logical types stay raw. The program's decoders
must take and refuse the same.
"""

import struct
import sys
from collections.abc import Callable
from typing import Any

Decoder = Callable[[bytes, int], tuple[Any, int]]
_DOUBLE = struct.Struct("<d")


class MalformedAvro(ValueError):  # noqa: N818
    """Bytes that no writer of the schema makes; the text says what is wrong, without the value."""


class _Budget:
    """How many elements the value in hand may still have."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise MalformedAvro(f"more than {self.most} elements in arrays and maps")


def compile_decoder(schema: Any, most_elements: int | None = None) -> Decoder:
    """Return decode(buffer, position) -> (value, end) for a schema as its JSON text gives it.

    Values are those fastavro gives without logical types. Raises MalformedAvro when called, also for more than
    `most_elements`, and, if there is such a limit, for a decimal of no bytes: an event's. Raises ValueError when the
    schema has a type that the topics' schemas do not use, or is recursive.
    """
    budget = _Budget(sys.maxsize if most_elements is None else most_elements)
    read = _compile(schema, {}, budget)

    def decode(buffer: bytes, position: int) -> tuple[Any, int]:
        budget.left = budget.most
        return read(buffer, position)

    return decode


def _compile(schema: Any, named: dict[str, Decoder], budget: _Budget) -> Decoder:
    if isinstance(schema, list):
        return _union([_compile(branch, named, budget) for branch in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _compile(kind, named, budget)
    if kind in _PRIMITIVES:
        is_decimal = isinstance(schema, dict) and schema.get("logicalType") == "decimal"
        return _decimal if is_decimal and budget.most != sys.maxsize else _PRIMITIVES[kind]
    match kind:
        case "array":
            return _array(_compile(schema["items"], named, budget), budget)
        case "map":
            return _map(_compile(schema["values"], named, budget), budget)
        case "enum":
            named[schema["name"]] = decoder = _enum(schema["symbols"])
            return decoder
        case "record":
            fields = [(field["name"], _compile(field["type"], named, budget)) for field in schema["fields"]]
            named[schema["name"]] = decoder = _record(fields)
            return decoder
        case _ if kind in named:
            return named[kind]
        case _:
            raise ValueError(f"type {kind!r} is recursive, or not one that is read here")


def _varint(buffer: bytes, position: int, bits: int) -> tuple[int, int]:
    """Read a zigzag integer of at most `bits` bits."""
    value = shift = 0
    while True:
        if position >= len(buffer):
            raise MalformedAvro("ends within an integer")
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift >= 70:
            raise MalformedAvro("an integer is longer than 10 bytes")
    if value >> bits:
        raise MalformedAvro(f"an integer is beyond {bits} bits")
    return (value >> 1) ^ -(value & 1), position


def _null(_buffer: bytes, position: int) -> tuple[None, int]:
    return None, position


def _boolean(buffer: bytes, position: int) -> tuple[bool, int]:
    if position >= len(buffer):
        raise MalformedAvro("ends before a boolean")
    if buffer[position] > 1:
        raise MalformedAvro("a boolean is neither 0 nor 1")
    return buffer[position] == 1, position + 1


def _int(buffer: bytes, position: int) -> tuple[int, int]:
    return _varint(buffer, position, 32)


def _long(buffer: bytes, position: int) -> tuple[int, int]:
    # most are one byte: lengths, indexes, counts
    if position < len(buffer) and (byte := buffer[position]) < 0x80:
        return (byte >> 1) ^ -(byte & 1), position + 1
    return _varint(buffer, position, 64)


def _double(buffer: bytes, position: int) -> tuple[float, int]:
    if position + 8 > len(buffer):
        raise MalformedAvro("ends within a double")
    return _DOUBLE.unpack_from(buffer, position)[0], position + 8


def _bytes(buffer: bytes, position: int) -> tuple[bytes, int]:
    length, start = _long(buffer, position)
    end = start + length
    if length < 0 or end > len(buffer):
        raise MalformedAvro("a length is negative or beyond the end")
    return buffer[start:end], end


def _decimal(buffer: bytes, position: int) -> tuple[bytes, int]:
    unscaled, end = _bytes(buffer, position)
    if not unscaled:
        raise MalformedAvro("a decimal has no bytes")
    return unscaled, end


def _string(buffer: bytes, position: int) -> tuple[str, int]:
    raw, end = _bytes(buffer, position)
    try:
        return raw.decode(), end
    except UnicodeDecodeError as error:
        raise MalformedAvro("a string is not UTF-8") from error


def _union(branches: list[Decoder]) -> Decoder:
    def decode(buffer: bytes, position: int) -> tuple[Any, int]:
        index, position = _long(buffer, position)
        if not 0 <= index < len(branches):
            raise MalformedAvro("a union's index is out of range")
        return branches[index](buffer, position)

    return decode


def _enum(symbols: list[str]) -> Decoder:
    def decode(buffer: bytes, position: int) -> tuple[str, int]:
        index, position = _int(buffer, position)
        if not 0 <= index < len(symbols):
            raise MalformedAvro("an enum's index is out of range")
        return symbols[index], position

    return decode


def _record(fields: list[tuple[str, Decoder]]) -> Decoder:
    def decode(buffer: bytes, position: int) -> tuple[dict[str, Any], int]:
        record = {}
        for name, read in fields:
            record[name], position = read(buffer, position)
        return record, position

    return decode


def _block(buffer: bytes, position: int) -> tuple[int, int, int | None]:
    """Read the head of an array's or map's block: element count, where they start, and end if it says so."""
    count, position = _long(buffer, position)
    end = None
    if count < 0:
        size, position = _long(buffer, position)
        count, end = -count, position + size
        if size < 0 or end > len(buffer):
            raise MalformedAvro("a block's size is negative or beyond the end")
    if count > len(buffer) - position:
        raise MalformedAvro("a block has more elements than bytes")
    return count, position, end


def _array(element: Decoder, budget: _Budget) -> Decoder:
    def decode(buffer: bytes, position: int) -> tuple[list[Any], int]:
        values: list[Any] = []
        while True:
            count, position, end = _block(buffer, position)
            if count == 0:
                return values, position
            budget.spend(count)
            for _ in range(count):
                value, position = element(buffer, position)
                values.append(value)
            if end is not None and end != position:
                raise MalformedAvro("a block's size is not that of its elements")

    return decode


def _map(element: Decoder, budget: _Budget) -> Decoder:
    def decode(buffer: bytes, position: int) -> tuple[dict[str, Any], int]:
        values: dict[str, Any] = {}
        while True:
            count, position, end = _block(buffer, position)
            if count == 0:
                return values, position
            budget.spend(count)
            for _ in range(count):
                name, position = _string(buffer, position)
                values[name], position = element(buffer, position)
            if end is not None and end != position:
                raise MalformedAvro("a block's size is not that of its elements")

    return decode


_PRIMITIVES: dict[str, Decoder] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}
