"""The topics' values in both forms: every framing of a registry's clients, foreign writers' schemas, and the bounds."""

import contextlib
import copy
import io
import json
import time
import uuid
from decimal import Decimal
from itertools import pairwise
from typing import Any

import fastavro
import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.domain.records import Order, UndecodableError
from processor.errors import AwaitedSchemaError, RegistryError, RegistryRefusesError, StopError
from processor.registry.agenda import MOST_AHEAD
from processor.registry.framing import prefix_of, shown
from processor.registry.wire import Wire
from processor.registry.writers import Writers
from processor.settings import Settings
from tests.support.deployment import await_condition
from tests.support.schemas import schema_of
from tests.support.scripted_registry import PathRegistry, answer
from tests.support.traffic import contacts, created

GUID = uuid.UUID("0102030405060708090a0b0c0d0e0f10")
BY_GUID = b"\1" + GUID.bytes
EVENT = created("o1", giftWrap=True, points=5).value
BODY = EVENT[10:]
NAME = "orderfacts.v1.OrderEvent"
ORDER = Order("o1", "c1", "phone", "DELIVERED", 1, 25_800, "orderDelivered", 1, 2, 2, 3, 0, 17)


@pytest.fixture
def registry():
    """Give a registry that knows our newest schema of events by id 7 and by GUID."""
    with contextlib.closing(PathRegistry()) as registry:
        registry.add(7, schema_of("order-event"))
        registry.answers[f"/schemas/guids/{GUID}"] = answer(200, {"schema": json.dumps(schema_of("order-event"))})
        yield registry


@pytest.fixture
def settings(registry):
    """Give settings with that registry."""
    return Settings(wire_format="confluent", schema_registry_url=registry.url)


@pytest.fixture
def wire(settings):
    """Give a wire that waits for answers, as a command's does."""
    with contextlib.closing(Wire(settings, patience_s=20.0)) as wire:
        yield wire


def header(content):
    """Give headers that name a schema, among others."""
    return (("traceparent", b"00-1"), ("__value_schema_id", content), ("empty", None))


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (prefix_of(7) + BODY, ()),
        (prefix_of(7) + BODY, (("traceparent", b"00-1"),)),
        (BY_GUID + BODY, ()),
        (BODY, header(BY_GUID)),
        (BODY, header(prefix_of(7))),
        (BODY, (*header(b"\0\0\0\0\1"), *header(BY_GUID))),
        (prefix_of(7) + BODY, header(None)),
    ],
    ids=["id", "id and other headers", "guid", "guid in header", "id in header", "two headers", "null header"],
)
def test_every_framing_is_read(wire, value, headers):
    """By id or GUID, before the body or in a header; of several headers the last counts, as in Kafka's own clients."""
    assert wire.read_event(value, headers) == codec().read_event(EVENT)
    assert wire.decode_event(value, headers) == codec().decode_event(EVENT)


def test_body_alone_may_begin_with_a_zero(wire):
    """A header wins: what the body begins with is no framing then."""
    value = codec().encode_event({"eventTypeKey": "", "keyValue": "", "params": []})[10:]
    assert value == b"\0\0\0"
    assert wire.read_event(value, header(BY_GUID)).event_type == ""


@pytest.mark.parametrize(
    ("value", "headers", "detail"),
    [
        (b"", (), "the value is empty"),
        (b"\0\0\0\7", (), "a schema registry's framing that ends within the schema's id or GUID"),
        (BY_GUID[:16], (), "a schema registry's framing that ends within the schema's id or GUID"),
        (EVENT, (), "not a schema registry's framing; it looks like Avro single-object encoding"),
        (b'{"a": 1}', (), "not a schema registry's framing; it looks like JSON"),
        (b"\xff\xfe\xfd", (), "not a schema registry's framing"),
        (BODY, header(b""), "the header __value_schema_id is neither a schema's id nor its GUID"),
        (BODY, header(BY_GUID[:-1]), "the header __value_schema_id is neither a schema's id nor its GUID"),
        (prefix_of(7) + BODY, header(b"\2" + GUID.bytes), "the header __value_schema_id is neither"),
        (prefix_of(8) + BODY, (), "schema id 8: the schema registry does not know it"),
        (b"\1" + bytes(16) + BODY, (), f"schema GUID {uuid.UUID(int=0)}: the schema registry does not know it"),
        (prefix_of(7) + BODY + b"!", (), "1 bytes are left over"),
        (prefix_of(7) + BODY[:-3], (), ""),
    ],
)
def test_what_is_not_framed_so_is_undecodable_and_says_what_it_is(wire, value, headers, detail):
    """The form is configured: single-object encoding is refused, too."""
    with pytest.raises(UndecodableError) as error:
        wire.read_event(value, headers)
    assert str(error.value).startswith(detail)


