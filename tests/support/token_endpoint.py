"""A server of tokens: an OpenID provider's token endpoint, and a cloud's metadata endpoint."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.local.servers import HOST
from tests.support.guarded_kafka import OPERATOR, unsecured_token


class TokenServer(ThreadingHTTPServer):
    """The server: what it was asked (method, path, credentials, body), how long a token lives, whether it is away."""

    def __init__(self, life_s):
        super().__init__((HOST, 0), _Endpoint)
        self.asked: list[tuple[str, ...]] = []
        self.life_s, self.is_away = life_s, False
        self.address = f"http://{HOST}:{self.server_port}"


class _Endpoint(BaseHTTPRequestHandler):
    server: TokenServer

    def do_POST(self):
        """Answer a client that shows its id and secret."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append(("POST", self.path, self.headers["Authorization"], body))
        self._answer()

    def do_GET(self):
        """Answer a machine of the cloud, which shows nothing."""
        self.server.asked.append(("GET", self.path, self.headers["Metadata"], ""))
        self._answer()

    def _answer(self):
        if self.server.is_away:
            self.send_error(503)
            return
        token = unsecured_token(OPERATOR, now := int(time.time()), now + self.server.life_s)
        answer = json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": self.server.life_s}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Print nothing."""


@contextmanager
def token_endpoint(life_s):
    """Give a server of tokens that live for some seconds."""
    server = TokenServer(life_s)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
