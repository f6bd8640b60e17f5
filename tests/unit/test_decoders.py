"""Decoders of writers' schemas that are not the reader's: resolved as fastavro resolves them, and as strict as any."""

import io
import json
from contextlib import suppress
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.decoders import AS_DICTIONARY, AS_EVENT, AS_PLAIN_EVENT, compile_decoder
from processor.codec.resolution import MismatchError
from processor.domain.records import UndecodableError
from tests.support import strict_avro
from tests.support.avro_writer import block, cuts, text, values, varint, write
from tests.support.events import exact
from tests.support.hostile import examples
from tests.support.schemas import SCHEMAS
from tests.unit.test_avro import OLDER

NEWEST = json.loads((SCHEMAS / "order-event.1.avsc").read_text(encoding="utf-8"))
PRIMITIVES = ("null", "boolean", "int", "long", "double", "string", "bytes")
SCALARS = ("null", "string", "boolean", "long", "double")
NARROWER = {"long": ["int"], "double": ["int", "long"], "string": ["bytes"], "bytes": ["string"]}
SYMBOLS = ("A", "B", "C")


@st.composite
def schemas(draw, depth=3):
    """Draw a reader's schema; the names of records and enums are those of their place."""
    kind = draw(st.sampled_from((*PRIMITIVES, "enum") if not depth else (*PRIMITIVES, *CONTAINERS, *CONTAINERS)))
    return draw(CONTAINERS[kind](depth)) if kind in CONTAINERS else {"enum": enum()}.get(kind, kind)


def enum(symbols=SYMBOLS):
    """Give an enum."""
    return {"type": "enum", "name": "E", "symbols": list(symbols)}


@st.composite
def unions(draw, depth):
    """Draw a union whose branches Python's types tell apart; a long before a double, which fastavro would choose."""
    scalars = draw(st.lists(st.sampled_from(SCALARS), unique=True, min_size=1).map(sorted))
    scalars = [kind for kind in scalars if kind != "double"] + ["double"] * ("double" in scalars)
    more = draw(st.lists(schemas(depth - 1), max_size=1))
    return scalars + ([{"type": "array", "items": with_bytes(more[0])}] if more else [])


def with_bytes(schema):
    """Give a schema of elements that take bytes."""
    return schema if takes_bytes(schema) else "string"


def takes_bytes(schema):
    """Tell whether a value of a schema takes any bytes."""
    if isinstance(schema, dict) and "fields" in schema:
        return any(takes_bytes(field["type"]) for field in schema["fields"])
    return schema != "null"


@st.composite
def records(draw, depth):
    """Draw a record, most of whose fields have a default."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1, max_size=4))
    fields = [{"name": name, "type": draw(schemas(depth - 1))} for name in names]
    return {"type": "record", "name": f"R{depth}", "fields": [*fields, {"name": "z", "type": "long", "default": 7}]}


CONTAINERS = {
    "array": lambda depth: schemas(depth - 1).map(lambda items: {"type": "array", "items": with_bytes(items)}),
    "map": lambda depth: schemas(depth - 1).map(lambda inner: {"type": "map", "values": with_bytes(inner)}),
    "union": unions,
    "record": records,
}


@st.composite
def writers(draw, reader):
    """Draw another version of a reader's schema: narrower, without some fields, with others, in another order."""
    if isinstance(reader, list):
        branches = draw(st.permutations(reader))
        return draw(st.sampled_from([branches, branches[1:] or branches, branches[0]]))
    if isinstance(reader, str):
        return draw(st.sampled_from([reader, reader, *NARROWER.get(reader, [])]))
    match reader["type"]:
        case "array":
            return {"type": "array", "items": with_bytes(draw(writers(reader["items"])))}
        case "map":
            return {"type": "map", "values": with_bytes(draw(writers(reader["values"])))}
        case "enum":
            return enum(draw(st.sampled_from([SYMBOLS, SYMBOLS[::-1], (*SYMBOLS, "D"), SYMBOLS[:1]])))
    fields = [{"name": f["name"], "type": draw(writers(f["type"]))} for f in draw(st.permutations(reader["fields"]))]
    fields = draw(st.sampled_from([fields, fields[1:]]))
    more = draw(st.lists(schemas(1), max_size=1))
    extra = [{"name": "extra", "type": renamed(schema)} for schema in more]
    return {**reader, "fields": draw(st.permutations(extra + fields))}


def renamed(schema):
    """Give a type that the reader has no name for."""
    if isinstance(schema, dict) and "name" in schema:
        fields = {"fields": [{**f, "type": renamed(f["type"])} for f in schema["fields"]]} if "fields" in schema else {}
        return {**schema, "name": f"Extra{schema['name']}", **fields}
    if isinstance(schema, dict):
        return {name: renamed(inner) for name, inner in schema.items()}
    return [renamed(branch) for branch in schema] if isinstance(schema, list) else schema


@st.composite
def versions(draw):
    """Draw a writer's and a reader's schema, and a value of the writer's, written."""
    reader = draw(schemas().filter(names_are_unique))
    writer = draw(writers(reader).filter(names_are_unique))
    return writer, reader, write(writer, draw(values(writer)), draw(cuts()))


