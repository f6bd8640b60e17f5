"""Proves what is done where Redis forbids or renames INFO, CONFIG or CLIENT, and that `check` names what is missing."""

from contextlib import closing, contextmanager

import pytest
from msgspec.structs import replace
from redis import Redis

from deploy.local.services import EmbeddedRedis
from processor.errors import StopError
from processor.settings import Settings
from processor.state.connection import check_server, connect
from tests.support.refusals import refusal

pytestmark = pytest.mark.services
EVERYTHING = ("on", ">password", "~*", "+@all")


def granted(redis, *rules):
    """Make a user with these rules, and give the address that logs in as it."""
    with Redis.from_url(redis.url) as client:
        client.execute_command("ACL", "SETUSER", "limited", "reset", *EVERYTHING, *rules)
    return redis.url.replace("redis://", "redis://limited:password@")


def is_taken(url, **settings):
    """Connect as the program does; raises what it raises."""
    with closing(connect(Settings(redis_url=url, **settings))) as servers:
        check_server(servers)
    return True


class Renamed(EmbeddedRedis):
    """A server that is asked neither INFO nor HELLO for whether it is there."""

    def _answers(self):
        with Redis.from_url(self.url, protocol=2) as client:
            return client.ping()


@contextmanager
def without(folder, *names):
    """Give a server on which commands do not exist."""
    renamed = "\nrename-command ".join(f'{name} ""' for name in names)
    redis = Renamed(folder / "renamed", overrides={"rename-command": renamed} if names else {})
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


@pytest.mark.parametrize("rules", [("-info",), ("-info", "-role"), ("-config",), ("-client",), ("-info", "-client")])
def test_one_way_to_ask_is_enough(own_redis, rules):
    """The role by INFO, HELLO or ROLE; the policy by INFO or CONFIG; a connection without a name is as good."""
    assert is_taken(granted(own_redis, *rules))


def test_evicting_policy_is_found_without_info(own_redis):
    """CONFIG tells it too: a server that may evict is refused, trusted or not."""
    url = granted(own_redis, "-info")
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
    for said in ("checked", "trusted"):
        with pytest.raises(StopError, match="Redis may evict state: its maxmemory-policy is allkeys-random"):
            is_taken(url, redis_eviction=said)


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_policy_that_evicts_nothing_of_ours_is_taken(own_redis, policy):
    """It evicts keys with a time to live, and the program sets none."""
    with Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", policy)
    assert is_taken(own_redis.url)


@pytest.mark.follows("redis hides eviction")
def test_unknown_policy_is_refused_until_it_is_trusted(single, own_redis):
    """The line names both ways on; each of them is gone."""
    url = granted(own_redis, "-info", "-config")
    line = refusal(single.command("run", check=False, redis_url=url), 1)
    assert line.startswith("Redis does not say whether it may evict state; allow this user INFO or CONFIG GET, or, if")
    single.settings = replace(single.settings, redis_url=url, redis_eviction="trusted")
    replica = single.replica("a")
    replica.await_line("partition.positioned")
    replica.stop()
    single.settings = replace(single.settings, redis_url=granted(own_redis, "-info"), redis_eviction="checked")
    replica = single.replica("b")
    replica.await_line("partition.positioned")
    replica.stop()


@pytest.mark.follows("redis hides role")
def test_unknown_role_is_refused_until_one_way_is_open(single, tmp_path):
    """Commands may be renamed; with one of the three back, the program starts."""
    hidden = ("INFO", "HELLO", "ROLE")
    with without(tmp_path, *hidden) as redis:
        done = single.command("run", check=False, redis_url=redis.url, redis_eviction="trusted")
        assert refusal(done, 1).startswith("Redis does not say whether it is a primary; allow this user one of INFO, ")
    for back in hidden:
        with without(tmp_path / back, *({*hidden} - {back})) as redis:
            assert is_taken(redis.url, redis_eviction="trusted")


@pytest.mark.follows("redis hides keys")
def test_keys_that_may_not_be_listed(single, own_redis):
    """`state prune` says which right it lacks, and works with it."""
    url = granted(own_redis, "-scan")
    line = refusal(single.command("state", "prune", check=False, redis_url=url), 1)
    assert line.endswith("allow this user SCAN, which lists the keys")
    single.command("state", "prune", redis_url=granted(own_redis))


def test_check_names_each_command_that_is_refused(indexed, own_redis):
    """A problem for what `run` needs, a note for what only tells or tidies; nothing is left behind."""
    own = replace(indexed.settings, redis_url=granted(own_redis, "-info", "-scan", "-client", "-memory", "-eval"))
    done = indexed.command("check", check=False, redis_url=own.redis_url)
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if line.endswith(")") or "; " in line]
    for command, kind in {"EVAL": "problem", "INFO": "note", "SCAN": "note", "CLIENT SETNAME": "note"}.items():
        (line,) = (line for line in lines if f"({command})" in line)
        assert line.startswith(f"{kind:<9}Redis: User limited has no permissions to run the ")
    with Redis.from_url(own_redis.url) as client:
        assert [*client.scan_iter("order-facts:check:*")] == []
