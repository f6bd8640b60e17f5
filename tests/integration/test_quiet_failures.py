"""Proves that no failure of a service writes more than a few lines a second, whichever process meets it."""

import time
from contextlib import contextmanager
from itertools import count

import pytest
from confluent_kafka.admin import AclOperation, AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient
from redis import Redis

from deploy.local.embedded_registry import EmbeddedRegistry
from deploy.local.services import EmbeddedRedis
from processor.domain.records import Record
from processor.logs.published import LOUD
from processor.settings import Settings
from tests.integration.test_access_rights import binding, grant, listed, taken
from tests.support.audits import produce
from tests.support.deployment import await_condition, deployed
from tests.support.guarded_kafka import USERS, GuardedKafka
from tests.support.log_lines import busiest
from tests.support.registered import Registered
from tests.support.traffic import contacts, created, traffic

pytestmark = pytest.mark.services
LONG_S = 10.0  # longer than a session; of so long the lines are counted
MOST_LINES = 20
PUBLISH = ("segments", "publish", "abandoned_carts", "--every", "1s", "--data")
_numbers = count()


class Place:
    """The services, each to be harmed, and a deployment on them."""

    def __init__(self, folder):
        self.kafka, self.redis = GuardedKafka(folder / "kafka"), EmbeddedRedis(folder / "redis")
        self.registry = EmbeddedRegistry(folder / "registry")
        for server in (self.kafka, self.redis, self.registry):
            server.start()
        self.admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        self.shop: Registered

    def end(self):
        """End the services."""
        for server in (self.registry, self.redis, self.kafka):
            server.kill()

    @contextmanager
    def processes(self):
        """Give a replica, the contact index, the healer and a publisher of segments, each of its user, that work."""
        runs, indexes = (self.kafka.settings_of(user) for user in USERS)
        number = next(_numbers)
        started = [
            self.shop.start("contacts", "index", name=f"index{number}", **indexes),
            self.shop.replica(f"replica{number}", **runs),
            self.shop.start("rejected", "replay", "--follow", name=f"healer{number}", **runs),
            self.shop.start(*PUBLISH, str(self.shop.folder / "snapshots"), name=f"publisher{number}", **runs),
        ]
        try:
            started[2].await_line("healer.ready")
            started[3].await_line("segments.published")
            self.shop.send([*traffic(seed=number, count=50), created(f"waits{number}", phone="+888000009")])
            started[1].await_line("batch.committed")
            yield started
        finally:
            for process in started:
                process.end()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Give the services with a deployment whose rights are granted and whose schemas are registered."""
    folder = tmp_path_factory.mktemp("quiet")
    found = Place(folder)
    try:
        settings = Settings(
            bootstrap_servers=found.kafka.bootstrap_servers,
            redis_url=found.redis.url,
            instance_id="test",
            identifier_key="a secret of the tests",
            wire_format="confluent",
            schema_registry_url=found.registry.url,
            schema_grace_s=1.0,
        )
        with deployed(settings, folder, kind=Registered) as found.shop:
            with SchemaRegistryClient({"url": found.registry.url}) as client:
                found.shop.register(client)
            found.shop.send_contacts(contacts())
            grant(found.admin, rights(settings))
            yield found
    finally:
        found.end()


def rights(settings):
    """Give all rights of the two users: those of `run` and the contact index, the healer's and the publisher's."""
    own = [("group", f"{settings.group_id}-{name}", "Read") for name in ("replay", "healer")]
    own += [("topic", settings.healed_topic, right) for right in ("Read", "Write", "DescribeConfigs")]
    own += [("topic", settings.segment_members_topic, right) for right in ("Read", "Write", "DescribeConfigs")]
    own += [("topic", settings.contacts_topic, "Read"), ("topic", settings.events_topic, "Write")]
    own.append(("transactional id", f"{settings.segment_members_topic}/publish/", "Write"))
    return [*listed(0), *listed(1), *(binding(USERS[0], *right) for right in own)]


def pass_by(shop, *, is_sending=True):
    """Let the time pass, while orders come."""
    until_s = time.monotonic() + LONG_S
    while time.monotonic() < until_s:
        if is_sending:
            shop.send([created(f"meanwhile{next(_numbers)}") for _ in range(5)])
        time.sleep(0.5)  # there is nothing to await: this is how long the failure lasts


@contextmanager
def broker_frozen(place):
    """Have the broker answer nothing, and keep its connections open."""
    place.kafka.pause()
    try:
        pass_by(place.shop, is_sending=False)
        yield
    finally:
        place.kafka.resume()


@contextmanager
def redis_frozen(place):
    """Have Redis answer nothing, while events come."""
    place.redis.pause()
    try:
        pass_by(place.shop)
        yield
    finally:
        place.redis.resume()


@contextmanager
def registry_down(place):
    """Have no registry, while values come with ids that nobody knows, in all partitions and of contacts."""
    place.registry.kill()
    values = [b"\x00" + (9_000 + number).to_bytes(4, "big") + b"x" for number in range(60)]
    unknown = [Record(number % 3, 0, 0, b"u%d" % number, value) for number, value in enumerate(values)]
    for topic in (place.shop.settings.contacts_topic, place.shop.settings.events_topic):
        produce(place.shop.settings, topic, unknown)
    pass_by(place.shop)
    yield


@contextmanager
def redis_forbids(place):
    """Have Redis refuse every command."""
    with Redis.from_url(place.redis.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-@all", "+acl")
        try:
            pass_by(place.shop)
            yield
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


def rights_taken(operation):
    """Give the fault that all rights of a kind are taken from both users while they need them.

    Without the right to describe alone nothing fails: to read or to write implies it.
    """

    @contextmanager
    def taken_away(place):
        gone = [right for right in rights(place.shop.settings) if right.operation is operation]
        for right in gone:
            taken(place.admin, right)
        try:
            place.shop.send_contacts([{"contactId": "late", "phone": "+888000009"}])
            pass_by(place.shop)
            yield
        finally:
            grant(place.admin, gone)

    taken_away.__name__ = f"rights_taken_{operation.name.lower()}"
    return taken_away


FAULTS = (
    broker_frozen,
    redis_frozen,
    redis_forbids,
    rights_taken(AclOperation.READ),
    rights_taken(AclOperation.WRITE),
    registry_down,  # the last: what it sends stays unknown
)


def loud(processes):
    """Give the warnings and errors of processes."""
    return [line for process in processes for line in process.lines() if line["level"] in LOUD]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_service_that_fails_is_no_flood_of_lines(place, fault):
    """Each process goes on and says why it waits, or ends and says why, in few lines; some process meets it."""
    with place.processes() as processes:
        before = len(loud(processes))
        with fault(place):
            await_condition(lambda: len(loud(processes)) > before, "nobody met it")
    for process in processes:
        assert busiest(process.lines()) <= MOST_LINES, process.tail("too loud")
