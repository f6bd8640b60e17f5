"""Proves that the access rights that deploy/README.md lists for `topics widen` are enough."""

import re

import pytest
from confluent_kafka.admin import AclOperation, AdminClient
from msgspec.structs import replace

from tests.conftest import own_settings
from tests.integration.test_access_rights import OPERATIONS, README, binding, grant
from tests.support.deployment import deployed
from tests.support.guarded_kafka import USERS, GuardedKafka
from tests.support.widenings import MORE, QUIET, Widening, numbered

ROLES = ("events", "facts", "rejected")


@pytest.fixture
def kafka(tmp_path):
    """Give a broker that asks for rights."""
    broker = GuardedKafka(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.stop()


def test_topics_widen_needs_what_the_readme_lists(services, kafka, tmp_path, monkeypatch):
    """A user of its own copies, follows and finishes with these rights, where nothing else is granted."""
    (text,) = re.findall(r"^- `topics widen` needs (.*?)\n- ", README, re.DOTALL | re.MULTILINE)
    assert " ".join(text.split()) == (
        "Read and DescribeConfigs on `order-events`, `order-facts` and `order-events-rejected`, and Describe on the "
        "groups `order-facts` and `order-facts-reader`; of the new names, such as `…-24`: Create, Read, Write and "
        "DescribeConfigs on the topics, Read on the group `order-facts-24-widen`, Write on the transactional id "
        "`order-facts-24/widen/`."
    )
    monkeypatch.setitem(OPERATIONS, "Create", AclOperation.CREATE)
    settings = replace(own_settings(services), bootstrap_servers=kafka.bootstrap_servers)
    with deployed(settings, tmp_path, kind=Widening) as widening:
        widening.produce(numbered(100))
        new = widening.new_settings
        rights = [
            ("topic", getattr(settings, f"{role}_topic"), r) for role in ROLES for r in ("Read", "DescribeConfigs")
        ]
        rights += [("group", name, "Describe") for name in (settings.group_id, f"{settings.group_id}-reader")]
        of_new = ("Create", "Read", "Write", "DescribeConfigs")
        rights += [("topic", getattr(new, f"{role}_topic"), right) for role in ROLES for right in of_new]
        rights += [("group", f"{new.group_id}-widen", "Read"), ("transactional id", f"{new.group_id}/widen/", "Write")]
        user = USERS[0]
        grant(AdminClient({"bootstrap.servers": kafka.bootstrap_servers}), [binding(user, *right) for right in rights])
        own = kafka.settings_of(user)
        copier = widening.start("topics", "widen", "--partitions", str(MORE), name="widen", **own)
        copier.await_line("widen.caught_up")
        copier.stop()
        widening.command("topics", "widen", "--partitions", str(MORE), *QUIET, **own)
        widening.require_copies()
