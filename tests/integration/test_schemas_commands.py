"""Proves what `order-facts schemas` lists, registers and checks, on a real registry and with Confluent's own client."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.local.embedded_registry import EmbeddedRegistry
from deploy.local.servers import HOST, free_ports
from processor.registry.client import Registry
from processor.settings import Settings
from tests.support.scripted_registry import ScriptedRegistry, answer

SCHEMAS = Path(__file__).parents[2] / "schemas"
VERSIONS = {"events": ("order-event.1", "order-event.2"), "contacts": ("contact.1",)}
VERSIONS |= {"facts": ("order-fact.1", "order-fact.2"), "segment_members": ("segment-member.1",)}
OUTPUTS = ("facts", "segment_members")
SECRET = "hunter2-hunter2"


class Topics:
    """Topics of a test's own, as the settings of `order-facts schemas`."""

    def __init__(self, url=None):
        unique = secrets.token_hex(4)
        self.settings = {f"{role}_topic": f"{role}-{unique}" for role in VERSIONS} | {"startup_timeout_s": "20"}
        self.subjects = {role: f"{role}-{unique}-value" for role in VERSIONS}
        if url is not None:
            self.settings["schema_registry_url"] = url

    def run(self, *arguments, code=0, **changes):
        """Run a command to its end, require its exit code, and give its lines of output, then those of errors."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("ORDER_FACTS_")}
        own |= {f"ORDER_FACTS_{name.upper()}": value for name, value in (self.settings | changes).items()}
        command = [sys.executable, "-m", "processor", "schemas", *map(str, arguments)]
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert SECRET not in done.stdout + done.stderr
        return (done.stdout + done.stderr).splitlines()


@pytest.fixture
def topics(registry):
    """Give topics with a real registry."""
    return Topics(registry.url)


@pytest.fixture(scope="module")
def own_registry(tmp_path_factory):
    """Give a real registry whose own level tests may set."""
    started = EmbeddedRegistry(tmp_path_factory.mktemp("own-registry"))
    started.start()
    yield started
    started.kill()


@pytest.fixture
def client(registry):
    """Give Confluent's client of the registry."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        yield client


@pytest.fixture
def changed(tmp_path):
    """Give the function that writes a version of ours, changed by a function, into a file."""

    def write(name, change):
        schema = json.loads((SCHEMAS / f"{name}.avsc").read_text())
        change(schema)
        file = tmp_path / "producer.avsc"
        file.write_text(json.dumps(schema))
        return file

    return write


def added(**field):
    """Give the change that adds a field to a record."""
    return lambda schema: schema["fields"].append(field)


def test_register_twice_is_the_same_as_once(topics, client):
    """Every version is there, in order, with the subject's level; a second time nothing changes."""
    first = topics.run("register")
    assert [line.split(": ")[1].split()[-1] for line in first if " registered: " in line] == ["registered"] * 6
    for role, subject in topics.subjects.items():
        assert client.get_versions(subject) == list(range(1, len(VERSIONS[role]) + 1))
        level = "FULL_TRANSITIVE" if role in OUTPUTS else "BACKWARD_TRANSITIVE"
        assert client.get_compatibility(subject) == level
        assert f"{subject}: level set to {level}" in first
    again = topics.run("register")
    assert again == [
        line.replace(" registered: ", " exists: ").replace("level set to", "level is").partition(", was")[0]
        for line in first
    ]
    assert client.get_versions(topics.subjects["events"]) == [1, 2]


