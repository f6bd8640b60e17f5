"""The contact index in Redis: its shards, and the bytes in them.

The index is SHARDS Redis hashes, `order-facts:contacts:<lineage>:{c<shard>}`. One atomic HMGET reads a shard. Its
fields (no name of the last four has 16 bytes):

- 16 bytes, the keyed hash of an identifier: a byte, 0 or 1, and the claim on it that wins (C3). A claim is a timestamp
  (8 bytes, ms + 2^63) and the contact's id (UTF-8). 1 says that there are other claims;
- 16 bytes, the keyed hash of a contact's id: its entry, which is its last record in each partition that has one (C1). A
  record is the partition (2 bytes), offset (8), timestamp (8), 1 or for a deletion 0 (1 byte), the number of hashes (4)
  and the hashes of all identifiers that it has; a deletion has none. The records of a crashed batch are there too, as
  records of partition NO_PARTITION;
- `mark`: what the shard was made for and whether it is complete (Mark); `position`: up to where (Position);
- `writer` and `intent`: for the writer only (see `contacts.writer`).

A sorted set beside it, `<key>:shared`, has all claims on identifiers that several contacts have: a member is the
identifier's hash and a claim, so the greatest member of an identifier is the claim that wins. Only the writer reads it.
It also has the member `writer` + what the hash's field `writer` holds: so it cannot be lost or restored unnoticed.

The first byte of the hash gives the shard of an identifier and of a contact. Nothing here names an e-mail address or a
phone number; contact ids are in the claims.
"""

import hashlib
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

import msgspec

from processor.domain.claims import Standing
from processor.domain.identifiers import BUILT_IN_FIELDS
from processor.domain.records import Identifier
from processor.errors import UsageError
from processor.logs import get_logger
from processor.settings import Settings
from processor.settings.rules import identification_of
from processor.state.line import ask
from processor.state.servers import Servers

SHARDS: Final = 16
FORMAT: Final = 4  # of everything described above; part of the keys, so that versions do not meet
HASH_BYTES: Final = 16
MARK: Final = b"mark"
POSITION: Final = b"position"
INTENT: Final = b"intent"
_TIME: Final = struct.Struct(">Q")
_CLAIM_AT: Final = 1  # in an identifier's field
_ID_AT: Final = _CLAIM_AT + _TIME.size
_TIMESTAMP_BIAS: Final = 1 << 63
NO_PARTITION: Final = 0xFFFF
_RECORD_HEAD: Final = struct.Struct(">HQQ?I")
RECORD_HEAD_BYTES: Final = _RECORD_HEAD.size
log = get_logger()
_CONTACT_KIND: Final = b"\0"  # an identifier's kind is a digit or a built-in's number, never this


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a shard was made for. All shards of one build have the same mark; `is_ready` is set last.

    `ends` are the partitions' ends when the build began; `phones` names how phone numbers are compared (D12).
    """

    format: Literal[4]  # FORMAT
    build: str
    topic_id: str
    ends: tuple[int, ...]
    is_ready: bool
    phones: str


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The next offset of each contacts partition, and when (ms, wall clock) the whole topic had been read."""

    offsets: tuple[int, ...]
    complete_at_ms: int


class UnreadableClaimsError(ValueError):
    """An identifier's field does not hold claims."""


def least(positions: Iterable[Position]) -> Position:
    """Return the least of all shards' positions, partition by partition: what the whole index has reached."""
    offsets, times_ms = zip(*((position.offsets, position.complete_at_ms) for position in positions), strict=True)
    return Position(tuple(map(min, zip(*offsets, strict=True))), min(times_ms))


_Kind = TypeVar("_Kind", Mark, Position)


def read_as(kind: type[_Kind], raw: bytes | None) -> _Kind | None:
    """Return a shard's Mark or Position; None if there is none that can be read, or it is of another format."""
    try:
        return None if raw is None else msgspec.msgpack.decode(raw, type=kind)
    except msgspec.MsgspecError:
        return None


def lineage_of(cluster_id: str, settings: Settings) -> str:
    """Return what keeps indexes apart in one Redis: all that what is in them depends on.

    Cluster and topic name, the format, the key of the hashes, the indexed custom fields. So two groups whose key or
    fields differ have an index each. The topic's id is not part of it: a recreated topic must be noticed, not look like
    a first start.
    """
    fields = sorted(identification_of(settings).custom_fields)
    parts = (cluster_id, settings.contacts_topic, FORMAT, Hashes(settings).fingerprint, fields)
    return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=8).hexdigest()


def shard_keys(lineage: str) -> tuple[str, ...]:
    """Return the shards' keys; the braces keep each on one node of a cluster."""
    return tuple(f"order-facts:contacts:{lineage}:{{c{shard}}}" for shard in range(SHARDS))


