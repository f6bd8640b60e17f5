"""The nodes of a Redis Cluster, and where a key is while slots and primaries move (`state.servers`)."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from redis import ConnectionPool
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, ResponseError
from redis.exceptions import RedisError as ClientError

from processor.errors import OrderFactsError, RedisError
from processor.state.cluster_map import ClusterMap, Host, named
from processor.state.servers import ELSEWHERE, Checks, Place, leave


class Cluster:
    """The nodes. `seeds` are some of them; `pool` returns the connections to a node.

    `ask_slots` sends CLUSTER SLOTS to a node. The map is asked for at the first use, and again after an error.
    """

    def __init__(
        self, seeds: Iterable[Host], pool: Callable[[Host], ConnectionPool], ask_slots: Callable[[Host], list[Any]]
    ) -> None:
        self._map, self._make_pool = ClusterMap(seeds, ask_slots), pool
        self._nodes: dict[Host, Place] = {}
        self._slots: list[Host | None] = []  # empty: not known now
        self._places: dict[str, Place] = {}  # of keys that were asked for, while the map stands
        # Where keys are whose slot is still moving, which no map says; each with the node that the slot moves from.
        self._gone_ahead: dict[str, tuple[Host | None, Host]] = {}
        self._lock = threading.RLock()
        self._checks = Checks()

    def place(self, key: str, /) -> Place:
        """Return the node of a key's slot, or the one that the slot is moving to if the key is there already."""
        found = self._places.get(key)
        if found is not None:
            return found
        with self._lock:
            self._know()
            host = self._owner(key)
            left, target = self._gone_ahead.get(key, (None, None))
            if target is not None and left == host:
                place = Place(self._node(target).pool, is_asking=True)
            elif host is not None:
                place = self._node(host)
            else:
                raise RedisError("Redis: no node of the cluster has the slot of a key")
            self._places[key] = place
            return place

    def primaries(self) -> list[Place]:
        """Return all nodes that have slots, or get some. Raises RedisError if a slot has no node."""
        with self._lock:
            self._know()
            if missing := self._slots.count(None):
                raise RedisError(f"Redis: no node of the cluster has {missing} of its slots")
            return list(self._nodes.values())

    def failed(self, error: ClientError | OrderFactsError, key: str | None, /) -> None:
        """Follow ASK for its key; have the map asked for again after any other redirection or a lost connection.

        Where a key has gone ahead of its slot is kept until another node has the slot, or until an error that may mean
        that the key is not there. A map that is asked for while the slot moves does not say it.
        """
        with self._lock:
            if isinstance(error, AskError) and not isinstance(error, MovedError) and key is not None:
                target = self._target(error, key)
                if target[0]:
                    self._gone_ahead[key] = self._owner(key), target
                self._places.pop(key, None)
            elif isinstance(error, ELSEWHERE) or not isinstance(error, ResponseError):
                if isinstance(error, MovedError) and key is not None:
                    self._map.ask_first(self._target(error, key))
                for gone in (key,) if key is not None else tuple(self._gone_ahead):
                    self._gone_ahead.pop(gone, None)
                self.ask_anew()

    def ask_anew(self) -> None:
        """Leave all connections, and forget the map."""
        with self._lock:
            self._checks.done()
            for place in self._nodes.values():
                leave(place.pool)
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

    def _owner(self, key: str) -> Host | None:
        return self._slots[key_slot(key.encode())] if self._slots else None

    def _target(self, error: AskError, key: str) -> Host:
        """Return the node that a redirection names; without a name it is at the host that answered."""
        place = self._places.get(key)
        answered = "" if place is None else str(place.pool.connection_kwargs["host"])
        return named(error.host, error.port, (answered, 0))

    def _know(self) -> None:
        """Have the map, asking for it if it is not known. Raises RedisError or StopError."""
        if self._slots:
            return
        self._slots, self._places = self._map.asked(self._nodes), {}
        for key, (left, _) in tuple(self._gone_ahead.items()):
            if self._owner(key) != left:
                del self._gone_ahead[key]  # its slot has followed
        used = {*self._slots} - {None} | {target for _, target in self._gone_ahead.values()}
        for gone in self._nodes.keys() - used:
            self._nodes.pop(gone).pool.close()
        for host in used:
            if host is not None:
                self._node(host)

    def _node(self, host: Host) -> Place:
        if host not in self._nodes:
            self._nodes[host] = Place(self._make_pool(host))
        return self._nodes[host]
