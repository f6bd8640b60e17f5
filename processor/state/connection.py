"""The Redis connection: how it is opened, what its errors ask for, and what the server must be.

Every new connection asks whether the server is a primary, outside a cluster, and never evicts. An error that says that
the primary is elsewhere drops all connections, so that the next ones resolve the address again.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import RedisError as ClientError
from redis.retry import Retry

from processor.errors import OrderFactsError, RedisError, StopError, UnreachableError, UsageError
from processor.settings import Settings

Client = redis.Redis
TakeAnswers = Callable[[list[Any]], None]  # an answer may be a ResponseError
SOCKET_TIMEOUT_S: Final = 5.0  # a stopped server would hang a call for ever
# READONLY; LOADING; MOVED, ASK; MASTERDOWN, CLUSTERDOWN. Before Redis 7 an error in a script has no class of its own.
_ELSEWHERE: Final = (ReadOnlyError, BusyLoadingError, AskError, ClusterDownError)
_READ_ONLY_IN_SCRIPT: Final = re.compile(r"-READONLY\b")
# What redis-py and Redis repeat of a command that failed: it was given order ids, or whole orders.
_ARGUMENTS: Final = re.compile(
    r"Command # \d+ \(.*\) of pipeline caused error: |,? with args beginning with: .*", re.DOTALL
)
# A value that a command or a script cannot work on.
_UNREADABLE: Final = re.compile(r"\bWRONGTYPE\b|user_script:\d+: (?:attempt to|bad argument)")


class NotPrimaryError(RedisError):
    """As RedisError: the server takes no writes. During a fail-over the address soon leads to another one."""


def connect(settings: Settings) -> Client:
    """Return a client; it sends nothing yet. The client never repeats a call: recovery does that."""
    try:
        return redis.Redis.from_url(
            settings.redis_url,
            redis_connect_func=_on_connect,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
            client_name=f"order-facts-{settings.instance_id}",
        )
    except (ValueError, TypeError) as error:
        raise UsageError("setting redis_url: the Redis client does not accept this address; correct it") from error


def wait(client: Client, settings: Settings) -> None:
    """Return once the server can be used. Raises UnreachableError after startup_timeout_s, else as `check_server`."""
    deadline = time.monotonic() + settings.startup_timeout_s
    while True:
        try:
            check_server(client)
        except NotPrimaryError as error:
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"{error}, and was none for {settings.startup_timeout_s:g} s; put the address of the primary "
                    "into the setting redis_url"
                ) from error
            time.sleep(0.1)
        except RedisError as error:
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"Redis did not answer within {settings.startup_timeout_s:g} s: {error}; "
                    "check the setting redis_url"
                ) from error
            time.sleep(0.1)
        else:
            return


def check_server(client: Client) -> None:
    """Connect, which checks the server. Raises RedisError if it is away, else as `_require_fit`, or for a password."""
    with failures(client):
        client.ping()


def _on_connect(connection: Any) -> None:
    """Check the server on every new connection: behind the address may be another one, or other settings."""
    connection.on_connect()
    connection.send_command("INFO")
    lines = bytes(connection.read_response()).decode("utf-8", "replace").splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    try:
        _require_fit(found)
    except OrderFactsError:
        connection.disconnect()
        raise


def _require_fit(found: dict[str, str]) -> None:
    """Refuse, by what INFO says, a server that cannot keep the state.

    Raises NotPrimaryError for a replica; UsageError for a node of a cluster; StopError for a server that may evict: an
    order lost in silence would become a new one.
    """
    if found.get("cluster_enabled") == "1":
        raise UsageError(
            "setting redis_url: the server is a node of a Redis Cluster, which is not supported yet; "
            "put the address of a single server there"
        )
    if found.get("role", "master") != "master":
        raise NotPrimaryError("Redis: the server is a replica, which takes no writes, not a primary")
    policy = found.get("maxmemory_policy", "?")
    if policy != "noeviction":
        raise StopError(f"Redis may evict state: its maxmemory-policy is {policy}; set it to noeviction")


def execute(pipeline: Any) -> list[Any]:
    """Return a pipeline's replies, in one round trip. Raises what an error asks for."""
    with failures(pipeline):
        replies: list[Any] = pipeline.execute()
    return replies


