"""The setting `redis_url`: one server, a Sentinel group or a Cluster, with credentials and TLS.

    redis://[[user]:password@]host[:port][/db]               one server (rediss:// with TLS)
    unix://[[user]:password@]/path/to/socket[?db=0]          one server, by its socket
    redis+sentinel://[...@]host[:port],host[:port]/name[/db] the primary that Sentinels name (rediss+sentinel://)
    redis+cluster://[...@]host[:port],host[:port]            a Cluster, by some of its nodes (rediss+cluster://)

Options follow a question mark: TLS as redis-py names it (`ssl_ca_certs` and others), Sentinel's own credentials
(`sentinel_username`, `sentinel_password`; TLS counts for the Sentinels too). Special characters are written as %XX.
"""

import re
from typing import Final, Literal, cast
from urllib.parse import parse_qsl, unquote

import msgspec

Kind = Literal["server", "sentinel", "cluster"]
_TLS_OPTIONS: Final = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_username", "sentinel_password"})
_SCHEMES: Final = ("redis://", "rediss:// (TLS)", "unix://", "redis+sentinel://", "redis+cluster://")
_BEGINNING: Final = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|(?P<name>[^\s:\[\]@]*))(?::(?P<port>[^:]*))?")
_PORTS: Final = {"sentinel": 26379, "server": 6379, "cluster": 6379}


class BadAddressError(ValueError):
    """The address is wrong. The text says what to do, and never repeats a part that may be a password."""


class RedisAddress(msgspec.Struct, frozen=True):
    """Where Redis is. `hosts` are servers, Sentinels or some of a Cluster's nodes; empty for a socket (`path`).

    `primary` is the name under which the Sentinels know the primary; `tls` has options for redis-py, None without TLS.
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    path: str | None = None
    primary: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: dict[str, str | bool] | None = None

    @property
    def place(self) -> str:
        """The address without credentials and options."""
        if self.path is not None:
            return f"unix://{self.path}"
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        scheme = ("redis" if self.tls is None else "rediss") + ("" if self.kind == "server" else f"+{self.kind}")
        tail = "" if self.primary is None else f"/{self.primary}"
        return f"{scheme}://{hosts}{tail}" + ("" if self.kind == "cluster" else f"/{self.db}")


def parse_redis_url(url: str) -> RedisAddress:
    """Return what an address says. Raises BadAddressError."""
    found = _BEGINNING.fullmatch(url)
    if found is None:
        raise BadAddressError(f"it is not an address; begin with {_one_of(_SCHEMES)}, write special characters as %XX")
    base, _, kind = found["scheme"].lower().partition("+")
    if base not in {"redis", "rediss", "unix"} or kind not in {"", "sentinel", "cluster"} or (base == "unix" and kind):
        raise BadAddressError(f"put an address that begins with {_one_of(_SCHEMES)} there")
    before, _, query = found["rest"].partition("?")
    place, slash, path = before.partition("/")
    if "@" in path + query:  # a password with a slash or question mark, which nobody may read in a line
        raise BadAddressError("an @ stands behind the hosts; write special characters of the password as %XX")
    credentials, at, hosts = place.rpartition("@")
    username, _, password = credentials.partition(":")
    if at and not (username or password):
        raise BadAddressError("before the @ stand no credentials; put user:password there, or remove the @")
    kind = kind or "server"
    options = _options(query, is_tls=base == "rediss", is_sentinel=kind == "sentinel")
    if base == "unix":
        file, database = _socket_path(hosts, slash + path), _database(options.get("db", ""))
        return RedisAddress("server", (), file, None, database, unquote(username) or None, unquote(password) or None)
    primary, database = _path(path, options, kind)
    tls = {name: _tls_value(name, value) for name, value in options.items() if name in _TLS_OPTIONS}
    return RedisAddress(
        cast("Kind", kind),
        _hosts(hosts, kind),
        primary=primary,
        db=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=tls if base == "rediss" else None,
    )


def _options(query: str, *, is_tls: bool, is_sentinel: bool) -> dict[str, str]:
    known = {"db"} | (_TLS_OPTIONS if is_tls else set()) | (_SENTINEL_OPTIONS if is_sentinel else set())
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name in _TLS_OPTIONS - known:
            raise BadAddressError(f"the option {name} needs TLS; begin the address with rediss")
        if name in _SENTINEL_OPTIONS - known:
            raise BadAddressError(f"the option {name} needs Sentinels; begin the address with redis+sentinel://")
        if name not in known:
            shown = f" {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else ""
            raise BadAddressError(f"unknown option{shown}; known are {', '.join(sorted(known))}")
    return options


def _socket_path(hosts: str, path: str) -> str:
    if hosts or not path.strip("/"):
        raise BadAddressError("put the path of a socket there, unix:///path/to/redis.sock")
    return unquote(path)


def _path(path: str, options: dict[str, str], kind: str) -> tuple[str | None, int]:
    """Return the primary's name, for Sentinels, and the database."""
    primary = None
    if kind == "sentinel":
        primary, _, path = path.partition("/")
        if not primary:
            raise BadAddressError("put the primary's name behind the Sentinels, such as redis+sentinel://a,b/mymaster")
        primary = unquote(primary)
    database = _database(path or options.get("db", ""))
    if kind == "cluster" and database:
        raise BadAddressError("a Redis Cluster is used by its database 0; remove the number behind the hosts")
    return primary, database


def _database(text: str) -> int:
    if not re.fullmatch(r"[0-9]{0,9}", text, re.ASCII):
        raise BadAddressError("put the number of a database after the address, such as /0")
    return int(text or 0)


def _hosts(text: str, kind: str) -> tuple[tuple[str, int], ...]:
    hosts = []
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        if found is None:
            raise BadAddressError("put host or host:port there, an IPv6 address in brackets, special characters as %XX")
        port = found["port"]
        if port and not (re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) and int(port) <= 0xFFFF):
            raise BadAddressError("the port is not a number from 0 to 65535")
        host = found["v6"] or unquote(found["name"] or "")
        if found["v6"] is None and not all(0 < len(label) < 64 for label in (host.removesuffix(".") or "h").split(".")):
            raise BadAddressError("a host has an empty or too long part between its dots")
        if not host and kind != "server":
            raise BadAddressError("a host is empty; put host or host:port there, several by commas")
        hosts.append((host or "localhost", int(port or _PORTS[kind])))
    if kind == "server" and len(hosts) > 1:
        raise BadAddressError("several hosts need redis+sentinel:// or redis+cluster://; name one host")
    return tuple(hosts)


def _tls_value(name: str, value: str) -> str | bool:
    if name == "ssl_check_hostname":
        return value.lower() not in {"", "0", "f", "false", "n", "no"}
    return value


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