def test_name_that_occurs_twice_is_kept_for_the_rules(wire):
    """D1's judgement needs to know; so the quick way's answer is made again with all parameters."""
    raw = codec().decode_event(EVENT)
    twice = codec().encode_event(raw | {"params": [*raw["params"], raw["params"][0]]})
    assert wire.read_event(prefix_of(7) + twice[10:], ()) == codec().read_event(twice)


def test_schema_is_asked_for_once(wire, registry):
    """However many of its values come, and from whichever reader."""
    for _ in range(50):
        wire.read_event(prefix_of(7) + BODY, ())
        wire.decode_event(prefix_of(7) + BODY, ())
    assert registry.requests == ["/schemas/ids/7"]


def changed(change):
    """Give our schema of events, changed."""
    schema = copy.deepcopy(schema_of("order-event"))
    return change(schema) or schema


def with_fields(*names, **more):
    """Give the change that leaves these fields, in this order, and adds others."""

    def change(schema):
        known = {field["name"]: field for field in schema["fields"]}
        schema["fields"] = [known[name] for name in names] + [
            {"name": name, "type": kind} for name, kind in more.items()
        ]

    return change


def param_of(schema):
    """Give the record of a parameter."""
    return next(field for field in schema["fields"] if field["name"] == "params")["type"]["items"]


def with_values(*kinds):
    """Give the change of a parameter's value to a union of these."""

    def change(schema):
        next(field for field in param_of(schema)["fields"] if field["name"] == "value")["type"] = list(kinds)

    return change


TREE = {"type": "record", "name": "Tree", "fields": [{"name": "next", "type": ["null", "orderfacts.v1.Tree"]}]}
RESOLVES = {
    "fields added": with_fields(
        "eventTypeKey", "keyValue", "params", trace=["null", "string"], sizes={"type": "map", "values": "bytes"}
    ),
    "another order": with_fields("params", "eventTypeKey", "keyValue"),
    "a field less that has a default": with_fields("eventTypeKey", "params"),
    "fixed and float in what is dropped": with_fields(
        "eventTypeKey", "keyValue", "params", f="float", x={"type": "fixed", "name": "X", "size": 3}
    ),
    "ints": with_values("null", "string", "boolean", "int"),
    "fewer types": with_values("string", "long"),
}
VALUES = {"null": None, "string": "text", "boolean": True, "int": 5, "long": 6}


OTHER_RULES = {
    "domainRules": [{"name": "positive", "kind": "CONDITION", "type": "CEL", "expr": "message.total > 0"}],
    "migrationRules": [{"name": "renamed", "kind": "TRANSFORM", "type": "JSONATA", "expr": "$"}],
}


def test_rules_that_leave_the_bytes_as_they_are_are_ignored(wire, registry):
    """Conditions and migrations are for whoever writes, or reads other versions."""
    registry.add(8, schema_of("order-event"), ruleSet=OTHER_RULES, metadata={"properties": {"owner": "shop"}})
    assert wire.read_event(prefix_of(8) + BODY, ()) == codec().read_event(EVENT)


