"""Writes the contact index (`contacts.shards` says what is in it), one writer at a time.

A batch has three phases. Each is one script call for each shard, all shards in one round trip:

1. intend: note in each shard which records its contacts will have, and read the contacts' entries: their last record in
   each partition, of which one is in force (C1);
2. claim: for each identifier, remove claims that contacts gave up and add those in force, in one step;
3. settle: write the contacts' entries and move the position, in one atomic step.

A phase begins when all shards have answered the one before. While Redis works, this process does: it decodes the next
batch while claims are written, and hashes its identifiers while the batch is settled.

A contact's entry and the intent together always name every record that may have been in force, and so every claim that
it has. So the contact's next record undoes whatever a crash left half done, even if compaction removed the records
between. Records below the position of their contact's shard are settled, and skipped.

The field `writer` is the writer's id (a growing generation and a random part) and the stage, a number that grows by
one with each call. Every call compares the whole field and does nothing if it differs: a call that comes late, twice,
or after the shard was lost or restored changes nothing. All shards go through all stages, so no two shards are ever
more than one stage apart. If they are further apart, a shard lost writes, and the index is rebuilt. Within one stage, a
restored shard looks like one that a crash left behind, and can be treated as such. A shard's two keys name the same
writer and stage. If they do not, one of them was lost or restored without the other, and the shard is removed.

A shard that a script cannot read, or whose `writer` no call wrote, is removed: it is missing then, and the index is
rebuilt.
"""

import hashlib
import importlib.resources
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from processor.contacts import shards as index
from processor.contacts.phases import Calls, Phases, UnreadableEntryError
from processor.contacts.shards import SHARDS, Hashes, Mark, Position, read_as, remove_shard, shared_key
from processor.domain.claims import ContactChange
from processor.errors import OrderFactsError, RetryError, StopError
from processor.state.line import Command, Line, ask_each, readable
from processor.state.servers import Servers

_SCRIPTS: Final = {
    name: (importlib.resources.files("processor.contacts") / "lua" / f"{name}.lua").read_text(encoding="utf-8")
    for name in ("take", "build", "intend", "claim", "settle")
}
_DIGESTS: Final = {
    name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in _SCRIPTS.items()
}
TOKEN_BYTES: Final = 8
_GENERATION_BYTES: Final = 8
_ID_BYTES: Final = _GENERATION_BYTES + TOKEN_BYTES
_PHASES: Final = 3
_FAR: Final = b"\x7f" + bytes(7)  # no generation (us since 1970) and no stage comes near
_TAKE_ATTEMPTS: Final = 100


class ShardState(msgspec.Struct):
    """What a writer knows of a shard; mark and position are None if they are missing or unreadable."""

    mark: Mark | None
    position: Position | None
    stage: int


def why_build(
    shards: Sequence[ShardState], wanted: Mark, held: Sequence[tuple[int, int]], oldest_ms: int
) -> str | None:
    """Return in a few words why the index must be rebuilt, or None if it can be resumed.

    `held` has each partition's first offset and end. The index must have been complete at `oldest_ms` or later, or it
    may have missed a deletion.
    """
    builds = {None if shard.mark is None else shard.mark.build for shard in shards}
    stages = [shard.stage for shard in shards]
    if builds == {None}:
        return "none is there"
    if len(builds) > 1 or not all(map(_has_position, shards)):
        return "a shard is missing"
    if max(stages) - min(stages) > 1:
        return "a shard lost writes"
    mark, position = standing(shards)
    at = zip(position.offsets, held, strict=False)  # of different lengths if partitions were added
    differences = {
        "another topic": mark.topic_id != wanted.topic_id,
        "phone numbers are compared in another way": mark.phones != wanted.phones,
        "another number of partitions": len(mark.ends) != len(wanted.ends),
        "the topic lost its offsets": not all(start <= offset <= end for offset, (start, end) in at),
        "too old": position.complete_at_ms < oldest_ms,
    }
    return next((cause for cause, is_true in differences.items() if is_true), None)


def _has_position(shard: ShardState) -> bool:
    mark, position = shard.mark, shard.position
    return mark is not None and position is not None and len(position.offsets) == len(mark.ends)


def standing(shards: Sequence[ShardState]) -> tuple[Mark, Position]:
    """Return the mark and position of the whole index from one build's shards: ready if all are, the least position."""
    marks = [shard.mark for shard in shards if shard.mark is not None]
    positions = [shard.position for shard in shards if shard.position is not None]
    assert len(marks) == len(positions) == len(shards)
    mark = msgspec.structs.replace(marks[0], is_ready=all(mark.is_ready for mark in marks))
    return mark, index.least(positions)


