"""Which node of a Redis Cluster has which slots: asked of the nodes, another one each time."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from processor.errors import OrderFactsError, RedisError, RetryError

Host = tuple[str, int]
SLOTS: Final = 16384
_PATIENCE_S: Final = 5.0  # then the next attempt goes on with the hosts that are left
_NAMELESS: Final = frozenset({"", "?"})


class ClusterMap:
    """Asks for the map. `seeds` are some nodes; `ask_slots` sends CLUSTER SLOTS to one and returns the answer."""

    def __init__(self, seeds: Iterable[Host], ask_slots: Callable[[Host], list[Any]]) -> None:
        self._seeds, self._ask_slots = tuple(seeds), ask_slots
        self._asked: Counter[Host] = Counter()  # by host when it was asked last, counted
        self._turn = 0

    def ask_first(self, host: Host) -> None:
        """Ask this host next: another one said that it has a slot."""
        if host[0]:
            self._asked[host] = -1

    def asked(self, known: Iterable[Host]) -> list[Host | None]:
        """Return each slot's node by the first host that knows all, else by the one that knows most.

        The host that was asked last comes last: a node that lost its place, or was cut off, may answer with an empty or
        old map for ever. Raises RedisError if none answers in time, and what they say if most refuse.
        """
        first = (host for host, turn in self._asked.items() if turn < 0)
        hosts = sorted(dict.fromkeys((*first, *known, *self._seeds)), key=self._asked.__getitem__)
        deadline = time.monotonic() + _PATIENCE_S
        best, problems = list[Host | None](), list[OrderFactsError]()
        for number, host in enumerate(hosts):
            if number and time.monotonic() >= deadline:
                break
            self._turn += 1
            self._asked[host] = self._turn
            try:
                found = _read(self._ask_slots(host), host)
            except OrderFactsError as error:
                problems.append(error)
                continue
            if None not in found:
                return found
            best = max(best, found, key=lambda slots: len(slots) - slots.count(None))
        if best and best.count(None) < SLOTS:
            return best
        refusals = [problem for problem in problems if not isinstance(problem, RetryError)]
        if 2 * len(refusals) > len(problems):
            raise refusals[0]
        raise RedisError(str(problems[-1]) if problems else "Redis: no node of the cluster knows who has its slots")


def named(host: str | bytes | None, port: int, asked: Host) -> Host:
    """Return a node by what another one says of it. One that does not know its own name is the one that was asked."""
    name = host.decode() if isinstance(host, bytes) else host or ""
    return (asked[0] if name in _NAMELESS else name), int(port)


def _read(answer: Iterable[Any], asked: Host) -> list[Host | None]:
    """Read entries of first slot, last slot, primary (host, port, ...), replicas."""
    found: list[Host | None] = [None] * SLOTS
    for first, last, (name, port, *_), *_ in answer:
        found[first : last + 1] = [named(name, port, asked)] * (last + 1 - first)
    return found
