"""Health over HTTP: a thread of its own answers `/livez`, `/readyz` and `/metrics`.

An answer about health is one line: `ok`, or with status 503 what is missing.
"""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from processor.errors import UsageError
from processor.replica.metrics import exposition

# A turn may rightly take as long as a transaction's flush, its abort and a new producer's start, one after the other.
LIVE_WITHIN_S: Final = 60.0


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
        """Return None if partitions are assigned and placed and nothing is waited for, else what is missing."""
        return self.live() or self._missing


def serve(health: Health, port: int) -> ThreadingHTTPServer:
    """Serve a `Health` on a port on all interfaces until `shutdown`. Raises UsageError for a port that is taken."""
    try:
        server = ThreadingHTTPServer(("", port), type("Handler", (_Handler,), {"health": health}))
    except OSError as error:
        raise UsageError(f"setting http_port: port {port} cannot be served: {error.strerror}") from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    health: Health

    def do_GET(self) -> None:
        """Answer one request."""
        match self.path.partition("?")[0]:
            case "/livez" | "/readyz" as path:
                missing = self.health.live() if path == "/livez" else self.health.ready()
                self._answer(200 if missing is None else 503, f"{missing or 'ok'}\n".encode())
            case "/metrics":
                self._answer(200, exposition(), "text/plain; version=0.0.4; charset=utf-8")
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
