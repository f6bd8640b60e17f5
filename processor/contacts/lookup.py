"""The contact index as it lies in Redis, and how the processor looks identifiers up in it.

The index is SHARDS Redis hashes, `order-facts:contacts:<lineage>:{c<shard>}`: each is read by one atomic HMGET
and is lost, moved or removed as a whole. Fields of a shard (the meta fields have no name of 16 bytes):

- 16 bytes, the keyed hash of an identifier: its claims (C3), one after the other in any order, each the
  timestamp (8 bytes, ms + 2^63), the length of the contact's id (2 bytes) and the id (UTF-8);
- 16 bytes, the keyed hash of a contact's id: the hashes of all identifiers on which it may have a claim;
- `mark`: what the shard was made for and whether it is complete (Mark); `position`: up to where (Position);
- `writer` and `intent`: the writer's own (see `contact_index_writer`).

An identifier's shard, and a contact's, is told by the first byte of its hash. Nothing here names an e-mail
address or a phone number; contact ids stand in the claims.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec

from processor.domain.claims import Claim, winner
from processor.domain.identifiers import BUILT_IN_FIELDS
from processor.domain.records import Identifier
from processor.errors import RetryError, UsageError
from processor.kafka.cluster import Topic
from processor.settings import Settings
from processor.settings.rules import identification_of
from processor.state.connection import Client, execute
from processor.state.watermark import ContactsPosition

SHARDS: Final = 16
FORMAT: Final = 1  # of all that is said above; another one is another index, built from nothing
HASH_BYTES: Final = 16
MARK: Final = b"mark"
POSITION: Final = b"position"
_TIMESTAMP_BYTES: Final = 8
_CLAIM_HEAD_BYTES: Final = _TIMESTAMP_BYTES + 2
_TIMESTAMP_BIAS: Final = 1 << 63
_CONTACT_KIND: Final = b"\0"  # an identifier's kind is a digit or a built-in's number, never this


class IndexNotReadyError(RetryError):
    """The contact index is missing, incomplete or not the one that the settings need: orders wait (C4)."""

    waiting_for = "contact_index"


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a shard was made for. All shards of one build have the same mark; `is_ready` turns last.

    `ends` are the ends that the partitions had when the build began; `fields` the custom fields indexed,
    sorted; `key_fingerprint` tells the keys of the hashes apart.
    """

    format: int
    build: str
    topic_id: str
    key_fingerprint: bytes
    fields: tuple[str, ...]
    ends: tuple[int, ...]
    is_ready: bool


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The next offset of each contacts partition, and when (ms, wall clock) all that there was had been read."""

    offsets: tuple[int, ...]
    complete_at_ms: int


_MARKS: Final = msgspec.msgpack.Decoder(Mark)
_POSITIONS: Final = msgspec.msgpack.Decoder(Position)


def read_mark(raw: bytes | None) -> Mark | None:
    """Return a shard's mark; None where there is none, or one of another format."""
    try:
        mark = None if raw is None else _MARKS.decode(raw)
    except msgspec.MsgspecError:
        return None
    return mark if mark is not None and mark.format == FORMAT else None


def read_position(raw: bytes | None) -> Position | None:
    """Return a shard's position, None where there is none that can be read."""
    try:
        return None if raw is None else _POSITIONS.decode(raw)
    except msgspec.MsgspecError:
        return None


def lineage_of(cluster_id: str, topic_name: str) -> str:
    """Return what keeps the indexes of two deployments apart in one Redis.

    The topic's id is no part of it: a topic made anew has to be noticed, not to look like a first start.
    """
    return hashlib.blake2b(f"{cluster_id}\0{topic_name}".encode(), digest_size=8).hexdigest()


def shard_keys(lineage: str) -> tuple[str, ...]:
    """Return the shards' keys; the braces keep each on one node of a cluster."""
    return tuple(f"order-facts:contacts:{lineage}:{{c{shard}}}" for shard in range(SHARDS))


def shard_of(digest: bytes) -> int:
    """Return the shard of an identifier's or a contact's hash."""
    return digest[0] % SHARDS


