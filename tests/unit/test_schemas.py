"""The Avro schemas: what is public about them, what is released and stays, and what a broken folder says."""

import hashlib
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.avro import Codec, codec
from processor.domain.orders import STATUSES
from processor.errors import StopError
from tests.support.avro_writer import cuts, values, write
from tests.support.hostile import examples
from tests.support.schemas import SCHEMAS, copy_schemas

SUBJECTS = ("order-event", "contact", "order-fact", "segment-member")
FILES = sorted(SCHEMAS.glob("*.avsc"))
SCHEMA = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in FILES}

# What was released: a version's fingerprint on the wire, and a digest of all of it but the docs. A schema
# that changed needs a new file, <subject>.<n + 1>.avsc, and a line here; these lines never change.
RELEASED = {
    "contact.1.avsc": ("859f5ef61f7addb3", "cd0b190287f85fd0b76bd219a610198b193bec71b9fc52ff85d305084c705c30"),
    "order-event.1.avsc": ("b4a67650bd41902c", "fd77fdb51417cccaad19984ebfde7189f1c6d15aff9257a7cb228dc1b539dd76"),
    "order-event.2.avsc": ("727ffd519609b37c", "5036c58ecfc9e9e03f73f4a21f2ecbfb5bca7afef3ef1d94efdf06835b6812ae"),
    "order-fact.1.avsc": ("4745bd1babb20ec1", "edd44fe20c775e6f99309c9412f44d3e20cb76809ce649a8430e6ef46b061d7b"),
    "order-fact.2.avsc": ("a07bbeed9a297184", "b1ef0281016f9ca9686ef7382c517ae6c37dc859a3c6a88c0b787518ac2c30ac"),
    "segment-member.1.avsc": ("1cdb723d08cdd8ac", "fe9649ffe6080dbea86f15174ffc82d1091edde29cfe4602cdaaf34e1002ca71"),
}
SCALAR_MAP = "map of (null, boolean, long, double, string)"
TEXT = "null | string = null"
MONEY = "null | decimal(18,4) on bytes = null"
NATIVE_MAP = "map of (null, string, boolean, long, double)"
NATIVE_ARRAY = f"array of null | string | boolean | long | double | {NATIVE_MAP}"
SHAPES = {
    "OrderEvent": {
        "eventTypeKey": "string",
        "keyValue": 'string = ""',
        "params": "array of Param",
    },
    "Param": {
        "name": "string",
        "value": f"null | string | boolean | long | double | {NATIVE_ARRAY} | decimal(18,4) on bytes | {NATIVE_MAP}",
    },
    "Contact": {
        "contactId": "string",
        **dict.fromkeys(("externalCustomerId", "email", "phone", "contactKey"), TEXT),
        "pushTokens": "array of string = []",
        "fields": "map of string = {}",
    },
    "OrderFact": {
        **dict.fromkeys(("externalOrderId", "contactId", "identifiedBy"), "string"),
        "status": "OrderStatus",
        "date": "timestamp-millis on long",
        "totalCost": "decimal(18,4) on bytes",
        "currency": TEXT,
        "items": "array of OrderItem",
        **dict.fromkeys(("externalCustomerId", "email", "phone", "firstName", "lastName"), TEXT),
        **dict.fromkeys(("shipping", "discount", "taxes"), MONEY),
        **dict.fromkeys(("statusDescription", "restoreUrl", "storeId", "source", "deliveryMethod"), TEXT),
        **dict.fromkeys(("paymentMethod", "deliveryAddress", "additionalInfo", "cartId"), TEXT),
        "custom": SCALAR_MAP,
        "eventTypeKey": "string",
        **dict.fromkeys(("createdAt", "updatedAt", "statusChangedAt"), "timestamp-millis on long"),
        "revision": "int",
        "sourcePartition": "int",
        "sourceOffset": "long",
        "occurredAt": "null | timestamp-millis on long = null",
    },
    "OrderItem": {
        "externalItemId": "string",
        **dict.fromkeys(("name", "category", "url", "imageUrl", "description"), TEXT),
        "quantity": "double",
        "cost": MONEY,
        "custom": SCALAR_MAP,
    },
    "SegmentMember": {
        **dict.fromkeys(("segment", "contactId"), "string"),
        **dict.fromkeys(("since", "asOf"), "timestamp-millis on long"),
    },
}


def shape(schema):
    """Write a type in the words of `SHAPES`."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return " | ".join(shape(branch) for branch in schema)
    match schema:
        case {"logicalType": "decimal", "precision": precision, "scale": scale, "type": kind}:
            return f"decimal({precision},{scale}) on {kind}"
        case {"logicalType": logical, "type": kind}:
            return f"{logical} on {kind}"
        case {"type": "array", "items": items}:
            return f"array of {shape(items)}"
        case {"type": "map", "values": list() as branches}:
            return f"map of ({', '.join(branches)})"
        case {"type": "map", "values": inner}:
            return f"map of {shape(inner)}"
        case {"name": name}:
            return name
    raise AssertionError(schema)


def parts(schema):
    """Give a schema and everything inside it that is a dict: types and fields."""
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(inner)


def fields_of(record):
    """Give a record's fields in the words of `SHAPES`, defaults included."""
    return {
        field["name"]: shape(field["type"]) + (f" = {json.dumps(field['default'])}" if "default" in field else "")
        for field in record["fields"]
    }


