"""Proves that the access rights that the README lists are enough, on a Redis that grants nothing else."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace
from redis import Redis

from deploy.local.services import EmbeddedRedis
from tests.support.audits import verified
from tests.support.deployment import deployed
from tests.support.refusals import forget_mirror
from tests.support.traffic import contacts, traffic

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def rule():
    """Give the README's user and its rules as the arguments of ACL SETUSER."""
    (found,) = re.findall(r"^ACL SETUSER (.*?)```", README, re.DOTALL | re.MULTILINE)
    return found.split()


@pytest.fixture
def owner(settings, tmp_path):
    """Give a deployment on a Redis of its own, as its owner sees it."""
    redis = EmbeddedRedis(tmp_path / "redis")
    redis.start()
    try:
        with deployed(replace(settings, redis_url=redis.url), tmp_path) as deployment:
            yield deployment
    finally:
        redis.kill()


def test_redis_grants_what_the_readme_lists_and_no_more(owner):
    """Index, replica, a rebuilt mirror, the look-up of a contact, check and verify do with these commands."""
    user, *rules = rule()
    with Redis.from_url(owner.settings.redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, *rules)
    parts = urlsplit(owner.settings.redis_url)
    granted = {"redis_url": parts._replace(netloc=f"{user}:password@{parts.netloc}").geturl()}
    owner.send_contacts(contacts())
    owner.start("contacts", "index", name="index", **granted).await_line("contacts.ready")
    owner.send(traffic(seed=71, count=200))
    replica = owner.replica("a", **granted)
    owner.await_accounted()
    replica.stop()
    forget_mirror(owner)
    again = owner.replica("a", **granted)
    again.await_line("mirror.caught_up")
    owner.send(traffic(seed=72, count=200))
    owner.await_accounted()
    again.stop()
    owner.require_right_outputs()
    owner.command("check", **granted)
    owner.command("contacts", "find", "externalCustomerId=AV1", **granted)
    assert verified(owner, 0, **granted)[0] == {}
    without = [word for word in rules if word != "+hscan"]
    with Redis.from_url(owner.settings.redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, "reset", *without)
    assert "hscan" in owner.command("verify", check=False, **granted).stderr.lower()
