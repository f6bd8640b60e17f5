"""The Redis connection: how it is opened, what its errors ask for, and the one setting that the server must have."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.exceptions import RedisError as ClientError
from redis.retry import Retry

from processor.errors import OrderFactsError, RedisError, StopError, UnreachableError, UsageError
from processor.settings import Settings

Client = redis.Redis
TakeAnswers = Callable[[list[Any]], None]  # an answer may be a ResponseError
SOCKET_TIMEOUT_S: Final = 5.0  # a stopped server would hang a call for ever


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
            client_name=f"order-facts-{settings.instance_id}".replace(" ", "_"),
        )
    except (ValueError, TypeError) as error:
        raise UsageError("setting redis_url: the Redis client does not accept this address; correct it") from error


def wait(client: Client, settings: Settings) -> None:
    """Return once the server answers. Raises UnreachableError after startup_timeout_s, StopError as `check_policy`."""
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
    """Connect, which checks the server. Raises StopError for a wrong password or policy, RedisError if it is away."""
    with failures():
        client.ping()


def _on_connect(connection: Any) -> None:
    """Refuse a server that may evict data: an order lost in silence would become a new one. Raises StopError.

    Every new connection checks this, since the server may have been restarted with other settings.
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
    with failures():
        replies: list[Any] = pipeline.execute()
    return replies


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
            self.drop()
            raise classify(error) from error
        except StopError:
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
            self.drop()
            raise classify(error) from error
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
            return error

    def _release(self) -> None:
        if self._connection is not None:
            self._pool.release(self._connection)
            self._connection = None


@contextmanager
def failures() -> Iterator[None]:
    """Raise what the Redis client's error in the block asks for."""
    try:
        yield
    except ClientError as error:
        raise classify(error) from error


def classify(error: ClientError) -> OrderFactsError:
    """Return the error whose class is what a Redis error asks for (see `processor.errors`)."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AuthenticationError | NoPermissionError):
        return StopError(f"Redis: {text}; check the setting redis_url and the server's access rules")
    return RedisError(f"Redis: {text}")
