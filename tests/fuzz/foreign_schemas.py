"""Writers' schemas of other teams, and of a hostile registry: as Hypothesis draws them, and the largest by name.

A case is a record and what the registry answers. Mostly the schema is ours with other fields, another order, narrower
types or fewer branches; then something in its JSON, in the answer around it, or in the bytes may be wrong.
"""

import copy
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from processor.domain.records import Record
from tests.fuzz.case import KEY, RESOLVABLE, Case
from tests.reference import Rules
from tests.support.avro_writer import block, cuts, text, values, write
from tests.support.events import RIGHT
from tests.support.facts import without_decimal
from tests.support.hostile import once_in
from tests.support.schemas import schema_of, versions_of
from tests.unit.test_decoders import names_are_unique, renamed, schemas

ID, GUID = 7, UUID(int=0x1234567890ABCDEF1234567890ABCDEF)
BY_ID, BY_GUID = b"\0" + ID.to_bytes(4, "big"), b"\1" + GUID.bytes
HEADER = "__value_schema_id"
EVENTS = [schema_of("order-event", version) for version in versions_of("order-event")]
FOREIGN = "foreign"
EVIL = (
    *("", " ", "x'", 'x"', "x\n    raise SystemExit", "'''", '"""', "{0}", "%s", "\\", "\0", "\u2028", "\ud800", "é"),
    *("__import__('os').abort()", "b", "p", "left", "None", "Param", "OrderEvent", "orderfacts.v1.OrderEvent", "a.b.c"),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 10**30, -(10**30), float("inf"), float("-inf"), float("nan")),
    *([], {}, [[]], [{}], {"type": "long"}, {"type": None}, {"type": []}, ["null", "null"], "x", "A" * 5_000),
    *("record", "enum", "fixed", "array", "map", "union", "error", "request", "null", "long", "bytes"),
    *({"type": "fixed", "name": "F", "size": size} for size in (0, -1, -8, None, "3", 1.5, True, 1 << 70)),
    *({"type": "enum", "name": "E", "symbols": symbols} for symbols in ([], "AB", {"A": 1}, None, [None])),
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
    {"type": "record", "name": "R", "fields": [{"name": "again", "type": ["null", "R"]}]},
    {"type": "record", "name": "R", "fields": []},
    {"type": "array", "items": {"type": "record", "name": "R", "fields": [{"name": "n", "type": "null"}]}},
)


# --- resolvable schemas --------------------------------------------------------------------------------


@st.composite
def _fields(draw, fields, taken):
    """Draw a record's fields: in another order, some more among them."""
    more = draw(st.lists(schemas(2), max_size=2))
    extra = [{"name": f"extra{taken}{n}", "type": renamed(schema)} for n, schema in enumerate(more)]
    return draw(st.permutations(extra + fields))


@st.composite
def foreign_events(draw):
    """Draw a schema that resolves to ours, and an event's value written by it."""
    schema = copy.deepcopy(draw(st.sampled_from(EVENTS)))
    fields = {field["name"]: field for field in schema["fields"]}
    param = fields["params"]["type"]["items"]
    value = next(field for field in param["fields"] if field["name"] == "value")
    value["type"] = draw(st.permutations(value["type"]))
    if once_in(draw, 3):
        value["type"] = [branch for branch in value["type"] if branch != "double"]
    fields["eventTypeKey"]["type"] = draw(st.sampled_from(["string", "string", "bytes"]))
    param["fields"] = draw(_fields(param["fields"], "p"))
    kept = [field for name, field in fields.items() if name != "keyValue" or not once_in(draw, 3)]
    schema["fields"] = draw(_fields(kept, "e"))
    return schema, write(schema, draw(values(schema)), draw(cuts()))


@st.composite
def right_events(draw):
    """Draw a schema that resolves to ours, and a right orderCreated written by it."""
    schema = copy.deepcopy(EVENTS[-1])
    schema["fields"] = draw(_fields(schema["fields"], "e"))
    more = {field["name"]: draw(values(field["type"])) for field in schema["fields"]}
    params = [{"name": name, "value": without_decimal(value)} for name, value in RIGHT.items()]
    return schema, write(schema, {**more, "eventTypeKey": "orderCreated", "params": params}, draw(cuts()))


_RESOLVABLE_EVENTS = st.one_of(foreign_events(), right_events()).filter(lambda drawn: names_are_unique(drawn[0]))


# --- what is wrong with them ---------------------------------------------------------------------------


def _places(node, path=()):
    yield path
    if isinstance(node, dict | list):
        for name, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _places(inner, (*path, name))


