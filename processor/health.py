"""Health over HTTP: a thread of its own answers `/livez`, `/readyz` and `/metrics`.

An answer about health is one line: `ok`, or with status 503 what is missing.
"""

import resource
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from processor.errors import UsageError

# A turn may rightly take as long as a transaction's flush, its abort and a new producer's start, one after the other.
LIVE_WITHIN_S: Final = 60.0
IDLE_S: Final = 5.0  # a connection that sends nothing for so long is closed
MOST_CONNECTIONS: Final = 64  # beyond it the oldest is closed: a new one is a probe that must be answered


class Health:
    """What the service says about itself; its loop writes it, the server's threads read it."""

    def __init__(self) -> None:
        self._turned_s = time.monotonic()
        self._missing: str | None = "starting"

    def turned(self) -> None:
        """Note that the loop turned."""
        self._turned_s = time.monotonic()

    def lacks(self, missing: str | None) -> None:
        """Note what the replica lacks to be ready (None: nothing)."""
        self._missing = missing

    def live(self) -> str | None:
        """Return None while the loop turns, else how long it has not."""
        still_s = time.monotonic() - self._turned_s
        return None if still_s < LIVE_WITHIN_S else f"the loop has not turned for {still_s:.0f} s"

    def ready(self) -> str | None:
        """Return None if all assigned partitions are placed and nothing is waited for, else what is missing.

        A member to which the group assigned nothing has nothing to do, and is ready: it is a spare.
        """
        return self.live() or self._missing


def serve(health: Health, port: int, host: str | None, exposition: Callable[[], bytes]) -> ThreadingHTTPServer:
    """Serve a `Health`, and the metrics that `exposition` returns as text, on a port until `shutdown`.

    Raises UsageError for a port or host that cannot be had.

    Without a host this serves all addresses, IPv4 and, where the system has it, IPv6.
    """
    handler = type("Handler", (_Handler,), {"health": health, "exposition": staticmethod(exposition)})
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


class _Server(ThreadingHTTPServer):
    """Bounds its connections: idle or slow ones must not use up the process's descriptors, which the loop needs."""

    daemon_threads = True
    request_queue_size = 128  # with the default, 5, a burst makes probes wait for seconds

    def __init__(self, address: tuple[Any, ...], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._open: dict[socket.socket, None] = {}  # oldest first
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Take both families where the address is that of all."""
        if self.address_family == socket.AF_INET6 and self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)  # HTTPServer would look its own name up, which may take seconds

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
        """Log nothing: a prober that goes away early is not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    health: Health
    exposition: Callable[[], bytes]
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Answer one request."""
        match self.path.partition("?")[0]:
            case "/livez" | "/readyz" as path:
                missing = self.health.live() if path == "/livez" else self.health.ready()
                self._answer(200 if missing is None else 503, f"{missing or 'ok'}\n".encode())
            case "/metrics":
                self._answer(200, self.exposition(), "text/plain; version=0.0.4; charset=utf-8")
            case _:
                self._answer(404, b"there are /livez, /readyz and /metrics\n")

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing: a probe every second is not worth a line."""


def rss_bytes() -> int:
    """Return the memory that this process holds now; if the system does not report that, the most it ever held."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