@pytest.mark.parametrize("change", RESOLVES.values(), ids=RESOLVES)
def test_foreign_schema_that_resolves_is_read_as_avro_says(wire, registry, change):
    """Fastavro, told both schemas, gives the same event."""
    schema = changed(change)
    registry.add(70, schema)
    kinds = next(field for field in param_of(schema)["fields"] if field["name"] == "value")["type"]
    given: dict[str, Any] = {
        "eventTypeKey": "orderCreated",
        "keyValue": "k",
        "params": [{"name": kind, "value": VALUES[kind]} for kind in kinds if isinstance(kind, str) and kind in VALUES],
        "trace": "t",
        "sizes": {"a": b"1"},
        "f": 0.5,
        "x": b"abc",
    }
    body = io.BytesIO()
    parsed = fastavro.parse_schema(schema)
    fastavro.schemaless_writer(body, parsed, {name: given[name] for name in (f["name"] for f in schema["fields"])})
    body.seek(0)
    wanted = fastavro.schemaless_reader(body, parsed, fastavro.parse_schema(schema_of("order-event")))
    assert wire.decode_event(prefix_of(70) + body.getvalue(), ()) == wanted
    found = wire.read_event(prefix_of(70) + body.getvalue(), ())
    assert (found.event_type, len(found.params)) == ("orderCreated", len(given["params"]))
    for cut in range(len(body.getvalue())):
        with pytest.raises(UndecodableError):
            wire.read_event(prefix_of(70) + body.getvalue()[:cut], ())


def test_type_of_parameters_may_be_defined_before_them(wire, registry):
    """They refer to it by its name then."""
    schema = copy.deepcopy(schema_of("order-event"))
    params = next(field for field in schema["fields"] if field["name"] == "params")
    first = {"name": "first", "type": ["null", params["type"]["items"]], "default": None}
    params["type"] = {"type": "array", "items": "Param"}
    schema["fields"].insert(0, first)
    registry.add(70, schema)
    assert wire.read_event(prefix_of(70) + b"\0" + BODY, ()) == codec().read_event(EVENT)


def other_name(schema):
    """Give it another name in its namespace."""
    schema["name"] = "OrderEvents"


def other_namespace(schema):
    """Give it another namespace."""
    schema["namespace"] = "shop.v1"