@st.composite
def _spoiled(draw, node):
    """Draw some JSON in which something is another value, gone, under another name, doubled, or around itself."""
    node = copy.deepcopy(node)
    for _ in range(draw(st.integers(1, 2))):
        path: list[Any] = ["whole", *draw(st.sampled_from(list(_places(node))))]
        last = path.pop()
        whole: Any = {"whole": node}
        holder = whole
        for name in path:
            holder = holder[name]
        odd = copy.deepcopy(draw(st.sampled_from((*ODD, *EVIL))))
        match draw(st.sampled_from(("value", "value", "text", "gone", "name", "twice", "around"))):
            case "value":
                holder[last] = odd
            case "text":
                holder[last] = draw(st.sampled_from(EVIL))
            case "gone" if path:
                del holder[last]
            case "name" if isinstance(holder, dict) and path:
                holder[draw(st.sampled_from(EVIL))] = holder.pop(last)
            case "twice" if isinstance(holder, list):
                holder.append(holder[last])
            case "around":
                holder[last] = draw(st.sampled_from([[holder[last]], {"type": holder[last]}, {"a": holder[last]}]))
        node = whole["whole"]
    return node


def _with_references(schema):
    """Give an answer whose schema has the type of its parameters in another subject, and that one's answer."""
    schema = copy.deepcopy(schema)
    field = next(field for field in schema["fields"] if field["name"] == "params")
    param = {"namespace": schema["namespace"], **field["type"]["items"]}
    field["type"] = {"type": "array", "items": f"{schema['namespace']}.Param"}
    references = [{"name": f"{schema['namespace']}.Param", "subject": "param", "version": 1}]
    return {"schema": json.dumps(schema), "references": references}, {"schema": json.dumps(param)}


@st.composite
def foreign_cases(draw):
    """Draw a record in a registry's framing, and what the registry answers."""
    schema, body = draw(_RESOLVABLE_EVENTS)
    name = RESOLVABLE
    if is_spoiled := once_in(draw, 2):
        schema, name = draw(_spoiled(schema)), FOREIGN
    answer, further = {"schema": json.dumps(schema)}, {"schema": '"string"'}
    if not is_spoiled and once_in(draw, 3):
        answer, further = _with_references(schema)
    if once_in(draw, 4):
        answer, name = draw(_spoiled(answer | draw(st.sampled_from(_AROUND)))), FOREIGN
    if once_in(draw, 6):
        further, name = draw(_spoiled(further)), FOREIGN
    if once_in(draw, 4):
        place, change = draw(st.integers(0, len(body))), draw(st.binary(max_size=3))
        body = body[:place] + change + body[place + draw(st.integers(0, 2)) :]
    value, headers = draw(_framed(body))
    return case_of(answer, value, headers, {"/subjects/param/versions/1": further}, name)


_TYPES: tuple[Any, ...] = ("AVRO", "PROTOBUF", 5, [], None)
_RULES: tuple[Any, ...] = ([], {"domainRules": [{"name": "n", "type": "ENCRYPT"}]}, {"encodingRules": [1]})
_REFERENCES: tuple[Any, ...] = (5, "ab", [1], [{}], [{"name": "n", "subject": "param", "version": 1}] * 12)
_AROUND: tuple[dict[str, Any], ...] = (
    *({"schemaType": kind} for kind in _TYPES),
    *({"ruleSet": rules} for rules in _RULES),
    *({"references": some} for some in _REFERENCES),
    {"references": [{"name": "n", "subject": "param", "version": float("inf")}]},
    {"references": [{"name": [[[]]], "subject": "../..", "version": -1}]},
    {"references": [{"name": "n", "subject": "nobody's", "version": 1}]},
)


@st.composite
def _framed(draw, body):
    """Draw a framing of a body, right more often than not: value and headers."""
    sound = (BY_ID + body, ()), (BY_GUID + body, ()), (body, ((HEADER, BY_ID),)), (body, ((HEADER, BY_GUID),))
    odd = (
        (BY_ID + body, ((HEADER, BY_ID),)),  # both at once: the header wins
        (BY_GUID + body, ((HEADER, None),)),
        (body, ((HEADER, b""), (HEADER, BY_ID))),
        (body, ((HEADER, BY_ID[:-1]),)),
        (body, ((HEADER, b"\2" + BY_GUID[1:]),)),
        (body, ()),
        ((BY_ID + body)[: draw(st.integers(0, 6))], ()),
        ((BY_GUID + body)[: draw(st.integers(0, 18))], ()),
        (b"\0" + draw(st.binary(min_size=4, max_size=4)) + body, ()),
        (b"\2" + body, ()),
    )
    return draw(st.sampled_from(odd if once_in(draw, 5) else sound))


def case_of(answer, value, headers=(), further=(), name=FOREIGN):
    """Give the case of one record and the registry's answer for its schema."""
    said = answer if isinstance(answer, bytes) else json.dumps(answer).encode(errors="replace")
    answers = {f"/schemas/ids/{ID}": said, f"/schemas/guids/{GUID}": said}
    answers |= {path: json.dumps(one).encode(errors="replace") for path, one in dict(further).items()}
    return Case((Record(0, 0, 1_000, KEY, value, headers),), Rules(), name=name, answers=tuple(answers.items()))


