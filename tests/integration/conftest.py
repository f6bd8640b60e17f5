"""What several integration tests share: deployments of which little runs."""

import pytest
from msgspec.structs import replace

from deploy.local.services import EmbeddedRedis
from tests.conftest import own_settings
from tests.support.audits import Copy, chain, send_in_transaction
from tests.support.commands import Idle
from tests.support.deployment import await_condition, deployed
from tests.support.traffic import contacts, traffic


@pytest.fixture
def idle(settings, tmp_path, create_topic):
    """Give a deployment without topics."""
    running = Idle(settings, tmp_path, create_topic)
    yield running
    running.end()


@pytest.fixture(scope="module")
def indexed(services, tmp_path_factory):
    """Give a deployment with contacts, whose index is complete and kept."""
    with deployed(own_settings(services), tmp_path_factory.mktemp("indexed"), partitions=2) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment with contacts, its index complete."""
    with deployed(settings, tmp_path) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


@pytest.fixture
def single(settings, indexed, tmp_path):
    """Give a deployment of one partition with a complete contact index."""
    with deployed(replace(settings, contacts_topic=indexed.settings.contacts_topic), tmp_path, partitions=1) as running:
        yield running


@pytest.fixture
def soon_gone(services):
    """Give the Kafka properties of a replica whose death is noticed in 3 s, not 6: only the tests' own broker does."""
    return {"session.timeout.ms": 3_000} if services.disposable else {}


@pytest.fixture
def own_redis(tmp_path):
    """Give a Redis that a test may flush and kill."""
    redis = EmbeddedRedis(tmp_path / "redis")
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def apart(settings, tmp_path, own_redis):
    """Give a deployment on that Redis, with contacts; its index is the test's to build."""
    with deployed(replace(settings, redis_url=own_redis.url), tmp_path) as deployment:
        deployment.send_contacts(contacts())
        yield deployment


@pytest.fixture(scope="module")
def good_run(services, indexed, tmp_path_factory):
    """Give an idle deployment of two partitions after a good run; nobody changes it."""
    settings = replace(
        indexed.settings,
        group_id=f"{indexed.settings.group_id}-good",
        **{
            f"{role}_topic": f"good-{getattr(indexed.settings, f'{role}_topic')}"
            for role in ("events", "facts", "rejected")
        },
    )
    with deployed(settings, tmp_path_factory.mktemp("good"), partitions=2) as running:
        running.send(traffic(seed=4, count=300))
        first = traffic(seed=5, count=20)
        send_in_transaction(settings, first)
        running.sent += len(first)
        await_condition(lambda: len(running.read(settings.events_topic)) == running.sent, "the transaction's marks")
        running.send([*traffic(seed=6, count=100), *chain("x")])
        replica = running.replica("a")
        running.await_accounted()
        replica.stop()
        yield running


@pytest.fixture
def copy(good_run, tmp_path, create_topic):
    """Give a copy of the good deployment, to be damaged."""
    return Copy(good_run, tmp_path, create_topic)