def names_are_unique(schema):
    """Tell whether no name is given to two types."""
    try:
        fastavro.parse_schema(schema)
    except fastavro.schema.SchemaParseException:
        return False
    return True


REFUSED = object()


def by_fastavro(writer, reader, body):
    """Give what fastavro reads, or that it refuses."""
    stream = io.BytesIO(body)
    try:
        value = fastavro.schemaless_reader(stream, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    except (fastavro.read.SchemaResolutionError, UnicodeDecodeError):
        return REFUSED
    return value


@examples(600)
@given(drawn=versions())
def test_a_writers_schema_is_resolved_as_fastavro_resolves_it(drawn):
    """Fields by name, defaults, numbers widened, branches of unions, symbols of enums: the same value, or refused."""
    writer, reader, body = drawn
    expected = by_fastavro(writer, reader, body)
    try:
        decode = compile_decoder(writer, reader, AS_DICTIONARY)
    except MismatchError:
        # fastavro notices when it comes to such a value, which it does not in an empty array or map
        assert expected is REFUSED or b"\0" in body
        return
    try:
        found = decode(body, 0)
    except UndecodableError:
        found = REFUSED
    if expected is REFUSED or found is REFUSED:
        assert found is expected
    else:
        assert exact(found) == exact(expected)


def test_a_field_may_have_had_another_name():
    """Where the reader's schema names it as an alias."""
    was = {"type": "record", "name": "R", "fields": [{"name": "old", "type": "long"}, {"name": "b", "type": "string"}]}
    now = {"name": "new", "type": "long", "aliases": ["older", "old"]}
    decode = compile_decoder(was, was | {"fields": [was["fields"][1], now]}, AS_DICTIONARY)
    assert decode(b"\x0a\x02x", 0) == {"b": "x", "new": 5}


@examples(400)
@given(drawn=versions(), data=st.data())
def test_what_no_writer_makes_is_refused(drawn, data):
    """Cut, longer or changed anywhere: refused where the strict reference refuses it, in what the reader lacks too."""
    writer, reader, body = drawn
    try:
        decode = compile_decoder(writer, reader, AS_DICTIONARY)
    except MismatchError:
        return
    place = data.draw(st.integers(0, len(body)))
    changed = body[:place] + data.draw(st.binary(max_size=3)) + body[place + data.draw(st.integers(0, 2)) :]
    with suppress(UndecodableError):
        decode(changed, 0)
        _, end = strict_avro.compile_decoder(writer)(changed, 0)
        assert end == len(changed)


def shop_event(*more, **changed):
    """Give another team's schema of an OrderEvent: other fields besides, parameters with one more branch and field."""
    value = {"name": "value", "type": [*NEWEST_VALUES, *changed.get("branches", [])]}
    param = {"type": "record", "name": "Param", "fields": [{"name": "at", "type": "float"}, value, NAME]}
    fields = [{"name": "params", "type": {"type": "array", "items": param}}, {"name": "eventTypeKey", "type": "bytes"}]
    return {"type": "record", "name": "OrderEvent", "namespace": "shop", "fields": [*fields, *more]}


PARAM = NEWEST["fields"][2]["type"]["items"]["fields"]
NAME, NEWEST_VALUES = PARAM[0], PARAM[1]["type"]
AT = b"\0\0\x80?"


def test_an_event_of_another_teams_schema_is_read():
    """Other fields are dropped, the order of fields does not matter, and what is lacking has its default."""
    fixed = {"name": "trace", "type": {"type": "fixed", "name": "Trace", "size": 3}}
    decode = compile_decoder(shop_event(fixed), NEWEST, AS_EVENT)
    body = block([AT + varint(3) + varint(5) + text("n"), AT + varint(0) + text("m")]) + b"\0"
    event = decode(body + text("orderCreated") + b"abc", 0)
    assert (event.event_type, event.key_value, event.params) == ("orderCreated", "", {"n": 5, "m": None})
    twice = block([AT + varint(0) + text("n")] * 2) + b"\0"
    assert decode(twice + text("orderCreated") + b"abc", 0) is None
    for refused in (body + text("orderCreated") + b"ab", body + text("orderCreated") + b"abcd", body + text("\0")[:1]):
        with pytest.raises(UndecodableError):
            decode(refused, 0)


def test_a_branch_that_the_reader_lacks_is_refused_where_it_comes():
    """Not before: most parameters are of types that are known."""
    branches = [{"type": "fixed", "name": "F", "size": 1}, {"type": "map", "values": "long"}]
    decode = compile_decoder(shop_event(branches=branches), NEWEST, AS_EVENT)
    start = block([AT + varint(3) + varint(5) + text("n")]) + b"\0" + text("orderCreated")
    assert decode(start, 0).params == {"n": 5}
    for index, value in ((6, b"x"), (7, b"\0")):
        with pytest.raises(UndecodableError, match="type that is not known"):
            decode(block([AT + varint(index) + value + text("n")]) + b"\0" + text("orderCreated"), 0)


@pytest.mark.parametrize(
    ("kind", "wanted", "written", "expected"),
    [
        ("long", ["double", "long"], varint(1), 1),  # the same type, whatever comes first
        ("int", ["double", "long"], varint(1), 1.0),
        ("bytes", ["string", {"type": "bytes", "logicalType": "decimal", "precision": 4}], b"\x02\x7f", b"\x7f"),
        ("float", "double", b"\0\0\x80?", 1.0),
        ("string", "bytes", text("ї"), "ї".encode()),
    ],
)
def test_numbers_and_texts_become_wider_ones(kind, wanted, written, expected):
    """By Avro's promotions; of a union the branch of the same type comes first, as in Java."""
    assert exact(compile_decoder(kind, wanted, AS_DICTIONARY)(written, 0)) == exact(expected)


def test_an_older_version_in_a_few_bytes_has_the_newests_bound():
    """However an event's elements are spread, and whatever the writer calls them."""
    decode = compile_decoder(OLDER, NEWEST, AS_PLAIN_EVENT)
    params = [text(f"p{number}") + b"\0" for number in range(20_001)]
    assert len(decode(text("t") + block(params[1:]) + b"\0", 0)["params"]) == 20_000
    with pytest.raises(UndecodableError, match="more than 20000 elements"):
        decode(text("t") + block(params) + b"\0", 0)


def nested(depth, inner="long"):
    """Give arrays in arrays."""
    for _ in range(depth):
        inner = {"type": "array", "items": inner}
    return inner


def doubling(depth, kind="long"):
    """Give a schema of a few lines whose values are 2 to the power of its depth."""
    records = kind
    for level in range(depth):
        again = f"D{level - 1}" if level else kind
        fields = [{"name": "a", "type": records}, {"name": "b", "type": again}]
        records = {"type": "record", "name": f"D{level}", "fields": fields}
    return records


ENDLESS = {"type": "record", "name": "A", "fields": [{"name": "a", "type": "A"}]}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "record", "name": "A", "fields": [{"name": "a", "type": ["null", "A"]}]}, "recursive"),
        ({"type": "array", "items": "null"}, "no bytes"),
        ({"type": "map", "values": {"type": "record", "name": "A", "fields": []}}, None),  # its name takes some
        ({"type": "array", "items": {"type": "record", "name": "A", "fields": []}}, "no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "A", "size": 0}}, "no bytes"),
        *(({"type": "fixed", "name": "A", "size": size}, "a fixed of size") for size in (-1, None, "3", 1.5, True)),
        ({"type": "map", "values": {"type": "fixed", "name": "A", "size": -2}}, "a fixed of size"),
        ({"type": "array", "items": {"type": "fixed", "name": "A", "size": None}}, "a fixed of size"),
        ({"type": "array", "items": ENDLESS}, "not a schema"),
        (ENDLESS, "recursive"),
        (nested(5), None),
        (nested(30), "nested"),
        (nested(2_000), "not a schema"),
        (doubling(4), None),
        (doubling(40), "too large"),
        ({"type": "array", "items": doubling(40, "null")}, "too large"),
        ([*({"type": "enum", "name": f"E{n}", "symbols": ["A"]} for n in range(3_000))], "too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_writers_schema_that_could_cost_too_much_is_refused(schema, problem):
    """When the decoder is made, and at once; what its values cost is bounded by their bytes."""
    number = {"name": "n", "type": "int"}
    whole = {"type": "record", "name": "W", "fields": [{"name": "dropped", "type": schema}, number]}
    reader = {"type": "record", "name": "W", "fields": [number]}
    if problem is None:
        compile_decoder(whole, reader, AS_DICTIONARY)
    else:
        with pytest.raises(ValueError, match=problem):
            compile_decoder(whole, reader, AS_DICTIONARY)


@pytest.mark.parametrize("kind", ["float", {"type": "fixed", "name": "F", "size": 2}])
def test_the_topics_own_schemas_have_no_other_types(kind):
    """Alone, in an array, in a union: what is not read here is not in a reader's schema."""
    for schema in (kind, {"type": "array", "items": kind}, ["null", kind]):
        with pytest.raises(ValueError, match="not one that a value may have here"):
            compile_decoder(schema, schema, AS_DICTIONARY)


def test_names_of_a_foreign_schema_are_not_run():
    """A schema comes from a registry: whatever stands in its names is text."""
    evil = "x'] + __import__('os').abort() + ['\"\"\"\n"
    named: Any = {"type": "record", "name": "W", "fields": [{"name": evil, "type": "long", "default": 1}]}
    aliased: Any = {"name": "n", "type": "long", "aliases": [evil], "default": 2}
    reader: Any = {"type": "record", "name": "W", "fields": [aliased]}
    for writer in (named, reader):
        for wanted in (named, reader):
            try:
                decode = compile_decoder(writer, wanted, AS_DICTIONARY)
            except ValueError:
                continue
            assert list(decode(b"\x0e", 0)) == [wanted["fields"][0]["name"]]