class Hashes:
    """Turns identifiers and contact ids into their keyed hashes (BLAKE2b, 16 bytes)."""

    def __init__(self, settings: Settings) -> None:
        if settings.identifier_key is None:
            raise UsageError("setting identifier_key: put the secret of the contact index's hashes there")
        key = hashlib.blake2b(settings.identifier_key.encode(), digest_size=32, person=b"contact-index").digest()
        self._empty = hashlib.blake2b(key=key, digest_size=HASH_BYTES)
        self.fingerprint: Final = self._started(b"fingerprint").digest()[:8]
        # Each kind of hash goes on from its own beginning: copying that is cheaper than hashing it again.
        self._contact = self._started(_CONTACT_KIND)
        self._fields = {field: self._started(b"%d:" % number) for number, field in enumerate(BUILT_IN_FIELDS)}

    def identifier(self, identifier: Identifier) -> bytes:
        """Return the hash of an identifier; a custom field's never equals a built-in one's."""
        field, value = identifier
        digest = self._fields.get(field)
        if digest is None:
            name = field.encode("utf-8", "surrogatepass")
            digest = self._fields[field] = self._started(b"custom:%d:%b:" % (len(name), name))
        digest = digest.copy()
        digest.update(value.encode("utf-8", "surrogatepass"))
        return digest.digest()

    def contact(self, contact_id: bytes) -> bytes:
        """Return the hash under which a contact's identifiers are kept."""
        digest = self._contact.copy()
        digest.update(contact_id)
        return digest.digest()

    def _started(self, beginning: bytes) -> "hashlib.blake2b":
        digest = self._empty.copy()
        digest.update(beginning)
        return digest


def claim_bytes(timestamp_ms: int, contact_id: bytes) -> bytes:
    """Return a claim as it is kept; `contact_id` of at most 65,535 bytes."""
    return b"%b%b%b" % (
        (timestamp_ms + _TIMESTAMP_BIAS).to_bytes(_TIMESTAMP_BYTES, "big"),
        len(contact_id).to_bytes(2, "big"),
        contact_id,
    )


def read_claims(value: bytes) -> Iterator[Claim]:
    """Yield the claims that an identifier's field holds."""
    at = 0
    while at < len(value):
        head = at + _CLAIM_HEAD_BYTES
        end = head + int.from_bytes(value[head - 2 : head], "big")
        timestamp_ms = int.from_bytes(value[at : at + _TIMESTAMP_BYTES], "big") - _TIMESTAMP_BIAS
        yield Claim(timestamp_ms, value[head:end].decode())
        at = end


class LookupPlan(msgspec.Struct, frozen=True):
    """What `add_lookups` asked: for each shard the identifiers, in the order of its reply."""

    shards: tuple[tuple[Identifier, ...], ...]

    @property
    def commands(self) -> int:
        """How many commands were added, and so how many replies `read` takes."""
        return len(self.shards)


class Reading(msgspec.Struct, frozen=True):
    """What was found: contact ids by identifier, and the position (next offsets) that the index had reached."""

    contacts: dict[Identifier, str]
    position: ContactsPosition


