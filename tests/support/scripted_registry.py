"""A schema registry that answers what a test wrote down: the faults that no real one can be asked for."""

import json
import socket
import threading
import time

from deploy.local.servers import HOST


def answer(status, body="", *headers):
    """Give the bytes of an HTTP answer; a body that is no text is sent as JSON."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(data)}", *headers, "", ""]
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
        self._socket = socket.create_server((HOST, 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self):
        """The address for clients."""
        return f"http{'s' if self._tls else ''}://{HOST}:{self._socket.getsockname()[1]}"

    def close(self):
        """End it, and every connection."""
        self._socket.close()
        for taken in self._taken:
            taken.close()

    def _serve(self):
        while True:
            try:
                taken, _ = self._socket.accept()
                self._taken.append(taken)
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
