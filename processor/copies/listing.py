"""Finds every copy in Redis by its keys, without being counted as a use of it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
from redis.exceptions import ResponseError

from processor.contacts.shards import MARK, POSITION, Position, read_as
from processor.errors import StopError
from processor.state.line import Command, Line, answered, classify
from processor.state.mirror import CLAIM, TOPICS
from processor.state.servers import Place, Servers

_KEY: Final = re.compile(r"order-facts:(?P<index>contacts:)?(?P<lineage>[0-9a-f]{16}):\{c?\d+\}.*", re.DOTALL)
_AT_ONCE: Final = 1_000
_NO_TOUCH: Final = ("CLIENT", "NO-TOUCH", "ON")  # with each question: a connection may be opened anew between them


class Copy(msgspec.Struct, frozen=True):
    """One lineage's keys in Redis, and what they take.

    `idle_s` is how long ago the last of them was read or written, None if Redis does not tell. `groups` are those that
    claim a mirror, `topics` the ids of cluster, events and facts topic that it notes. `topic_id` is an index's contacts
    topic, `complete_at_ms` when (wall clock) it last held the whole topic. What a copy does not say is empty or None.
    """

    kind: Literal["mirror", "contact index"]
    lineage: str
    keys: tuple[str, ...]
    taken_bytes: int
    idle_s: int | None
    groups: frozenset[str] = frozenset()
    topics: frozenset[tuple[str, ...]] = frozenset()
    topic_id: str | None = None
    complete_at_ms: int | None = None


class _Held(msgspec.Struct, frozen=True):
    """A key: where it is, and what was found of it."""

    key: str
    idle_s: int | None
    taken_bytes: int
    said: tuple[bytes | None, ...]  # a mirror's claim and topics, a shard's position and mark


def copies(servers: Servers) -> list[Copy]:
    """Return every copy, mirrors first. Raises RedisError if Redis does not answer, StopError if it forbids SCAN.

    Before Redis 7.2, which has CLIENT NO-TOUCH, the look itself counts as a use from then on.
    """
    held: dict[tuple[str, str], list[_Held]] = defaultdict(list)
    for place in servers.primaries():
        for names in _scanned(servers, place):
            matches = [match for name in names if (match := _KEY.fullmatch(name.decode("utf-8", "replace")))]
            for match, found in zip(matches, _looked_at(servers, place, matches), strict=True):
                held["contact index" if match["index"] else "mirror", match["lineage"]].append(found)
    return [_copy(kind, lineage, keys) for (kind, lineage), keys in sorted(held.items(), reverse=True)]


def bytes_of(servers: Servers, keys: Iterable[str], fields: str = "HLEN") -> list[tuple[int, int]] | None:
    """Return what each key takes (an estimate) and how many fields it has, by the command that counts them.

    None if Redis forbids to ask.
    """
    commands = [command for key in keys for command in (("MEMORY", "USAGE", key), (fields, key))]
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
    fields = [(POSITION, MARK) if match["index"] else (CLAIM, TOPICS) for match in matches]
    said = _ask(servers, [("HMGET", key, *names) for key, names in zip(keys, fields, strict=True)], place)
    return [
        _Held(key, _number(one), _number(two) or 0, (None, None) if isinstance(three, ResponseError) else tuple(three))
        for key, one, two, three in zip(keys, idle, taken, said, strict=True)
    ]


def _number(answer: Any) -> int | None:
    return answer if isinstance(answer, int) else None


def _ask(servers: Servers, commands: Sequence[Command], place: Place) -> list[Any]:
    """Return a server's answers; a ResponseError is one like any other. Raises RedisError."""
    return answered(servers, (_NO_TOUCH, *commands), place)[1:]


def _copy(kind: str, lineage: str, held: Sequence[_Held]) -> Copy:
    idle = [one.idle_s for one in held if one.idle_s is not None]
    found = Copy(
        "mirror" if kind == "mirror" else "contact index",
        lineage,
        tuple(one.key for one in held),
        sum(one.taken_bytes for one in held),
        min(idle) if len(idle) == len(held) else None,
    )
    if kind == "mirror":
        columns = zip(*(one.said for one in held), strict=True)
        claims, topics = ({_text(raw) for raw in column if raw} for column in columns)
        groups = {claim.rpartition("/")[0] for claim in claims} - {""}
        noted = {tuple(text.split(" ")) for text in topics}
        return msgspec.structs.replace(found, groups=frozenset(groups), topics=frozenset(noted))
    positions = (read_as(Position, one.said[0]) for one in held)
    times_ms = [position.complete_at_ms for position in positions if position is not None]
    ids = {topic_id for one in held if (topic_id := _topic_id(one.said[1])) is not None}
    return msgspec.structs.replace(
        found, complete_at_ms=min(times_ms, default=None), topic_id=ids.pop() if len(ids) == 1 else None
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _topic_id(mark: bytes | None) -> str | None:
    """Return the topic's id in a shard's mark, of this or a former format."""
    try:
        _, _, topic_id, *_ = msgspec.msgpack.decode(mark or b"", type=list[Any])
    except (msgspec.MsgspecError, ValueError):
        return None
    return topic_id if isinstance(topic_id, str) else None
