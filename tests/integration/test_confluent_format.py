"""Proves that `wire_format=confluent` is what a registry's clients write and read, and what a registry can do to it."""

import copy
import itertools
import json
import time
import uuid
from contextlib import closing

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from msgspec.structs import replace

from deploy.local.servers import free_ports
from processor.codec.avro import codec
from processor.kafka.partitioning import usual_partition
from processor.replica import startup
from processor.snapshots.exporting import export
from processor.state.mirror import Mirror
from tests.support.deployment import await_condition, deployed
from tests.support.exports import expected, tables
from tests.support.health_answers import ask
from tests.support.producing import quick_producer
from tests.support.registered import Registered, prefix_of
from tests.support.schemas import header_of, schema_of
from tests.support.scripted_registry import PathRegistry, ScriptedRegistry, answer
from tests.support.traffic import Sent, contacts, created, traffic

GRACE_S = 2.0
OURS = (("order-event", 1), ("order-event", 2), ("contact", 1), ("order-fact", 1), ("order-fact", 2))


@pytest.fixture
def client(registry):
    """Give Confluent's client of the real registry."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        yield client


def confluent(settings, url, **changes):
    """Give settings with the registry at an address."""
    given = {"wire_format": "confluent", "schema_registry_url": url, "schema_grace_s": GRACE_S} | changes
    return replace(settings, **given)


@pytest.fixture
def shop(settings, registry, client, tmp_path):
    """Give a deployment with the real registry, its schemas registered and its contact index complete."""
    with deployed(confluent(settings, registry.url), tmp_path, kind=Registered) as running:
        running.register(client)
        running.send_contacts(contacts())
        running.index()
        yield running


@pytest.fixture
def scripted(settings, tmp_path):
    """Give a deployment with a registry that a test scripts, and that registry: it knows our schemas."""
    with (
        closing(PathRegistry()) as registry,
        deployed(confluent(settings, registry.url), tmp_path, kind=Registered) as running,
    ):
        for schema_id, (subject, version) in enumerate(OURS, start=1):
            schema = schema_of(subject, version)
            registry.add(schema_id, schema)
            running.know(header_of(schema), schema_id)
        found = {"id": len(OURS), "version": 2, "schema": json.dumps(schema_of("order-fact"))}
        registry.answers[f"/subjects/{running.settings.facts_topic}-value"] = answer(200, found)
        found = {"id": 3, "version": 1, "schema": json.dumps(schema_of("contact"))}
        registry.answers[f"/subjects/{running.settings.contacts_topic}-value"] = answer(200, found)
        running.send_contacts(contacts())
        running.index()
        yield running, registry


def widened():
    """Give a producer's own schema: ours with two fields more, and another order."""
    schema = copy.deepcopy(schema_of("order-event"))
    schema["fields"] = [
        {"name": "traceId", "type": ["null", "string"], "default": None},
        *reversed(schema["fields"]),
        {"name": "shop", "type": {"type": "map", "values": "long"}, "default": {}},
    ]
    return schema


def test_confluents_own_clients_write_events_and_read_facts(shop, client):
    """An ordinary serializer's event becomes a fact that an ordinary deserializer reads; all of it as the rules say."""
    shop.replica("one")
    shop.send(traffic(seed=1801, count=300))
    event = schema_of("order-event")
    serialize = AvroSerializer(
        client, json.dumps(event), conf={"auto.register.schemas": False, "use.latest.version": True}
    )
    at = SerializationContext(shop.settings.events_topic, MessageField.VALUE)
    own = created("by-their-client")
    shop.send([Sent(b"by-their-client", serialize(codec().decode_event(own.value), at))])
    schema = widened()
    schema_id = client.register_schema("another-producer", Schema(json.dumps(schema), "AVRO"))
    values = [
        codec().decode_event(created(f"foreign-{number}").value) | {"traceId": "t", "shop": {"a": number}}
        for number in range(20)
    ]
    shop.send(
        [
            Sent(f"foreign-{number}".encode(), shop.written(schema_id, "order-event", schema, value))
            for number, value in enumerate(values)
        ]
    )
    shop.await_accounted()
    reasons = shop.require_right_outputs()
    assert reasons["fact"] > 100
    assert shop.command("verify").returncode == 0
    deserialize = AvroDeserializer(client)
    facts = super(Registered, shop).read(shop.settings.facts_topic)
    at = SerializationContext(shop.settings.facts_topic, MessageField.VALUE)
    read = {record.key: deserialize(record.value, at) for record in facts}
    assert {b"by-their-client", b"foreign-0", b"foreign-19"} <= read.keys()
    assert read[b"by-their-client"]["externalOrderId"] == "by-their-client"
    shown = [json.loads(line) for line in shop.command("facts", "show").stdout.splitlines()]
    assert len(shown) == len(facts)


