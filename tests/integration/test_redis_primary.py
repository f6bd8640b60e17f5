"""Proves that only a primary outside a cluster is worked with, and that a fail-over is followed without a restart."""

import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis import Redis

from deploy.local.services import EmbeddedRedis
from tests.support.deployment import await_condition, deployed
from tests.support.refusals import refusal
from tests.support.traffic import contacts, traffic

REPLICA = "Redis: the server is a replica, which takes no writes, not a primary"


@contextmanager
def redis_servers(folder, *overrides):
    """Give servers of the test's own, each with its settings."""
    servers = [EmbeddedRedis(folder / f"redis{number}", overrides=own) for number, own in enumerate(overrides)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.kill()


def follow(server, primary):
    """Make a server a replica of another one, and wait until it has its data."""
    host, port = primary.url.removeprefix("redis://").removesuffix("/0").split(":")
    with Redis.from_url(server.url) as client:
        client.replicaof(host, port)
        await_condition(lambda: client.info("replication")["master_link_status"] == "up", "the replica has the data")


def promote(server):
    """Make a replica a primary."""
    with Redis.from_url(server.url) as client:
        client.replicaof("NO", "ONE")


def problem(done, code):
    """Give the problem that `check` printed last."""
    assert done.returncode == code, done.stdout
    kind, _, line = done.stdout.splitlines()[-1].partition(" ")
    assert kind == "problem", done.stdout
    return line.strip()


@pytest.mark.follows("redis replica")
def test_replica_of_redis_is_refused(idle, tmp_path):
    """Without a primary behind the address, `check`, `run` and `contacts index` say so; with one, they start."""
    for role in ("events", "contacts", "facts", "rejected"):
        idle.create(role)
    with redis_servers(tmp_path, {}, {}) as (primary, replica):
        follow(replica, primary)
        away = {"redis_url": replica.url, "startup_timeout_s": 0.5, "check": False}
        line = f"{REPLICA}, and was none for 0.5 s; put the address of the primary into the setting redis_url"
        assert problem(idle.command("check", **away), 3) == line
        assert refusal(idle.command("run", **away), 3) == line
        assert refusal(idle.command("contacts", "index", **away), 3) == line
        right = {"redis_url": primary.url}
        index = idle.start("contacts", "index", name="index", **right)
        index.await_line("contacts.ready")
        assert "a primary" in idle.command("check", **right).stdout
        running = idle.replica("a", **right)
        running.await_line("partition.positioned", 2)
        running.stop()


def test_node_of_a_cluster_is_refused(idle, tmp_path):
    """Where one server was named, a node of a Cluster is named as such by `check`, `run` and `contacts index`."""
    for role in ("events", "contacts", "facts", "rejected"):
        idle.create(role)
    with redis_servers(tmp_path, {"cluster-enabled": "yes"}) as (node,):
        asked = {"redis_url": node.url, "check": False}
        line = "setting redis_url: the server is a node of a Redis Cluster; begin the address with redis+cluster://"
        assert problem(idle.command("check", **asked), 2) == line
        assert refusal(idle.command("run", **asked), 2) == line
        assert refusal(idle.command("contacts", "index", **asked), 2) == line
    idle.start("contacts", "index", name="index").await_line("contacts.ready")
    running = idle.replica("a")  # with the address of a single server
    running.await_line("partition.positioned")
    running.stop()


@pytest.fixture
def address():
    """Give a path that may lead to one server's socket or another's, as a name does; short, as sockets' paths are."""
    with tempfile.TemporaryDirectory(prefix="of-", dir="/tmp") as folder:
        yield Path(folder) / "redis"


def point(address, number):
    """Let the address lead to the socket of a server."""
    moved = address.with_name("moved")
    moved.symlink_to(address.with_name(str(number)))
    moved.rename(address)


def test_demoted_primary_is_left_though_its_connections_live_on(settings, tmp_path, address):
    """The primary becomes a replica, and the address leads to the new primary: replica and index follow it there."""
    sockets = [{"unixsocket": str(address.with_name(str(number)))} for number in range(2)]
    with (
        redis_servers(tmp_path, *sockets) as (first, second),
        deployed(replace(settings, redis_url=f"unix://{address}"), tmp_path) as deployment,
    ):
        point(address, 0)
        deployment.send_contacts(contacts())
        deployment.index()
        replica = deployment.replica("a", max_batch=50)
        deployment.send(traffic(seed=91, count=200))
        deployment.await_accounted()
        follow(second, first)
        promote(second)
        follow(first, second)
        point(address, 1)
        deployment.send_contacts([contacts()[0]])
        deployment.send(traffic(seed=92, count=400))
        deployment.await_accounted(patience_s=20)
        replica.stop()
        deployment.require_right_outputs()