class Written(NamedTuple):
    """What a batch changed: contacts that were not settled before, and how many of them came to another partition."""

    contacts: int
    conflicting: int


class IndexWriter:
    """One writer's hold on the index, from `take` until anything fails; then a new writer takes it.

    `token` is 8 random bytes, the same for all holds of one process.
    """

    def __init__(self, servers: Servers, lineage: str, hashes: Hashes, token: bytes) -> None:
        self._servers = servers
        self._line, self._found = Line(servers), list[Any]()
        self._keys = index.shard_keys(lineage)
        self._hashes = hashes
        self._token = token
        self._id = b""
        self._sent: tuple[str, dict[int, int]] | None = None  # a script not answered yet, and each shard's stage then
        self._begun: tuple[Phases, Position, Mark] | None = None  # a batch that is not settled yet
        self.settled = 0  # how many batches are, as far as Redis has answered
        self.shards: list[ShardState] = []

    def take(self, last_id: bytes = b"") -> bytes:
        """Take over the index from its last writer, read `shards`, and return this hold's id.

        `last_id` is the id of this process's last hold. Raises StopError if another process took over since then,
        RetryError if Redis does not answer.
        """
        for text in _SCRIPTS.values():
            ask_each(self._servers, ("SCRIPT", "LOAD", text))
        self._post([("HGET", key, "writer") for key in self._keys])
        fields = self._replies()
        owners = [self._owner(number, field) for number, field in enumerate(fields)]
        if last_id and any(owner > last_id and not owner.endswith(self._token) for owner in owners):
            raise _taken_over()
        # At least the time in us, so that an index restored from an older copy has a lesser generation.
        generation = max(time.time_ns() // 1000, int.from_bytes(max(*owners, last_id)[:_GENERATION_BYTES], "big") + 1)
        self._id = generation.to_bytes(_GENERATION_BYTES, "big") + self._token
        self.shards = self._take_from(owners)
        return self._id

    def build(self, mark: Mark, position: Position) -> None:
        """Remove the whole index and begin a new one, incomplete, at a position."""
        arguments = (msgspec.msgpack.encode(mark), msgspec.msgpack.encode(position))
        self._call("build", dict.fromkeys(range(SHARDS), arguments), stage=0)
        for shard in self.shards:
            shard.mark, shard.position = mark, position

    def level(self) -> None:
        """Bring all shards to one stage, the end of a batch, after a crash during one.

        This raises them one stage at a time, so that they are never too far apart.
        """
        while True:
            stages = [shard.stage for shard in self.shards]
            least = min(stages)
            if least == max(stages) and least % _PHASES == 0:
                return
            for number, stage in enumerate(stages):
                if stage == least:
                    self._call("claim", {number: (b"", b"")})

    def write(self, changes: Iterable[ContactChange], position: Position, mark: Mark) -> Written:
        """Write one batch: at most one change for each contact and partition.

        `position` and `mark` are those of the index after the batch; a shard that is ahead stays there.
        """
        written = self.begin(changes, position, mark)
        self.finish()
        return written

    def begin(self, changes: Iterable[ContactChange], position: Position, mark: Mark) -> Written:
        """As `write`, but return before the batch is written; the one begun before is written then."""
        self._settle()
        work = Phases(self._hashes, changes, [shard.position for shard in self.shards])
        entries = self._call("intend", work.intents())
        try:
            claims = work.claims(entries)
        except UnreadableEntryError as error:
            raise self._remove(error.shard, "a contact's entry cannot be read") from error
        self._send("claim", claims)
        self._begun = work, position, mark
        return Written(work.count, work.conflicting)

    def finish(self) -> None:
        """Return once the batch that was begun is written."""
        self._settle()
        self._answers()

    def close(self) -> None:
        """Leave Redis; what was sent may still be executed."""
        self._line.drop()

    def _settle(self) -> None:
        """Have the batch that was begun settled, once its claims are written, without waiting."""
        if self._begun is None:
            return
        (work, position, mark), self._begun = self._begun, None
        positions = [_later(shard.position, position) for shard in self.shards]
        encoded_mark, encoded = msgspec.msgpack.encode(mark), list(map(msgspec.msgpack.encode, positions))
        self._send("settle", {n: (encoded_mark, encoded[n], own) for n, own in enumerate(work.entries())})
        for shard, moved in zip(self.shards, positions, strict=True):
            shard.mark, shard.position = mark, moved

    def _owner(self, number: int, field: bytes | None) -> bytes:
        """Return the id in a shard's writer field, empty for none; remove a shard with a field that no call wrote."""
        if field is None or _is_writer(field):
            return _id_of(field)
        self._remove(number, "its writer field is none")
        return b""

    def _remove(self, number: int, problem: str) -> RetryError:
        """Remove a shard that cannot be read; return the error that ends the session."""
        remove_shard(self._servers, self._keys, number, problem)
        return RetryError(f"shard {number} of the contact index is damaged ({problem}) and was removed")

    def _take_from(self, owners: list[bytes]) -> list[ShardState]:
        """Take each shard from its present writer; of two writers that start at once, the greater id wins."""
        taken: dict[int, ShardState] = {}
        for _ in range(_TAKE_ATTEMPTS):
            missing = [number for number in range(SHARDS) if number not in taken]
            self._post_script("take", {number: (owners[number], self._id) for number in missing})
            for number, reply in zip(missing, self._replies(), strict=True):
                if reply is None:
                    self._remove(number, "its key, or the batch noted there, cannot be read")
                    owners[number] = b""
                elif not isinstance(reply, bytes):
                    mark, position, stage = reply
                    state = ShardState(read_as(Mark, mark), read_as(Position, position), int.from_bytes(stage, "big"))
                    taken[number] = state
                elif (owner := _id_of(reply)) > self._id:
                    raise _taken_over()
                else:
                    owners[number] = owner
            if len(taken) == SHARDS:
                return [taken[number] for number in range(SHARDS)]
        raise RetryError("the contact index could not be taken over: other writers keep taking it")

    def _call(self, script: str, calls: Calls, *, stage: int | None = None) -> dict[int, Any]:
        """Call a script as this writer, each shard with the next stage, or with `stage`; return the replies."""
        self._send(script, calls, stage=stage)
        return self._answers()

    def _send(self, script: str, calls: Calls, *, stage: int | None = None) -> None:
        """As `_call`, without waiting, once what was sent before is answered."""
        self._answers()
        stages = {n: (self.shards[n].stage, self.shards[n].stage + 1 if stage is None else stage) for n in calls}
        fields = {n: [self._id + number.to_bytes(8, "big") for number in pair] for n, pair in stages.items()}
        self._sent = script, {n: after for n, (_, after) in stages.items()}
        self._post_script(script, {n: (*fields[n], *arguments) for n, arguments in calls.items()})

    def _answers(self) -> dict[int, Any]:
        """Wait for the replies to what was sent, if anything was, and return them."""
        if self._sent is None:
            return {}
        (script, stages), self._sent = self._sent, None
        replies = dict(zip(stages, self._replies(), strict=True))
        for n, reply in replies.items():
            if reply is None or (isinstance(reply, bytes) and reply and not _is_writer(reply)):
                raise self._remove(n, f"the script {script} cannot read it")
            if isinstance(reply, bytes):
                raise self._displaced(reply)
            self.shards[n].stage = stages[n]
        self.settled += script == "settle"
        return replies

    def _post_script(self, script: str, calls: Calls) -> None:
        """Send a script for some shards."""
        keys = ((key, shared_key(key)) for key in (self._keys[number] for number in calls))
        calls_of = zip(keys, calls.values(), strict=True)
        self._post([("EVALSHA", _DIGESTS[script], 2, *pair, *arguments) for pair, arguments in calls_of])

    def _displaced(self, found: bytes) -> OrderFactsError:
        """Return the error for a shard whose writer field is not as this writer left it."""
        if not found:
            return RetryError("the contact index was emptied in Redis")
        if _id_of(found) > self._id:
            return _taken_over()
        return RetryError("the contact index in Redis is not as it was written: it was restored from an older copy")

    def _post(self, commands: Sequence[Command]) -> None:
        """Send commands without waiting. A method, as the next one, so that the tests' writer can crash before any."""
        for command in commands:
            self._line.execute_command(*command)
        self._line.send(self._found.extend)

    def _replies(self) -> list[Any]:
        """Return the replies to what was posted, None for a shard that cannot be read."""
        self._line.answers()
        replies, self._found = readable(self._found), []
        return replies


def _later(position: Position | None, moved: Position) -> Position:
    """Return the position after a batch: a shard that is ahead stays there."""
    if position is None or position.offsets == moved.offsets:
        return moved
    return Position(tuple(map(max, position.offsets, moved.offsets)), moved.complete_at_ms)


def _is_writer(field: bytes) -> bool:
    """Return whether a writer field is one that a call wrote: an id and a stage, none near the end of its numbers."""
    generation, stage = field[:_GENERATION_BYTES], field[_ID_BYTES:]
    return len(field) == _ID_BYTES + len(_FAR) and max(generation, stage) < _FAR


def _id_of(field: bytes | None) -> bytes:
    return (field or b"")[:_ID_BYTES]


def _taken_over() -> StopError:
    return StopError("another contacts index took over: run only one `order-facts contacts index` for a contacts topic")