def execute_readable(pipeline: Any) -> list[Any]:
    """As `execute`, but with None for a reply of a key that cannot be read (see `readable`)."""
    with failures(pipeline):
        replies: list[Any] = pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, ClientError) and not is_unreadable(reply):
                raise reply
    return readable(replies)


def readable(answers: Iterable[Any]) -> list[Any]:
    """Return answers, with None for one of a key that `is_unreadable`: its reader removes it, and it is rebuilt.

    Raises what another error among the answers asks for.
    """
    found: list[Any] = []
    for answer in answers:
        if isinstance(answer, ClientError) and not is_unreadable(answer):
            raise classify(answer) from answer
        found.append(None if isinstance(answer, ClientError) else answer)
    return found


def is_unreadable(error: ClientError) -> bool:
    """Return whether an error says that a key, or a value in it, is not of the kind that the command needs."""
    return _UNREADABLE.search(str(error)) is not None


class Line:
    """A connection that sends commands without waiting for the answers to earlier ones.

    Redis executes a connection's commands in turn, so a later command sees what an earlier one wrote. If the connection
    fails, its unanswered commands are forgotten. Not for several threads at once.
    """

    def __init__(self, client: Client) -> None:
        self._pool: Any = client.connection_pool
        self._connection: Any = None  # only while answers are due: otherwise the pool has it
        self._commands: list[tuple[Any, ...]] = []
        self._due: list[tuple[int, TakeAnswers | None]] = []

    def execute_command(self, *command: Any) -> None:
        """Add a command to those that `send` sends next."""
        self._commands.append(command)

    def send(self, take: TakeAnswers | None = None) -> None:
        """Send the added commands. `take` gets the answers once they are read. Raises RedisError or StopError."""
        commands, self._commands = self._commands, []
        if not commands:
            return
        try:
            if self._connection is None:
                self._connection = self._pool.get_connection()
            packed = self._connection.pack_commands(commands)
            self._connection.send_packed_command(packed, check_health=False)
        except ClientError as error:
            raise self._failed(error) from error
        except OrderFactsError:  # a new connection's server is not fit
            self.drop()
            raise
        self._due.append((len(commands), take))

    def answers(self) -> list[Any]:
        """Read all due answers; return those to commands sent without `take`. Raises what an error among them asks."""
        found: list[Any] = []
        self._commands.clear()  # left over from a look-up that failed before it was sent
        due, self._due = self._due, []
        try:
            for count, take in due:
                answers = [self._answer() for _ in range(count)]
                if take is None:
                    found += answers
                else:
                    take(answers)
        except ClientError as error:
            raise self._failed(error) from error
        self._release()
        for answer in found:
            if isinstance(answer, ResponseError):
                raise classify(answer) from answer
        return found

    def drop(self) -> None:
        """Forget what is due, and close the connection."""
        self._commands.clear()
        self._due.clear()
        if self._connection is not None:
            self._connection.disconnect()
        self._release()

    def _answer(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:  # an answer like any other: more may follow
            if _is_elsewhere(error):
                _drop_connections(self._pool)
            return error

    def _failed(self, error: ClientError) -> OrderFactsError:
        """Return what an error of the connection asks for, after closing it."""
        self.drop()
        if _is_elsewhere(error):
            _drop_connections(self._pool)
        return classify(error)

    def _release(self) -> None:
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None


@contextmanager
def failures(client: Any) -> Iterator[None]:
    """Raise what the error of a client, or of its pipeline, in the block asks for."""
    try:
        yield
    except ClientError as error:
        if _is_elsewhere(error):
            _drop_connections(client.connection_pool)
        raise classify(error) from error


def classify(error: ClientError) -> OrderFactsError:
    """Return the error whose class is what a Redis error asks for (see `processor.errors`), without personal data."""
    text = " ".join(_ARGUMENTS.sub("", str(error)).split()) or type(error).__name__
    if isinstance(error, AuthenticationError | NoPermissionError):
        return StopError(f"Redis: {text}; check the setting redis_url and the server's access rules")
    return RedisError(f"Redis: {text}")


def _is_elsewhere(error: ClientError) -> bool:
    return isinstance(error, _ELSEWHERE) or _READ_ONLY_IN_SCRIPT.search(str(error)) is not None


def _drop_connections(pool: Any) -> None:
    """Close all connections: those in use once they are released, after their due answers."""
    pool.update_active_connections_for_reconnect()
    pool.disconnect(inuse_connections=False)
