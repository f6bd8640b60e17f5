"""Proves the tables of schemas/README.md about values that cannot be read: each detail is what the program says."""

import copy
import io
import json
from contextlib import closing
from decimal import Decimal
from typing import Any, Final

import fastavro
import pytest
from confluent_kafka.schema_registry import (
    SchemaRegistryClient,
    SchemaRegistryError,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.local.servers import HOST, free_ports
from processor.domain.pipeline import read
from processor.domain.records import Record
from processor.domain.rejections import Reason, Rejection
from processor.errors import AwaitedSchemaError
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.settings.rules import rules_of
from tests.support.deployment import await_condition
from tests.support.recipes import PAGE
from tests.support.registered import prefix_of
from tests.support.schemas import schema_of
from tests.support.scripted_registry import PathRegistry, answer
from tests.support.traffic import created

ID = 7
PATH = f"/schemas/ids/{ID}"
OURS = created("1").value
BODY = OURS[10:]
FRAMED = prefix_of(ID) + BODY
EVENT = schema_of("order-event")
WITHIN_S = 10.0
SINGLE: Final = "single-object"
CONFLUENT: Final = "confluent"


def rows_under(heading):
    """Give the rows of the first table under a heading, as texts."""
    section = PAGE.read_text(encoding="utf-8").partition(f" {heading}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def changed(change):
    """Give our schema of events after a change."""
    schema = copy.deepcopy(EVENT)
    change(schema)
    return schema


def written(schema, value):
    """Give a value framed by the id, as a schema has it."""
    body = io.BytesIO()
    body.write(prefix_of(ID))
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), value)
    return body.getvalue()


MONEY = changed(
    lambda schema: schema["fields"][2]["type"]["items"]["fields"][1]["type"].append(
        {"type": "fixed", "name": "Money", "size": 1}
    )
)
MANY = {"eventTypeKey": "orderCreated", "params": [{"name": str(n), "value": None} for n in range(20_001)]}
SECRET = {"domainRules": [{"name": "secret", "kind": "TRANSFORM", "type": "ENCRYPT"}]}
PARTS = [{"name": f"n{n}", "subject": f"s{n}", "version": 1} for n in range(11)]
# What the value is: by format the value, then what the registry says of the id, or the record's headers.
VALUES: dict[str, dict[str, tuple[Any, ...]]] = {
    "null": {SINGLE: (None,), CONFLUENT: (None,)},
    "of no bytes": {SINGLE: (b"",), CONFLUENT: (b"",)},
    "a registry's framing": {SINGLE: (FRAMED,)},
    "single-object encoding": {CONFLUENT: (OURS,)},
    "JSON": {SINGLE: (b'{"eventTypeKey"',), CONFLUENT: (b'{"eventTypeKey"',)},
    "the Avro body alone": {CONFLUENT: (BODY,)},
    "an Avro file": {SINGLE: (b"Obj\x01",)},
    "compressed by the producer's own code": {CONFLUENT: (b"\x1f\x8b\x08\0",)},
    "cut within its header": {SINGLE: (OURS[:7],), CONFLUENT: (FRAMED[:4],)},
    "framed by a header `__value_schema_id` that is none": {CONFLUENT: (BODY, (("__value_schema_id", b"7"),))},
    "of a schema that is none of ours": {SINGLE: (b"\xc3\x01" + bytes(8) + BODY,)},
    "of an id that the registry does not know, for `schema_grace_s`": {CONFLUENT: (FRAMED, None)},
    "of an id that no registry gives: 2^31 or more": {CONFLUENT: (b"\0\x80\0\0\0" + BODY,)},
    "of another record": {CONFLUENT: (FRAMED, {"schema": schema_of("contact")})},
    "of a version of its own that lacks what ours needs": {
        CONFLUENT: (FRAMED, {"schema": changed(lambda schema: schema["fields"].pop(0))})
    },
    "of a version of its own with another type": {
        CONFLUENT: (FRAMED, {"schema": changed(lambda schema: schema["fields"][0].update(type="long"))})
    },
    "of such a version, in one value only": {
        CONFLUENT: (
            written(MONEY, {"eventTypeKey": "a", "params": [{"name": "b", "value": ("orderfacts.v1.Money", b"1")}]}),
            {"schema": MONEY},
        )
    },
    "JSON Schema or Protobuf": {CONFLUENT: (FRAMED, {"schema": {}, "schemaType": "JSON"})},
    "encrypted by a rule of the schema": {CONFLUENT: (FRAMED, {"schema": EVENT, "ruleSet": SECRET})},
    "of a schema in more than ten parts": {CONFLUENT: (FRAMED, {"schema": EVENT, "references": PARTS})},
    "of a schema that is too large": {CONFLUENT: (FRAMED, {"schema": " " * 200_000})},
    "followed by more bytes": {SINGLE: (OURS + b"\0",), CONFLUENT: (FRAMED + b"\0", {"schema": EVENT})},
    "cut": {SINGLE: (OURS[:-5],), CONFLUENT: (FRAMED[:-5], {"schema": EVENT})},
    "too many parameters, items and attributes": {
        SINGLE: (OURS[:10] + written(EVENT, MANY)[5:],),
        CONFLUENT: (written(EVENT, MANY), {"schema": EVENT}),
    },
}
SUBJECT = "/subjects/order-events-value?normalize=False&deleted=False"
FOUND = {
    "subject": "order-events-value",
    "version": 2,
    "id": ID,
    "guid": "89791762-2336-4186-9674-299b90a802e2",
    "schema": json.dumps(EVENT),
}
ANSWERS: dict[str, Any] = {
    "does not know the id (404)": None,
    "is down": ConnectionRefusedError,
    "does not answer within `timeout`": TimeoutError,
    "fails (5xx, 408), or wants less (429)": answer(503),
    "is a proxy's page, a redirect, another server": answer(200, "<html>"),
    "refuses the program (401, 403)": answer(401, {"error_code": 401, "message": "who are you"}),
}


