"""Proves that commands find their server in a Cluster and behind Sentinels, and that no command is sent twice."""

from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from processor.errors import RedisError, StopError, UsageError
from processor.settings import Settings
from processor.state.connection import check_server, connect
from processor.state.greeting import NotPrimaryError
from processor.state.line import Line, ask, ask_each
from tests.support.deployment import await_condition
from tests.support.redis_client import raw_client
from tests.support.redis_cluster import PRIMARIES, RedisCluster
from tests.support.redis_sentinels import SERVICE, SentinelGroup

pytestmark = pytest.mark.services
KEYS = [f"place:{{{number}}}" for number in range(40)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a Redis Cluster."""
    made = RedisCluster(tmp_path_factory.mktemp("cluster"), password="word")
    made.start()
    yield made
    made.kill()


@pytest.fixture
def servers(cluster):
    """Give what leads to the nodes, with a counter in each of many slots."""
    with closing(connect(Settings(redis_url=cluster.url))) as servers:
        ask(servers, [("SET", key, "0") for key in KEYS])
        yield servers


def count(servers):
    """Raise every counter by one, as far as its server takes it; give what was answered."""
    line, found = Line(servers), list[Any]()
    for key in KEYS:
        line.execute_command("INCR", key)
    line.send(found.extend)
    line.answers()
    return found


def read(cluster):
    """Give all counters."""
    with closing(raw_client(Settings(redis_url=cluster.url))) as client:
        return [int(client.get(key)) for key in KEYS]


def test_each_command_goes_to_the_node_that_has_its_key(servers, cluster):
    """All nodes are asked in one round trip, and the answers come in the order of the commands."""
    assert ask(servers, [("SET", key, number) for number, key in enumerate(KEYS)]) == [b"OK"] * len(KEYS)
    assert ask(servers, [("GET", key) for key in KEYS]) == [str(number).encode() for number in range(len(KEYS))]
    assert read(cluster) == [*range(len(KEYS))]
    assert ask_each(servers, ("DBSIZE",)) == [len(KEYS)] or len(ask_each(servers, ("DBSIZE",))) == PRIMARIES
    assert ask(servers, [("EVAL", "return redis.call('GET', KEYS[1])", 1, KEYS[7])]) == [b"7"]
    assert len({servers.place(key).pool for key in KEYS}) == PRIMARIES


def test_slot_that_moves_is_followed_key_by_key(servers, cluster):
    """A key that has moved is asked for where its slot goes, one that has not where it is; no answer is lost."""
    key = KEYS[3]
    other = f"{key}:other"
    ask(servers, [("SET", other, "0")])
    migration = cluster.begin_to_migrate(key)
    migration.move(1)
    seen = {key: 0, other: 0}
    for _ in range(4):
        seen = {name: _raised(servers, name) or value for name, value in seen.items()}
    assert sorted(seen.values()) == [3, 4], "one had moved, and its first command was refused"
    migration.move()
    migration.finish()
    await_condition(lambda: _raised(servers, key), "the new node is found")
    assert cluster.node_of(key).port == servers.place(key).pool.connection_kwargs["port"]


def _raised(servers, key):
    try:
        (raised,) = ask(servers, [("INCR", key)])
    except RedisError:
        return None
    return raised


def test_node_that_dies_is_left_for_its_replica(servers, cluster):
    """The counters of other nodes go on at once; a command whose node is gone is an error, and is not repeated."""
    left = cluster.kill_primary_of(KEYS[0])

    def counted():
        try:
            return [answer for answer in count(servers) if not isinstance(answer, int)] == []
        except RedisError:
            return False

    await_condition(counted, "all nodes take commands again")
    cluster.restart(left)
    cluster.await_whole()
    assert max(read(cluster)) >= 1


def test_node_where_one_server_was_named(cluster):
    """The line names the scheme; so does the one for a Cluster's address that leads to one server."""
    node = cluster.url.replace("redis+cluster", "redis").partition(",")[0]
    with closing(connect(Settings(redis_url=node))) as servers, pytest.raises(UsageError, match=r"redis\+cluster://$"):
        check_server(servers)


def test_server_where_a_cluster_was_named(own_redis):
    """It says CLUSTER SLOTS is disabled: the address is wrong, and nothing is waited for."""
    url = own_redis.url.replace("redis://", "redis+cluster://")
    with closing(connect(Settings(redis_url=url))) as servers, pytest.raises(UsageError, match="no node of a Redis Cl"):
        check_server(servers)


def test_wrong_password_of_a_cluster_is_refused(cluster):
    """As of one server: no outage to wait for."""
    url = cluster.url.replace(":word@", ":wrong@")
    with closing(connect(Settings(redis_url=url))) as servers, pytest.raises(StopError, match=r"access rules$"):
        check_server(servers)


def test_primary_behind_sentinels_is_found_and_followed(tmp_path):
    """Each new connection asks the Sentinels, with credentials of their own; a demoted primary is left."""
    group = SentinelGroup(tmp_path, password="data", sentinel_password="watch")
    group.start()
    try:
        wrong = group.url.replace("sentinel_password=watch", "sentinel_password=wrong")
        with closing(connect(Settings(redis_url=wrong))) as servers, pytest.raises(StopError, match=r"access rules$"):
            check_server(servers)
        # The first one named is no Sentinel: the next one is asked.
        url = group.url.replace("@", f"@{group.servers[1].address},", 1)
        other = url.replace(f"/{SERVICE}", "/other")
        line = r"no Sentinel names a primary 'other' .*it is not known"
        with closing(connect(Settings(redis_url=other))) as servers, pytest.raises(RedisError, match=line):
            check_server(servers)
        with closing(connect(Settings(redis_url=url))) as servers:
            ask(servers, [("SET", "key", "1")])
            new = group.await_failover(group.failover())
            await_condition(lambda: _raised(servers, "key") and _value(new) > 1, "the new primary is written to")
    finally:
        group.kill()


def _value(server):
    return int(server.ask("GET", "key") or 0)


def test_server_that_is_only_read_from_is_checked_again(own_redis, monkeypatch):
    """Nothing says that it was demoted, or may evict now: after a while its connections are opened anew."""
    with closing(connect(Settings(redis_url=own_redis.url))) as servers, Redis.from_url(own_redis.url) as client:
        ask(servers, [("GET", "key")])
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert ask(servers, [("GET", "key")]) == [None], "it is not asked at each command"
        monkeypatch.setattr("processor.state.servers.CHECKED_S", 0.0)
        with pytest.raises(StopError, match="may evict state"):
            ask(servers, [("GET", "key")])
        client.config_set("maxmemory-policy", "noeviction")
        assert ask(servers, [("GET", "key")]) == [None]
        client.replicaof("localhost", "1")
        with pytest.raises(NotPrimaryError, match="the server is a replica"):
            ask(servers, [("GET", "key")])
        client.replicaof("NO", "ONE")
        assert ask(servers, [("GET", "key")]) == [None]
