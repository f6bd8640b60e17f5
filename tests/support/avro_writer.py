"""A plain Avro writer that makes what real writers may make and fastavro never does: blocks of any cut.

Arrays and maps may come in several blocks, and a block may begin with a negative count and its size in
bytes. Union branches are chosen by the value's type. Logical types are not known here: values are raw.
"""

import struct

from hypothesis import strategies as st

_LIMITS = {"int": 31, "long": 63}


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
    match _kind(schema):
        case "null":
            return b""
        case "boolean":
            return bytes([value])
        case "int" | "long":
            return varint(value)
        case "double":
            return struct.pack("<d", value)
        case "string":
            return text(value)
        case "bytes":
            return varint(len(value)) + value
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
        case _:
            return write(schema["type"], value, cut)


def values(schema):
    """Give a strategy for all values of a schema, as fastavro reads them without logical types."""
    match _kind(schema):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int" | "long" as kind:
            return st.integers(-(1 << _LIMITS[kind]), (1 << _LIMITS[kind]) - 1)
        case "double":
            return st.floats()
        case "string":
            return st.text(max_size=10)
        case "bytes":
            return st.binary(max_size=10)
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
        case _:
            return values(schema["type"])


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
    expected = {
        **{"null": type(None), "boolean": bool, "int": int, "long": int, "double": float, "string": str},
        **{"bytes": bytes, "array": list, "map": dict, "record": dict},
    }
    return type(value) is expected[_kind(branch)]


def _blocks(elements, cut):
    out, start = b"", 0
    for length, sized in cut(len(elements)):
        out += block(elements[start : start + length], sized=sized)
        start += length
    rest = elements[start:]
    return out + (block(rest) if rest else b"") + b"\0"