@pytest.fixture
def scripted():
    """Give a registry that a test scripts."""
    with closing(PathRegistry()) as registry:
        yield registry


def judged(settings, value, headers=()):
    """Give what becomes of a value once the registry has answered, or what is said while it is awaited."""
    record, rules = Record(0, 0, 0, b"1", value, headers), rules_of(settings)

    def said():
        try:
            return read([record], wire.read_event, rules)[0].result
        except AwaitedSchemaError as error:
            return str(error) if settings.schema_grace_s and "being asked" not in str(error) else None

    with closing(Wire(settings)) as wire:
        return await_condition(said, "an answer of the registry", WITHIN_S)


CASES = [
    (what, wire_format, detail.strip("`"))
    for what, formats, detail in rows_under("When a value cannot be read")
    for wire_format in ((SINGLE, CONFLUENT) if formats == "both" else (formats,))
]


@pytest.mark.parametrize(("what", "wire_format", "detail"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES])
def test_the_detail_on_the_page_is_the_rejected_records(scripted, what, wire_format, detail):
    """Every row of the table, word by word."""
    value, said = (*VALUES[what][wire_format], None)[:2]
    headers = said if isinstance(said, tuple) else ()
    if isinstance(said, dict):
        text = said["schema"] if isinstance(said["schema"], str) else json.dumps(said["schema"])
        scripted.answers[PATH] = answer(200, said | {"schema": text})
    settings = Settings(wire_format=wire_format, schema_registry_url=scripted.url, schema_grace_s=0.0)
    assert judged(settings, value, headers) == Rejection(Reason.UNDECODABLE, detail)


def test_every_case_is_on_the_page():
    """No case here is missing there."""
    assert {(what, wire_format) for what, wire_format, _ in CASES} == {
        (what, wire_format) for what, formats in VALUES.items() for wire_format in formats
    }


@pytest.mark.parametrize(("what", "says"), [row[:2] for row in rows_under("While the schema registry is asked")])
def test_no_answer_of_a_registry_rejects_an_event(scripted, what, says):
    """The event waits, and the line for each partition is the one on the page."""
    said, url = ANSWERS[what], scripted.url
    if said is ConnectionRefusedError:
        url = f"http://{HOST}:{free_ports(1)[0]}"
    elif said is TimeoutError:
        scripted.answers[PATH] = None
    elif said is not None:
        scripted.answers[PATH] = said
    settings = Settings(
        wire_format=CONFLUENT, schema_registry_url=url, schema_registry={"timeout": 1}, schema_grace_s=60.0
    )
    expected = says.split("`")[1].replace("ADDRESS", url)
    waiting = judged(settings, FRAMED)
    assert waiting.startswith(expected)
    assert waiting == expected or not says.endswith("`")


