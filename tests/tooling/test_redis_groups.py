"""The tests' Sentinel group and Redis Cluster do what they are for: form, fail over, move slots, come back."""

import os

import pytest
from redis.exceptions import AskError, MovedError

from tests.support.redis_cluster import RedisCluster
from tests.support.redis_sentinels import SentinelGroup
from tests.tooling.test_services import descendants

pytestmark = pytest.mark.services


@pytest.fixture
def group(tmp_path):
    """Give a Sentinel group whose servers and Sentinels ask for passwords."""
    running = SentinelGroup(tmp_path, password="data", sentinel_password="asked")
    running.start()
    yield running
    running.kill()


@pytest.fixture
def cluster(tmp_path):
    """Give a cluster whose nodes ask for a password."""
    running = RedisCluster(tmp_path, password="data")
    running.start()
    yield running
    running.kill()


def test_a_replica_takes_over_from_a_killed_and_from_a_frozen_primary(group):
    """What was written is there under the new primary; a killed one comes back as its replica; a frozen one is left."""
    first = group.primary()
    assert first.ask("SET", "key", "value")
    assert first.ask("WAIT", 2, 5_000) == 2
    assert group.kill_primary() is first
    second = group.await_failover(first)
    assert second.ask("GET", "key") == b"value"
    group.restart(first)
    assert first.ask("GET", "key") == b"value"
    assert group.freeze_primary() is second
    assert group.await_failover(second) not in {None, second}
    second.resume()
    assert second.is_primary(), "nobody has told it yet"


def test_a_fail_over_by_command_has_two_primaries_for_a_while(group):
    """The Sentinels name another primary at once; the one before becomes its replica only when they have seen it."""
    first = group.primary()
    assert group.failover() is first
    second = group.await_failover(first)
    assert first.is_primary()
    group.await_whole()
    assert first.follows(second)


def test_all_data_of_a_group_can_be_lost(group):
    """All its servers are killed and come back empty, under a primary."""
    assert group.primary().ask("SET", "key", "value")
    group.restart_empty()
    assert group.primary().ask("DBSIZE") == 0


def test_a_slot_moves_key_by_key(cluster):
    """Half-way the old primary answers what has left by ASK; afterwards it answers everything by MOVED."""
    source = cluster.node_of("{1}")
    for number in range(4):
        assert source.ask("SET", f"{number}{{1}}", "value")
    moving = cluster.begin_to_migrate("{1}")
    assert moving.move(3) == 3
    left = []
    with source.asked() as client:
        for number in range(4):
            try:
                client.get(f"{number}{{1}}")
            except AskError:
                left.append(number)
        assert len(left) == 3
        assert moving.move() == 1
        target = moving.finish()
        assert cluster.node_of("{1}") is target is not source
        with pytest.raises(MovedError):
            client.get("0{1}")
    assert {target.ask("GET", f"{number}{{1}}") for number in range(4)} == {b"value"}


def test_a_replica_takes_over_in_a_cluster(cluster):
    """By command the demoted node keeps its connections; killed, it comes back as a replica with the data."""
    first = cluster.node_of("key")
    assert first.ask("SET", "key", "value")
    with first.asked() as client:
        before = client.client_id()
        assert cluster.failover("key") is first
        second = cluster.await_failover("key", first)
        assert client.client_id() == before
    cluster.await_whole()
    assert cluster.kill_primary_of("key") is second
    assert cluster.await_failover("key", second) is first
    cluster.restart(second)
    assert second.follows(first)
    assert first.ask("GET", "key") == b"value"
    cluster.restart_empty()
    assert sum(node.ask("DBSIZE") for node in cluster.nodes) == 0


def test_nothing_is_left_of_a_group(tmp_path):
    """Killed, no process of it runs."""
    before = descendants(os.getpid())
    for kind in (SentinelGroup, RedisCluster):
        running = kind(tmp_path / kind.__name__)
        running.start()
        running.kill()
    assert descendants(os.getpid()) <= before
