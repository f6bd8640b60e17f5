"""The HTTP server of a process: `/livez`, `/readyz` and `/metrics`, on threads of their own, whatever its visitors do.

An answer about health is one line: `ok`, or with status 503 what is missing. A connection is one request. Whoever is
silent, slow or talks too much is cut off: a request has `ANSWER_S` to arrive and `HEAD_BYTES` of room, its answer
`ANSWER_S` to be taken. Whoever asks again and again waits for his turn: connections are taken at a pace, since each
takes time that the process's loop needs. Nothing here waits for the loop, and the loop never waits for anything here.
"""

import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from processor.errors import UsageError
from processor.monitoring.health import Health

ANSWER_S: Final = 5.0
HEAD_BYTES: Final = 16 << 10  # of the request's line and headers
MOST_CONNECTIONS: Final = 64  # beyond it the oldest is closed: a new one is a probe that must be answered
MOST_A_SECOND: Final = 50  # connections, each 0.3 to 0.7 ms of CPU time; probes and a scraper need one or two
MOST_AT_ONCE: Final = 256  # after a while with fewer
_NO_DESCRIPTOR_S: Final = 0.1  # a pause, or the server would try again and again for a whole core
_METHODS: Final = ("GET", "HEAD")
_TEXT: Final = "text/plain; charset=utf-8"
Expose = Callable[[str], tuple[bytes, str]]
"""Gives all metrics as text, and its content type, for a request's header `Accept`."""


def serve(health: Health, port: int, host: str | None, expose: Expose) -> ThreadingHTTPServer:
    """Serve a `Health`, and the metrics, on a port until `shutdown`.

    Raises UsageError for a port or host that cannot be had.

    Without a host this serves all addresses, IPv4 and, where the system has it, IPv6.
    """
    handler = type("Handler", (_Handler,), {"health": health, "expose": staticmethod(expose)})
    try:
        server = _server(host, port, handler)
    except OSError as error:
        place = f"port {port}" if host is None else f"port {port} of http_host {host}"
        raise UsageError(f"setting http_port: {place} cannot be served: {error.strerror}") from error
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def _server(host: str | None, port: int, handler: type[BaseHTTPRequestHandler]) -> "_Server":
    """Return a server that listens. Raises OSError if it cannot, or the host is unknown."""
    if host is not None:
        return _Server(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4], handler)
    if socket.has_dualstack_ipv6():
        with suppress(OSError):  # IPv6 may be compiled in and switched off
            return _Server(("::", port), handler)
    return _Server(("", port), handler)


class Pace:
    """Lets MOST_AT_ONCE through, and then MOST_A_SECOND."""

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Return how long the next one must wait, which counts as let through then."""
        self._due_s = max(self._due_s, now_s - MOST_AT_ONCE / MOST_A_SECOND) + 1 / MOST_A_SECOND
        return max(0.0, self._due_s - now_s)


class _Server(ThreadingHTTPServer):
    """Bounds its connections: idle or slow ones must not use up the process's descriptors, which the loop needs."""

    daemon_threads = True
    request_queue_size = 128  # with the default, 5, a burst makes probes wait for seconds

    def __init__(self, address: tuple[Any, ...], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()
        self._pace = Pace()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Take both families where the address is that of all."""
        if self.address_family == socket.AF_INET6 and self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)  # HTTPServer would look its own name up, which may take seconds

    def get_request(self) -> Any:
        """Accept a connection in its turn; wait a little if that fails, since it stays and would fail again at once."""
        time.sleep(self._pace.wait_s(time.monotonic()))
        try:
            return super().get_request()
        except OSError:
            time.sleep(_NO_DESCRIPTOR_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection on a thread of its own; close the oldest one if there are too many."""
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > MOST_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
                with suppress(OSError):  # it is gone already
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread then closes it
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Print a defect of the program; a visitor that goes away early, or no thread to be had, is not worth it."""
        if not isinstance(sys.exception(), OSError | RuntimeError):
            sys.excepthook(*sys.exc_info())


class _Handler(BaseHTTPRequestHandler):
    health: Health
    expose: Expose
    timeout = ANSWER_S
    server_version, sys_version = "order-facts", ""
    default_request_version = "HTTP/1.0"  # so that an answer to nonsense has a status, too
    error_message_format, error_content_type = "%(message)s\n", _TEXT

    def handle(self) -> None:
        """Answer one request, if it comes in time."""
        head = self._head(time.monotonic() + self.timeout)
        self.connection.settimeout(self.timeout)
        if len(head) > HEAD_BYTES:
            self.requestline, self.request_version, self.command = "", self.protocol_version, ""
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has {HEAD_BYTES} bytes")
            self._drain()
            return
        self.rfile.close()
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if self.parse_request():
            self._answer_to(self.command, self.path.partition("?")[0])

    def _head(self, deadline_s: float) -> bytes:
        """Return a request's line and headers, or what came before the visitor ended it, or exceeded the limit.

        The time is for all of it: a visitor that sends a byte now and then would otherwise stay for ever. Raises
        TimeoutError.
        """
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= HEAD_BYTES:
            self.connection.settimeout(max(0.001, deadline_s - time.monotonic()))
            part = self.connection.recv(HEAD_BYTES)
            if not part:
                break
            head += part
        return head

    def _answer_to(self, method: str, path: str) -> None:
        match path:
            case "/livez" | "/readyz" | "/metrics" if method not in _METHODS:
                self._answer(HTTPStatus.METHOD_NOT_ALLOWED, f"there are {' and '.join(_METHODS)}\n".encode())
                self._drain()
            case "/livez" | "/readyz":
                missing = self.health.live() if path == "/livez" else self.health.ready()
                status = HTTPStatus.OK if missing is None else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, f"{missing or 'ok'}\n".encode())
            case "/metrics":
                self._answer(HTTPStatus.OK, *self.expose(", ".join(self.headers.get_all("Accept", []))))
            case _:
                self._answer(HTTPStatus.NOT_FOUND, b"there are /livez, /readyz and /metrics\n")
                self._drain()

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = _TEXT) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", ", ".join(_METHODS))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _drain(self) -> None:
        """Take what a visitor still sends, for a while: if it is closed with that unread, it may lose its answer."""
        deadline_s = time.monotonic() + self.timeout
        self.connection.shutdown(socket.SHUT_WR)
        while (left_s := deadline_s - time.monotonic()) > 0:
            self.connection.settimeout(left_s)
            if not self.connection.recv(HEAD_BYTES):
                break

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing: a probe every second is not worth a line."""
