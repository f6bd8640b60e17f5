"""The mirror: every partition's orders in Redis, one hash a partition, with its watermark in the same hash.

Kafka is the ledger. The mirror is a copy that may be lost, moved or restored at any moment, but only whole: a partition
is one hash, read by one HMGET, written by one script, removed by one UNLINK. A write does nothing unless the watermark
is still the one that its writer read.

A hash that cannot be read (another type, a watermark, claim or order that no write puts there) is removed as a whole
and rebuilt from the facts, like one that is missing.

Fields: an order id holds the order (see `codec.order_state`). Blank names are not order ids (D4): the empty one holds
the watermark, one space the claim, the last owner's transactional id (see `replica.fencing`), and two spaces the ids of
the cluster and of the events and facts topics, for `state prune`: the key is only their hash.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import redis

from processor.codec.avro import Codec
from processor.codec.order_state import order_of
from processor.codec.packed_items import unpacked
from processor.codec.schemas import FRAMING
from processor.domain.records import Order, UndecodableError
from processor.errors import MirrorMovedError, OrderFactsError, RedisError, StopError
from processor.kafka.clients import transactional_id
from processor.logs import get_logger
from processor.state.line import Line, TakeAnswers, ask, ask_readable, classify, readable
from processor.state.servers import Servers
from processor.state.watermark import Lineage, Watermark

_FORMAT: Final = b"2"  # part of the key: another form of the state is another mirror, rebuilt from the facts
_WATERMARK: Final = b""
CLAIM: Final = b" "
TOPICS: Final = b"  "
_ABOUT: Final = frozenset({_WATERMARK, CLAIM, TOPICS})
_OFFSET: Final = rb"(0|[1-9][0-9]{0,17})"  # fits 64 bits
_WATERMARK_FORM: Final = re.compile(_OFFSET + b" " + _OFFSET)
_WRONG_TYPE: Final = "its key holds no hash"
log = get_logger()

# KEYS[1]  the partition's hash
# ARGV[1]  the watermark that must be there, empty for none
# ARGV[2]  the watermark to put there
# ARGV[3:] field, value, field, value, ...
# Returns 1, or 0 if another watermark is there; then it changes nothing.
_WRITE: Final = """
local found = redis.call('HGET', KEYS[1], '')
if (found or '') ~= ARGV[1] then return 0 end
for first = 3, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('HSET', KEYS[1], '', ARGV[2])
return 1
"""


class DamagedMirrorError(MirrorMovedError):
    """As MirrorMovedError: a partition's mirror cannot be read."""


class Mark(msgspec.Struct, frozen=True):
    """The mark of a partition's mirror: its watermark, and the transactional id of its last owner.

    `damage` says why the mark cannot be read; then the mirror is to be removed.
    """

    watermark: Watermark | None
    claim: str | None
    damage: str | None = None


class MirrorWrite(msgspec.Struct, frozen=True):
    """One partition's write: from one watermark to the next, with order values by order id."""

    partition: int
    expected: Watermark | None
    watermark: Watermark
    values: Mapping[str | bytes, bytes]