def decimals_of_another_scale(schema):
    """Give it amounts only, with two places."""
    with_values({"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2})(schema)


BREAKS = {
    "another name": (other_name, "schema id 71 is of orderfacts.v1.OrderEvents, not of orderfacts.v1.OrderEvent"),
    "another namespace": (other_namespace, "schema id 71 is of shop.v1.OrderEvent, not of orderfacts.v1.OrderEvent"),
    "a field less without a default": (
        with_fields("eventTypeKey", "keyValue"),
        f"schema id 71 is of {NAME}, and cannot",
    ),
    "another type": (with_fields("keyValue", "params", eventTypeKey="long"), f"schema id 71 is of {NAME}, and cannot"),
    "recursive": (
        with_fields("eventTypeKey", "keyValue", "params", tree=TREE),
        f"schema id 71 is of {NAME}, and cannot",
    ),
    "elements of no bytes": (
        with_fields("eventTypeKey", "keyValue", "params", many={"type": "array", "items": "null"}),
        f"schema id 71 is of {NAME}, and cannot be read as ours: elements of no bytes",
    ),
    "no record": (lambda _: {"type": "string"}, "schema id 71 is of string, not of orderfacts.v1.OrderEvent"),
    "decimals of another scale": (decimals_of_another_scale, "a value of a type that is not known here"),
}


@pytest.mark.parametrize(("change", "detail"), BREAKS.values(), ids=BREAKS)
def test_foreign_schema_that_does_not_resolve_is_undecodable(wire, registry, change, detail):
    """The detail names the id and the record; nothing is guessed."""
    registry.add(71, changed(change))
    with pytest.raises(UndecodableError) as error:
        wire.read_event(prefix_of(71) + b"\2o\0\2\2a\0\2\2" + b"\0", ())
    assert str(error.value).startswith(detail)


def test_amount_of_another_scale_is_not_read_as_one_of_ours(wire, registry):
    """Their fingerprints are the same, since a canonical form has no logical types; 12.34 is not 0.1234."""
    schema = schema_of("order-event")
    value = next(field for field in param_of(schema)["fields"] if field["name"] == "value")["type"]
    index = next(number for number, kind in enumerate(value) if "logicalType" in kind)
    amount = b"\2a\0\2\2n" + bytes([index * 2]) + b"\4\x04\xd2\0"
    registry.add(76, schema)
    assert wire.read_event(prefix_of(76) + amount, ()).params == {"n": Decimal("0.1234")}
    value[index]["scale"] = 2
    registry.add(77, schema)
    with pytest.raises(UndecodableError, match="a value of a type that is not known here"):
        wire.read_event(prefix_of(77) + amount, ())
    assert wire.read_event(prefix_of(77) + b"\2a\0\2\2n\2\2x\0", ()).params == {"n": "x"}


@pytest.mark.parametrize("said", [[1], [{"schema": '"string"'}]])
def test_list_in_place_of_a_schema_is_no_answer(settings, registry, said):
    """It is waited for, as for any answer that is no registry's: the threads that ask live on."""
    registry.answers["/schemas/ids/78"] = [
        answer(200, said),
        answer(200, {"schema": json.dumps(schema_of("order-event"))}),
    ]
    with contextlib.closing(Wire(settings, patience_s=20.0)) as patient:
        assert patient.read_event(prefix_of(78) + BODY, ()) == codec().read_event(EVENT)


@pytest.mark.parametrize("version", ["x", None, float("inf"), float("nan"), [1]])
def test_reference_without_a_version_is_refused(wire, registry, version):
    """Whatever stands there in JSON."""
    registry.add(79, schema_of("order-event"), references=[{"name": "n", "subject": "s", "version": version}])
    with pytest.raises(UndecodableError, match="schema id 79: its references are not a registry's"):
        wire.read_event(prefix_of(79) + BODY, ())


def split(schema):
    """Give our schema as two: the parameter's record by itself, and what refers to it by name."""
    whole = copy.deepcopy(schema)
    param = {"namespace": "orderfacts.v1", **copy.deepcopy(param_of(whole))}
    next(field for field in whole["fields"] if field["name"] == "params")["type"]["items"] = "Param"
    return whole, param


def test_references_are_fetched_and_put_in(wire, registry):
    """A schema registered in parts is read like a whole one."""
    whole, param = split(schema_of("order-event"))
    registry.add(72, whole, references=[{"name": "orderfacts.v1.Param", "subject": "a/param", "version": 3}])
    registry.answers["/subjects/a%2Fparam/versions/3"] = answer(200, {"schema": json.dumps(param)})
    assert wire.read_event(prefix_of(72) + BODY, ()) == codec().read_event(EVENT)


def test_references_in_a_circle_or_without_end_are_refused(wire, registry):
    """Each question is counted: a registry cannot have the program ask for ever."""
    whole, param = split(schema_of("order-event"))

    def refer(name, *to, schema=param):
        references = [{"name": one, "subject": one, "version": 1} for one in to]
        return answer(200, {"schema": json.dumps(schema), "references": references})

    registry.answers |= {"/subjects/a/versions/1": refer("a", "b"), "/subjects/b/versions/1": refer("b", "a")}
    registry.answers["/schemas/ids/73"] = refer("", "a", schema=whole)
    with pytest.raises(UndecodableError, match="schema id 73: its references go in a circle"):
        wire.read_event(prefix_of(73) + BODY, ())
    for number in range(20):
        registry.answers[f"/subjects/n{number}/versions/1"] = refer("", f"n{number + 1}")
    registry.answers["/schemas/ids/74"] = refer("", "n0", schema=whole)
    with pytest.raises(UndecodableError, match="schema id 74: it has more than 10 references"):
        wire.read_event(prefix_of(74) + BODY, ())


def test_reference_that_is_not_there_yet_is_as_a_schema_that_is_not(wire, registry):
    """One of several nodes may lag."""
    whole, _ = split(schema_of("order-event"))
    registry.add(75, whole, references=[{"name": "orderfacts.v1.Param", "subject": "lost", "version": 1}])
    with pytest.raises(UndecodableError, match="schema id 75: the schema registry does not know it"):
        wire.read_event(prefix_of(75) + BODY, ())


def test_a_loop_never_waits(settings, registry):
    """Without patience the answer is that it is asked for; it comes meanwhile."""
    registry.answers["/schemas/ids/7"] = [answer(503), registry.answers["/schemas/ids/7"]]
    with contextlib.closing(Wire(settings)) as wire:
        begun = time.monotonic()
        with pytest.raises(AwaitedSchemaError) as error:
            wire.read_event(prefix_of(7) + BODY, ())
        assert time.monotonic() - begun < 0.5
        assert error.value.prefix == prefix_of(7)
        writers = wire.writers
        assert writers is not None
        await_condition(lambda: writers.is_settled(prefix_of(7)), "the answer is there")
        assert wire.read_event(prefix_of(7) + BODY, ()) == codec().read_event(EVENT)


def test_made_up_ids_are_bounded_in_rate_and_room(settings, registry):
    """100,000 of them: the loop is not held up, what is kept is bounded, and the registry gets 50 requests a second."""
    with contextlib.closing(Writers(settings)) as writers:
        made_up = [prefix_of(number) for number in range(1_000, 101_000)]
        begun, spent = time.monotonic(), time.thread_time()
        for prefix in made_up[:20]:
            with pytest.raises(AwaitedSchemaError):
                writers.of(prefix)
        writers.look_ahead(made_up)
        assert time.thread_time() - spent < 2
        assert time.monotonic() - begun < 10, "nothing was waited for"
        assert len(writers._agenda) <= MOST_AHEAD + 20
        writers.want(prefix_of(7))
        await_condition(lambda: writers.is_settled(prefix_of(7)), "what is wanted comes first", patience_s=5)
        await_condition(lambda: time.monotonic() - begun > 2, "two seconds")
        assert len(registry.requests) <= 50 * (time.monotonic() - begun) + 10


def test_answers_are_kept_within_bounds(settings):
    """By number and by size; what is used stays."""
    with contextlib.closing(PathRegistry()) as registry:
        for number in range(120):
            padded = schema_of("order-event") | {"doc": "x" * 100_000}
            registry.add(number, padded)
        with contextlib.closing(Writers(replace(settings, schema_registry_url=registry.url), 20.0)) as writers:
            for number in range(120):
                assert writers.of(prefix_of(number)).name == NAME
            assert len(registry.requests) == 120
            assert writers._known_bytes <= 4 << 20
            assert len(writers._known) < 45
            assert writers.of(prefix_of(119)).name == NAME
            assert len(registry.requests) == 120


def test_schema_that_was_once_read_is_settled_for_good(settings, registry):
    """Also when the registry is away, and what it answered was given up for others."""
    with contextlib.closing(Wire(settings)) as wire:
        assert wire.writers is not None
        writers = wire.writers
        writers.want(prefix_of(7))
        await_condition(lambda: writers.is_settled(prefix_of(7)), "the answer is there")
        wire.read_event(prefix_of(7) + BODY, ())
        writers._known.clear()
        assert not writers.is_settled(prefix_of(7))
        assert wire.is_settled(prefix_of(7))
        assert wire.read_event(prefix_of(7) + BODY, ()) == codec().read_event(EVENT)


def test_command_that_is_refused_ends_at_once(settings, registry):
    """Credentials do not mend themselves: a command does not wait for that."""
    registry.answers["/schemas/ids/7"] = answer(401, {"error_code": 401, "message": "who"})
    with contextlib.closing(Wire(settings, patience_s=60.0)) as wire:
        begun = time.monotonic()
        with pytest.raises(RegistryRefusesError, match="who"):
            wire.read_event(prefix_of(7) + BODY, ())
        assert time.monotonic() - begun < 10


def test_what_is_sent_has_the_registered_id_which_is_asked_for_once(settings, registry):
    """The id is that of the newest schema under the topic's subject; without one the line names the command."""
    found = {"id": 41, "version": 2, "schema": json.dumps(schema_of("order-event"))}
    registry.answers["/subjects/order-events-value"] = answer(200, found)
    wire = Wire(settings)
    raw = codec().decode_event(EVENT)
    assert {wire.encode_event(raw) for _ in range(30)} == {prefix_of(41) + BODY}
    assert registry.requests == ["/subjects/order-events-value"]
    with pytest.raises(
        StopError, match=r"no contact\.1 under the subject contacts-value; register it with: order-facts"
    ):
        wire.encode_contact(contacts()[0])


def test_our_schemas_of_events_are_known_before_the_first_event(settings, registry):
    """No partition waits for them; what the registry does not tell at the start is no error, and is asked for later."""
    found = [
        {"id": 40 + version, "version": version, "schema": json.dumps(schema_of("order-event", version))}
        for version in (1, 2)
    ]
    registry.answers["/subjects/order-events-value"] = [answer(200, one) for one in found]
    with contextlib.closing(Wire(settings)) as wire:
        wire.know_events()
        assert wire.read_event(prefix_of(42) + BODY, ()) == codec().read_event(EVENT)
        assert wire.is_settled(prefix_of(41))
        assert set(registry.requests) == {"/subjects/order-events-value"}
    registry.answers.clear()
    with contextlib.closing(Wire(settings)) as wire:
        wire.know_events()
        assert not wire.is_settled(prefix_of(42))


def test_registry_that_finds_another_schema_is_not_believed(settings, registry):
    """A wrong id would have every fact misread by its consumers."""
    found = {"id": 41, "version": 2, "schema": json.dumps(schema_of("order-fact", 1))}
    registry.answers["/subjects/order-facts-value"] = answer(200, found)
    with pytest.raises(RegistryError, match=r"finds another schema for order-fact\.2"):
        Wire(replace(settings, startup_timeout_s=1.0)).fact_encoder(2)


@pytest.mark.parametrize("version", [1, 2])
def test_facts_have_the_registered_id_and_are_read_back_in_both_forms(settings, registry, version):
    """Inside the program a fact has no id: what is read back is what single-object encoding has."""
    found = {"id": 50 + version, "version": version, "schema": json.dumps(schema_of("order-fact", version))}
    registry.answers["/subjects/order-facts-value"] = answer(200, found)
    wire, order = Wire(settings), ORDER
    plain = codec().fact_encoders[version](order)
    value = wire.fact_encoder(version)(order)
    assert value == prefix_of(50 + version) + plain[10:]
    assert wire.plain_fact(value) == wire.plain_fact(plain) == plain
    assert wire.decode_fact(value) == wire.decode_fact(plain) == codec().decode_fact(plain)


def test_fact_whose_schema_the_registry_lost_is_waited_for(wire):
    """It is ours, so it is no bad record: somebody has to bring the registry's schemas back."""
    with pytest.raises(RegistryError, match=r"schema id 99: .* the facts topic holds facts of it: restore"):
        wire.plain_fact(prefix_of(99) + b"body")
    with pytest.raises(UndecodableError, match=f"schema id 7 is of {NAME}, not of orderfacts.v1.OrderFact"):
        wire.plain_fact(prefix_of(7) + BODY)


def test_contacts_are_read_in_both_forms_whatever_is_configured(settings, registry):
    """A compacted topic may hold the other form for years. Without a registry only ours can be read."""
    registry.add(3, schema_of("contact"))
    plain = codec().encode_contact(contacts()[0])
    for form in ("confluent", "single-object"):
        with contextlib.closing(Wire(replace(settings, wire_format=form), patience_s=20.0)) as wire:
            assert (
                wire.decode_contact(plain, ())
                == wire.decode_contact(prefix_of(3) + plain[10:], ())
                == contacts_as_read()
            )
            assert wire.decode_contact(plain[10:], header(prefix_of(3))) == contacts_as_read()
            assert wire.decode_contact(plain, header(None)) == contacts_as_read()
    with pytest.raises(UndecodableError, match="it looks like a schema registry's framing"):
        Wire(Settings()).decode_contact(prefix_of(3) + plain[10:], ())


def contacts_as_read():
    """Give the first contact with all its fields."""
    return codec().decode_contact(codec().encode_contact(contacts()[0]))


def test_ids_are_shown_as_registries_show_them():
    """Unsigned, and GUIDs with their dashes."""
    assert [shown(prefix_of(number)) for number in (0, 7, (1 << 32) - 1)] == [
        *("schema id 0", "schema id 7", "schema id 4294967295")
    ]
    assert shown(BY_GUID) == "schema GUID 01020304-0506-0708-090a-0b0c0d0e0f10"
    assert all(one < other for one, other in pairwise(map(prefix_of, range(1_000))))