def test_a_client_that_registers_nothing_finds_every_version(topics, client):
    """Confluent's serializer, with `auto.register.schemas=false` and a file's text, writes the id that is listed."""
    topics.run("register")
    listed = topics.run("list")
    for role in ("events", "contacts"):
        for number, name in enumerate(VERSIONS[role], start=1):
            text = (SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8")
            write = AvroSerializer(client, text, conf={"auto.register.schemas": False})
            value = {"contactId": "c"} if role == "contacts" else {"eventTypeKey": "orderCreated", "params": []}
            topic = topics.settings[f"{role}_topic"]
            framed = write(value, SerializationContext(topic, MessageField.VALUE))
            assert framed[0] == 0
            (line,) = [line for line in listed if f"  {name}  " in line]
            assert line.startswith(f"{topic}-value  {name}  orderfacts.v1.")
            assert line.endswith(f"version {number}, id {int.from_bytes(framed[1:5], 'big')}")
    for name in VERSIONS["facts"]:
        text = (SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8")
        AvroSerializer(client, text, conf={"auto.register.schemas": False})
        assert any(f"  {name}  orderfacts.v1.OrderFact  " in line and ", id " in line for line in listed)


def test_list_says_what_is_where(topics, client):
    """Without a registry the files with their fingerprints; with one what is missing, and what others registered."""
    own = Topics().run("list")
    assert [line.split("  ")[1] for line in own] == [name for names in VERSIONS.values() for name in names]
    assert own[0].endswith("  orderfacts.v1.OrderEvent  B4A67650BD41902C")
    before = topics.run("list")
    assert sum(line.endswith("  not registered") for line in before) == 6
    assert sum(line.endswith("  level of the whole registry") for line in before) == 4
    topics.run("register")
    foreign = json.loads((SCHEMAS / "order-event.2.avsc").read_text())
    foreign["fields"].append({"name": "shop", "type": "string", "default": ""})
    asked = topics.settings["schema_registry_url"], topics.subjects["events"]
    Registry(Settings(schema_registry_url=asked[0])).register(asked[1], json.dumps(foreign))
    assert any(line.startswith(f"{asked[1]}  not of this program  version 3, id ") for line in topics.run("list"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda schema: schema["fields"].pop(0), "eventTypeKey: the writer has no such field"),
        (lambda schema: schema["fields"][0].update(type="double"), "eventTypeKey: double cannot be read as string"),
        (
            lambda schema: schema["fields"][2]["type"]["items"]["fields"][1]["type"].append(
                {"type": "fixed", "name": "Money", "size": 8}
            ),
            "params[].value: fixed orderfacts.v1.Money cannot be read as one of null, string, ",
        ),
        (added(name="next", type=["null", "OrderEvent"], default=None), "'orderfacts.v1.OrderEvent' is recursive"),
        (lambda schema: schema.update(name="Order"), "orderfacts.v1.Order is none of orderfacts.v1.OrderEvent, "),
        (lambda schema: schema.update(namespace="shop"), "shop.OrderEvent is none of orderfacts.v1.OrderEvent, "),
        (lambda schema: schema.update(type="recrd"), "not an Avro schema"),
        (added(name="x" * 200_000, type="string"), "more than 128 KiB"),
    ],
)
def test_a_producers_schema_that_cannot_be_read_names_the_field(changed, change, field):
    """A producer's CI fails with the path of what breaks, without any service."""
    (line,) = Topics().run("check", changed("order-event.2", change), code=1)
    assert line.startswith("problem  ")
    assert field in line


@pytest.mark.parametrize("name", [name for names in VERSIONS.values() for name in names])
def test_our_versions_and_additions_to_them_are_read(changed, name):
    """A producer may keep a version, or write one more field."""
    topics = Topics()
    assert topics.run("check", SCHEMAS / f"{name}.avsc")[0].endswith(" reads it")
    assert topics.run("check", changed(name, added(name="extra", type="int")))[0].startswith("ok       ")


def test_check_without_a_file(topics, tmp_path):
    """Offline the newest reads all; with a registry what is missing is a warning, what cannot be read a problem."""
    assert [line[:9] for line in Topics().run("check")] == ["ok       "] * 4
    before = topics.run("check")
    assert sum(line.startswith("warning  ") and "is not registered" in line for line in before) == 6
    topics.run("register")
    assert [line[:9] for line in topics.run("check")] == ["ok       "] * 4
    registry = Registry(Settings(schema_registry_url=topics.settings["schema_registry_url"]))
    registry.set_level(topics.subjects["events"], "NONE")
    foreign = json.loads((SCHEMAS / "order-event.1.avsc").read_text())
    foreign["fields"][0]["type"] = "boolean"
    registry.register(topics.subjects["events"], json.dumps(foreign))
    found = topics.run("check", code=1)
    assert any("its level is NONE, not BACKWARD_TRANSITIVE" in line for line in found)
    (problem,) = [line for line in found if line.startswith("problem")]
    assert problem.startswith(f"problem  {topics.subjects['events']}: version 3, id ")
    assert problem.endswith("cannot be read: eventTypeKey: boolean cannot be read as string")


def test_the_subjects_level_decides_about_a_producers_schema(topics, changed):
    """What ours could read is still refused where the registry would refuse it, and the line names the field."""
    topics.run("register")
    allowed = changed("order-event.2", added(name="shop", type="string", default=""))
    (line,) = topics.run("check", allowed)
    assert line.endswith(f"reads it, and the level of {topics.subjects['events']} allows it")
    refused = topics.run("check", changed("order-event.2", added(name="shop", type="string")), code=1)
    says = f"problem  the level BACKWARD_TRANSITIVE of {topics.subjects['events']} does not allow it: it cannot read "
    assert all(line.startswith(says) for line in refused)
    assert [line.partition(": shop: ")[2] for line in refused] == [
        "the writer has no such field, and the reader no default for it"
    ] * 2


@pytest.mark.parametrize(
    ("level", "says"),
    [
        ("BACKWARD", ["it cannot read version 2, id {2}: shop: the writer has no such field"]),
        (
            "BACKWARD_TRANSITIVE",
            [f"it cannot read version {one}, id {{{one}}}: shop: the writer has no such field" for one in (1, 2)],
        ),
        ("FORWARD", ["version 2, id {2} cannot read it: eventTypeKey: "]),
        ("FULL", ["it cannot read version 2, id {2}: shop: ", "version 2, id {2} cannot read it: eventTypeKey: "]),
    ],
)
def test_the_level_of_the_whole_registry_decides_where_a_subject_has_none(own_registry, changed, level, says):
    """Only what that level breaks is named: its direction, and the last version or all."""
    topics, registry = Topics(own_registry.url), Registry(Settings(schema_registry_url=own_registry.url))
    subject = topics.subjects["events"]
    with SchemaRegistryClient({"url": own_registry.url}) as client:
        for one in ("BACKWARD", "NONE"):  # Apicurio takes NONE only where there was a level
            client.set_compatibility(level=one)
        for name in VERSIONS["events"]:
            registry.register(subject, (SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8"))
        client.set_compatibility(level=level)

    def both_ways(schema):
        schema["fields"][0]["type"] = ["null", "string"]
        schema["fields"].append({"name": "shop", "type": "string"})

    lines = topics.run("check", changed("order-event.2", both_ways), code=1)
    told = f"problem  the level {level} of the whole registry does not allow it: "
    found = [line.removeprefix(told) for line in lines if line.startswith(told)]
    ids = {one.version: one.id for one in registry.versions(subject)}
    wanted = [text.replace(f"{{{version}}}", str(number)) for text in says for version, number in ids.items()]
    wanted = [text for text in wanted if "{" not in text]
    assert len(found) == len(wanted)
    assert all(line.startswith(text) for line, text in zip(found, wanted, strict=True)), found


def test_a_producer_that_was_first_with_the_newest_version_keeps_only_the_older_one_out(
    deployment, registry, topics, client
):
    """An ordinary serializer registered version 2; all others are registered, twice is the same, and `run` starts."""
    topics.settings |= {role: getattr(deployment.settings, role) for role in topics.settings if "_topic" in role}
    topics.subjects = {role: f"{topics.settings[f'{role}_topic']}-value" for role in VERSIONS}
    subject = topics.subjects["events"]
    write = AvroSerializer(client, (SCHEMAS / "order-event.2.avsc").read_text(encoding="utf-8"))
    write({"eventTypeKey": "orderCreated", "params": []}, SerializationContext(subject[:-6], MessageField.VALUE))
    lines = topics.run("register")
    again = topics.run("register")
    assert [line for line in again if " exists: " in line] == [
        line.replace(" registered: ", " exists: ") for line in lines if ", id " in line
    ]
    (warning,) = [line for line in lines if not line.startswith(tuple(topics.subjects.values()))]
    assert warning.startswith(f"warning  {subject}: order-event.1 stays unregistered: order-event.2 is there already")
    assert "(409: " in warning
    assert client.get_versions(subject) == [1]
    listed = topics.run("list")
    assert [line.split("  ")[1] for line in listed if line.endswith("  not registered")] == ["order-event.1"]
    (warned,) = [line for line in topics.run("check") if not line.startswith("ok")]
    assert warned.startswith(f"warning  {subject}: order-event.1 is not registered; order-event.2 is there already")
    used = {"wire_format": "confluent", "schema_registry_url": registry.url}
    deployment.replica("one", **used).await_line("service.started")


def test_register_refuses_what_does_not_go_with_the_subject(topics, client):
    """A subject with somebody else's record keeps its schemas; a line has the registry's reason; the others go on."""
    registry = Registry(Settings(schema_registry_url=topics.settings["schema_registry_url"]))
    registry.register(topics.subjects["events"], '{"type": "record", "name": "Other", "fields": []}')
    lines = topics.run("register", code=1)
    assert len(registry.versions(topics.subjects["events"])) == 1
    problems = [line for line in lines if line.startswith("problem  ")]
    for name, line in zip(VERSIONS["events"], problems, strict=True):
        assert line.startswith(f"problem  {topics.subjects['events']}: {name} is not registered: ")
        assert f"registry at {topics.settings['schema_registry_url']} refuses the schema or the level (409: " in line
        assert "ncompatible" in line
    for role in ("contacts", *OUTPUTS):
        assert len(client.get_versions(topics.subjects[role])) == len(VERSIONS[role])


@pytest.mark.parametrize("command", ["list", "register", "check"])
def test_an_unreachable_registry_leaves_with_3(command):
    """The line names the address; nothing is known about the schemas."""
    (port,) = free_ports(1)
    lines = Topics(f"http://{HOST}:{port}").run(command, code=3, startup_timeout_s="1")
    assert f"http://{HOST}:{port} does not answer" in lines[-1]


@pytest.mark.parametrize("command", ["list", "register", "check"])
@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_leave_with_1(command, status):
    """Waiting would not help: the line names the setting, and never the credentials."""
    said = answer(status, {"error_code": status, "message": f"not you, user:{SECRET}"})
    with contextlib.closing(ScriptedRegistry(said)) as scripted:
        table = json.dumps({"basic.auth.user.info": f"user:{SECRET}"})
        lines = Topics(scripted.url).run(command, code=1, schema_registry=table)
    assert f"refuses the program ({status}: not you, ***)" in lines[-1]
    assert "setting schema_registry" in lines[-1]


def test_wrong_settings_leave_with_2(tmp_path):
    """Without an address nothing can be registered; credentials in one are refused, not shown; a file has to exist."""
    assert "setting schema_registry_url: put the address" in Topics().run("register", code=2)[-1]
    lines = Topics(f"http://user:{SECRET}@registry").run("check", code=2)
    assert "basic.auth.user.info" in lines[-1]
    assert "does not exist" in Topics().run("check", tmp_path / "none.avsc", code=2)[-1]
