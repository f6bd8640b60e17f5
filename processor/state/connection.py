"""Opens Redis as the settings say, and waits for it at the start."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import redis
from redis import Connection, ConnectionPool, CredentialProvider, SSLConnection, UnixDomainSocketConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError as ClientError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from processor.errors import RedisError, UnreachableError, UsageError
from processor.settings import Settings
from processor.settings.redis_address import BadAddressError, RedisAddress, parse_redis_url
from processor.state.cluster_map import Host
from processor.state.cluster_nodes import Cluster
from processor.state.greeting import NotPrimaryError, greeting, log_in
from processor.state.line import ask_each, classify
from processor.state.sentinels import Sentinels
from processor.state.servers import OneServer, Servers

SOCKET_TIMEOUT_S: Final = 5.0  # a stopped server would hang a call for ever
_WHERE_TIMEOUT_S: Final = 2.0  # for who only says where the primary is: the next one may know it
_PACE_S: Final = 0.1


def connect(settings: Settings) -> Servers:
    """Return what leads to the keys; it sends nothing yet, and never repeats a command: recovery does that."""
    address = parse_redis_url(settings.redis_url)
    greet = greeting(settings)
    try:
        if address.kind == "sentinel":
            return _behind_sentinels(address, settings, greet)
        if address.kind == "cluster":
            ConnectionPool(**_options(address, settings, greet, *address.hosts[:1])).make_connection()
            return Cluster(
                address.hosts,
                lambda host: ConnectionPool(**_options(address, settings, greet, host)),
                lambda host: _slots(address, settings, host),
            )
        pool = ConnectionPool(**_options(address, settings, greet, *address.hosts))
        pool.make_connection()  # it connects only when it is used, but looks at its options
        return OneServer(pool)
    except (ValueError, TypeError, ClientError) as error:
        raise UsageError("setting redis_url: the Redis client does not accept this address; correct it") from error


def wait(servers: Servers, settings: Settings) -> None:
    """Return once Redis can be used. Raises UnreachableError after startup_timeout_s, else as `check_server`."""
    deadline = time.monotonic() + settings.startup_timeout_s
    while True:
        try:
            check_server(servers)
        except NotPrimaryError as error:
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"{error}, and was none for {settings.startup_timeout_s:g} s; put the address of the primary "
                    "into the setting redis_url"
                ) from error
            time.sleep(_PACE_S)
        except RedisError as error:
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"Redis did not answer within {settings.startup_timeout_s:g} s: {error}; "
                    "check the setting redis_url"
                ) from error
            time.sleep(_PACE_S)
        else:
            return


def check_server(servers: Servers) -> None:
    """Connect to each primary, which checks it.

    Raises RedisError if one is away, StopError for a password, else as `greeting`.
    """
    ask_each(servers, ("PING",))


class _PasswordInFile(CredentialProvider):
    """Gives the user and password of the address in a file, as they are when a connection is opened."""

    def __init__(self, path: str, *, of_sentinels: bool = False) -> None:
        self._path, self._of_sentinels = path, of_sentinels

    def get_credentials(self) -> Any:
        try:
            address = parse_redis_url(Path(self._path).read_text(encoding="utf-8").rstrip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise RedisError(f"setting redis_url_file: {error}") from error
        except BadAddressError as error:
            raise RedisError(f"setting redis_url_file: {self._path}: {error}") from error
        username, password = address.username, address.password
        if self._of_sentinels:
            username, password = address.sentinel_username, address.sentinel_password
        if username is None:
            return () if password is None else (password,)
        return username, password or ""


def _options(
    address: RedisAddress, settings: Settings, greet: Callable[[Any], None], *host: Host, timeout_s: float | None = None
) -> dict[str, Any]:
    """Return what redis-py makes a connection from. RESP2: every server and proxy speaks it, and nothing is pushed."""
    file = settings.redis_url_file
    options: dict[str, Any] = {
        "connection_class": Connection if address.tls is None else SSLConnection,
        "db": address.db,
        "protocol": 2,
        "socket_timeout": timeout_s or SOCKET_TIMEOUT_S,
        "socket_connect_timeout": timeout_s or SOCKET_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": greet,
        **(address.tls or {}),
    }
    if file is None:
        options |= {"username": address.username, "password": address.password}
    else:
        options["credential_provider"] = _PasswordInFile(file)
    if address.path is not None:
        options |= {"connection_class": UnixDomainSocketConnection, "path": address.path}
    for name, port in host:
        options |= {"host": name, "port": port}
    return options


def _behind_sentinels(address: RedisAddress, settings: Settings, greet: Callable[[Any], None]) -> Servers:
    """Return the primary that the Sentinels name: each new connection asks them."""
    file = settings.redis_url_file
    of_sentinels: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": _WHERE_TIMEOUT_S,
        "socket_connect_timeout": _WHERE_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        **({} if address.tls is None else {"ssl": True, **address.tls}),
    }
    if file is None:
        of_sentinels |= {"username": address.sentinel_username, "password": address.sentinel_password}
    else:
        of_sentinels["credential_provider"] = _PasswordInFile(file, of_sentinels=True)
    sentinels = Sentinels(address.hosts, of_sentinels, may_change=file is not None)
    options = _options(address, settings, greet)
    del options["connection_class"]
    pool: Any = SentinelConnectionPool(  # type: ignore[no-untyped-call]
        address.primary, sentinels, ssl=address.tls is not None, **options
    )
    return OneServer(pool, *sentinels.sentinels)


def _slots(address: RedisAddress, settings: Settings, host: Host) -> list[Any]:
    """Return a node's answer to CLUSTER SLOTS. Raises RedisError if it does not give one, StopError if it refuses."""

    def greet(connection: Any) -> None:
        log_in(connection, settings)

    options = _options(address, settings, greet, host, timeout_s=_WHERE_TIMEOUT_S)
    connection = options.pop("connection_class")(**options)
    try:
        connection.connect()
        connection.send_command("CLUSTER", "SLOTS")
        found: list[Any] = connection.read_response()
    except redis.ResponseError as error:
        if "cluster support disabled" in str(error):
            raise UsageError(
                "setting redis_url: the server is no node of a Redis Cluster; begin the address with redis:// or "
                "redis+sentinel://"
            ) from error
        raise classify(error) from error
    except ClientError as error:
        raise classify(error) from error
    finally:
        connection.disconnect()
    return found
