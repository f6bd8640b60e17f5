"""Proves that the access rights that deploy/README.md lists are enough, where Kafka and Redis grant nothing else."""

import json
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from msgspec.structs import replace
from redis import Redis

from processor.errors import StopError
from processor.kafka.cluster import Cluster
from processor.kafka.creation import create_missing
from processor.kafka.rights import findings, needed
from processor.membership.publishing import publish
from processor.settings import Settings
from tests.support.audits import verified
from tests.support.deployment import deployed
from tests.support.guarded_kafka import USERS, GuardedKafka
from tests.support.refusals import forget_mirror, refusal, rejections, remove_mirror
from tests.support.traffic import contacts, created, traffic

README = (Path(__file__).parents[2] / "deploy" / "README.md").read_text(encoding="utf-8")
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
RESOURCES = {
    "topic": (ResourceType.TOPIC, ResourcePatternType.LITERAL),
    "group": (ResourceType.GROUP, ResourcePatternType.LITERAL),
    "transactional id": (ResourceType.TRANSACTIONAL_ID, ResourcePatternType.LITERAL),
    "transactional ids with prefix": (ResourceType.TRANSACTIONAL_ID, ResourcePatternType.PREFIXED),
}
ADMIN_S = 30.0


def rebuild(deployment, name, seed, granted):
    """Lose a mirror and have a replica with the granted rights rebuild it and go on; give the replica."""
    forget_mirror(deployment)
    replica = deployment.replica(name, **granted)
    replica.await_line("mirror.caught_up")
    deployment.send(traffic(seed=seed, count=200))
    deployment.await_accounted()
    return replica


def rule():
    """Give the README's user and its rules as the arguments of ACL SETUSER."""
    (found,) = re.findall(r"^ACL SETUSER (.*?)```", README, re.DOTALL | re.MULTILINE)
    return found.split()


def test_redis_grants_what_the_readme_lists_and_no_more(apart):
    """Index, replica, a rebuilt mirror, the look-up of a contact, check and verify do with these commands."""
    user, *rules = rule()
    with Redis.from_url(apart.settings.redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, *rules)
    parts = urlsplit(apart.settings.redis_url)
    granted = {"redis_url": parts._replace(netloc=f"{user}:password@{parts.netloc}").geturl()}
    apart.start("contacts", "index", name="index", **granted).await_line("contacts.ready")
    apart.send(traffic(seed=71, count=200))
    replica = apart.replica("a", **granted)
    apart.await_accounted()
    replica.stop()
    rebuild(apart, "a", 72, granted).stop()
    apart.require_right_outputs()
    apart.command("check", **granted)
    apart.command("contacts", "find", "externalCustomerId=AV1", **granted)
    assert verified(apart, 0, **granted)[0] == {}
    without = [word for word in rules if word != "+hscan"]
    with Redis.from_url(apart.settings.redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, "reset", *without)
    assert "hscan" in apart.command("verify", check=False, **granted).stderr.lower()


def listed(column):
    """Give the rights of one column of the README's table, as ACL bindings of its user."""
    table = README[README.index("## Access rights") :].split("\n\n")[2]
    found = []
    for row in table.splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        (kind,) = re.findall(r"^[a-z ]*[a-z]", re.sub(r"^(topic|group)s\b", r"\1", cells[0]))
        names = re.findall(r"`([^`]+)`", cells[0].split(" (")[0])
        rights = [word.strip() for word in cells[1 + column].split(",") if word.strip()]
        assert names
        found += [binding(USERS[column], kind, name, right) for name in names for right in rights]
    return found


def binding(user, kind, name, right):
    """Give one right as Kafka knows it."""
    resource, pattern = RESOURCES[kind]
    principal = f"User:{user}"
    return AclBinding(resource, name, pattern, principal, "*", OPERATIONS[right], AclPermissionType.ALLOW)


def grant(admin, rights):
    """Grant rights."""
    for future in admin.create_acls(rights).values():
        future.result(ADMIN_S)


def taken(admin, right):
    """Take one right away."""
    parts = (right.restype, right.name, right.resource_pattern_type, right.principal, right.host, right.operation)
    only = AclBindingFilter(*parts, right.permission_type)
    assert len(admin.delete_acls([only])[only].result(ADMIN_S)) == 1