class Mirror:
    """Reads and writes the mirror of one deployment. `name` is the part of its keys that no other deployment has."""

    def __init__(self, servers: Servers, lineage: Lineage, codec: Codec) -> None:
        self._servers = servers
        self.name = lineage.digest(_FORMAT + codec.packed_form)
        self._prefix = f"order-facts:{self.name}"
        self._topics = f"{lineage.cluster_id} {lineage.events_topic_id} {lineage.facts_topic_id}"
        self._claims = transactional_id(lineage.group_id, "")  # how every claim begins
        self._damaged: dict[int, bytes] = {}  # each partition's last order that could not be read

    def key(self, partition: int) -> str:
        """Return a partition's key; the braces keep it on one node of a cluster."""
        return f"{self._prefix}:{{{partition}}}"

    def marks(self, partitions: Collection[int]) -> dict[int, Mark]:
        """Return each partition's mark: where its mirror is, and who claims it; or why it cannot be read."""
        commands = [("HMGET", self.key(partition), _WATERMARK, CLAIM) for partition in partitions]
        replies = ask_readable(self._servers, commands)
        return {partition: self._mark(reply) for partition, reply in zip(partitions, replies, strict=True)}

    def sound_marks(self, partitions: Collection[int]) -> dict[int, Mark]:
        """As `marks`, but remove each mirror whose mark cannot be read: it is missing then."""
        marks = self.marks(partitions)
        for partition, mark in marks.items():
            if mark.damage is not None:
                self.remove_damaged(partition, mark.damage)
                marks[partition] = Mark(None, None)
        return marks

    def claim(self, partitions: Collection[int], transactional_id: str) -> None:
        """Write this replica's claim on partitions, and whose they are, whatever is there."""
        about = (CLAIM, transactional_id, TOPICS, self._topics)
        ask(self._servers, [("HSET", self.key(partition), *about) for partition in partitions])

    def add_lookups(self, line: Line, order_ids: Mapping[int, Sequence[str]]) -> None:
        """Add one atomic read for each partition: its watermark and the orders named."""
        for partition, names in order_ids.items():
            line.execute_command("HMGET", self.key(partition), _WATERMARK, *names)

    def read(
        self, order_ids: Mapping[int, Sequence[str]], replies: Iterable[Any]
    ) -> tuple[dict[int, Watermark | None], dict[tuple[int, str], Order]]:
        """Return the watermarks and the known orders from the replies to `add_lookups`.

        Raises MirrorMovedError if a value cannot be read: its partition's hash is removed, and rebuilt from the facts.
        """
        watermarks: dict[int, Watermark | None] = {}
        orders: dict[tuple[int, str], Order] = {}
        for (partition, names), reply in zip(order_ids.items(), readable(replies), strict=True):
            if reply is None:
                raise self._damage(partition, _WRONG_TYPE)
            mark, *values = reply
            try:
                watermarks[partition] = _watermark(mark)
            except ValueError as error:
                raise self._damage(partition, str(error)) from error
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    orders[partition, name] = self._order(partition, value)
        return watermarks, orders

    def look(self, partition: int, names: Sequence[bytes]) -> tuple[Watermark | None, list[bytes | None]]:
        """Return a partition's watermark and, as of it, the named orders' states; None for each that is missing.

        Raises DamagedMirrorError for a mirror that cannot be read, and leaves it as it is.
        """
        (reply,) = ask_readable(self._servers, [("HMGET", self.key(partition), _WATERMARK, *names)])
        if reply is None:
            raise DamagedMirrorError(_WRONG_TYPE)
        mark, *states = reply
        try:
            return _watermark(mark), states
        except ValueError as error:
            raise DamagedMirrorError(str(error)) from error

    def names(self, partition: int, count: int) -> Iterator[list[bytes]]:
        """Yield the order ids in a partition's mirror, about `count` at a time; some may come twice."""
        cursor = None
        while cursor != b"0":
            ((cursor, found),) = ask(self._servers, [("HSCAN", self.key(partition), cursor or 0, "COUNT", count)])
            yield [name for name in found[::2] if name not in _ABOUT]

    def send(self, line: Line, writes: Sequence[MirrorWrite], take: TakeAnswers | None = None) -> None:
        """Write all partitions, without waiting. Each answer is 1, or 0 if another watermark was there."""
        for write in writes:
            pairs = chain.from_iterable(write.values.items())
            arguments = (_watermark_text(write.expected), _watermark_text(write.watermark), *pairs)
            line.execute_command("EVAL", _WRITE, 1, self.key(write.partition), *arguments)
        line.send(take)

    def write(self, line: Line, writes: Sequence[MirrorWrite]) -> None:
        """Write all partitions, without waiting. Logs failed writes; the next look-up finds those mirrors behind."""
        try:
            self.send(line, writes, lambda answers: _log_refused(writes, answers))
        except RedisError as error:
            log.warning("mirror.not_written", error=str(error), partitions=sorted(write.partition for write in writes))

    def remove(self, partition: int) -> None:
        """Remove a partition's mirror as a whole."""
        ask(self._servers, [("UNLINK", self.key(partition))])

    def remove_damaged(self, partition: int, problem: str) -> None:
        """Remove a mirror that cannot be read, or not be true, and log why."""
        self.remove(partition)
        log.warning("mirror.damaged", partition=partition, problem=problem)

    def _order(self, partition: int, value: bytes) -> Order:
        try:
            return order_of(value)
        except UndecodableError as error:
            raise self._damage_of_order(partition, value) from error

    def check_items(self, orders: Mapping[tuple[int, str], Order]) -> None:
        """Raise what `read` raises if an order's packed items cannot be read: `read` itself does not look at them."""
        for (partition, name), order in orders.items():
            try:
                unpacked(order)
            except UndecodableError as error:
                _, (value,) = self.look(partition, [name.encode()])
                raise self._damage_of_order(partition, value or b"") from error

    def _mark(self, reply: list[bytes | None] | None) -> Mark:
        if reply is None:
            return Mark(None, None, _WRONG_TYPE)
        watermark, claim = reply
        try:
            return Mark(_watermark(watermark), self._claim(claim))
        except ValueError as error:
            return Mark(None, None, str(error))

    def _claim(self, text: bytes | None) -> str | None:
        """Return the claim of a field. Raises ValueError for one that no replica of this group puts there."""
        if text is None:
            return None
        claim = text.decode("utf-8", "replace")
        if claim.encode() != text or not claim.startswith(self._claims):
            raise ValueError("its claim names no replica of this group")
        return claim

    def _damage_of_order(self, partition: int, value: bytes) -> OrderFactsError:
        """As `_damage`; but what a catch-up copied from the facts topic, and would copy again, stops the program."""
        if value.startswith(FRAMING) and self._damaged.get(partition) == value:
            self.remove(partition)
            return StopError(
                f"the mirror of partition {partition} cannot be read even after it was rebuilt from the facts: "
                "the facts topic holds a record that is not a valid fact; take a new group_id with a new facts_topic "
                "and rejected_topic"
            )
        self._damaged[partition] = value
        return self._damage(partition, "an order cannot be read")

    def _damage(self, partition: int, problem: str) -> OrderFactsError:
        """Remove a mirror that cannot be read; return what that asks for."""
        self.remove_damaged(partition, problem)
        return DamagedMirrorError(f"the mirror of partition {partition} is damaged ({problem}) and was removed")


def _log_refused(writes: Sequence[MirrorWrite], answers: Sequence[Any]) -> None:
    refused: defaultdict[str, list[int]] = defaultdict(list)
    for write, answer in zip(writes, answers, strict=True):
        if isinstance(answer, redis.RedisError):
            refused[str(classify(answer))].append(write.partition)
        elif not answer:
            refused["another watermark is there"].append(write.partition)
    for error, partitions in sorted(refused.items()):
        log.warning("mirror.not_written", error=error, partitions=sorted(partitions))


def _watermark(text: bytes | None) -> Watermark | None:
    """Return the watermark of a field. Raises ValueError for any other text: no write would ever replace that."""
    if text is None:
        return None
    found = _WATERMARK_FORM.fullmatch(text)
    if found is None:
        raise ValueError("its watermark is not two offsets")
    return Watermark(int(found[1]), int(found[2]))


def _watermark_text(watermark: Watermark | None) -> str:
    return "" if watermark is None else f"{watermark.source} {watermark.facts}"