def shared_key(key: str) -> str:
    """Return the key of the claims on a shard's shared identifiers."""
    return f"{key}:shared"


def remove_shard(servers: Servers, keys: Sequence[str], number: int, problem: str) -> None:
    """Remove a shard that cannot be read, as a whole: the index is no longer ready, and its keeper rebuilds it."""
    ask(servers, [("UNLINK", keys[number], shared_key(keys[number]))])
    log.warning("contacts.damaged", shard=number, problem=problem)


def shard_of(digest: bytes) -> int:
    """Return the shard of an identifier's or a contact's hash."""
    return digest[0] % SHARDS


class Hashes:
    """Turns identifiers and contact ids into keyed hashes (BLAKE2b, 16 bytes)."""

    def __init__(self, settings: Settings) -> None:
        if settings.identifier_key is None:
            raise UsageError("setting identifier_key: put the secret of the contact index's hashes there")
        key = hashlib.blake2b(settings.identifier_key.encode(), digest_size=32, person=b"contact-index").digest()
        self._empty = hashlib.blake2b(key=key, digest_size=HASH_BYTES)
        self.fingerprint: Final = self._started(b"fingerprint").digest()[:8]
        # Each kind of hash begins in its own way; copying that beginning is cheaper than hashing it again.
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

    def joined(self, identifiers: Collection[Identifier]) -> bytes:
        """Return the hashes of a contact's identifiers, one after the other: `identifier` without a call for each."""
        started, found = self._fields, list[bytes]()
        try:
            for field, value in identifiers:
                digest = started[field].copy()
                digest.update(value.encode())
                found.append(digest.digest())
        except (KeyError, UnicodeEncodeError):  # a custom field's first one, or a text that is none
            return b"".join(map(self.identifier, identifiers))
        return b"".join(found)

    def contact(self, contact_id: bytes) -> bytes:
        """Return the hash that names a contact's entry."""
        digest = self._contact.copy()
        digest.update(contact_id)
        return digest.digest()

    def _started(self, beginning: bytes) -> "hashlib.blake2b":
        digest = self._empty.copy()
        digest.update(beginning)
        return digest


def claim_bytes(timestamp_ms: int, contact_id: bytes) -> bytes:
    """Return a claim's bytes. Of two claims the greater bytes win (C3)."""
    return _TIME.pack(timestamp_ms + _TIMESTAMP_BIAS) + contact_id


def winner_of(value: bytes) -> str:
    """Return the contact that wins an identifier (C3), given what the identifier's field holds.

    Raises UnreadableClaimsError for bytes that are no claim.
    """
    if len(value) < _ID_AT or value[0] > 1:
        raise UnreadableClaimsError
    try:
        return value[_ID_AT:].decode()
    except UnicodeDecodeError as error:
        raise UnreadableClaimsError from error


class ContactRecord(NamedTuple):
    """A contact's last record in one partition: where it stands, the hashes of its identifiers, whether it exists."""

    standing: Standing
    hashes: bytes
    exists: bool


def record_bytes(partition: int, offset: int, timestamp_ms: int, hashes: bytes, *, exists: bool) -> bytes:
    """Return a record of a contact's entry; `hashes` are those of its identifiers, joined."""
    count = len(hashes) // HASH_BYTES
    return _RECORD_HEAD.pack(partition, offset, timestamp_ms + _TIMESTAMP_BIAS, exists, count) + hashes


def entry_bytes(records: Iterable[ContactRecord]) -> bytes:
    """Return a contact's entry."""
    return b"".join(
        record_bytes(partition, offset, timestamp_ms, hashes, exists=exists)
        for (timestamp_ms, offset, partition), hashes, exists in records
    )


def read_entry(value: bytes) -> Iterator[ContactRecord]:
    """Yield the records of a contact's entry. Raises ValueError or struct.error for other bytes."""
    at = 0
    while at < len(value):
        partition, offset, biased_ms, exists, count = _RECORD_HEAD.unpack_from(value, at)
        start = at + RECORD_HEAD_BYTES
        at = start + count * HASH_BYTES
        if at > len(value):
            raise ValueError("ends within a record")
        yield ContactRecord(Standing(biased_ms - _TIMESTAMP_BIAS, offset, partition), value[start:at], exists)


def exists(entry: bytes | None) -> bool | None:
    """Return whether a contact exists, by its entry: the record in force is no deletion (D15).

    None: a batch with it crashed, and it is not known. Raises as `read_entry`.
    """
    records = list(read_entry(entry or b""))
    if any(record.standing.partition == NO_PARTITION for record in records):
        return None
    return bool(records) and max(records).exists
