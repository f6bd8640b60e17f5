"""What every new connection to Redis asks before it is used: whether the server is a primary and never evicts.

Behind an address may be another server than before, or other settings. INFO says both at once. Where it is forbidden or
renamed, HELLO or ROLE says the role, and CONFIG the policy.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import AuthenticationError, AuthenticationWrongNumberOfArgsError, ResponseError

from processor.errors import OrderFactsError, RedisError, StopError, UsageError
from processor.settings import Settings
from processor.settings.redis_address import parse_redis_url

_NEVER_OURS: Final = "volatile-"  # evicts keys with a time to live, and nothing of ours has one
_UNKNOWN: Final = "?"


class NotPrimaryError(RedisError):
    """As RedisError: the server takes no writes. During a fail-over the address soon leads to another one."""


def greeting(settings: Settings) -> Callable[[Any], None]:
    """Return what a connection of the client does once it is connected: log in, and refuse a server that is not fit.

    It raises NotPrimaryError for a replica; UsageError for a node of a Cluster where one server was named, or the other
    way round; StopError for a server that may evict (an order lost in silence would become a new one), or that says
    neither its role nor its policy. redis_eviction=trusted takes an unknown policy for a good one.
    """
    is_cluster = parse_redis_url(settings.redis_url).kind == "cluster"

    def greet(connection: Any) -> None:
        try:
            log_in(connection, settings)
            with suppress(ResponseError):  # a name is only for operators
                _ask(connection, "CLIENT", "SETNAME", f"order-facts-{settings.instance_id}")
            _require_fit(_found(connection), is_cluster=is_cluster, is_trusted=settings.redis_eviction == "trusted")
        except OrderFactsError:
            connection.disconnect()
            raise

    return greet


def log_in(connection: Any, settings: Settings) -> None:
    """Authenticate, and select the database. A password from a file may be about to change: RedisError if refused."""
    try:
        connection.on_connect()
    except (AuthenticationError, AuthenticationWrongNumberOfArgsError) as error:
        if settings.redis_url_file is None:
            raise
        raise RedisError(
            f"Redis: {error}; the password is the one in the file {settings.redis_url_file} (setting redis_url_file), "
            "which is read again for each attempt"
        ) from error


def _found(connection: Any) -> dict[str, str]:
    """Return what the server says of itself, by INFO's names; what it does not say is missing."""
    found = {}
    with suppress(ResponseError):
        lines = bytes(_ask(connection, "INFO")).decode("utf-8", "replace").splitlines()
        found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    if "role" not in found:
        with suppress(ResponseError):
            found["role"] = _texts(_ask(connection, "ROLE"))[0]
    if "role" not in found:
        with suppress(ResponseError):  # no access rule forbids it
            hello = _texts(_ask(connection, "HELLO"))
            said = dict(zip(hello[::2], hello[1::2], strict=False))
            found |= {"role": said.get("role", _UNKNOWN), "cluster_enabled": str(int(said.get("mode") == "cluster"))}
    if "maxmemory_policy" not in found:
        with suppress(ResponseError):
            found["maxmemory_policy"] = _texts(_ask(connection, "CONFIG", "GET", "maxmemory-policy"))[-1]
    return found


def _texts(answer: Iterable[Any]) -> list[str]:
    """Return an answer's parts as text; one that says that nothing is known if it has none."""
    return [part.decode("utf-8", "replace") if isinstance(part, bytes) else "" for part in answer] or [_UNKNOWN]


def _ask(connection: Any, *command: str) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _require_fit(found: dict[str, str], *, is_cluster: bool, is_trusted: bool) -> None:
    is_node = found.get("cluster_enabled")
    if is_node == "1" and not is_cluster:
        raise UsageError(
            "setting redis_url: the server is a node of a Redis Cluster; begin the address with redis+cluster://"
        )
    role = found.get("role", _UNKNOWN)
    if role == _UNKNOWN:
        raise StopError("Redis does not say whether it is a primary; allow this user one of INFO, HELLO, ROLE")
    if role != "master":
        raise NotPrimaryError("Redis: the server is a replica, which takes no writes, not a primary")
    policy = found.get("maxmemory_policy", _UNKNOWN)
    if policy == _UNKNOWN and not is_trusted:
        raise StopError(
            "Redis does not say whether it may evict state; allow this user INFO or CONFIG GET, or, if its "
            "maxmemory-policy is noeviction for certain, set redis_eviction=trusted"
        )
    if policy not in {"noeviction", _UNKNOWN} and not policy.startswith(_NEVER_OURS):
        raise StopError(f"Redis may evict state: its maxmemory-policy is {policy}; set it to noeviction")
