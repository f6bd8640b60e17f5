"""What breaks between a writer's schema and a reader's, by Avro's rules; and that decoders agree."""

import json

import pytest

from processor.codec.compatibility import Schema, breaks
from processor.codec.decoders import AS_DICTIONARY, compile_decoder


def record(*fields, name="R", **more):
    """Give a record of fields, each a type or a whole field, named a, b, c."""
    named = [
        {"name": letter, **(field if isinstance(field, dict) and "name" not in field and "of" in field else {})}
        | ({"type": field["of"]} if isinstance(field, dict) and "of" in field else {"type": field})
        for letter, field in zip("abc", fields, strict=False)
    ]
    for field in named:
        field.pop("of", None)
    return {"type": "record", "name": name, "fields": named, **more}


def enum(*symbols, **more):
    """Give an enum."""
    return {"type": "enum", "name": "E", "symbols": [*symbols], **more}


def fixed(size, name="F"):
    """Give a fixed."""
    return {"type": "fixed", "name": name, "size": size}


def decimal(scale):
    """Give a decimal."""
    return {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": scale}


def compared(writer, reader):
    """Give what breaks between two schemas."""
    return breaks(Schema(json.dumps(writer)), Schema(json.dumps(reader)))


READ = {
    "the same": (record("string"), record("string")),
    "int as double": (record("int"), record("double")),
    "long as float": (record("long"), record("float")),
    "string as bytes": (record("string"), record("bytes")),
    "a field more": (record("string", "int"), record("string")),
    "a default": (record("string"), record("string", {"of": "int", "default": 1})),
    "an alias of a field": (record("string"), record({"of": "string", "name": "z", "aliases": ["a"]})),
    "another namespace": (record("string", namespace="x"), record("string", namespace="y")),
    "an alias of a record": (record("int", name="Old"), record("int", aliases=["Old"])),
    "into a union": (record("string"), record(["null", "string"])),
    "out of a union": (record(["string"]), record("string")),
    "promoted into a union": (record(["null", "int"]), record(["null", "long"])),
    "an enum's symbol with a default": (record(enum("A", "B")), record(enum("A", default="A"))),
    "a decimal": (record(decimal(4)), record(decimal(4))),
    "a list": (
        record({"of": ["null", "R"], "default": None}),
        record({"of": ["null", "R"], "default": None}),
    ),
}
BROKEN = {
    "a type": (record("string"), record("int"), "a: string cannot be read as int"),
    "narrowed": (record("long"), record("int"), "a: long cannot be read as int"),
    "no default": (record("int"), record("int", "int"), "b: the writer has no such field"),
    "a name": (
        record("int", name="A"),
        record("int", name="B"),
        "the whole value: record A cannot be read as record B",
    ),
    "a branch": (record(["null", "string"]), record("string"), "a: null cannot be read as string"),
    "none of a union": (record("boolean"), record(["null", "int"]), "a: boolean cannot be read as one of null, int"),
    "a symbol": (record(enum("A", "B")), record(enum("A")), "a: the reader's enum has no B, and no default"),
    "a size": (record(fixed(4)), record(fixed(8)), "a: 4 bytes cannot be read as 8"),
    "a fixed's name": (record(fixed(4)), record(fixed(4, "G")), "a: fixed F cannot be read as fixed G"),
    "a scale": (record(decimal(2)), record(decimal(4)), "a: a decimal of scale 2 cannot be read as one of scale 4"),
    "in an array": (
        record({"of": {"type": "array", "items": "string"}}),
        record({"of": {"type": "array", "items": "int"}}),
        "a[]: string cannot be read as int",
    ),
    "in a map of records": (
        record({"of": {"type": "map", "values": record("string", name="I")}}),
        record({"of": {"type": "map", "values": record("int", name="I")}}),
        "a{}.a: string cannot be read as int",
    ),
    "in a list": (
        record({"of": ["null", "R"], "default": None}, "string"),
        record({"of": ["null", "R"], "default": None}, "int"),
        "b: string cannot be read as int",
    ),
}


@pytest.mark.parametrize(("writer", "reader"), READ.values(), ids=READ)
def test_what_avro_resolves_does_not_break(writer, reader):
    """Added fields, defaults, promotions, aliases and unions, recursive types too."""
    assert compared(writer, reader) == []


@pytest.mark.parametrize(("writer", "reader", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_is_named_by_its_path(writer, reader, reason):
    """One reason, with the path in the reader's record."""
    (found,) = compared(writer, reader)
    assert found.startswith(reason)


@pytest.mark.parametrize("name", ["a type", "narrowed", "no default", "a name", "none of a union"])
def test_a_decoder_refuses_what_breaks(name):
    """The check that a producer's CI runs and the program that reads its events agree."""
    writer, reader, _ = BROKEN[name]
    with pytest.raises(ValueError, match=r"."):
        compile_decoder(writer, reader, AS_DICTIONARY)


def test_reasons_are_bounded():
    """A wholly different record has a page of reasons; ten are enough."""
    fields = [{"name": f"f{number}", "type": "int"} for number in range(50)]
    assert len(compared(record(), {"type": "record", "name": "R", "fields": fields})) == 10


@pytest.mark.parametrize(
    "text", ["", "{", "17", '"no such type"', '{"type": "record"}', "[" * 100_000, '{"type": "array"}', "null"]
)
def test_what_is_no_schema_says_so(text):
    """Never another error than the one that says it."""
    with pytest.raises(ValueError, match=r"^not an Avro schema: ."):
        Schema(text)
