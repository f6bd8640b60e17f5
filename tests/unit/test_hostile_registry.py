"""What a registry or a producer's schema may say, and what that may cost: no thread, no loop and no memory."""

import contextlib
import copy
import json
import time
from typing import Any

import pytest

from processor.codec.avro import codec
from processor.codec.decoders import AS_DICTIONARY, AS_EVENT, compile_decoder
from processor.domain.records import UndecodableError
from processor.errors import AwaitedSchemaError, RegistryError
from processor.registry.client import Registry
from processor.registry.framing import framing_of, prefix_of
from processor.registry.wire import Wire
from processor.registry.writer_schema import with_references
from processor.settings import Settings
from tests.support.deployment import await_condition
from tests.support.schemas import schema_of
from tests.support.scripted_registry import PathRegistry, answer
from tests.support.traffic import created

EVENT = created("o1").value
SCHEMA = json.dumps(schema_of("order-event"))
REFERENCE = {"name": "a", "subject": "s", "version": 1}


@pytest.fixture
def registry():
    """Give a registry that knows nothing yet."""
    with contextlib.closing(PathRegistry()) as registry:
        yield registry


@pytest.fixture
def wire(registry):
    """Give a loop's wire with that registry."""
    settings = Settings(wire_format="confluent", schema_registry_url=registry.url, schema_grace_s=0.5)
    with contextlib.closing(Wire(settings)) as wire:
        yield wire


WAITED_FOR = {
    "422": answer(422, {"error_code": 42202, "message": "The specified version '0' is not a valid version id"}),
    "409": answer(409, {"error_code": 409}),
    "no object": answer(200, []),
    "no schema": answer(200, {"message": "maintenance"}),
}


@pytest.mark.parametrize("said", WAITED_FOR.values(), ids=WAITED_FOR)
@pytest.mark.parametrize("is_reference", [False, True])
def test_odd_answer_is_waited_for_and_asked_for_again(wire, registry, said, is_reference):
    """Whatever is answered, the threads that ask live on: the event is read once the answer is right."""
    good = answer(200, {"schema": SCHEMA})
    if is_reference:
        registry.answers["/schemas/ids/7"] = answer(200, {"schema": SCHEMA, "references": [REFERENCE]})
        registry.answers["/subjects/s/versions/1"] = [said, answer(200, {"schema": '{"type":"enum","name":"E"}'})]
    else:
        registry.answers["/schemas/ids/7"] = [said, good]
    with pytest.raises(AwaitedSchemaError):
        wire.read_event(prefix_of(7) + EVENT[10:], ())
    await_condition(lambda: wire.writers.is_settled(prefix_of(7)), lambda: wire.writers.problem(prefix_of(7)))


def test_each_further_address_takes_a_turn_of_its_own(registry):
    """50 requests a second are those of all addresses together, also while none of them works."""
    turns = list[int]()
    asked = Registry(Settings(schema_registry_url=",".join(f"{registry.url}/{name}" for name in "abc")))
    registry.answers |= {f"/{name}/schemas/ids/7": answer(503) for name in "abc"}
    with pytest.raises(RegistryError, match="503"):
        asked.writer(prefix_of(7), 1, lambda: turns.append(len(registry.requests)))
    assert turns == [1, 2]
    assert registry.requests == [f"/{name}/schemas/ids/7" for name in "bca"]


DEEP = "[" * 60_000 + "]" * 60_000
ODD_SCHEMAS: dict[str, dict[str, Any]] = {
    "half a schema": {"schema": "{"},
    "an empty schema": {"schema": "{}"},
    "a list": {"schema": "[1]"},
    "a deep schema": {"schema": DEEP},
    "a negative id": {"id": -5},
    "an id above what readers take": {"id": 2**31},
    "an endless id": {"id": 2**40},
    "a version that is no number": {"version": "x"},
    "no version": {"version": None},
}


@pytest.mark.parametrize("odd", ODD_SCHEMAS.values(), ids=ODD_SCHEMAS)
def test_odd_answer_to_whoever_writes_is_no_answer(registry, odd):
    """At the start, or in a command: it says what is wrong, and nothing is written with what such a registry gave."""
    said = {"subject": "order-events-value", "version": 1, "id": 7, "schema": SCHEMA} | odd
    registry.answers["/subjects/order-events-value"] = answer(200, said)
    settings = Settings(wire_format="confluent", schema_registry_url=registry.url)
    with contextlib.closing(Wire(settings)) as wire:
        with pytest.raises(RegistryError, match="schema registry"):
            wire.encode_event(codec().decode_event(EVENT))
        wire.know_events()


