"""Where in Redis a key is: one server, the primary that Sentinels name, or a node of a Cluster.

Nothing here repeats a command. An error that says that a key is elsewhere only has the place asked anew, at the next
use; the recovery path retries.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from redis import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import RedisError as ClientError

from processor.errors import OrderFactsError, RedisError

Host = tuple[str, int]
# READONLY; LOADING; MOVED, ASK; MASTERDOWN, CLUSTERDOWN. Before Redis 7 an error in a script has no class of its own.
_ELSEWHERE: Final = (ReadOnlyError, BusyLoadingError, AskError, ClusterDownError, TryAgainError)
_READ_ONLY_IN_SCRIPT: Final = re.compile(r"-READONLY\b")
_SLOTS: Final = 16384
CHECKED_S: Final = 60.0


class Place:
    """Where a key's commands go: a server's connections, and whether each is to be announced by ASKING."""

    __slots__ = ("is_asking", "pool")

    def __init__(self, pool: ConnectionPool, *, is_asking: bool = False) -> None:
        self.pool, self.is_asking = pool, is_asking


class _Checks:
    """When connections were last opened anew, which checks their servers (`state.greeting`)."""

    def __init__(self) -> None:
        self.done()

    def done(self) -> None:
        self._done_s = time.monotonic()

    def is_due(self) -> bool:
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
        self._checks = _Checks()

    def place(self, _key: str, /) -> Place:
        """Return the server."""
        return self._place

    def primaries(self) -> list[Place]:
        """Return the server."""
        return [self._place]

    def failed(self, error: ClientError | OrderFactsError, _key: str | None, /) -> None:
        """Leave the connections if the primary is elsewhere: the next ones resolve the address again."""
        if isinstance(error, (*_ELSEWHERE, OrderFactsError)) or _READ_ONLY_IN_SCRIPT.search(str(error)):
            self.ask_anew()

    def ask_anew(self) -> None:
        """Leave all connections."""
        self._checks.done()
        _leave(self._place.pool)

    def ask_if_due(self) -> None:
        """Leave all connections if they were checked long ago."""
        if self._checks.is_due():
            self.ask_anew()

    def close(self) -> None:
        """Close all connections, those to Sentinels too."""
        self._place.pool.close()
        for other in self._closed_with:
            other.close()


class Cluster:
    """The nodes of a Redis Cluster. `seeds` are some of them; `pool` returns the connections to a node.

    `ask_slots` sends CLUSTER SLOTS to a node. The map is asked for at the first use, and again after an error.
    """

    def __init__(
        self, seeds: Iterable[Host], pool: Callable[[Host], ConnectionPool], ask_slots: Callable[[Host], list[Any]]
    ) -> None:
        self._seeds, self._make_pool, self._ask_slots = list(seeds), pool, ask_slots
        self._nodes: dict[Host, Place] = {}
        self._slots: list[Place | None] = []  # empty: not known now
        self._places: dict[str, Place] = {}  # of keys that were asked for, while the map stands
        # Where keys are whose slot is still moving, which no map says; each with the node that the slot moves from.
        self._gone_ahead: dict[str, tuple[Place | None, Host]] = {}
        self._lock = threading.RLock()
        self._checks = _Checks()

    def place(self, key: str, /) -> Place:
        """Return the node of a key's slot, or the one that the slot is moving to if the key is there already."""
        found = self._places.get(key)
        if found is not None:
            return found
        with self._lock:
            place = self._map()[key_slot(key.encode())]
            left, host = self._gone_ahead.get(key, (None, None))
            if host is not None and left is place:
                place = Place(self._node(host).pool, is_asking=True)
            if place is None:
                raise RedisError("Redis: no node of the cluster has the slot of a key")
            self._places[key] = place
            return place

    def primaries(self) -> list[Place]:
        """Return all nodes that have slots."""
        with self._lock:
            self._map()
            return list(self._nodes.values())

    def failed(self, error: ClientError | OrderFactsError, key: str | None, /) -> None:
        """Follow ASK for its key; have the map asked for again after any other redirection or a lost connection.

        Where a key has gone ahead of its slot is kept until another node has the slot, or until an error that may mean
        that the key is not there. A map that is asked for while the slot moves does not say it.
        """
        with self._lock:
            if isinstance(error, AskError) and not isinstance(error, MovedError) and key is not None:
                self._gone_ahead[key] = self._owner(key), (str(error.host), int(error.port))
                self._places.pop(key, None)
            elif isinstance(error, _ELSEWHERE) or not isinstance(error, ResponseError):
                for gone in (key,) if key is not None else tuple(self._gone_ahead):
                    self._gone_ahead.pop(gone, None)
                self.ask_anew()

    def ask_anew(self) -> None:
        """Leave all connections, and forget the map."""
        with self._lock:
            self._checks.done()
            for place in self._nodes.values():
                _leave(place.pool)
            self._slots, self._places = [], {}

    def ask_if_due(self) -> None:
        """Leave all connections, and forget the map, if that was last done long ago."""
        if self._checks.is_due():
            self.ask_anew()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for place in self._nodes.values():
                place.pool.close()
            self._nodes, self._slots, self._places = {}, [], {}

    def _owner(self, key: str) -> Place | None:
        return self._slots[key_slot(key.encode())] if self._slots else None

    def _map(self) -> list[Place | None]:
        """Return the place of each slot, asking a node if it is not known. Raises RedisError or StopError."""
        if self._slots:
            return self._slots
        problem: OrderFactsError = RedisError("Redis: no node of the cluster is known")
        hosts = [*self._nodes, *(seed for seed in self._seeds if seed not in self._nodes)]
        for host in hosts:
            try:
                found = self._ask_slots(host)
            except OrderFactsError as error:
                problem = error
                if host in self._nodes:  # another one is asked first next time
                    self._nodes[host] = self._nodes.pop(host)
                continue
            self._take(found, host)
            return self._slots
        raise problem

    def _take(self, found: Iterable[Any], asked: Host) -> None:
        """Take the map that a node gave: entries of first slot, last slot, primary (host, port, ...), replicas."""
        slots: list[Place | None] = [None] * _SLOTS
        primaries = set()
        for first, last, (name, port, *_), *_ in found:
            # A node that does not know its own name leaves it empty: it is the one that was asked.
            host = (name or b"").decode(), int(port)
            host = (asked[0], host[1]) if host[0] in {"", "?"} else host
            primaries.add(host)
            slots[first : last + 1] = [self._node(host)] * (last + 1 - first)
        for gone in self._nodes.keys() - primaries:
            self._nodes.pop(gone).pool.close()
        self._slots, self._places = slots, {}
        for key, (left, _) in tuple(self._gone_ahead.items()):
            if self._owner(key) is not left:
                del self._gone_ahead[key]  # its slot has followed

    def _node(self, host: Host) -> Place:
        if host not in self._nodes:
            self._nodes[host] = Place(self._make_pool(host))
        return self._nodes[host]


def _leave(pool: ConnectionPool) -> None:
    """Close all connections: those in use once they are released, after their due answers."""
    pool.update_active_connections_for_reconnect()
    pool.disconnect(inuse_connections=False)
