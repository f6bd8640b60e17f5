"""Proves that the health port answers on both families, and whatever others do to it, with few descriptors."""

import http.client
import os
import resource
import socket
import threading
import time
import urllib.request
from contextlib import closing, contextmanager

import pytest

from deploy.local.servers import free_ports
from processor.errors import UsageError
from processor.monitoring.health import Health
from processor.monitoring.health_server import (
    HEAD_BYTES,
    MOST_A_SECOND,
    MOST_AT_ONCE,
    MOST_CONNECTIONS,
    Pace,
    serve,
)
from tests.support.deployment import await_condition

IDLE_CONNECTIONS = 3 * MOST_CONNECTIONS
MOST_BYTES = 300
SHORT_S = 0.3  # instead of the server's own patience
METRICS = b"a 1\n"


@contextmanager
def served(host=None, expose=lambda _accept: (METRICS, "text/plain")):
    """Serve the health of a replica that is well; give the server and its port."""
    (port,) = free_ports(1)
    health = Health()
    health.lacks(None)
    server = serve(health, port, host, expose)
    try:
        yield server, port
    finally:
        server.shutdown()
        server.server_close()


def ask(host, port):
    """Give the body of /readyz."""
    with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=3) as answer:
        return answer.read()


def asked(port, method, path, **request):
    """Give the status, headers and body of an answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, **request)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def said(port, request):
    """Give all that the server answers to these bytes."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def drip(connection):
    """Send a byte now and then until the server has closed the connection; give how many it took."""
    for sent in range(MOST_BYTES):
        try:
            connection.sendall(b"G")
        except ConnectionError:
            return sent
        time.sleep(SHORT_S / 10)  # the damage: slower than a request, quicker than a silent visitor
    return MOST_BYTES