def crc_64_avro(schema):
    """Give the fingerprint of a schema as the Avro specification computes it, from its own parsing canonical form."""
    empty = 0xC15D213AA4D7A795
    table = []
    for byte in range(256):
        entry = byte
        for _ in range(8):
            entry = (entry >> 1) ^ (empty if entry & 1 else 0)
        table.append(entry)
    result = empty
    for byte in json.dumps(canonical(schema, ""), separators=(",", ":"), ensure_ascii=False).encode():
        result = (result >> 8) ^ table[(result ^ byte) & 0xFF]
    return result


def canonical(schema, namespace):
    """Reduce a schema to its parsing canonical form: full names, only what decides the bytes, in the fixed order."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return [canonical(branch, namespace) for branch in schema]
    namespace = schema.get("namespace", namespace)
    reduced = {}
    for key in ("name", "type", "fields", "symbols", "items", "values", "size"):
        if key in schema:
            reduced[key] = canonical(schema[key], namespace) if key in {"type", "items", "values"} else schema[key]
    if "symbols" in reduced or "fields" in reduced:
        reduced["name"] = f"{namespace}.{schema['name']}"
    if "fields" in reduced:
        reduced["fields"] = [
            {"name": field["name"], "type": canonical(field["type"], namespace)} for field in schema["fields"]
        ]
    return reduced["type"] if set(reduced) == {"type"} else reduced


def without_docs(schema):
    """Give a schema without its docs, which may be improved at any time."""
    if isinstance(schema, dict):
        return {name: without_docs(value) for name, value in schema.items() if name != "doc"}
    return [without_docs(branch) for branch in schema] if isinstance(schema, list) else schema


def test_every_subject_has_a_schema_and_no_other_file_is_there():
    """The folder holds the four subjects, by number from 1 without a gap, and beside them what explains them."""
    versions: dict[str, list[int]] = {subject: [] for subject in SUBJECTS}
    for file in SCHEMAS.iterdir():
        if file.name not in {"README.md", "asyncapi.yaml", "logs.schema.json"}:
            subject, number, suffix = file.name.split(".")
            assert suffix == "avsc"
            versions[subject].append(int(number))
    assert all(sorted(found) == list(range(1, len(found) + 1)) for found in versions.values())
    assert all(versions.values())


def test_no_released_schema_is_gone():
    """Facts of years ago are read by the version that wrote them."""
    assert SCHEMA.keys() == RELEASED.keys()


@pytest.mark.parametrize("name", SCHEMA)
def test_a_released_schema_is_not_changed(name):
    """A producer's bytes stay readable: whoever changes a schema adds a new version, and a line in this test."""
    schema = SCHEMA[name]
    fingerprint = crc_64_avro(schema).to_bytes(8, "little").hex()
    digest = hashlib.sha256(json.dumps(without_docs(schema), sort_keys=True).encode()).hexdigest()
    assert RELEASED.get(name) == (fingerprint, digest), f'of a new version: "{name}": ("{fingerprint}", "{digest}"),'


def test_a_header_is_that_of_the_avro_specification():
    """C3 01, then the CRC-64-AVRO of the canonical form, little-endian; the algorithm by the known value of "int"."""
    assert crc_64_avro("int") == 0x7275D51A3F395C8F
    event = codec().encode_event({"eventTypeKey": "", "keyValue": "", "params": []})
    contact = codec().encode_contact(
        {"contactId": "", "pushTokens": [], "fields": {}} | dict.fromkeys(TEXTS_OF_CONTACT)
    )
    assert event[:10] == b"\xc3\x01" + crc_64_avro(SCHEMA["order-event.2.avsc"]).to_bytes(8, "little")
    assert contact[:10] == b"\xc3\x01" + crc_64_avro(SCHEMA["contact.1.avsc"]).to_bytes(8, "little")


TEXTS_OF_CONTACT = ("externalCustomerId", "email", "phone", "contactKey")


@pytest.mark.parametrize("name", SCHEMA)
def test_every_record_enum_and_field_has_a_doc(name):
    """Whoever reads a schema alone understands each of its fields."""
    undocumented = [part["name"] for part in parts(SCHEMA[name]) if "name" in part and not part.get("doc", "").strip()]
    assert undocumented == []


