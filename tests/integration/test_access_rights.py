"""Proves that the access rights that deploy/README.md lists are enough, where Kafka and Redis grant nothing else."""

import json
import re
import signal
import time
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
from redis import Redis

from deploy.local.servers import HOST, free_ports
from deploy.local.services import EmbeddedKafka
from processor.settings import Settings
from tests.support.audits import verified
from tests.support.deployment import deployed
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
USERS = ("run", "contacts-index")
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


class GuardedKafka(EmbeddedKafka):
    """A broker with a second listener, whose users may do what they are granted; whoever comes by the first may all."""

    def __init__(self, folder):
        super().__init__(folder)
        (self._guarded_port,) = free_ports(1)

    def _addresses(self):
        addresses = super()._addresses()
        users = " ".join(f'user_{user}="secret of {user}"' for user in USERS)
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        for name in ("listeners", "advertised.listeners"):
            addresses[name] += f",GUARDED://{self.guarded_servers}"
        addresses["listener.security.protocol.map"] += ",GUARDED:SASL_PLAINTEXT"
        return addresses | {
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.guarded.plain.sasl.jaas.config": f"{module} required {users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    @property
    def guarded_servers(self):
        """Host and port of the listener that asks who comes."""
        return f"{HOST}:{self._guarded_port}"

    def settings_of(self, user):
        """Give the settings with which a user comes."""
        login = {"sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": f"secret of {user}"}
        return {
            "bootstrap_servers": self.guarded_servers,
            "kafka": {"security.protocol": "SASL_PLAINTEXT", **login},
        }


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
    """Without one of them a replica that has facts to read, and facts to write, ends and says what is missing."""
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
        grant(admin, [right])
    last = deployment.replica("last", **runs)
    deployment.await_accounted()
    last.stop()
    deployment.require_right_outputs()


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