@pytest.fixture
def kafka(tmp_path):
    """Give a broker that asks for rights."""
    broker = GuardedKafka(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def admin(kafka):
    """Give an administrator who has granted what the README lists."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    for column in range(len(USERS)):
        grant(admin, listed(column))
    return admin


@pytest.fixture
def deployment(services, tmp_path, kafka):
    """Give a deployment with the default names."""
    settings = Settings(
        bootstrap_servers=kafka.bootstrap_servers,
        redis_url=services.redis_url,
        instance_id="test",
        identifier_key="a secret of the tests",
    )
    with deployed(settings, tmp_path) as deployment:
        deployment.send_contacts(contacts())
        yield deployment


def assert_told(replica, words):
    """Check that a replica from which a right was taken ends, with a line that says so and where to look."""
    assert replica.await_end() == 1, replica.tail("goes on")
    (line,) = replica.lines("service.failed")
    assert words in line["error"]
    assert line["error"].endswith("check the setting kafka and the access rights on the brokers")


def test_kafka_grants_what_the_readme_lists_and_no_more(kafka, admin, deployment):
    """Index and replicas do with it: a crash in a transaction, its successor, a mirror rebuilt from the facts.

    Without the right to write facts a replica stops, and its line says what is missing.
    """
    runs, indexes = (kafka.settings_of(user) for user in USERS)
    deployment.start("contacts", "index", name="index", **indexes).await_line("contacts.ready")
    deployment.send(traffic(seed=81, count=300))
    crashing = deployment.sabotaged("a", "after flush", 1, "SIGKILL", **runs)
    assert crashing.await_end() == -signal.SIGKILL
    successor = deployment.replica("b", **runs)
    deployment.await_accounted()
    successor.stop()
    again = rebuild(deployment, "b", 82, runs)
    deployment.require_right_outputs()
    taken(admin, binding(USERS[0], "topic", deployment.settings.facts_topic, "Write"))
    deployment.send([created("another")])
    assert_told(again, "Topic authorization failed")


def test_no_right_that_the_readme_lists_can_be_left_out(kafka, admin, deployment):
    """Without one of them a replica that has facts to read, and facts to write, ends; `check` says which is missing."""
    runs, indexes = (kafka.settings_of(user) for user in USERS)
    deployment.start("contacts", "index", name="index", **indexes).await_line("contacts.ready")
    deployment.send(traffic(seed=83, count=100))
    first = deployment.replica("first", **runs)
    deployment.await_accounted()
    first.stop()
    deployment.send(traffic(seed=84, count=100))
    for number, right in enumerate(listed(0)):
        taken(admin, right)
        remove_mirror(deployment)
        replica = deployment.replica(f"without-{number}", **runs)
        assert_told(replica, "authorization failed")
        assert missing(deployment, runs) == [right]
        grant(admin, [right])
    assert missing(deployment, runs) == []
    last = deployment.replica("last", **runs)
    deployment.await_accounted()
    last.stop()
    deployment.require_right_outputs()


def missing(deployment, user):
    """Give the rights that `check` finds missing for `run`, as ACL bindings."""
    settings = replace(deployment.settings, **user)
    lines = [text for kind, text in findings(settings, Cluster(settings)) if kind == "problem"]
    said = [
        re.fullmatch(r"access rights: grant this user (\w+) on the (.*) (\S+), which `run` needs", line)
        for line in lines
    ]
    return [binding(USERS[0], kind, name, right) for right, kind, name in (found.groups() for found in said if found)]


def test_check_asks_for_what_the_readme_lists():
    """Its list and the operators' table are the same."""
    asked = needed(Settings(instance_id="test"))
    for user, command in zip(USERS, ("run", "contacts index"), strict=True):
        rights = {binding(user, right.kind, right.name, right.operation) for right in asked[command]}
        assert rights == {*listed(USERS.index(user))}


def test_check_names_what_is_missing_before_and_after_the_start(kafka, admin, deployment):
    """Also where the start itself fails for it; of another command's rights there is a note, which is no problem."""
    runs, indexes = (kafka.settings_of(user) for user in USERS)
    deployment.start("contacts", "index", name="index", **indexes).await_line("contacts.ready")
    done = deployment.command("check", **runs)
    assert "\nok       access rights: all that `run` needs\n" in done.stdout
    assert (
        "\nnote     access rights: `contacts index` by this user also needs Read on the topic contacts\n" in done.stdout
    )
    assert "\nok       transactions: one began and was aborted\n" in done.stdout
    hidden = [binding(USERS[0], "topic", "contacts", right) for right in ("Describe", "DescribeConfigs")]
    for right in hidden:
        taken(admin, right)
    done = deployment.command("check", check=False, **runs)
    first, *others = [line for line in done.stdout.splitlines() if line.startswith("problem  ")]
    assert first.endswith("check the setting kafka and the access rights on the brokers")
    assert others == [
        f"problem  access rights: grant this user {right} on the topic contacts, which `run` needs"
        for right in ("Describe", "DescribeConfigs")
    ]
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.follows("kafka refuses")
@pytest.mark.usefixtures("admin")
def test_a_wrong_password_of_kafka_is_named(kafka, deployment):
    """It is no outage to wait for: two commands end at once, and say what to check; with the right one it runs."""
    right = kafka.settings_of("contacts-index")
    wrong = right | {"kafka": right["kafka"] | {"sasl.password": "another"}}
    began = time.monotonic()
    for command in (("contacts", "index"), ("topics", "create")):
        line = refusal(deployment.command(*command, check=False, **wrong), 1)
        assert line.startswith(f"Kafka at {kafka.guarded_servers}: ")
        assert "SASL authentication error: Authentication failed" in line
        assert line.endswith("check the setting kafka and the access rights on the brokers")
        assert "another" not in line
    assert time.monotonic() - began < deployment.settings.startup_timeout_s / 2
    deployment.start("contacts", "index", name="index", **right).await_line("contacts.ready")


def test_replay_that_may_not_read_the_brokers_settings_says_so(kafka, admin, deployment):
    """How long Kafka keeps offsets is unknown then: nothing is replayed twice, and the line says what to grant."""
    runs, indexes = (kafka.settings_of(user) for user in USERS)
    deployment.start("contacts", "index", name="index", **indexes).await_line("contacts.ready")
    deployment.send(rejections(3))
    replica = deployment.replica("a", **runs)
    deployment.await_accounted()
    replica.stop()
    name = deployment.settings.group_id
    group = binding(USERS[0], "group", f"{name}-replay", "Read")
    topics = ((deployment.settings.events_topic, "Write"), (deployment.settings.healed_topic, "Read"))
    grant(admin, [group, *(binding(USERS[0], "topic", *right) for right in topics)])
    line = refusal(deployment.command("rejected", "replay", check=False, **runs), 1)
    assert "grant DescribeConfigs on the cluster, then run it again" in line
    cluster = AclBinding(
        ResourceType.BROKER,
        "kafka-cluster",
        ResourcePatternType.LITERAL,
        group.principal,
        "*",
        AclOperation.DESCRIBE_CONFIGS,
        AclPermissionType.ALLOW,
    )
    grant(admin, [cluster])
    done = deployment.command("rejected", "replay", **runs)
    assert json.loads(done.stdout)["replayed"] == 3


def test_healer_needs_what_the_readme_lists(kafka, admin, deployment):
    """With the rights of `run`, and those listed for `rejected replay --follow`, an order heals; a standby waits."""
    runs, indexes = (kafka.settings_of(user) for user in USERS)
    deployment.start("contacts", "index", name="index", **indexes).await_line("contacts.ready")
    settings, user = deployment.settings, USERS[0]
    listed_rights = [("group", f"{settings.group_id}-{name}", "Read") for name in ("replay", "healer")]
    listed_rights += [("topic", settings.healed_topic, right) for right in ("Read", "Write", "DescribeConfigs")]
    grant(admin, [binding(user, *right) for right in (*listed_rights, ("topic", settings.events_topic, "Write"))])
    given = replace(settings, **runs)
    assert [line for kind, line in findings(given, Cluster(given)) if kind == "note" and "--follow" in line] == []
    deployment.send([created("late", phone="+998000001")])
    replica = deployment.replica("a", **runs)
    deployment.await_accounted()
    healer = deployment.start("rejected", "replay", "--follow", name="healer", **runs)
    healer.await_line("healer.ready")
    standby = deployment.start("rejected", "replay", "--follow", name="standby", **runs)
    standby.await_line("healer.standby")
    deployment.send_contacts([{"contactId": "late", "phone": "+998000001"}])
    healer.await_line("healer.sent", records=1)
    deployment.await_accounted(2)
    for process in (healer, standby, replica):
        process.stop()


@pytest.mark.services
def test_a_publisher_of_segments_needs_what_the_readme_lists(kafka, admin):
    """A user of its own publishes with it, not without any of it; it may also read the topic."""
    settings = replace(Settings(instance_id="test"), **kafka.settings_of(USERS[1]))
    own = Settings(bootstrap_servers=kafka.bootstrap_servers, instance_id="operator")
    assert [*create_missing(own, Cluster(own))]
    topic = settings.segment_members_topic
    rights = [binding(USERS[1], "topic", topic, right) for right in ("Read", "Write", "DescribeConfigs")]
    rights.append(binding(USERS[1], "transactional id", f"{topic}/publish/", "Write"))
    grant(admin, rights)
    now = datetime.now(UTC)
    assert publish(settings, {"vip": ["a", "b"]}, now, lambda *_: None).entered == {"vip": 2}
    for number, right in enumerate(rights):
        taken(admin, right)
        with pytest.raises(StopError, match="check the setting kafka and the access rights on the brokers"):
            publish(settings, {"vip": [f"c{number}"]}, now, lambda *_: None)
        grant(admin, [right])
    assert publish(settings, {"vip": ["b", "c"]}, now, lambda *_: None).left == {"vip": 1}
    text = README[README.index("## Access rights") :]
    assert f"| topic `{topic}` | | | `segments publish`: Read, Write, DescribeConfigs; " in text
    assert f"| transactional id `{topic}/publish/` " in text