@pytest.mark.parametrize("numbers", [["x"], ["é"], [None], {"a": 1}], ids=["text", "letter", "null", "object"])
def test_versions_that_are_no_numbers_are_no_answer(registry, numbers):
    """Nothing is asked with what no registry gives."""
    registry.answers["/subjects/orders-value/versions"] = answer(200, numbers)
    with pytest.raises(RegistryError, match="without versions"):
        Registry(Settings(schema_registry_url=registry.url)).versions("orders-value")


ODD_REFERENCES = ('[{"name":"a","subject":"s","version":1e999}]', '[{"name":"a","subject":"\\ud800","version":1}]')


@pytest.mark.parametrize("references", ODD_REFERENCES, ids=["infinite version", "lone surrogate"])
def test_odd_references_refuse_the_schema(references):
    """They are no registry's, and no question that could be asked."""
    given = {"schema": SCHEMA, "references": json.loads(references)}
    writer = with_references(given, lambda _: pytest.fail("it is fetched"))
    assert writer.refusal == "its references are not a registry's"


def test_unnamed_types_are_not_put_in_again_and_again():
    """Ten schemas that each name the next one ten times would be 10^10 types."""

    def given(level):
        further = [{"name": f"q.A{level + 1}", "subject": str(level + 1), "version": 1}] if level < 10 else []
        array = {"type": "array", "name": f"q.A{level}", "items": [f"q.A{level + 1}"] * 10}
        return {"schema": json.dumps(array), "references": further}

    event = copy.deepcopy(schema_of("order-event"))
    event["fields"].append({"name": "x", "type": "q.A1"})
    begun = time.monotonic()
    answered = {"schema": json.dumps(event), "references": [{"name": "q.A1", "subject": "1", "version": 1}]}
    assert (with_references(answered, lambda one: given(int(one.subject))).refusal or "").startswith("not an Avro")
    assert time.monotonic() - begun < 2


def compiled(*fields, subject="order-event", shape=AS_EVENT):
    """Compile the decoder of our schema with further fields."""
    schema = copy.deepcopy(schema_of(subject))
    schema["fields"] += fields
    return compile_decoder(schema, schema_of(subject), shape)


@pytest.mark.parametrize("size", [-2, None, 1.5, True, "3"])
def test_fixed_of_no_size_is_refused(size):
    """A negative one would lead back: a contact of a few bytes could be read for ever."""
    fixed = {"type": "fixed", "name": "F", "size": size}
    record = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "boolean"}, {"name": "b", "type": fixed}]}
    with pytest.raises(ValueError, match="a fixed of size"):
        compiled({"name": "x", "type": {"type": "array", "items": record}}, subject="contact", shape=AS_DICTIONARY)


def test_large_enum_in_many_places_costs_little():
    """What is dropped needs no names. Each place once cost the square of the symbols."""
    enum = {"type": "enum", "name": "En", "symbols": [f"s{n}" for n in range(5_000)]}
    begun = time.monotonic()
    decode = compiled({"name": "x", "type": enum}, *({"name": f"y{n}", "type": "En"} for n in range(200)))
    assert time.monotonic() - begun < 2
    assert decode(EVENT[10:] + b"\2" + b"\0" * 200, 0).event_type == "orderCreated"
    with pytest.raises(UndecodableError):
        decode(EVENT[10:] + b"\x90\x4e" + b"\0" * 200, 0)  # the symbol 5,000


@pytest.mark.parametrize("body", ["", {"error_code": 404, "message": "HTTP 404 Not Found"}], ids=["Apicurio", "older"])
def test_registry_without_guids_knows_none(wire, registry, body):
    """Else one record that begins with a 1 would hold its partition for ever."""
    guid = bytes(range(16))
    registry.answers["/schemas/guids/00010203-0405-0607-0809-0a0b0c0d0e0f"] = answer(404, body)
    value = b"\1" + guid + EVENT[10:]
    with pytest.raises(AwaitedSchemaError):
        wire.read_event(value, ())
    await_condition(lambda: wire.writers.is_settled(value[:17]), "it is given up")
    with pytest.raises(UndecodableError, match="the schema registry does not know it"):
        wire.read_event(value, ())


@pytest.mark.parametrize("headers", [(), (("__value_schema_id", b"\0\x80\0\0\0"),)])
def test_id_that_no_registry_gives_is_not_asked_for(headers):
    """Confluent's answers a question for it as if it were no registry: it would be waited for."""
    with pytest.raises(UndecodableError, match="schema id 2147483648: no registry gives such an id"):
        framing_of(b"\0\x80\0\0\0" + EVENT[10:], headers)