# --- the largest, by name ------------------------------------------------------------------------------

BODY = text("orderCreated") + text("") + block([text(name) + b"\x02" + text(value) for name, value in RIGHT.items()])


def _added(*types, **named):
    """Give our schema with fields of these types behind its own."""
    schema = copy.deepcopy(EVENTS[0])
    given = {f"q{number}": kind for number, kind in enumerate(types)} | named
    return schema | {"fields": [*schema["fields"], *({"name": name, "type": kind} for name, kind in given.items())]}


def _nested(levels, start, end, inner='"long"'):
    return json.dumps(_added("@@")).replace('"@@"', start * levels + inner + end * levels)


def _doubling(levels):
    kind: Any = "long"
    for level in range(levels):
        again = f"D{level - 1}" if level else kind
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": again}]
        kind = {"type": "record", "name": f"D{level}", "fields": fields}
    return kind


_BACK = {"type": "record", "name": "B", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": "@@"}]}


def _backwards(size):
    """Give a record whose second field may lead back to its first, if a size may be negative."""
    fixed = {"type": "fixed", "name": "F", "size": size}
    return json.loads(json.dumps(_BACK).replace('"@@"', json.dumps(fixed)))


_CIRCLE = [{"name": "n", "subject": "param", "version": 1}]


def _enum(count):
    return _added({"type": "enum", "name": "E", "symbols": [f"S{number}" for number in range(count)]})


def _fixed(size):
    return _added({"type": "fixed", "name": "F", "size": size})


def _array_of_fixed(size):
    return _added({"type": "array", "items": _backwards(size)})


_SELF = {"type": "record", "name": "L", "fields": [{"name": "l", "type": ["null", "L"]}]}
_SIZED: dict[str, tuple[Callable[[Any], Any], tuple[Any, ...]]] = {
    "arrays in each other": (lambda n: _nested(n, '{"type": "array", "items": ', "}"), (20, 90, 300, 2_000)),
    "maps in each other": (lambda n: _nested(n, '{"type": "map", "values": ', "}"), (20, 90, 300, 2_000)),
    "unions in each other": (lambda n: _nested(n, "[", "]"), (20, 300, 9_000)),
    "types in each other": (lambda n: _nested(n, '{"type": ', "}"), (20, 300, 9_000)),
    "records that double": (lambda n: _added(_doubling(n)), (5, 10, 60)),
    "fields": (lambda n: _added(*["long"] * n), (400, 1_900, 3_000)),
    "unions": (lambda n: _added(*[["null", "string", "double"]] * n), (100, 480, 1_500)),
    "symbols": (_enum, (100, 12_000)),
    "bytes in a fixed": (_fixed, (0, -1, -5, None, "3", 1.5, True, 1 << 70)),
    "bytes in a fixed in an array": (_array_of_fixed, (0, -1, -2, -9, None, "3", 1 << 70)),
}
SCHEMAS: dict[str, Callable[[], Any]] = {
    **{f"{size} {what}": partial(make, size) for what, (make, sizes) in _SIZED.items() for size in sizes},
    "128 KiB of documentation": lambda: _added(q={"type": "long", "doc": "x" * 129_000}),
    "128 KiB of white space": lambda: json.dumps(EVENTS[0]) + " " * 126_000,
    "a list that refers to itself": lambda: _added(_SELF),
    "itself": lambda: _added(["null", "orderfacts.v1.OrderEvent"]),
    "a name that is code": lambda: _added(**{"x'] + __import__('os').abort() + ['": "long"}),
}
ANSWERS: dict[str, Any] = {
    "a list": [1],
    "a text": "x",
    "a circle": ({"schema": '"n"', "references": _CIRCLE}, {"schema": '"n"', "references": _CIRCLE}),
    "a reference answered by a list": ({"schema": json.dumps(EVENTS[0]), "references": _CIRCLE}, [1]),
    "a reference to no version": (
        {"schema": json.dumps(EVENTS[0]), "references": [{"name": "n", "subject": "s", "version": float("inf")}]},
        {},
    ),
    "more than is read": {"schema": " " * 140_000},
}


def named(name):
    """Give the case of a schema or an answer with a name."""
    if name in ANSWERS:
        said = ANSWERS[name]
        answer, further = said if isinstance(said, tuple) else (said, {})
    else:
        schema = SCHEMAS[name]()
        answer, further = {"schema": schema if isinstance(schema, str) else json.dumps(schema)}, {}
    body = BODY + b"\0" + b"\2" * 200
    return case_of(answer, BY_ID + body, further={"/subjects/param/versions/1": further}, name=name)


KINDS = (*SCHEMAS, *ANSWERS)
