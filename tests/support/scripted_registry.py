"""A schema registry that answers what a test wrote down: the faults that no real one can be asked for."""

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.local.servers import HOST


def answer(status, body="", *headers):
    """Give the bytes of an HTTP answer; a body that is no text is sent as JSON."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(data)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


class ScriptedRegistry:
    """Gives its answers in turn, the last one for ever; an answer of None is silence. `requests` are the heads it got.

    With `drip_s` it sends a byte, waits that long, and so on; with `tls`, a server's context, it speaks TLS.
    """

    def __init__(self, *answers, drip_s=0.0, tls=None):
        self._answers = list(answers)
        self._drip_s = drip_s
        self._tls = tls
        self.requests = []
        self.sent = 0
        self._taken = []
        self._is_closed = False
        self._socket = socket.create_server((HOST, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        """The address for clients."""
        return f"http{'s' if self._tls else ''}://{HOST}:{self._socket.getsockname()[1]}"

    def close(self):
        """End it, and every connection, also one that comes now."""
        self._is_closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for taken in self._taken:
            taken.close()

    def _serve(self):
        while True:
            try:
                taken, _ = self._socket.accept()
                self._taken.append(taken)
                if self._is_closed:
                    taken.close()
                if self._tls:
                    taken = self._tls.wrap_socket(taken, server_side=True)
                head = b""
                while b"\r\n\r\n" not in head and (read := taken.recv(65_536)):
                    head += read
                self.requests.append(head.partition(b"\r\n\r\n")[0].decode())
                said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if said is not None:
                    self._send(taken, said)
                    taken.close()
            except OSError:
                if self._socket.fileno() < 0:
                    return

    def _send(self, taken, said):
        step = 1 if self._drip_s else 4096
        for start in range(0, len(said), step):
            taken.sendall(said[start : start + step])
            self.sent += step
            time.sleep(self._drip_s)


class PathRegistry:
    """A registry that gives by path what `answers` holds: bytes, or a list that is given in turn, the last for ever.

    Any other path is 404, as a registry says it of a schema. `requests` are the paths that it was asked for. It may be
    changed at any time.
    """

    def __init__(self, answers=()):
        self.answers = dict(answers)
        self.requests = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self):
        """The address for clients."""
        return f"http://{HOST}:{self._server.server_port}"

    def add(self, schema_id, schema, **further):
        """Have it know a schema by an id."""
        self.answers[f"/schemas/ids/{schema_id}"] = answer(200, {"schema": json.dumps(schema), **further})

    def close(self):
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self):
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                registry.requests.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))  # unread, it would reset the connection
                said = registry.answers.get(self.path, answer(404, {"error_code": 40403, "message": "not found"}))
                if isinstance(said, list):
                    said = said.pop(0) if len(said) > 1 else said[0]
                if said is None:  # silence, until the client has gone
                    self.rfile.read(1)
                else:
                    self.wfile.write(said)
                self.close_connection = True

            do_POST = do_GET  # noqa: N815 - the name that the server looks for

            def log_message(self, *_):
                """Say nothing."""

        return Handler
