"""Proves that replica and index work on through what befalls a Sentinel group, a Cluster and a user with few rights."""

import re
from contextlib import contextmanager

from msgspec.structs import replace

from processor.codec.avro import codec
from processor.replica import startup
from processor.state.mirror import Mirror
from tests.chaos.redis_setups import RestrictedRedis
from tests.support.deployment import PROJECT, deployed
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_sentinels import SentinelGroup
from tests.support.traffic import contacts, traffic

README = (PROJECT / "deploy" / "README.md").read_text(encoding="utf-8")
PATIENCE_S = 30
USER = "order-facts:password@"


@contextmanager
def deployed_on(settings, folder, running, address=lambda running: running.url, **changes):
    """Start servers of the test's own, and give a deployment on them with contacts; nothing of it runs."""
    try:
        running.start()
        with deployed(replace(settings, redis_url=address(running), **changes), folder) as deployment:
            deployment.send_contacts(contacts())
            yield deployment
    finally:
        running.kill()


def mirror_keys(deployment):
    """Give the key of each partition's mirror."""
    found = startup.check(deployment.settings)
    mirror = Mirror(found.redis, found.lineage, codec())
    return [mirror.key(partition) for partition in range(found.topics.events.partitions)]


def grant(servers, user, *rights):
    """Make a user on servers, with the password `password`."""
    for server in servers:
        assert server.ask("ACL", "SETUSER", user, "on", ">password", *rights)


def rights(sentence=""):
    """Give the rights of the program's user in deploy/README.md, or those that a sentence there goes on to name."""
    if not sentence:
        (found,) = re.findall(r"^ACL SETUSER order-facts on >password (.*?)```", README, re.DOTALL | re.MULTILINE)
        return found.split()
    (found,) = re.findall(rf"{sentence} ([^.]*)\.", README)
    return re.findall(r"\+[\w|-]+", found)


def work_off(deployment, seed, count=200):
    """Send events, and wait until there is an output for each."""
    deployment.send(traffic(seed=seed, count=count))
    deployment.await_accounted(patience_s=PATIENCE_S)


def test_the_primary_of_sentinels_dies_while_events_flow(settings, tmp_path):
    """Replica and index follow to the next primary without a restart; what that had not yet got is rebuilt.

    Their users have no more rights than the README lists.
    """
    group = SentinelGroup(tmp_path / "redis", password="data", sentinel_password="asked")

    def address(group):
        grant(group.servers, "order-facts", *rights())
        grant(group.sentinels, "asker", *rights("A Sentinel's user needs"))
        return group.url_of(USER, "sentinel_username=asker&sentinel_password=password")

    with deployed_on(settings, tmp_path, group, address) as deployment:
        index = deployment.index()
        assert "a primary" in deployment.command("check").stdout
        replica = deployment.replica("a", max_batch=50)
        work_off(deployment, 1)
        left = group.kill_primary()
        deployment.send_contacts([contacts()[0]])
        work_off(deployment, 2, count=400)
        assert group.primary() is not left
        index.stop()
        replica.stop()
        deployment.require_right_outputs()


def test_slots_move_and_replicas_take_over_while_events_flow(settings, tmp_path):
    """Half-way through a slot's move, with and without a key in it, events flow; so they do after each fail-over.

    The user has no more rights than the README lists for a Cluster.
    """
    cluster = RedisCluster(tmp_path / "redis", password="data")

    def address(cluster):
        grant(cluster.nodes, "order-facts", *rights(), *rights("In a Cluster also"))
        return cluster.url_of(USER)

    with deployed_on(settings, tmp_path, cluster, address) as deployment:
        index = deployment.index()
        assert "a primary" in deployment.command("check").stdout
        absent, present, third = mirror_keys(deployment)
        moving = cluster.begin_to_migrate(absent)  # its first write is answered by ASK
        replica = deployment.replica("a", max_batch=50)
        work_off(deployment, 1)
        moving.move()
        moving.finish()
        moving = [cluster.begin_to_migrate(key) for key in (present, index_key(cluster))]
        assert all(one.move() for one in moving)
        deployment.send_contacts([contacts()[0]])
        work_off(deployment, 2)
        for one in moving:
            one.finish()
        cluster.await_whole()
        cluster.await_failover(present, cluster.failover(present))
        work_off(deployment, 3)
        cluster.await_whole()
        left = cluster.kill_primary_of(third)
        work_off(deployment, 4, count=400)
        assert cluster.node_of(third) is not left
        index.stop()
        replica.stop()
        deployment.require_right_outputs()


def index_key(cluster):
    """Give the key of one of the index's shards."""
    for node in cluster.primaries():
        with node.asked() as client:
            if found := next(client.scan_iter("order-facts:contacts:*"), None):
                return found
    raise AssertionError("no shard")


def test_a_user_without_info_config_and_client(settings, tmp_path):
    """Nothing starts until the eviction is vouched for; then all goes on, while the password changes in its file."""
    redis = RestrictedRedis(tmp_path)
    given = {"redis_eviction": "checked"}
    with deployed_on(settings, tmp_path, redis, **redis.settings) as deployment:
        deployment.files.update(redis.files)
        line = "Redis does not say whether it may evict state; allow this user INFO or CONFIG GET"
        assert line in deployment.command("check", check=False, **given).stdout
        assert line in deployment.command("run", check=False, **given).stderr
        index = deployment.index()
        deployment.command("check")
        replica = deployment.replica("a", max_batch=50)
        work_off(deployment, 1)
        for seed in (2, 3):
            redis.change_password()
            deployment.send_contacts([contacts()[0]])
            work_off(deployment, seed)
        index.stop()
        replica.stop()
        deployment.require_right_outputs()
