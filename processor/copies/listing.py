"""Finds every copy in Redis by its keys, without being counted as a use of it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
from redis.exceptions import ResponseError

from processor.contacts.shards import POSITION, Position, read_as
from processor.errors import StopError
from processor.state.line import Command, Line, classify
from processor.state.mirror import CLAIM
from processor.state.servers import Place, Servers

_KEY: Final = re.compile(r"order-facts:(?P<index>contacts:)?(?P<lineage>[0-9a-f]{16}):\{c?\d+\}.*", re.DOTALL)
_AT_ONCE: Final = 1_000


class Copy(msgspec.Struct, frozen=True):
    """One lineage's keys in Redis, and what they take.

    `idle_s` is how long ago the last of them was read or written, None if Redis does not tell. `groups` are those that
    claim a mirror; `complete_at_ms` is when (wall clock) an index last held its whole topic, None if it does not say.
    """

    kind: Literal["mirror", "contact index"]
    lineage: str
    keys: tuple[str, ...]
    taken_bytes: int
    idle_s: int | None
    groups: frozenset[str] = frozenset()
    complete_at_ms: int | None = None


class _Held(msgspec.Struct, frozen=True):
    """A key: where it is, and what was found of it."""

    key: str
    idle_s: int | None
    taken_bytes: int
    said: bytes | None  # a mirror's claim, a shard's position


def copies(servers: Servers) -> list[Copy]:
    """Return every copy, mirrors first. Raises RedisError if Redis does not answer, StopError if it forbids SCAN."""
    held: dict[tuple[str, str], list[_Held]] = defaultdict(list)
    for place in servers.primaries():
        _ask(servers, [("CLIENT", "NO-TOUCH", "ON")], place)  # Redis 7.2; before, reading a claim counts as a use
        for names in _scanned(servers, place):
            matches = [match for name in names if (match := _KEY.fullmatch(name.decode("utf-8", "replace")))]
            for match, found in zip(matches, _looked_at(servers, place, matches), strict=True):
                held["contact index" if match["index"] else "mirror", match["lineage"]].append(found)
        _ask(servers, [("CLIENT", "NO-TOUCH", "OFF")], place)
    return [_copy(kind, lineage, keys) for (kind, lineage), keys in sorted(held.items(), reverse=True)]


def bytes_of(servers: Servers, keys: Iterable[str]) -> list[tuple[int, int]] | None:
    """Return what each key takes (an estimate) and how many fields it has; None if Redis forbids to ask."""
    commands = [command for key in keys for command in (("MEMORY", "USAGE", key), ("HLEN", key))]
    line, found = Line(servers), list[Any]()
    for command, at in ((command, servers.place(command[-1])) for command in commands):
        line.execute_command(*command, at=at)
    line.send(found.extend)
    line.answers()
    if any(isinstance(answer, ResponseError) for answer in found):
        return None
    return [(taken or 0, fields or 0) for taken, fields in zip(found[::2], found[1::2], strict=True)]


def _scanned(servers: Servers, place: Place) -> Iterable[list[bytes]]:
    cursor = None
    while cursor != b"0":
        (answer,) = _ask(servers, [("SCAN", cursor or 0, "MATCH", "order-facts:*", "COUNT", _AT_ONCE)], place)
        if isinstance(answer, ResponseError):
            raise StopError(f"{classify(answer)}; allow this user SCAN, which lists the keys")
        cursor, names = answer
        yield names


def _looked_at(servers: Servers, place: Place, matches: Sequence[re.Match[str]]) -> list[_Held]:
    """Return what is known of keys; first how long they are idle, since a look may count as a use."""
    keys = [match[0] for match in matches]
    idle = _ask(servers, [("OBJECT", "IDLETIME", key) for key in keys], place)
    taken = _ask(servers, [("MEMORY", "USAGE", key) for key in keys], place)
    fields = [POSITION if match["index"] else CLAIM for match in matches]
    said = _ask(servers, [("HGET", key, field) for key, field in zip(keys, fields, strict=True)], place)
    return [
        _Held(key, _number(one), _number(two) or 0, three if isinstance(three, bytes) else None)
        for key, one, two, three in zip(keys, idle, taken, said, strict=True)
    ]


def _number(answer: Any) -> int | None:
    return answer if isinstance(answer, int) else None


def _ask(servers: Servers, commands: Sequence[Command], place: Place) -> list[Any]:
    """Return a server's answers; a ResponseError is one like any other. Raises RedisError."""
    line, found = Line(servers), list[Any]()
    for command in commands:
        line.execute_command(*command, at=place)
    line.send(found.extend)
    line.answers()
    return found


def _copy(kind: str, lineage: str, held: Sequence[_Held]) -> Copy:
    idle = [one.idle_s for one in held if one.idle_s is not None]
    said = [raw for one in held if (raw := one.said) is not None]
    found = Copy(
        "mirror" if kind == "mirror" else "contact index",
        lineage,
        tuple(one.key for one in held),
        sum(one.taken_bytes for one in held),
        min(idle) if len(idle) == len(held) else None,
    )
    if kind == "mirror":
        groups = {claim.decode("utf-8", "replace").rpartition("/")[0] for claim in said}
        return msgspec.structs.replace(found, groups=frozenset(groups - {""}))
    positions = [position for raw in said if (position := read_as(Position, raw)) is not None]
    times_ms = [position.complete_at_ms for position in positions]
    return msgspec.structs.replace(found, complete_at_ms=min(times_ms, default=None))