def test_mirror_is_rebuilt_from_facts_of_both_forms(shop):
    """A deployment may change its form; the mirror holds no ids, so a lost one comes back from either kind of fact."""
    first = shop.replica("one", wire_format="single-object")
    super(Registered, shop).send(traffic(seed=1802, count=100))
    shop.await_accounted()
    first.stop()
    found = startup.check(shop.settings)
    for partition in range(3):
        Mirror(found.redis, found.lineage, codec()).remove(partition)
    second = shop.replica("two")
    shop.send(traffic(seed=1803, count=100))
    shop.await_accounted()
    assert second.lines("mirror.caught_up")
    assert shop.mirror_differences(shop.read(shop.settings.facts_topic)) == []
    forms = {record.value[:1] for record in super(Registered, shop).read(shop.settings.facts_topic)}
    assert forms == {b"\xc3", b"\0"}
    topics = (shop.settings.facts_topic, shop.settings.contacts_topic)
    done = export(shop.settings, shop.folder / "snapshots", lambda *_: None, full=False, personal=True)
    assert tables(done.snapshot.path) == expected(*map(shop.read, topics), personal=True)


def added(*fields):
    """Give our schema of events with further fields."""
    schema = copy.deepcopy(schema_of("order-event"))
    schema["fields"] += fields
    return schema


def to_partition(number, count, prefix="o"):
    """Give order ids whose keys are in a partition of three."""
    names = (f"{prefix}{n}" for n in itertools.count())
    return list(itertools.islice((name for name in names if usual_partition(name.encode(), 3) == number), count))


def test_unknown_id_holds_back_its_own_partition_until_it_is_known(scripted):
    """The other partitions go on; the waiting one says so in log, totals and health; then its event is a fact.

    If the registry loses the schema then, `verify` says that, and finds nothing altered.
    """
    shop, registry = scripted
    replica = shop.replica("one", schema_grace_s=120.0, http_port=(port := free_ports(1)[0]))
    (waiting, *behind), others = to_partition(0, 10), to_partition(1, 10) + to_partition(2, 10)
    schema = widened()
    first = shop.written(99, "order-event", schema, codec().decode_event(created(waiting).value))
    shop.send([created(to_partition(0, 1, "before")[0]), Sent(waiting.encode(), first), *map(created, behind)])
    line = replica.await_line("partition.waiting")[0]
    assert (line["partition"], line["offset"], line["waiting_for"]) == (0, 1, "schema_registry")
    shop.send(list(map(created, others)))
    shop.await_accounted(1 + len(others))
    await_condition(lambda: "schema id 99" in ask(port, "/readyz")[1], "health says it")
    assert ask(port, "/readyz")[0] == 503
    metrics = ask(port, "/metrics")[1]
    assert 'order_facts_waiting{waiting_for="schema_registry"} 1.0' in metrics
    assert 'order_facts_partitions{state="withheld"} 1.0' in metrics
    assert {record.key.decode() for record in shop.read(shop.settings.facts_topic)}.isdisjoint({waiting, *behind})
    registry.add(99, schema)
    shop.await_accounted()
    replica.await_line("partition.resumed", partition=0, offset=1)
    assert shop.require_right_outputs() == {"fact": 1 + 10 + len(others)}
    await_condition(lambda: ask(port, "/readyz")[0] == 200, "ready again")
    del registry.answers["/schemas/ids/99"]
    done = shop.command("verify", check=False)
    assert done.returncode == 3, "what the registry lost is no difference"
    assert "schema id 99: the schema registry does not know it, and its event has a fact: restore" in done.stderr


