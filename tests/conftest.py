"""What every test that needs real services shares: the services themselves, and names of its own.

Which tests `make test-fast` runs is a rule, kept here: those without the markers `services` and `slow`. A test that
asks for the fixture `services` or `registry`, by itself or by another fixture, is given the first of them; one that
starts a server of its own has it written down, and fails without it. What is long by design has the marker `slow`, with
its reason.
"""

import os
import secrets
import sys

import hypothesis
import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from redis import Redis

from deploy.local.embedded_registry import EmbeddedRegistry
from deploy.local.servers import EmbeddedServer
from deploy.local.services import start_services
from processor.settings import Settings
from tests.support.deployment import await_condition
from tests.support.forking import Forks
from tests.support.hostile import FAST, FAST_EXAMPLES
from tests.support.shop import Shop

CREATE_S = 30.0
# A transaction whose owner died ends a second after its time, not up to ten. Brokers of a test of its own keep the ten.
BROKER = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}
CHAOS_SEED = "ORDER_FACTS_TEST_CHAOS_SEED"
# Properties hold on a machine of any speed.
hypothesis.settings.register_profile("full", deadline=None)
hypothesis.settings.register_profile(FAST, deadline=None, max_examples=FAST_EXAMPLES)
hypothesis.settings.load_profile("full")


def pytest_configure():
    """Choose the seed of the chaos run once, for all workers; one given in the environment plays a run again.

    The processes of the tests keep compiled modules, even where the environment forbids that: thousands of them start,
    and each would compile the whole program again.
    """
    os.environ.setdefault(CHAOS_SEED, str(secrets.randbelow(1 << 31)))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_report_header():
    """Print the seed, so that a failure can be played again."""
    return f"chaos seed: {os.environ[CHAOS_SEED]}"


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items):
    """Mark the tests that ask for the services; require a reason of each that is marked as slow."""
    for item in items:
        if {"services", "registry"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker("services")
        for marker in item.iter_markers("slow"):
            if not marker.kwargs.get("reason"):
                raise pytest.UsageError(f"{item.nodeid}: the marker slow needs a reason")


@pytest.fixture(autouse=True)
def no_server_of_its_own(request):
    """Refuse a test that starts a server without saying so: `make test-fast` would run it."""
    if request.node.get_closest_marker("services"):
        yield
        return

    def refuse(server):
        pytest.fail(f"{type(server).__name__} is started by a test without the marker services")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedServer, "start", refuse)
        yield


@pytest.fixture(scope="session", autouse=True)
def forked_commands():
    """Fork the program's commands from a process that has imported it."""
    with Forks().switched_on():
        yield


@pytest.fixture(scope="session")
def services():
    """Kafka and Redis for the whole run."""
    with start_services(BROKER) as running:
        yield running


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Give a schema registry for the whole run; only a test that asks for it starts it."""
    started = EmbeddedRegistry(tmp_path_factory.mktemp("registry"))
    started.start()
    yield started
    started.kill()


@pytest.fixture
def settings(services):
    """Give settings that no other test has."""
    return own_settings(services)


def own_settings(services):
    """Give settings with topics and a group that no other test has, and an identifier key."""
    unique = secrets.token_hex(4)
    return Settings(
        bootstrap_servers=services.bootstrap_servers,
        redis_url=services.redis_url,
        group_id=f"group-{unique}",
        instance_id="test",
        events_topic=f"events-{unique}",
        contacts_topic=f"contacts-{unique}",
        facts_topic=f"facts-{unique}",
        rejected_topic=f"rejected-{unique}",
        healed_topic=f"healed-{unique}",
        segment_members_topic=f"members-{unique}",
        identifier_key="a secret of the tests",
    )


@pytest.fixture
def redis_client(services):
    """Give a client of the shared Redis."""
    with Redis.from_url(services.redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def admin(services):
    """Give an administrator of the shared Kafka."""
    return AdminClient({"bootstrap.servers": services.bootstrap_servers})


@pytest.fixture
def create_topic(admin):
    """Give the function that creates a topic and returns once it is there."""
    return creator(admin)


def creator(admin):
    """Give the function that creates a topic by an administrator."""

    def create(name, partitions, **config):
        topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin.create_topics([topic])[name].result(CREATE_S)
        await_condition(lambda: _is_led(admin, name, partitions), f"{name} has leaders")

    return create


def _is_led(admin, topic, partitions):
    """Tell whether all partitions answer."""
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
    try:
        return [future.result() for future in admin.list_offsets(asked).values()]
    except KafkaException:
        admin.list_topics(topic)  # without it the client would believe for minutes that there is no leader
        return None


@pytest.fixture
def shop(settings, create_topic):
    """Give a shop with an empty contacts topic; what it kept in Redis goes."""
    shop = Shop(settings, create_topic)
    yield shop
    shop.client.delete(*shop.keys)
    shop.client.close()