class ContactIndex:
    """Looks identifiers up. Not for several threads at once."""

    def __init__(self, client: Client, settings: Settings, lineage: str, topic: Topic) -> None:
        self._client = client
        self._topic = topic
        self._keys = shard_keys(lineage)
        self._hashes = Hashes(settings)
        self._needed_fields = identification_of(settings).custom_fields
        self._good_mark: bytes | None = None  # the last mark found good: compared, not decoded, in each batch
        self._positions: dict[bytes, tuple[int, ...]] = {}
        self._used: ContactsPosition | None = None  # the greatest position of an index that was read (C4)

    def add_lookups(self, pipeline: Any, identifiers: Collection[Identifier]) -> LookupPlan:
        """Add one atomic read for each shard to a pipeline: its readiness and the identifiers asked for.

        All shards are read in every batch: readiness is that of the whole index (C4).
        """
        asked: list[list[Identifier]] = [[] for _ in range(SHARDS)]
        hashes: list[list[bytes]] = [[] for _ in range(SHARDS)]
        for identifier in dict.fromkeys(identifiers):
            digest = self._hashes.identifier(identifier)
            shard = shard_of(digest)
            asked[shard].append(identifier)
            hashes[shard].append(digest)
        for key, fields in zip(self._keys, hashes, strict=True):
            pipeline.execute_command("HMGET", key, MARK, POSITION, *fields)
        return LookupPlan(tuple(map(tuple, asked)))

    def read(self, plan: LookupPlan, replies: Sequence[list[bytes | None]]) -> Reading:
        """Return what the replies to a plan's commands say. Raises IndexNotReadyError (C4).

        An identifier that nobody claims has no entry. The position is the least of all shards, partition
        by partition: all that lies before it is in the index.
        """
        contacts: dict[Identifier, str] = {}
        positions = set()
        self._check_marks([reply[0] for reply in replies])
        for identifiers, (_, position, *values) in zip(plan.shards, replies, strict=True):
            positions.add(position)
            for identifier, value in zip(identifiers, values, strict=True):
                if value is not None:
                    contacts[identifier] = _winner(value)
        reached = ContactsPosition(self._topic.topic_id, self._least(positions))
        if not reached.reaches(self._used):
            raise IndexNotReadyError(
                "the contact index is older than one that events were decided with (Redis was put back to an older "
                "copy?); `order-facts contacts index` brings it up to date"
            )
        self._used = reached
        return Reading(contacts, reached)

    def require(self, position: ContactsPosition | None) -> None:
        """Take no index that is older than one already used, in this process or before."""
        if position is not None and position.topic_id == self._topic.topic_id:
            self._used = position.joined(self._used)

    def find(self, identifier: Identifier) -> str | None:
        """Return the id of the contact that has the identifier, or None.

        Raises IndexNotReadyError, RetryError where Redis does not answer, StopError where it refuses.
        """
        pipeline = self._client.pipeline(transaction=False)
        plan = self.add_lookups(pipeline, [identifier])
        return self.read(plan, execute(pipeline)).contacts.get(identifier)

    def _check_marks(self, marks: Sequence[bytes | None]) -> None:
        """Raise IndexNotReadyError unless all shards are of one build that is complete and fits."""
        first = marks[0]
        if first is None or marks.count(first) != len(marks):
            raise IndexNotReadyError(self._what_is_missing(marks))
        if first != self._good_mark:
            problem = self._problem(read_mark(first))
            if problem is not None:
                raise IndexNotReadyError(f"the contact index {problem}")
            self._good_mark = first

    def _what_is_missing(self, marks: Sequence[bytes | None]) -> str:
        """Say why shards whose marks differ, or that have none, are not an index."""
        if not any(marks):
            return "the contact index is empty; `order-facts contacts index` builds it"
        problems = [self._problem(read_mark(mark)) for mark in marks]
        for shard, problem in enumerate(problems):
            if problem is not None:
                return f"shard {shard} of the contact index {problem}"
        return "the shards of the contact index are of different builds"

    def _problem(self, mark: Mark | None) -> str | None:
        """Say what is wrong with a mark, None where it is good."""
        if mark is None:
            return "is missing or of another format; `order-facts contacts index` builds it"
        if mark.topic_id != self._topic.topic_id:
            return f"was made from another topic {self._topic.name} than the one that is there now"
        if mark.key_fingerprint != self._hashes.fingerprint:
            return "was made with another identifier_key"
        if missing := sorted(self._needed_fields.difference(mark.fields)):
            return f"was made without the fields {', '.join(missing)}, which the setting identification needs"
        return None if mark.is_ready else "is being built"

    def _least(self, positions: set[bytes | None]) -> tuple[int, ...]:
        """Return the least position, partition by partition. Nearly always all are the one seen before."""
        known: dict[bytes, tuple[int, ...]] = {}
        for raw in positions:
            position = None if raw is None else self._positions.get(raw)
            if raw is None or position is None:
                read = read_position(raw)
                if raw is None or read is None:
                    raise IndexNotReadyError("a shard of the contact index has no position")
                position = read.offsets
            known[raw] = position
        self._positions = known
        return tuple(map(min, zip(*known.values(), strict=True)))


def _winner(value: bytes) -> str:
    """Return the contact that wins among an identifier's claims (C3); nearly always there is one claim."""
    if int.from_bytes(value[_TIMESTAMP_BYTES:_CLAIM_HEAD_BYTES], "big") == len(value) - _CLAIM_HEAD_BYTES:
        return value[_CLAIM_HEAD_BYTES:].decode()
    return winner(read_claims(value))
