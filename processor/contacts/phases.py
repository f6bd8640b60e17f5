"""What a batch of contacts tells each index shard, phase by phase (see `contacts.writer`). No I/O.

Here is decided which of a contact's records is in force (C1), and so which identifiers it claims.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from processor.contacts.shards import (
    HASH_BYTES,
    NO_PARTITION,
    SHARDS,
    ContactRecord,
    Hashes,
    Position,
    claim_bytes,
    entry_bytes,
    read_entry,
    shard_of,
)
from processor.domain.claims import ContactChange, Standing

Calls = Mapping[int, tuple[Any, ...]]  # a script's arguments, by shard


class UnreadableEntryError(Exception):
    """A contact's entry in a shard does not hold records."""

    def __init__(self, shard: int) -> None:
        super().__init__()
        self.shard = shard


class Phases:
    """The arguments of one batch. `settled` has each shard's position: what is below it needs no phase again."""

    def __init__(self, hashes: Hashes, changes: Iterable[ContactChange], settled: Sequence[Position | None]) -> None:
        # Each shard's contacts by hash, each with its new records: nearly always one, else one a partition.
        self._contacts: list[dict[bytes, tuple[bytes, list[ContactRecord]]]] = [{} for _ in range(SHARDS)]
        self._entries: list[list[bytes]] = [[] for _ in range(SHARDS)]
        self.conflicting = 0
        for change in changes:
            digest = hashes.contact(change.contact_id)
            shard = shard_of(digest)
            position = settled[shard]
            if position is None or change.offset >= position.offsets[change.partition]:
                standing = Standing(change.timestamp_ms, change.offset, change.partition)
                joined = b"".join([hashes.identifier(identifier) for identifier in change.identifiers or ()])
                _, records = self._contacts[shard].setdefault(digest, (change.contact_id, []))
                records.append(ContactRecord(standing, joined, change.identifiers is not None))
        self.count = sum(map(len, self._contacts))

    def intents(self) -> Calls:
        """Return the arguments of `intend`."""
        calls = {}
        for shard, contacts in enumerate(self._contacts):
            sized = []
            for digest, (_, records) in contacts.items():
                own = b"".join([record.hashes for record in records])
                sized.append(digest + (len(own) // HASH_BYTES).to_bytes(4, "big") + own)
            calls[shard] = (b"".join(sized), *contacts)
        return calls

    def claims(self, entries: Mapping[int, Sequence[bytes | None]]) -> Calls:
        """Return the arguments of `claim`, given the contacts' present entries."""
        touched: list[defaultdict[bytes, list[bytes]]] = [defaultdict(list) for _ in range(SHARDS)]
        coming: list[defaultdict[bytes, list[bytes]]] = [defaultdict(list) for _ in range(SHARDS)]
        for shard, contacts in enumerate(self._contacts):
            for (contact_id, new), entry in zip(contacts.values(), entries[shard], strict=True):
                before = self._read(shard, entry) if entry else []
                records = self._merged(before, new)
                self._entries[shard].append(entry_bytes(records))
                in_force = max(records)
                claim = claim_bytes(in_force.standing.timestamp_ms, contact_id)
                named = claim[8:]  # the script takes the id with its length
                claimed = _split(in_force.hashes)
                for identifier in claimed:
                    at = shard_of(identifier)
                    coming[at][identifier].append(claim)
                    touched[at][identifier].append(named)
                if before or len(new) > 1:
                    others = b"".join([record.hashes for record in (*before, *new)])
                    for identifier in {*_split(others)}.difference(claimed):
                        touched[shard_of(identifier)][identifier].append(named)
        return {
            shard: tuple(
                part
                for identifier, ids in touched[shard].items()
                for part in (identifier, b"".join(ids), b"".join(coming[shard].get(identifier, ())))
            )
            for shard in range(SHARDS)
        }

    def entries(self) -> Calls:
        """Return the contacts' new entries for `settle`."""
        return {
            shard: tuple(part for pair in zip(contacts, self._entries[shard], strict=True) for part in pair)
            for shard, contacts in enumerate(self._contacts)
        }

    def _read(self, shard: int, entry: bytes) -> list[ContactRecord]:
        try:
            return list(read_entry(entry))
        except (ValueError, struct.error) as error:
            raise UnreadableEntryError(shard) from error

    def _merged(self, before: Sequence[ContactRecord], new: Sequence[ContactRecord]) -> Sequence[ContactRecord]:
        """Return a contact's last record in each partition, and count it if it is in another partition than before."""
        if not before and len(new) == 1:
            return new
        records = {record.standing.partition: record for record in before}
        records.pop(NO_PARTITION, None)
        known = len(records)
        records |= {record.standing.partition: record for record in new}
        self.conflicting += len(records) > max(known, 1)
        return [*records.values()]


def _split(hashes: bytes) -> list[bytes]:
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