def is_closed(connection):
    """Tell whether the server has closed a connection without an answer."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


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
    if socket.has_dualstack_ipv6():
        with served("::1") as (_, port):
            assert ask("[::1]", port) == b"ok\n"
            with socket.socket() as other:
                assert other.connect_ex(("127.0.0.1", port)) != 0
    with pytest.raises(UsageError, match=r"setting http_port: port 8080 of http_host 192\.0\.2\.1 cannot be served"):
        serve(Health(), 8080, "192.0.2.1", lambda _accept: (b"", ""))


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


def test_a_visitor_that_asks_without_a_pause_waits_for_its_turn():
    """It gets few answers a second, and a probe gets its own at once all the same."""
    with served() as (_, port):
        answers, is_over = [], threading.Event()

        def visit():
            while not is_over.is_set():
                answers.append(said(port, b"GET /livez HTTP/1.1\r\n\r\n"))

        visitor = threading.Thread(target=visit)
        began_s = time.monotonic()
        visitor.start()
        try:
            await_condition(lambda: len(answers) > MOST_AT_ONCE, "the first ones are answered at once")
            before, before_s = len(answers), time.monotonic()
            await_condition(lambda: time.monotonic() > before_s + 2, "it goes on")
            assert ask("127.0.0.1", port) == b"ok\n"
            assert time.monotonic() - before_s < 3, "within a second"
        finally:
            is_over.set()
            visitor.join()
        passed_s = time.monotonic() - began_s
        assert before < len(answers) <= MOST_AT_ONCE + MOST_A_SECOND * passed_s + 1
        assert {answer[-3:] for answer in answers} == {b"ok\n"}


def test_the_pace_is_that_of_the_constants():
    """A burst goes through, then one after the other; after a while with few a burst again."""
    pace = Pace()
    assert sum(pace.wait_s(7.0) < 0.001 for _ in range(3 * MOST_AT_ONCE)) == MOST_AT_ONCE
    assert pace.wait_s(7.0) == pytest.approx((2 * MOST_AT_ONCE + 1) / MOST_A_SECOND)
    assert sum(pace.wait_s(7_000.0) < 0.001 for _ in range(3 * MOST_AT_ONCE)) == MOST_AT_ONCE


def test_a_connection_that_sends_nothing_is_closed(monkeypatch):
    """An idle connection ends by itself; so does one whose client went away."""
    with served() as (server, port):
        monkeypatch.setattr(server.RequestHandlerClass, "timeout", SHORT_S)
        with closing(socket.create_connection(("127.0.0.1", port))) as idle:
            assert is_closed(idle)
        await_condition(lambda: not server._open, "nothing is left open")


def test_a_visitor_that_sends_a_byte_now_and_then_is_closed(monkeypatch):
    """Each byte comes in time, the request never: its time counts from the beginning, and others are answered."""
    with served() as (server, port):
        monkeypatch.setattr(server.RequestHandlerClass, "timeout", SHORT_S)
        with closing(socket.create_connection(("127.0.0.1", port))) as slow:
            bytes_taken = drip(slow)
            assert 5 < bytes_taken < MOST_BYTES
            assert ask("127.0.0.1", port) == b"ok\n"
        await_condition(lambda: not server._open, "nothing is left open")


def test_a_visitor_that_takes_no_answer_is_closed(monkeypatch):
    """Megabytes of metrics for somebody who does not read: the thread ends, and others are answered meanwhile."""
    with served(expose=lambda _accept: (b"x" * (64 << 20), "text/plain")) as (server, port):
        monkeypatch.setattr(server.RequestHandlerClass, "timeout", SHORT_S)
        with closing(socket.create_connection(("127.0.0.1", port))) as deaf:
            deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            await_condition(lambda: server._open, "it is being answered")
            assert ask("127.0.0.1", port) == b"ok\n"
            await_condition(lambda: not server._open, "the answer is given up")


def test_endless_headers_are_refused():
    """A request that never ends costs the server a few KiB, and its visitor hears why."""
    with served() as (_, port):
        answer = said(port, b"GET /livez HTTP/1.1\r\n" + b"X: yyyyyyyyyy\r\n" * (40 * HEAD_BYTES))
        assert answer.split(b"\r\n")[0].split(b" ")[1] == b"431"
        assert answer.endswith(b"a request has 16384 bytes\n")
        assert ask("127.0.0.1", port) == b"ok\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\xff\x16\x03\x01 hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez HTTP/9.9\r\n\r\n",
        b"GET / livez HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(request_bytes, capfd):
    """TLS on a plain port, or nonsense: an error with one plain line; nothing is printed, and others are answered."""
    with served() as (_, port):
        head, _, body = said(port, request_bytes).partition(b"\r\n\r\n")
        assert head.split(b" ")[1][:1] in {b"4", b"5"}
        assert body.count(b"\n") == 1
        assert b"<" not in body
        assert ask("127.0.0.1", port) == b"ok\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/readyz?verbose=1", "/nowhere"])
def test_head_is_answered_as_get_without_the_body(path):
    """A load balancer asks like this; the length is that of the answer to GET."""
    with served() as (_, port):
        status, headers, body = asked(port, "GET", path)
        assert status == (404 if path == "/nowhere" else 200)
        head, _, nothing = said(port, f"HEAD {path} HTTP/1.1\r\n\r\n".encode()).partition(b"\r\n\r\n")
        assert nothing == b""
        assert f"Content-Length: {len(body)}\r\n".encode() in head
        assert head.startswith(f"HTTP/1.0 {status} ".encode())
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_are_refused(method):
    """405 names what is allowed; a path that is none stays 404. A large body does not cost the visitor its answer."""
    with served() as (_, port):
        status, headers, body = asked(port, method, "/metrics", body=b"x" * (4 << 20))
        assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"there are GET and HEAD\n")
        assert asked(port, method, "/nowhere")[0] == 404


def test_what_is_missing_is_status_503():
    """The line says it."""
    with served() as (server, port):
        server.RequestHandlerClass.health.lacks("waiting for redis")
        assert asked(port, "GET", "/readyz")[::2] == (503, b"waiting for redis\n")
        assert asked(port, "GET", "/livez")[::2] == (200, b"ok\n")


def test_metrics_get_the_accept_header():
    """All of it, if it came in parts."""
    with served(expose=lambda accept: (accept.encode(), "text/strange")) as (_, port):
        request = b"GET /metrics HTTP/1.1\r\nAccept: a/b;q=0.5\r\naccept: c/d\r\n\r\n"
        head, _, body = said(port, request).partition(b"\r\n\r\n")
        assert body == b"a/b;q=0.5, c/d"
        assert b"Content-Type: text/strange" in head


def test_a_slow_scrape_holds_up_no_probe():
    """Metrics that take long are one visitor's wait."""
    may_end = threading.Event()

    def expose(_accept):
        may_end.wait(10)
        return METRICS, "text/plain"

    with served(expose=expose) as (server, port), closing(socket.create_connection(("127.0.0.1", port))) as scraper:
        scraper.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        await_condition(lambda: server._open, "it is being answered")
        assert ask("127.0.0.1", port) == b"ok\n"
        may_end.set()
        scraper.settimeout(10)
        assert scraper.recv(4096).startswith(b"HTTP/1.0 200")


def test_a_defect_is_printed_and_costs_one_answer(capfd):
    """What should not be is not hidden; the port goes on."""

    def expose(_accept):
        raise KeyError("a defect")

    with served(expose=expose) as (_, port):
        assert said(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        assert ask("127.0.0.1", port) == b"ok\n"
    assert "KeyError: 'a defect'" in capfd.readouterr().err


def test_without_a_descriptor_the_server_waits_and_does_not_spin():
    """The process has used up its descriptors: a connection waits, costs next to nothing, and is answered at last."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with served("127.0.0.1") as (server, port), closing(socket.socket()) as visitor:
        accepted = []
        accept = server.get_request

        def get_request():
            accepted.append(time.monotonic())
            return accept()

        server.get_request = get_request
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            visitor.connect(("127.0.0.1", port))
            visitor.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            await_condition(lambda: len(accepted) >= 3, "it tries")
            assert accepted[2] - accepted[0] > 0.1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        visitor.settimeout(10)
        assert visitor.recv(4096).startswith(b"HTTP/1.0 200")
