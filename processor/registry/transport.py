"""One request to the schema registry over HTTP, within bounds that no registry can break.

Takes one of the configured addresses, a method, a path and a body; gives the answer's status and bytes. A request ends
in time, however slowly its answer drips. No more than 128 KiB of an answer are read, its headers included. Never
follows a redirect, takes a proxy from the environment, or lets a credential into an error.

(The client in confluent-kafka cannot be held to this: it reads an answer of any size, its timeout is that of each
packet, it retries by itself, and its errors repeat what the registry says.)
"""

import base64
import functools
import http.client
import io
import socket
import ssl
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from processor import __version__
from processor.errors import RegistryError, UsageError
from processor.settings import Settings

MOST_BYTES: Final = 128 << 10
_TIMEOUT_S: Final = 10.0
_JSON: Final = "application/vnd.schemaregistry.v1+json"
_CHUNK: Final = 16 << 10


class AnswerTooLargeError(RegistryError):
    """As RegistryError: an answer of status 200 that begins as JSON has more than MOST_BYTES."""


class Answer(NamedTuple):
    """What a registry answered."""

    status: int
    body: bytes


class Transport:
    """Asks with the credentials and the TLS of the setting `schema_registry`."""

    def __init__(self, settings: Settings) -> None:
        """Raise UsageError if a file of the setting cannot be used."""
        properties = settings.schema_registry
        self._timeout_s = float(properties.get("timeout", _TIMEOUT_S))
        self._headers, self._secrets = _credentials(properties)
        is_own = any(name.startswith("ssl.") for name in properties)
        self._own_tls = _tls(properties) if is_own else None

    def ask(self, address: str, method: str, path: str, body: bytes = b"") -> Answer:
        """Return the answer of an address. `path` begins with a slash. Raises RegistryError: none in time, or none."""
        parts = urlsplit(address)
        head = [f"{method} {parts.path}{path} HTTP/1.1", f"Host: {parts.netloc}", *self._headers, f"Accept: {_JSON}"]
        head += [f"User-Agent: order-facts/{__version__}", "Accept-Encoding: identity", "Connection: close"]
        head += [f"Content-Type: {_JSON}", f"Content-Length: {len(body)}"] if body else []
        deadline = time.monotonic() + self._timeout_s
        try:
            is_tls = parts.scheme == "https"
            place = parts.hostname or "", parts.port or (443 if is_tls else 80)
            with closing(self._connected(*place, is_tls, deadline)) as connection:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                connection.sendall("\r\n".join([*head, "", ""]).encode("ascii") + body)
                return _answer(_Bounded(connection, deadline), method)
        except TimeoutError as error:
            raise RegistryError(
                f"the schema registry at {address} did not answer within {self._timeout_s:g} s"
            ) from error
        except _TooLargeError as error:
            kind = AnswerTooLargeError if error.is_json else RegistryError  # a gateway's page is no registry's answer
            raise kind(f"the schema registry at {address} does not answer: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = self.without_secrets(str(error) or type(error).__name__)
            raise RegistryError(f"the schema registry at {address} does not answer: {reason}") from error

    def without_secrets(self, text: str) -> str:
        """Return the first 300 characters of a text, on one line, with the credentials that it repeats hidden."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:300]

    def _connected(self, host: str, port: int, is_tls: bool, deadline: float) -> socket.socket:  # noqa: FBT001 - of the scheme
        plain = _connected_to_any(host, port, deadline)
        if not is_tls:
            return plain
        with ExitStack() as failed:
            failed.callback(plain.close)
            secured = (self._own_tls or _usual_tls()).wrap_socket(plain, server_hostname=host)
            failed.pop_all()
        return secured


def _connected_to_any(host: str, port: int, deadline: float) -> socket.socket:
    """Return a connection to the first of a name's addresses that takes one, all of them in the time that is left.

    (`socket.create_connection` gives each address the whole time. The look-up of the name has the resolver's own.)
    """
    failure: OSError = TimeoutError()
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if (left_s := deadline - time.monotonic()) <= 0:
            raise TimeoutError
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(left_s)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


class _TooLargeError(OSError):
    is_json = False  # the answer, of status 200


class _Bounded(io.RawIOBase):
    """What a connection gives until a moment, and up to MOST_BYTES."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        if self._left == 0:
            raise _TooLargeError(f"its answer has more than {MOST_BYTES >> 10} KiB")
        count = self._connection.recv_into(memoryview(buffer)[: min(self._left, _CHUNK)])
        self._left -= count
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what `http.client` reads an answer from."""
        return io.BufferedReader(self)


def _answer(connection: _Bounded, method: str) -> Answer:
    with http.client.HTTPResponse(cast(socket.socket, connection), method=method) as response:
        response.begin()
        first = response.read(1)
        try:
            return Answer(response.status, first + response.read())
        except _TooLargeError as error:
            error.is_json = response.status == http.HTTPStatus.OK and first == b"{"
            raise


def _credentials(properties: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the headers that hold credentials, and every text that must not be shown."""
    headers, secrets = [], []
    if user_info := str(properties.get("basic.auth.user.info", "")):
        coded = base64.b64encode(user_info.encode()).decode()
        headers.append(f"Authorization: Basic {coded}")
        secrets += [coded, user_info, user_info.partition(":")[2]]
    if token := str(properties.get("bearer.auth.token", "")):
        headers.append(f"Authorization: Bearer {token}")
        secrets.append(token)
    named = {"target-sr-cluster": "logical.cluster", "Confluent-Identity-Pool-Id": "identity.pool.id"}
    given = {header: properties.get(f"bearer.auth.{name}") for header, name in named.items()}
    headers += [f"{header}: {value}" for header, value in given.items() if value]
    return headers, [secret for secret in secrets if secret]


@functools.cache
def _usual_tls() -> ssl.SSLContext:
    """Return the context of https without properties of TLS. Made once: to read the authorities takes 45 ms."""
    return ssl.create_default_context()


def _tls(properties: dict[str, Any]) -> ssl.SSLContext:
    """Return the context of https. Raises UsageError, naming the property whose file cannot be used."""
    authorities = properties.get("ssl.ca.location")
    certificate, password = properties.get("ssl.certificate.location"), properties.get("ssl.key.password", "")
    what = "ssl.ca.location"
    try:
        is_folder = authorities is not None and Path(authorities).is_dir()
        folder, file = (authorities, None) if is_folder else (None, authorities)
        context = ssl.create_default_context(cafile=file, capath=folder)
        what = "ssl.certificate.location"
        if certificate is not None:  # without a password OpenSSL would ask for one on the terminal
            context.load_cert_chain(certificate, properties.get("ssl.key.location"), password=lambda: password)
    except (OSError, ValueError) as error:
        raise UsageError(f"setting schema_registry: {what}: {error}; put the path of a PEM file there") from error
    return context