def test_every_answer_is_on_the_page():
    """No answer here is missing there."""
    assert [row[0] for row in rows_under("While the schema registry is asked")] == [*ANSWERS]


@pytest.fixture
def serialize(scripted):
    """Give the function that serializes a parameter's value as the page's program does; it may be given headers."""
    client = SchemaRegistryClient({"url": scripted.url, "max.retries": 0})

    def write(value, headers=None, **conf):
        own = AvroSerializer(client, json.dumps(EVENT), conf={"auto.register.schemas": False} | conf)
        event = {"eventTypeKey": "orderPacked", "params": [{"name": "a", "value": value}]}
        return own(event, SerializationContext("order-events", MessageField.VALUE, headers))

    with client:
        yield write


@pytest.mark.parametrize(("status", "code"), [(404, 40403), (401, 401), (403, 403)])
def test_the_serializer_says_what_the_registry_refuses(scripted, serialize, status, code):
    """An error of the registry's, by its codes, before anything is sent."""
    scripted.answers[SUBJECT] = answer(status, {"error_code": code, "message": "no"})
    with pytest.raises(SchemaRegistryError) as raised:
        serialize("b")
    assert (raised.value.http_status_code, raised.value.error_code) == (status, code)


def test_the_serializer_cannot_do_without_a_registry(scripted, serialize):
    """Its HTTP client's own error, and none of the registry's."""
    scripted.close()
    with pytest.raises(Exception, match=r"refused|disconnected") as raised:
        serialize("b")
    assert not isinstance(raised.value, SchemaRegistryError)


@pytest.mark.parametrize("value", [("new", "web"), Decimal("1.23456"), [{"cost": Decimal("1.5")}], {"a": {"b": "c"}}])
def test_the_serializer_refuses_what_avro_cannot_hold(scripted, serialize, value):
    """A tuple for a list, too many places, a decimal inside of items, an object in an object."""
    scripted.answers[SUBJECT] = answer(200, FOUND)
    with pytest.raises(ValueError, match=r"union type|decimal|do not match"):
        serialize(value)


@pytest.mark.parametrize(
    ("value", "read_as"),
    [(True, True), (5, 5), (5.0, 5.0), (("double", 5), 5.0), (2**70, 2.0**70), (b"ab", [97, 98]), (["a"], ["a"])],
)
def test_the_serializer_takes_the_branch_that_the_page_says(scripted, serialize, value, read_as):
    """The processor reads the type that Python's value had; the page names those that become something else."""
    scripted.answers |= {SUBJECT: answer(200, FOUND), PATH: answer(200, {"schema": json.dumps(EVENT)})}
    wire = Wire(Settings(wire_format=CONFLUENT, schema_registry_url=scripted.url), WITHIN_S)
    with closing(wire):
        (param,) = wire.decode_event(serialize(value), ())["params"]
    assert (param["value"], type(param["value"])) == (read_as, type(read_as))


def test_the_serializers_guid_in_a_header_is_read(scripted, serialize):
    """The form in which Confluent's clients leave the value the Avro body alone."""
    scripted.answers |= {
        SUBJECT: answer(200, FOUND),
        f"/schemas/guids/{FOUND['guid']}": answer(200, {"schema": json.dumps(EVENT)}),
    }
    headers: list[tuple[str, bytes | None]] = []
    value = serialize("b", headers, **{"schema.id.serializer": header_schema_id_serializer})
    assert [name for name, _ in headers] == ["__value_schema_id"]
    wire = Wire(Settings(wire_format=CONFLUENT, schema_registry_url=scripted.url), WITHIN_S)
    with closing(wire):
        assert wire.decode_event(value, tuple(headers))["params"] == [{"name": "a", "value": "b"}]