@pytest.mark.parametrize("record", SHAPES)
def test_a_record_is_as_the_contract_says(record):
    """Names in order, types, logical types and defaults of the newest version, and the namespace."""
    newest = {subject: SCHEMA[max(n for n in SCHEMA if n.startswith(f"{subject}."))] for subject in SUBJECTS}
    found = {part["name"]: part for schema in newest.values() for part in parts(schema) if part.get("type") == "record"}
    assert found.keys() == SHAPES.keys()
    assert list(fields_of(found[record]).items()) == list(SHAPES[record].items())
    assert {schema["namespace"] for schema in newest.values()} == {"orderfacts.v1"}


def test_the_status_enum_has_the_rules_statuses():
    """D7's five, in the order that their indexes are written with."""
    [status] = [part for part in parts(SCHEMA["order-fact.2.avsc"]) if part.get("type") == "enum"]
    assert status["name"] == "OrderStatus"
    assert tuple(status["symbols"]) == STATUSES
    assert len(STATUSES) == 5


@pytest.mark.parametrize("name", SCHEMA)
def test_what_a_value_may_cost_is_bounded_by_its_bytes(name):
    """No element of an array or map takes no bytes, and no type holds itself: the strict decoder relies on both."""
    for part in parts(SCHEMA[name]):
        for inner in (part.get("items"), part.get("values")):
            assert inner != "null"
            assert not (isinstance(inner, dict) and inner.get("fields") == [])
    names = [part["name"] for part in parts(SCHEMA[name]) if "fields" in part or "symbols" in part]
    assert len(names) == len(set(names))
    references = [part["type"] for part in parts(SCHEMA[name]) if isinstance(part.get("type"), str)]
    assert set(references) & set(names) == set()


@examples(60)
@given(data=st.data(), name=st.sampled_from(sorted(SCHEMA)))
def test_the_newest_version_reads_every_older_one(data, name):
    """A value that any released version's writer makes is a value of the newest one, with its defaults."""
    subject = name.split(".")[0]
    value = data.draw(values(SCHEMA[name]))
    header = b"\xc3\x01" + bytes.fromhex(RELEASED[name][0])
    encoded = header + write(SCHEMA[name], value, data.draw(cuts()))
    decode: Callable[[bytes], Any] = {
        "order-event": codec().decode_event,
        "contact": codec().decode_contact,
        "order-fact": codec().decode_fact,
        "segment-member": codec().decode_member,
    }[subject]
    newest = SCHEMA[max(other for other in SCHEMA if other.startswith(f"{subject}."))]
    decoded = decode(encoded)
    if subject != "order-fact":
        assert list(decoded) == [field["name"] for field in newest["fields"]]


ONE_FIELD = {"type": "record", "name": "OrderEvent", "fields": [{"name": "a", "type": "string", "doc": "A."}]}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1", "nonsense", '"nope"', '{"type": "recrd"}', '{"type": "record", "fields": []}'),
        *("5", "null", "{}", '{"type": "array"}', '{"type": "record", "name": "A", "fields": 5}'),
        json.dumps({**ONE_FIELD, "fields": [{"name": "a"}]}),
        json.dumps({**ONE_FIELD, "fields": ["a"]}),
        json.dumps({**ONE_FIELD, "fields": [{"name": "a", "type": "float"}]}),
        json.dumps({**ONE_FIELD, "fields": [{"name": "a", "type": ["null", "OrderEvent"]}]}),
    ],
)
def test_a_broken_schema_file_is_named(tmp_path, text):
    """What is no Avro schema, or none that the decoder can read, stops the program with a line that names the file."""
    copy_schemas(tmp_path)
    (tmp_path / "order-event.3.avsc").write_text(text, encoding="utf-8")
    with pytest.raises(StopError, match=r"order-event\.3\.avsc") as refused:
        Codec(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_schema_file_that_is_not_text_is_named(tmp_path):
    """Bytes that are not UTF-8 stop the program in the same way."""
    copy_schemas(tmp_path)
    (tmp_path / "contact.2.avsc").write_bytes(b"\xff\xfe{}")
    with pytest.raises(StopError, match=r"contact\.2\.avsc"):
        Codec(tmp_path)


@pytest.mark.parametrize("name", ["order.1.avsc", "order-event.avsc", "order-event.one.avsc", "order-event.-1.avsc"])
def test_a_schema_file_of_another_name_is_named(tmp_path, name):
    """A misnamed file is no schema silently left out."""
    copy_schemas(tmp_path)
    shutil.copy(FILES[0], tmp_path / name)
    with pytest.raises(StopError, match=r"expected <subject>\.<version>\.avsc") as refused:
        Codec(tmp_path)
    assert name in str(refused.value)


@pytest.mark.parametrize("missing", SUBJECTS)
def test_a_folder_without_a_subject_says_which(tmp_path, missing):
    """Each of the four subjects has to be there; other files do not matter."""
    for file in FILES:
        if not file.name.startswith(f"{missing}."):
            shutil.copy(file, tmp_path)
    (tmp_path / "README.md").write_text("Not a schema.")
    with pytest.raises(StopError, match=rf"no schema {missing}\.<version>\.avsc"):
        Codec(tmp_path)
