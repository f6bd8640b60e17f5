"""Proves that the access rights that the README lists are enough, on a Redis that grants nothing else."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis

from tests.support.audits import verified
from tests.support.refusals import forget_mirror
from tests.support.traffic import traffic

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


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
    forget_mirror(apart)
    again = apart.replica("a", **granted)
    again.await_line("mirror.caught_up")
    apart.send(traffic(seed=72, count=200))
    apart.await_accounted()
    again.stop()
    apart.require_right_outputs()
    apart.command("check", **granted)
    apart.command("contacts", "find", "externalCustomerId=AV1", **granted)
    assert verified(apart, 0, **granted)[0] == {}
    without = [word for word in rules if word != "+hscan"]
    with Redis.from_url(apart.settings.redis_url) as client:
        client.execute_command("ACL", "SETUSER", user, "reset", *without)
    assert "hscan" in apart.command("verify", check=False, **granted).stderr.lower()
