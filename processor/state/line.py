"""Sends commands to Redis: many at once to each server, one round trip for all of them, no command sent twice."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from redis.exceptions import AskError, AuthenticationError, MovedError, NoPermissionError, ResponseError
from redis.exceptions import RedisError as ClientError

from processor.errors import OrderFactsError, RedisError, StopError
from processor.state.servers import Place, Servers

Command = tuple[Any, ...]
TakeAnswers = Callable[[list[Any]], None]  # an answer may be a ResponseError
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA"})
_KEY_OF_SCRIPT: Final = 3  # after the script and the number of keys
_ASKING: Final = ("ASKING",)
# What redis-py and Redis repeat of a command that failed: it was given order ids, or whole orders.
_ARGUMENTS: Final = re.compile(
    r"Command # \d+ \(.*\) of pipeline caused error: |,? with args beginning with: .*", re.DOTALL
)
# A command that a user may not run, in a script.
_NO_RIGHT: Final = re.compile(r"\bACL failure in script|user executing the script can't run")
# A value that a command or a script cannot work on.
_UNREADABLE: Final = re.compile(r"\bWRONGTYPE\b|user_script:\d+: (?:attempt to|bad argument)")


class _Sent(NamedTuple):
    """A command that was sent, and where to; `key` is None where it was sent to a server as such."""

    place: Place
    key: str | None


class Line:
    """A connection to each server, for commands that are sent without waiting for the answers to earlier ones.

    A command has one key, or several of one hash tag, and goes to the server that has it. A server executes a
    connection's commands in turn, so a later command for a key sees what an earlier one wrote. If a connection fails,
    all unanswered commands are forgotten. Not for several threads at once.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._connections: dict[Any, Any] = {}  # by pool, only while answers are due: otherwise the pool has them
        self._commands: list[tuple[Command, Place | None]] = []
        self._due: list[tuple[list[_Sent], TakeAnswers | None]] = []

    def execute_command(self, *command: Any, at: Place | None = None) -> None:
        """Add a command to those that `send` sends next: to the server that has its key, or to the one named."""
        self._commands.append((command, at))

    def send(self, take: TakeAnswers | None = None) -> None:
        """Send the added commands. `take` gets the answers once they are read. Raises RedisError or StopError."""
        commands, self._commands = self._commands, []
        if not commands:
            return
        if not self._connections:
            self._servers.ask_if_due()
        by_pool = defaultdict[Any, list[Command]](list)
        try:
            sent = [self._sent(*command) for command in commands]
            for (command, _), (place, _) in zip(commands, sent, strict=True):
                by_pool[place.pool] += (_ASKING, command) if place.is_asking else (command,)
            connections = [self._connection(pool) for pool in by_pool]
            packed = [one.pack_commands(own) for one, own in zip(connections, by_pool.values(), strict=True)]
            for connection, own in zip(connections, packed, strict=True):
                connection.send_packed_command(own, check_health=False)
        except ClientError as error:
            raise self._failed(error) from error
        except OrderFactsError as error:  # a new connection's server is not fit, or no server has the key now
            self.drop()
            self._servers.failed(error, None)
            raise
        except BaseException:  # some servers may have got their commands: none of these answers is anybody's
            self.drop()
            raise
        self._due.append((sent, take))

    def answers(self) -> list[Any]:
        """Read all due answers; return those to commands sent without `take`. Raises what an error among them asks."""
        found: list[Any] = []
        self._commands.clear()  # left over from a look-up that failed before it was sent
        due, self._due = self._due, []
        try:
            for sent, take in due:
                answers = [self._answer(*one) for one in sent]
                if take is None:
                    found += answers
                else:
                    take(answers)
        except ClientError as error:
            raise self._failed(error) from error
        except BaseException:  # what is left unread would be taken for the next question's answers
            self.drop()
            raise
        self._release()
        for answer in found:
            if isinstance(answer, ResponseError):
                raise classify(answer) from answer
        return found

    def renew(self) -> None:
        """Read the due answers, if they come, and leave all connections: the next ones ask anew where the keys are.

        A server that was demoted, and to which nothing is written, would otherwise be asked for ever.
        """
        with suppress(RedisError):
            self.answers()
        self._servers.ask_anew()

    def drop(self) -> None:
        """Forget what is due, and close the connections."""
        self._commands.clear()
        self._due.clear()
        for connection in self._connections.values():
            connection.disconnect()
        self._release()

    def _sent(self, command: Command, at: Place | None) -> _Sent:
        if at is not None:
            return _Sent(at, None)
        key = command[_KEY_OF_SCRIPT if command[0] in _SCRIPTS else 1]
        return _Sent(self._servers.place(key), key)

    def _connection(self, pool: Any) -> Any:
        found = self._connections.get(pool)
        if found is None:
            found = self._connections[pool] = pool.get_connection()
        return found

    def _answer(self, place: Place, key: str | None) -> Any:
        connection = self._connections[place.pool]
        try:
            if place.is_asking:
                connection.read_response()
            return connection.read_response()
        except ResponseError as error:  # an answer like any other: more may follow
            self._servers.failed(error, key)
            return error

    def _failed(self, error: ClientError) -> OrderFactsError:
        """Return what an error of a connection asks for, after closing all of them."""
        self.drop()
        self._servers.failed(error, None)
        return classify(error)

    def _release(self) -> None:
        for pool, connection in self._connections.items():
            pool.release(connection)
        self._connections.clear()


def ask(servers: Servers, commands: Iterable[Command]) -> list[Any]:
    """Return the answers to commands, in one round trip. Raises what an error asks for."""
    line = Line(servers)
    for command in commands:
        line.execute_command(*command)
    line.send()
    return line.answers()


def ask_readable(servers: Servers, commands: Iterable[Command]) -> list[Any]:
    """As `ask`, but with None for the answer of a key that cannot be read (see `readable`)."""
    return readable(answered(servers, commands))


def answered(servers: Servers, commands: Iterable[Command], at: Place | None = None) -> list[Any]:
    """Return the answers to commands, in one round trip; a ResponseError is one like any other.

    All go to the server `at`, if one is named. Raises RedisError or StopError if the servers cannot be asked.
    """
    line, found = Line(servers), list[Any]()
    for command in commands:
        line.execute_command(*command, at=at)
    line.send(found.extend)
    line.answers()
    return found


def ask_each(servers: Servers, command: Command) -> list[Any]:
    """Return every primary's answer to a command without a key. Raises what an error asks for."""
    line = Line(servers)
    for place in servers.primaries():
        line.execute_command(*command, at=place)
    line.send()
    return line.answers()


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


def classify(error: ClientError) -> OrderFactsError:
    """Return the error whose class is what a Redis error asks for (see `processor.errors`), without personal data."""
    text = " ".join(_ARGUMENTS.sub("", str(error)).split()) or type(error).__name__
    if isinstance(error, AskError):  # the client takes the first word away
        text = f"{'MOVED' if isinstance(error, MovedError) else 'ASK'} {text}"
    if isinstance(error, AuthenticationError | NoPermissionError) or _NO_RIGHT.search(text):
        return StopError(f"Redis: {text}; check the setting redis_url and the server's access rules")
    return RedisError(f"Redis: {text}")
