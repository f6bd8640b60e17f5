"""Proves that the health port answers on both families, and whatever others do to it, with few descriptors."""

import socket
import time
import urllib.request
from contextlib import closing, contextmanager

import pytest

from deploy.local.servers import free_ports
from processor.errors import UsageError
from processor.health import MOST_CONNECTIONS, Health, serve
from tests.support.deployment import await_condition

IDLE_CONNECTIONS = 3 * MOST_CONNECTIONS


@contextmanager
def served(host=None):
    """Serve the health of a replica that is well; give the server and its port."""
    (port,) = free_ports(1)
    health = Health()
    health.lacks(None)
    server = serve(health, port, host, lambda: b"")
    try:
        yield server, port
    finally:
        server.shutdown()
        server.server_close()


def ask(host, port):
    """Give the body of /readyz."""
    with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=3) as answer:
        return answer.read()


def test_both_families_are_answered_by_default():
    """IPv4 always, and IPv6 where the system has it."""
    with served() as (_, port):
        assert ask("127.0.0.1", port) == b"ok\n"
        if socket.has_dualstack_ipv6():
            assert ask("[::1]", port) == b"ok\n"


def test_a_host_is_the_only_address():
    """With http_host nothing else is listened on; one that is none is refused, by the settings' names."""
    with served("127.0.0.1") as (_, port):
        assert ask("127.0.0.1", port) == b"ok\n"
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.2", port)) != 0
    with pytest.raises(UsageError, match=r"setting http_port: port 8080 of http_host 192\.0\.2\.1 cannot be served"):
        serve(Health(), 8080, "192.0.2.1", lambda: b"")


def test_idle_connections_keep_no_probe_from_its_answer():
    """Many connections that send nothing: the server keeps few of them, and a probe is answered at once."""
    with served() as (server, port):
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE_CONNECTIONS)]
        try:
            began = time.monotonic()
            assert ask("127.0.0.1", port) == b"ok\n"
            assert time.monotonic() - began < 3
            assert len(server._open) <= MOST_CONNECTIONS
            oldest = idle[0]
            oldest.settimeout(3)
            assert oldest.recv(1) == b"", "the oldest are closed first"
        finally:
            for connection in idle:
                connection.close()


def test_a_connection_that_sends_nothing_is_closed(monkeypatch):
    """An idle connection ends by itself; so does one whose client went away."""
    with served() as (server, port):
        monkeypatch.setattr(server.RequestHandlerClass, "timeout", 0.1)
        with closing(socket.create_connection(("127.0.0.1", port))) as idle:
            idle.settimeout(3)
            assert idle.recv(1) == b""
        await_condition(lambda: not server._open, "nothing is left open")