@pytest.mark.runbook("partition.waiting")
def test_unknown_ids_are_undecodable_at_the_end_of_the_grace_and_can_be_replayed(scripted):
    """Not before; those behind the first are asked for meanwhile; the events after them go on; 50 requests a second."""
    shop, registry = scripted
    replica = shop.replica("one")
    names = to_partition(0, 60)
    schema = widened()
    values = [
        shop.written(1_000 + n, "order-event", schema, codec().decode_event(created(name).value))
        for n, name in enumerate(names)
    ]
    begun = time.monotonic()
    shop.send([Sent(name.encode(), value, is_undecodable=True) for name, value in zip(names, values, strict=True)])
    shop.send([created(to_partition(0, 1, "after")[0])])
    shop.await_accounted()
    took_s = time.monotonic() - begun
    assert took_s > GRACE_S
    assert shop.require_right_outputs() == {"undecodable": 60, "fact": 1}
    details = [dict(record.headers)["detail"].decode() for record in shop.read(shop.settings.rejected_topic)]
    assert details == [f"schema id {1_000 + n}: the schema registry does not know it" for n in range(60)]
    assert len(registry.requests) < 50 * (took_s + 1) + 60
    for n in range(60):
        registry.add(1_000 + n, schema)
    replica.stop()
    shop.replica("two")  # it has not heard yet that they are missing; the first one would ask anew after 30 s
    shop.command("rejected", "replay", "--reason", "undecodable")
    shop.await_accounted(61 + 60)
    facts = {record.key.decode() for record in shop.read(shop.settings.facts_topic)}
    assert facts >= set(names)


FAILURES = {
    101: answer(503),
    102: answer(429),
    103: answer(401, {"error_code": 401, "message": "who are you"}),
    104: answer(403, {"error_code": 403, "message": "no"}),
    105: answer(302, "", "Location: http://127.0.0.1:1/"),
    106: answer(400, {"error_code": 400, "message": "what"}),
    107: answer(200, "<html>"),
    108: answer(404, "<html>not a registry</html>"),
    109: b"",
    110: answer(408),
    111: answer(200, "<html>" + " " * 200_000),
}


def test_no_failure_of_the_registry_rejects_an_event(scripted):
    """Whatever it answers but that it knows no such schema, the event waits beyond the grace, and then is a fact."""
    shop, registry = scripted
    replica = shop.replica("one", schema_grace_s=0.5)
    names, schema = to_partition(0, len(FAILURES)), widened()
    for schema_id, said in FAILURES.items():
        registry.answers[f"/schemas/ids/{schema_id}"] = said
    values = [
        shop.written(schema_id, "order-event", schema, codec().decode_event(created(name).value))
        for schema_id, name in zip(FAILURES, names, strict=True)
    ]
    shop.send([Sent(name.encode(), value) for name, value in zip(names, values, strict=True)])
    replica.await_line("partition.waiting")
    shop.send([created(name) for name in to_partition(1, 5)])
    shop.await_accounted(5)
    for schema_id in FAILURES:
        path = f"/schemas/ids/{schema_id}"
        await_condition(lambda path=path: registry.requests.count(path) >= 3, f"{path} is asked for again")
    assert shop.read(shop.settings.rejected_topic) == []
    for schema_id in FAILURES:
        registry.add(schema_id, schema)
    shop.await_accounted()
    assert shop.require_right_outputs() == {"fact": len(FAILURES) + 5}


REFUSED = {
    "schema id 201: it is of type PROTOBUF, not AVRO": {"schema": "syntax", "schemaType": "PROTOBUF"},
    "schema id 202: not an Avro schema": {"schema": "{"},
    "schema id 203 is of shop.v9.Other, not of orderfacts.v1.OrderEvent": {
        "schema": json.dumps({"type": "record", "name": "Other", "namespace": "shop.v9", "fields": []})
    },
    "schema id 204: its rule secret changes the bytes, which is not supported": {
        "schema": json.dumps(schema_of("order-event")),
        "ruleSet": {"domainRules": [{"name": "secret", "kind": "TRANSFORM", "type": "ENCRYPT"}]},
    },
    "schema id 205: its rule packed changes the bytes, which is not supported": {
        "schema": json.dumps(schema_of("order-event")),
        "ruleSet": {"encodingRules": [{"name": "packed", "type": "ENCRYPT_PAYLOAD"}]},
    },
    "schema id 206: it has more than 10 references": {
        "schema": json.dumps(schema_of("order-event")),
        "references": [{"name": f"n{n}", "subject": f"s{n}", "version": 1} for n in range(11)],
    },
    "schema id 207 is of orderfacts.v1.OrderEvent, and cannot be read as ours: type 'orderfacts.v1.Tree' is": {
        "schema": json.dumps(
            added(
                {
                    "name": "tree",
                    "type": [
                        "null",
                        {"type": "record", "name": "Tree", "fields": [{"name": "next", "type": ["null", "Tree"]}]},
                    ],
                }
            )
        )
    },
    "schema id 208: the schema registry's answer has more than 128 KiB": {"schema": " " * 200_000},
}


