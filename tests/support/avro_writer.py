"""A plain Avro writer that makes what real writers may make and fastavro never does: blocks of any cut.

Arrays and maps may come in several blocks, and a block may begin with a negative count and its size in
bytes. Union branches are chosen by the value's type. Logical types are not known here: values are raw.
"""

import struct

from hypothesis import strategies as st


def varint(number):
    """Write an int or a long: zigzag, seven bits a byte, as short as it can be. Takes numbers of any size."""
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def text(value):
    """Write a string."""
    raw = value.encode()
    return varint(len(raw)) + raw


def block(elements, *, sized=False):
    """Write one block of elements already written; `sized`: with a negative count and the size in bytes."""
    body = b"".join(elements)
    return varint(-len(elements)) + varint(len(body)) + body if sized else varint(len(elements)) + body


def write(schema, value, cut=lambda _length: []):
    """Write a value. `cut(length)` gives the blocks of an array or map as (elements, sized); the rest is one more."""
    kind = _kind(schema)
    if kind in _PRIMITIVES:
        return _PRIMITIVES[kind](value)
    match kind:
        case "enum":
            return varint(schema["symbols"].index(value))
        case "array":
            return _blocks([write(schema["items"], element, cut) for element in value], cut)
        case "map":
            return _blocks([text(k) + write(schema["values"], v, cut) for k, v in value.items()], cut)
        case "record":
            return b"".join(write(field["type"], value[field["name"]], cut) for field in schema["fields"])
        case "union":
            index = next(number for number, branch in enumerate(schema) if _holds(branch, value))
            return varint(index) + write(schema[index], value, cut)
    return write(schema["type"], value, cut)


def values(schema):
    """Give a strategy for all values of a schema, as fastavro reads them without logical types."""
    kind = _kind(schema)
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        return st.binary(min_size=1, max_size=7)  # at most 18 digits: fastavro writes no more
    if kind in _VALUES:
        return _VALUES[kind]
    match kind:
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(values(schema["items"]), max_size=4)
        case "map":
            return st.dictionaries(st.text(max_size=5), values(schema["values"]), max_size=4)
        case "record":
            return st.fixed_dictionaries({field["name"]: values(field["type"]) for field in schema["fields"]})
        case "union":
            return st.one_of([values(branch) for branch in schema])
    return values(schema["type"])


_PRIMITIVES = {
    "null": lambda _value: b"",
    "boolean": lambda value: bytes([value]),
    "int": varint,
    "long": varint,
    "double": struct.Struct("<d").pack,
    "string": text,
    "bytes": lambda value: varint(len(value)) + value,
}
_VALUES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "long": st.integers(-(1 << 63), (1 << 63) - 1),
    "double": st.floats(),
    "string": st.text(max_size=10),
    "bytes": st.binary(max_size=10),
}
_TYPES = {
    "null": type(None),
    "boolean": bool,
    "long": int,
    "double": float,
    "string": str,
    "bytes": bytes,
    "array": list,
    "map": dict,
}  # of the branches that the schemas' unions have


@st.composite
def cuts(draw):
    """Draw a way to cut arrays and maps into blocks."""
    plan = draw(st.lists(st.tuples(st.integers(1, 2), st.booleans()), max_size=3))

    def cut(length):
        taken, left = [], length
        for elements, sized in plan:
            if elements <= left:
                taken.append((elements, sized))
                left -= elements
        return taken

    return cut


def _kind(schema):
    if isinstance(schema, list):
        return "union"
    kind = schema["type"] if isinstance(schema, dict) else schema
    return kind if isinstance(kind, str) else "wrapped"


def _holds(branch, value):
    return type(value) is _TYPES[_kind(branch)]


def _blocks(elements, cut):
    out, start = b"", 0
    for length, sized in cut(len(elements)):
        out += block(elements[start : start + length], sized=sized)
        start += length
    rest = elements[start:]
    return out + (block(rest) if rest else b"") + b"\0"
