"""Where in Redis a key is: one server, the primary that Sentinels name, or a node of a Cluster.

Nothing here repeats a command. An error that says that a key is elsewhere only has the place asked anew, at the next
use; the recovery path retries.
"""

import re
import time
from typing import Any, Final, Protocol

from redis import ConnectionPool
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import RedisError as ClientError

from processor.errors import OrderFactsError

# READONLY; LOADING; MOVED, ASK; MASTERDOWN, CLUSTERDOWN. Before Redis 7 an error in a script has no class of its own.
ELSEWHERE: Final = (ReadOnlyError, BusyLoadingError, AskError, ClusterDownError, TryAgainError)
_READ_ONLY_IN_SCRIPT: Final = re.compile(r"-READONLY\b")
CHECKED_S: Final = 60.0


class Place:
    """Where a key's commands go: a server's connections, and whether each is to be announced by ASKING."""

    __slots__ = ("is_asking", "pool")

    def __init__(self, pool: ConnectionPool, *, is_asking: bool = False) -> None:
        self.pool, self.is_asking = pool, is_asking


class Checks:
    """When connections were last opened anew, which checks their servers (`state.greeting`)."""

    def __init__(self) -> None:
        self.done()

    def done(self) -> None:
        """Note that they are opened anew now."""
        self._done_s = time.monotonic()

    def is_due(self) -> bool:
        """Return whether that is CHECKED_S ago."""
        return time.monotonic() - self._done_s >= CHECKED_S


class Servers(Protocol):
    """Leads from keys to servers."""

    def place(self, key: str, /) -> Place:
        """Return where a key is. Raises RedisError if that cannot be told now, StopError if Redis refuses."""

    def primaries(self) -> list[Place]:
        """Return every server that has keys. Raises as `place`."""

    def failed(self, error: ClientError | OrderFactsError, key: str | None, /) -> None:
        """Take note of an error that a command with this key got, or, without a key, a connection."""

    def ask_anew(self) -> None:
        """Leave all connections, and learn anew where keys are; those in use are left when they are released."""

    def ask_if_due(self) -> None:
        """Do that if it was last done CHECKED_S ago: a server that is only read from never says that it was demoted."""

    def close(self) -> None:
        """Close all connections."""


class OneServer:
    """One server, which has all keys; also the primary behind Sentinels, whom each new connection asks."""

    def __init__(self, pool: ConnectionPool, *closed_with: Any) -> None:
        self._place = Place(pool)
        self._closed_with = closed_with
        self._checks = Checks()

    def place(self, _key: str, /) -> Place:
        """Return the server."""
        return self._place

    def primaries(self) -> list[Place]:
        """Return the server."""
        return [self._place]

    def failed(self, error: ClientError | OrderFactsError, _key: str | None, /) -> None:
        """Leave the connections if the primary is elsewhere: the next ones resolve the address again."""
        if isinstance(error, (*ELSEWHERE, OrderFactsError)) or _READ_ONLY_IN_SCRIPT.search(str(error)):
            self.ask_anew()

    def ask_anew(self) -> None:
        """Leave all connections."""
        self._checks.done()
        leave(self._place.pool)

    def ask_if_due(self) -> None:
        """Leave all connections if they were checked long ago."""
        if self._checks.is_due():
            self.ask_anew()

    def close(self) -> None:
        """Close all connections, those to Sentinels too."""
        self._place.pool.close()
        for other in self._closed_with:
            other.close()


def leave(pool: ConnectionPool) -> None:
    """Close all connections: those in use once they are released, after their due answers."""
    pool.update_active_connections_for_reconnect()
    pool.disconnect(inuse_connections=False)
