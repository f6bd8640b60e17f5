"""Partitions that wait alone: the schema of their next record is not known yet, and the registry is asked for it.

Notes since when, and logs a wait that lasts and its end. What reads the partitions gives them up, and reads on.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import msgspec

from processor.errors import AwaitedSchemaError
from processor.logs import get_logger
from processor.registry.wire import Wire

_LOGGED_AFTER_S: Final = 1.0  # a start asks for every schema once, and has the answers at once
log = get_logger()


class _Hold(msgspec.Struct):
    """What a partition waits for, its next offset, and since when (monotonic seconds)."""

    prefix: bytes
    offset: int
    since_s: float
    is_logged: bool = False


class Holds:
    """The partitions of one topic that wait, and what they wait for: until that is known, or given up.

    With `until_known` nothing is given up: the registry is asked again and again for a schema that it lost.
    """

    def __init__(self, wire: Wire, *, until_known: bool = False) -> None:
        self._wire = wire
        self._until_known = until_known
        self._holds: dict[int, _Hold] = {}

    def __contains__(self, number: object) -> bool:
        return number in self._holds

    def add(self, first: Mapping[int, tuple[int, bytes]], behind: Iterable[bytes]) -> None:
        """Note the offset at which each of some partitions waits, and for which prefix; look ahead for those behind."""
        writers = self._wire.awaited
        for number, (offset, prefix) in first.items():
            writers.want(prefix)
            self._holds[number] = _Hold(prefix, offset, time.monotonic())
        writers.look_ahead(dict.fromkeys(behind))

    def keep(self, numbers: Collection[int]) -> None:
        """Forget all partitions but these: they are read by others, or from elsewhere."""
        self._holds = {number: hold for number, hold in self._holds.items() if number in numbers}

    def released(self) -> list[int]:
        """Return, once each, the partitions whose wait is over."""
        if not self._holds:
            return []
        writers = self._wire.awaited
        is_over = writers.is_known if self._until_known else writers.is_settled
        released = [number for number, hold in self._holds.items() if is_over(hold.prefix)]
        for number in released:
            hold = self._holds.pop(number)
            if hold.is_logged:
                waited_ms = round((time.monotonic() - hold.since_s) * 1000)
                log.info("partition.resumed", partition=number, offset=hold.offset, waited_ms=waited_ms)
        for number, hold in self._holds.items():
            if self._until_known:
                writers.want(hold.prefix)
            if not hold.is_logged and time.monotonic() - hold.since_s >= _LOGGED_AFTER_S:
                hold.is_logged = True
                at = {"partition": number, "offset": hold.offset, "waiting_for": AwaitedSchemaError.waiting_for}
                log.warning("partition.waiting", **at, error=self._wire.awaited.problem(hold.prefix))
        return released

    def problems(self) -> dict[int, str]:
        """Return what the registry last answered, for each partition that waits."""
        return {number: self._wire.awaited.problem(hold.prefix) for number, hold in self._holds.items()}
