"""The Redis connection: how it is made, what its errors ask for, and the one setting it must have."""

import time
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import RedisError as ClientError
from redis.retry import Retry

from processor.errors import OrderFactsError, RedisError, StopError, UnreachableError, UsageError
from processor.settings import Settings

Client = redis.Redis
SOCKET_TIMEOUT_S: Final = 5.0  # a stopped server would hang a call for ever


def connect(settings: Settings) -> Client:
    """Return a client; nothing is sent yet. A call is never repeated by the client: recovery does that."""
    try:
        return _client(settings)
    except (ValueError, TypeError) as error:
        raise UsageError("setting redis_url: it is no address that the Redis client takes") from error


def _client(settings: Settings) -> Client:
    return redis.Redis.from_url(
        settings.redis_url,
        redis_connect_func=_on_connect,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        decode_responses=False,
        client_name=f"order-facts-{settings.instance_id}".replace(" ", "_"),
    )


def wait(client: Client, settings: Settings) -> None:
    """Return once the server answers and keeps what it is given.

    Raises UnreachableError after startup_timeout_s, StopError for a wrong password or eviction policy.
    """
    deadline = time.monotonic() + settings.startup_timeout_s
    while True:
        try:
            check_policy(client)
        except RedisError as error:
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"Redis did not answer within {settings.startup_timeout_s:g} s: {error}; "
                    "check the setting redis_url"
                ) from error
            time.sleep(0.1)
        else:
            return


def check_policy(client: Client) -> None:
    """Connect, and so have `_on_connect` check the server. Raises StopError, or RedisError without an answer."""
    try:
        client.ping()
    except ClientError as error:
        raise classify(error) from error


def _on_connect(connection: Any) -> None:
    """Refuse a server that may evict what it was given: an order lost in silence would become a new one.

    Part of every connection, as the server may have been restarted with other settings. Raises StopError.
    """
    connection.on_connect()
    connection.send_command("INFO", "memory")
    lines = bytes(connection.read_response()).splitlines()
    policy = next((line.partition(b":")[2].decode() for line in lines if line.startswith(b"maxmemory_policy:")), "?")
    if policy != "noeviction":
        connection.disconnect()
        raise StopError(f"Redis may evict state: its maxmemory-policy is {policy}; set it to noeviction")


def execute(pipeline: Any) -> list[Any]:
    """Return a pipeline's replies, in one round trip. Raises what an error asks for."""
    try:
        replies: list[Any] = pipeline.execute()
    except ClientError as error:
        raise classify(error) from error
    return replies


def classify(error: ClientError) -> OrderFactsError:
    """Return the error whose class is what a Redis error asks for (see `errors`)."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError | NoPermissionError):
        return StopError(f"Redis: {text}; check the setting redis_url and the server's access rules")
    return RedisError(f"Redis: {text}")