def test_schema_that_is_not_read_here_is_refused_and_named(scripted):
    """Each says which id and why; the event after it goes on."""
    shop, registry = scripted
    shop.replica("one")
    body = created("x").value[10:]
    for detail, said in REFUSED.items():
        schema_id = int(detail.split()[2].rstrip(":"))
        registry.answers[f"/schemas/ids/{schema_id}"] = answer(200, said)
        shop.send([Sent(b"x", prefix_of(schema_id) + body, is_undecodable=True), created(f"after-{schema_id}")])
    shop.await_accounted()
    assert shop.require_right_outputs() == {"undecodable": len(REFUSED), "fact": len(REFUSED)}
    details = [dict(record.headers)["detail"].decode() for record in shop.read(shop.settings.rejected_topic)]
    for detail, found in zip(REFUSED, sorted(details), strict=True):
        assert found.startswith(detail)


def test_contact_of_an_unknown_id_holds_back_its_own_partition_until_it_is_known(scripted):
    """What is in the other partitions is found meanwhile, and then what waits: its partition's end does not hide it."""
    shop, registry = scripted
    index = shop.start("contacts", "index", name="index-2", schema_grace_s=120.0)
    index.await_line("contacts.resumed")
    (waiting, behind), (other,) = to_partition(0, 2), to_partition(1, 1)
    producer = quick_producer(shop.settings)

    def send(name, schema_id):
        body = codec().encode_contact({"contactId": "", "email": f"{name}@shop.example"})[10:]
        producer.produce(shop.settings.contacts_topic, prefix_of(schema_id) + body, name.encode())
        assert producer.flush(30) == 0

    def is_found(name):
        return shop.command("contacts", "find", f"email={name}@shop.example", check=False).returncode == 0

    send(waiting, 88)
    send(behind, 3)
    index.await_line("partition.waiting", partition=0, waiting_for="schema_registry")
    send(other, 3)
    await_condition(lambda: is_found(other), "the other partition goes on")
    assert not is_found(waiting)
    assert not is_found(behind)
    registry.add(88, schema_of("contact"))
    await_condition(lambda: is_found(waiting) and is_found(behind), "both are found")
    index.await_line("partition.resumed", partition=0)


def test_contacts_of_both_forms_are_indexed(scripted):
    """By id, by GUID before the body or in a header, where the body begins with a 0, and in single-object encoding."""
    shop, registry = scripted
    guid = uuid.uuid4()
    registry.answers[f"/schemas/guids/{guid}"] = answer(200, {"schema": json.dumps(schema_of("contact"))})

    def body(name):
        return codec().encode_contact({"contactId": "", "email": f"{name}@shop.example"})[10:]

    header: dict[str, str | bytes | None] = {"__value_schema_id": b"\1" + guid.bytes}
    producer = quick_producer(shop.settings)
    for name, value, headers in (
        ("by-id", prefix_of(3) + body("by-id"), None),
        ("by-guid", b"\1" + guid.bytes + body("by-guid"), None),
        ("by-header", body("by-header"), header),
        ("lost", prefix_of(77) + body("lost"), None),
        ("plain", codec().encode_contact({"contactId": "", "email": "plain@shop.example"}), None),
    ):
        producer.produce(shop.settings.contacts_topic, value, name.encode(), headers=headers)
    assert producer.flush(30) == 0

    def found(name, code=0):
        done = shop.command("contacts", "find", f"email={name}@shop.example", check=False)
        return done.returncode == code

    for name in ("by-id", "by-guid", "by-header", "plain"):
        await_condition(lambda name=name: found(name), f"{name} is found")
    assert found("lost", code=1)


@pytest.mark.follows("schema not registered")
def test_start_without_the_facts_schema_stops_and_says_how_to_go_on(settings, registry, tmp_path):
    """It registers nothing by itself; after the command that the line names the replica runs."""
    with deployed(confluent(settings, registry.url), tmp_path) as running:
        stopped = running.command("run", check=False)
        subject = f"{settings.facts_topic}-value"
        assert stopped.returncode == 1
        told = f"no order-fact.2 under the subject {subject}; register it with: order-facts schemas register"
        assert told in stopped.stderr
        stopped = running.command("contacts", "index", check=False)  # else it would skip all contacts of the registry
        assert (stopped.returncode, "no contact.1 under the subject" in stopped.stderr) == (1, True)
        checked = running.command("check", check=False)
        assert (checked.returncode, told in checked.stdout.splitlines()[-1]) == (1, True)
        running.command("schemas", "register")
        found = running.command("check", check=False).stdout
        assert f"ok       the schema registry at {registry.url}, which has order-fact.2" in found.splitlines()
        running.replica("one").await_line("service.started")


