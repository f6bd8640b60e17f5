"""Proves what a container platform needs: a stop within seconds whatever is waited for, and probes that tell."""

import signal
import time
from contextlib import closing

import pytest
from msgspec.structs import replace

from deploy.local.servers import free_ports
from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from tests.support.commands import VENDOR_EXAMPLE
from tests.support.deployment import await_condition, deployed
from tests.support.health_answers import ask
from tests.support.refusals import refusal
from tests.support.silent import SilentServer
from tests.support.traffic import contacts, traffic

STOP_S = 5.0
WITH_KAFKA = {
    "run": ("run",),
    "check": ("check",),
    "index": ("contacts", "index"),
    "import": ("contacts", "import", "events.json"),
    "send": ("events", "send", "events.json"),
    "replay": ("rejected", "replay"),
    "verify": ("verify",),
    "follow": ("facts", "show", "--follow"),
    "recover": ("state", "recover"),
    "create": ("topics", "create"),
}
WITH_REDIS = ("run", "check", "index", "verify", "recover")


def stopped_within(processes, limit_s):
    """Send SIGTERM to processes and require that all end in time."""
    began = time.monotonic()
    for process in processes:
        process.signal(signal.SIGTERM)
    for process in processes:
        assert process.await_end() in {0, -signal.SIGTERM}, process.tail("exit code")
        took_s = time.monotonic() - began
        assert took_s < limit_s, process.tail(f"took {took_s:.1f} s")


@pytest.mark.parametrize("frozen", ["Kafka", "Redis"])
def test_a_stop_at_the_start_waits_for_no_service(idle, frozen):
    """Each command that waits for a service that takes connections and never answers ends soon after SIGTERM."""
    (idle.folder / "events.json").write_text(VENDOR_EXAMPLE)
    names = WITH_KAFKA if frozen == "Kafka" else WITH_REDIS
    with closing(SilentServer()) as server:
        own = {"bootstrap_servers": server.address} if frozen == "Kafka" else {"redis_url": f"redis://{server.address}"}
        started = []
        for count, name in enumerate(names, 1):
            arguments = [str(idle.folder / part) if part == "events.json" else part for part in WITH_KAFKA[name]]
            started.append(idle.start(*arguments, name=f"the-{name}", **own))
            await_condition(lambda count=count: server.connections >= count, f"{name} connects")
        stopped_within(started, STOP_S)


def test_a_stop_under_way_waits_for_no_service(settings, tmp_path):
    """Kafka and Redis freeze under a replica and the index: both end within seconds, and go on after that."""
    redis, kafka = EmbeddedRedis(tmp_path / "redis"), EmbeddedKafka(tmp_path / "kafka")
    try:
        redis.start()
        kafka.start()
        own = replace(settings, redis_url=redis.url, bootstrap_servers=kafka.bootstrap_servers)
        with deployed(own, tmp_path) as deployment:
            deployment.send_contacts(contacts())
            index, replica = deployment.index(), deployment.replica("a")
            deployment.send(traffic(seed=95, count=100))
            deployment.await_accounted()
            redis.pause()
            kafka.pause()
            stopped_within([index, replica], STOP_S)
            redis.resume()
            kafka.resume()
            deployment.start("contacts", "index", name="index").await_line("contacts.started")
            again = deployment.replica("a")
            deployment.send(traffic(seed=96, count=100))
            deployment.await_accounted()
            again.stop()
            deployment.require_right_outputs()
    finally:
        kafka.stop()
        redis.stop()


def test_a_replica_with_nothing_to_do_is_ready(single):
    """Of two replicas of one partition both are ready, one with signs in its name; both stop in time."""
    ports = free_ports(2)
    names = ("replica-%1:a@b#c", "spare")
    replicas = [single.replica(name, http_port=port) for name, port in zip(names, ports, strict=True)]
    for port in ports:
        await_condition(lambda port=port: ask(port, "/readyz") == (200, "ok\n"), lambda port=port: ask(port, "/readyz"))
    single.send(traffic(seed=97, count=50))
    single.await_accounted()
    assert [bool(replica.lines("batch.committed")) for replica in replicas].count(False) == 1
    assert [ask(port, "/readyz") for port in ports] == [(200, "ok\n")] * 2, single.tails()
    for replica in replicas:
        replica.stop()
    single.require_right_outputs()


def test_a_broker_that_is_none_is_named_by_its_cause(idle):
    """What answers TLS's first message with another protocol is no slow broker: the line says what failed."""
    with closing(SilentServer(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        tls = {"bootstrap_servers": server.address, "kafka": {"security.protocol": "SSL"}}
        line = refusal(idle.command("topics", "create", check=False, startup_timeout_s=2.0, **tls), 3)
    assert "SSL handshake failed" in line
    assert line.endswith("check the setting kafka, and bootstrap_servers")
