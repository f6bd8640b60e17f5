"""What a batch of contacts tells each index shard, phase by phase (see `contacts.writer`). No I/O.

Here is decided which of a contact's records is in force (C1), and so which identifiers it claims.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from processor.contacts.shards import (
    HASH_BYTES,
    NO_PARTITION,
    RECORD_HEAD_BYTES,
    SHARDS,
    ContactRecord,
    Hashes,
    Position,
    claim_bytes,
    entry_bytes,
    read_entry,
    record_bytes,
    shard_of,
)
from processor.domain.claims import ContactChange

Calls = Mapping[int, tuple[Any, ...]]  # a script's arguments, by shard
_LENGTH: Final[Callable[[int], bytes]] = struct.Struct(">I").pack
_ID_LENGTH: Final[Callable[[int], bytes]] = struct.Struct(">H").pack


class UnreadableEntryError(Exception):
    """A contact's entry in a shard does not hold records."""

    def __init__(self, shard: int) -> None:
        super().__init__()
        self.shard = shard


class Phases:
    """The arguments of one batch. `settled` has each shard's position: what is below it needs no phase again.

    Nearly all contacts of a build are new, with one record in the batch; these take the short ways below.
    """

    def __init__(self, hashes: Hashes, changes: Iterable[ContactChange], settled: Sequence[Position | None]) -> None:
        # Each shard's contacts by hash, each with its id and its new records as an entry has them.
        self._contacts: list[dict[bytes, tuple[bytes, bytes]]] = [{} for _ in range(SHARDS)]
        self._intents: list[bytes] = []
        self._entries: list[bytes] = []
        self.conflicting = 0
        joined, contact_hash = hashes.joined, hashes.contact
        for change in changes:
            contact_id, partition, offset = change.contact_id, change.partition, change.offset
            digest = contact_hash(contact_id)
            shard = digest[0] % SHARDS
            position = settled[shard]
            if position is not None and offset < position.offsets[partition]:
                continue
            identifiers = change.identifiers
            exists = identifiers is not None
            record = record_bytes(partition, offset, change.timestamp_ms, joined(identifiers or ()), exists=exists)
            contacts = self._contacts[shard]
            before = contacts.get(digest)
            contacts[digest] = (contact_id, record if before is None else before[1] + record)
        self.count = sum(map(len, self._contacts))

    def intents(self) -> Calls:
        """Return the arguments of `intend`."""
        self._intents = [
            b"".join(
                [part for digest, (_, new) in contacts.items() for part in (digest, _LENGTH(len(new)), new)],
            )
            for contacts in self._contacts
        ]
        return {shard: (intent,) for shard, intent in enumerate(self._intents)}

    def claims(self, entries: Mapping[int, Sequence[Any]]) -> Calls:
        """Return the arguments of `claim`, given what `intend` returned: the entries of contacts that have one."""
        gone: list[list[bytes]] = [[] for _ in range(SHARDS)]
        coming: list[list[bytes]] = [[] for _ in range(SHARDS)]
        for shard, contacts in enumerate(self._contacts):
            known = dict(zip(entries[shard][::2], entries[shard][1::2], strict=True))
            after: list[bytes] = []
            for number, (digest, (contact_id, new)) in enumerate(contacts.items()):
                size = _ID_LENGTH(len(contact_id))
                entry = known.get(number)
                if entry is None and _is_one(new):
                    claim, hashes, written = new[10:18] + contact_id, new[RECORD_HEAD_BYTES:], new
                else:
                    records, past = self._merged(shard, entry or b"", new)
                    in_force = max(records)
                    claim, hashes = claim_bytes(in_force.standing.timestamp_ms, contact_id), in_force.hashes
                    written = entry_bytes(records)
                    for identifier, other in _claims(past, contact_id).difference(_claims([in_force], contact_id)):
                        gone[shard_of(identifier)] += (identifier, size, other)
                for at in range(0, len(hashes), HASH_BYTES):
                    identifier = hashes[at : at + HASH_BYTES]
                    coming[identifier[0] % SHARDS] += (identifier, size, claim)
                after += (digest, _LENGTH(len(written)), written)
            self._entries.append(b"".join(after))
        return {shard: (b"".join(gone[shard]), b"".join(coming[shard])) for shard in range(SHARDS)}

    def entries(self) -> Sequence[bytes]:
        """Return each shard's contacts' new entries for `settle`; empty if they are what the intent says."""
        return [
            b"" if entries == intent else entries for entries, intent in zip(self._entries, self._intents, strict=True)
        ]

    def _merged(self, shard: int, entry: bytes, new: bytes) -> tuple[list[ContactRecord], list[ContactRecord]]:
        """Return a contact's last record in each partition, and those that may have had claims until now.

        Counts the contact if it is in another partition than before.
        """
        try:
            past = list(read_entry(entry))
        except (ValueError, struct.error) as error:
            raise UnreadableEntryError(shard) from error
        records = {record.standing.partition: record for record in past}
        records.pop(NO_PARTITION, None)
        known = len(records)
        records |= {record.standing.partition: record for record in read_entry(new)}
        self.conflicting += len(records) > max(known, 1)
        return [*records.values()], past


def _is_one(records: bytes) -> bool:
    """Return whether there is one record in the bytes of one or several."""
    return int.from_bytes(records[19:RECORD_HEAD_BYTES], "big") * HASH_BYTES + RECORD_HEAD_BYTES == len(records)


def _claims(records: Iterable[ContactRecord], contact_id: bytes) -> set[tuple[bytes, bytes]]:
    """Return all claims that a contact has if each of these records is, or was, in force: (identifier, claim)."""
    return {
        (record.hashes[at : at + HASH_BYTES], claim_bytes(record.standing.timestamp_ms, contact_id))
        for record in records
        for at in range(0, len(record.hashes), HASH_BYTES)
    }