@pytest.mark.follows("registry refuses")
def test_start_refused_by_the_registry_stops(scripted):
    """Wrong credentials are no outage: the line says so, and with the right ones it starts."""
    shop, registry = scripted
    path = f"/subjects/{shop.settings.facts_topic}-value"
    good, registry.answers[path] = registry.answers[path], answer(401, {"error_code": 401, "message": "who"})
    stopped = shop.command("run", check=False)
    assert stopped.returncode == 1
    assert "refuses the program (401: who): put credentials" in stopped.stderr
    registry.answers[path] = good
    shop.replica("one").await_line("service.started")


def test_start_that_can_do_without_the_registry_is_refused_by_it_too(scripted):
    """With single-object wrong credentials would show months later, in a catch-up; the start waits for no answer."""
    shop, registry = scripted
    path, form = f"/config/{shop.settings.facts_topic}-value", {"wire_format": "single-object"}
    registry.answers[path] = answer(403, {"error_code": 403, "message": "not you"})
    stopped = shop.command("run", check=False, **form)
    assert stopped.returncode == 1
    assert "refuses the program (403: not you): put credentials" in stopped.stderr
    with closing(ScriptedRegistry(registry.answers[path], drip_s=0.02)) as slow:  # its answer comes after the start
        stopped = shop.command("run", check=False, schema_registry_url=slow.url, **form)
    assert (stopped.returncode, "refuses the program (403: not you)" in stopped.stderr) == (1, True)
    assert "service.started" in stopped.stderr + stopped.stdout
    registry.answers[path] = None  # silence
    begun = time.monotonic()
    startup.ask_registry(replace(shop.settings, **form))()
    assert time.monotonic() - begun < 1
    shop.replica("one", **form).await_line("service.started")
    assert registry.requests[-1] == path
    (port,) = free_ports(1)
    shop.replica("two", **form, schema_registry_url=f"http://127.0.0.1:{port}").await_line("service.started")


@pytest.mark.follows("registry away")
def test_start_without_a_registry_waits_its_time(scripted):
    """Then it ends with 3; a registry that comes back in time is waited for."""
    shop, registry = scripted
    path = f"/subjects/{shop.settings.facts_topic}-value"
    good, registry.answers[path] = registry.answers[path], answer(503)
    stopped = shop.command("run", check=False, startup_timeout_s=1.0)
    assert stopped.returncode == 3
    assert "start it, or correct schema_registry_url" in stopped.stderr
    checked = shop.command("check", check=False, startup_timeout_s=1.0)
    assert (checked.returncode, "correct schema_registry_url" in checked.stdout) == (3, True)
    registry.answers[path] = [answer(503), answer(503), good]
    shop.replica("one").await_line("service.started")


def test_healer_waits_for_a_schema_that_the_registry_lost_partition_by_partition(scripted):
    """It starts when events of several ids wait, one of which is lost: that one's partition waits, and is healed later.

    The others heal meanwhile, and nothing is read from the beginning again.
    """
    shop, registry = scripted
    shop.replica("one")
    names, schema = [to_partition(number, 4) for number in range(3)], widened()
    ids = {name: 300 + number for number, name in enumerate(itertools.chain(*names))}
    phones = {name: f"+998{schema_id:06}" for name, schema_id in ids.items()}
    for name, schema_id in ids.items():
        registry.add(schema_id, schema)
        event = codec().decode_event(created(name, phone=phones[name]).value)
        shop.send([Sent(name.encode(), shop.written(schema_id, "order-event", schema, event))])
    shop.await_accounted()
    assert shop.read(shop.settings.facts_topic) == []
    lost = ids[names[0][1]]
    said = registry.answers.pop(f"/schemas/ids/{lost}")
    healer = shop.start("rejected", "replay", "--follow", name="healer", schema_grace_s=0.5)
    healer.await_line("partition.waiting", partition=0, waiting_for="schema_registry")
    shop.send_contacts([{"contactId": name, "phone": phone} for name, phone in phones.items()])

    def healed():
        return {record.key.decode() for record in shop.read(shop.settings.facts_topic)}

    await_condition(lambda: healed() >= {names[0][0], *names[1], *names[2]}, lambda: healer.tail("not healed"))
    assert healed().isdisjoint(names[0][1:])
    registry.answers[f"/schemas/ids/{lost}"] = said
    await_condition(lambda: healed() == ids.keys(), lambda: healer.tail("not healed"), 180)  # asked for every 30 s
    healer.await_line("healer.ready", healed=0)
    assert not healer.lines("healer.waiting")
    assert shop.command("verify").returncode == 0
