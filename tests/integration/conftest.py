"""What several integration tests share: deployments of which little runs."""

import secrets

import pytest
from msgspec.structs import replace

from processor.settings import Settings
from tests.support.commands import Idle
from tests.support.deployment import deployed
from tests.support.traffic import contacts


@pytest.fixture
def idle(settings, tmp_path, create_topic):
    """Give a deployment without topics."""
    running = Idle(settings, tmp_path, create_topic)
    yield running
    running.end()


@pytest.fixture(scope="module")
def indexed(services, tmp_path_factory):
    """Give a deployment with contacts, whose index is complete and kept."""
    unique = secrets.token_hex(4)
    settings = Settings(
        bootstrap_servers=services.bootstrap_servers,
        redis_url=services.redis_url,
        group_id=f"group-{unique}",
        instance_id="test",
        identifier_key="a secret of the tests",
        **{f"{role}_topic": f"{role}-{unique}" for role in ("events", "contacts", "facts", "rejected")},
    )
    with deployed(settings, tmp_path_factory.mktemp("indexed"), partitions=2) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


@pytest.fixture
def single(settings, indexed, tmp_path):
    """Give a deployment of one partition with a complete contact index."""
    with deployed(replace(settings, contacts_topic=indexed.settings.contacts_topic), tmp_path, partitions=1) as running:
        yield running
