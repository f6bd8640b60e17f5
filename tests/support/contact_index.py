"""Drives the contact index's writer over a topic held in memory, with faults between any two of its commands."""

import zlib
from collections import defaultdict
from dataclasses import dataclass, field

from msgspec.structs import replace

from processor.contacts.shards import (
    FORMAT,
    HASH_BYTES,
    Mark,
    Position,
    read_entry,
    shard_keys,
    shard_of,
    shared_key,
)
from processor.contacts.writer import IndexWriter, standing, why_build
from processor.domain.claims import Claim, ContactChange, Standing
from processor.domain.identifiers import CONTACT_ID
from processor.domain.phones import DIGITS
from processor.domain.records import Identifier
from processor.errors import RetryError
from processor.state.line import ask

PARTITIONS = 2


class Crash(Exception):  # noqa: N818 - it is no error of anybody
    """The writer's process ended here."""


@dataclass
class Topic:
    """A compacted contacts topic: all that was ever appended, and what compaction left of it."""

    ends: list = field(default_factory=lambda: [0] * PARTITIONS)
    records: list = field(default_factory=list)

    def append(self, contact_id, timestamp_ms, values, partition=None):
        """Append a contact with these values of its phone; None deletes it."""
        partition = zlib.crc32(contact_id.encode()) % PARTITIONS if partition is None else partition
        identifiers = None
        if values is not None:
            found = [Identifier(CONTACT_ID, contact_id), *(Identifier("phone", value) for value in values)]
            identifiers = tuple(dict.fromkeys(found))
        change = ContactChange(contact_id.encode(), partition, self.ends[partition], timestamp_ms, identifiers)
        self.ends[partition] += 1
        self.records.append(change)

    def compact(self):
        """Drop the records that a later one in their partition replaces; tombstones stay (they are young)."""
        kept = {id(record) for record in self.last()}
        self.records = [record for record in self.records if id(record) in kept]

    def last(self):
        """Give each contact's last record in each partition."""
        return {(record.contact_id, record.partition): record for record in self.records}.values()

    def read(self, offsets, batch):
        """Give batches of at most so many records from these offsets on, each with the offsets behind it."""
        rest = [record for record in self.records if record.offset >= offsets[record.partition]]
        offsets = list(offsets)
        for first in range(0, len(rest), batch):
            records = rest[first : first + batch]
            for record in records:
                offsets[record.partition] = record.offset + 1
            yield records, tuple(offsets)
        if tuple(offsets) != tuple(self.ends):
            yield [], tuple(self.ends)


class FaultyWriter(IndexWriter):
    """Sends its commands one by one and calls `before` ahead of each, which may raise, or meddle with Redis."""

    def __init__(self, servers, lineage, hashes, token, before):
        super().__init__(servers, lineage, hashes, token)
        self._before = before

        self._answered = []

    def _post(self, commands):
        for command in commands:
            self._before(command)
            self._answered += ask(self._servers, [command])

    def _replies(self):
        found, self._answered = self._answered, []
        return found


def mark_of(topic, *, topic_id="topic", build="build"):
    """Give the mark of a build that begins now."""
    return Mark(FORMAT, build, topic_id, tuple(topic.ends), is_ready=False, phones=DIGITS.name)


def session(writer, topic, mark, *, batch, last_id=b""):
    """Take the index over and write all there is, as a session of the program does; return the cause of a build."""
    writer.take(last_id)
    cause = why_build(writer.shards, mark, [(0, end) for end in topic.ends], oldest_ms=0)
    if cause is None:
        mark, position = standing(writer.shards)
        writer.level()
    else:
        position = Position((0,) * PARTITIONS, 0)
        writer.build(mark, position)
    written = None
    for records, offsets in topic.read(position.offsets, batch):
        written = offsets
        newest = {(record.contact_id, record.partition): record for record in records}
        mark = ready_at(mark, offsets)
        writer.begin(newest.values(), Position(offsets, 0), mark)
    writer.finish()
    if written is None and not mark.is_ready:
        writer.write((), position, ready_at(mark, position.offsets))
    return cause


def ready_at(mark, offsets):
    """Give the mark as it is once the index has come so far."""
    is_ready = mark.is_ready or all(offset >= end for offset, end in zip(offsets, mark.ends, strict=True))
    return replace(mark, is_ready=is_ready)


def settle(make_writer, topic, mark, *, batch):
    """Run sessions until one comes to its end: what the program does after any fault."""
    for _ in range(10):
        try:
            session(make_writer(), topic, mark, batch=batch)
        except (Crash, RetryError):
            continue
        return
    raise AssertionError("the writer never came to an end")


def contents(client, lineage, hashes, topic):
    """Give what the index holds of a topic: each identifier's winner and other claims, each contact's records."""
    names = {hashes.contact(record.contact_id) for record in topic.records}
    found, entries = {}, {}
    for key in shard_keys(lineage):
        fields, shared = client.hgetall(key), defaultdict(list)
        for member in client.zrange(shared_key(key), 0, -1):
            shared[member[:HASH_BYTES]].append(read_claim(member[HASH_BYTES:]))
        writer = b"writer" + fields[b"writer"]
        assert len(shared.pop(writer[:HASH_BYTES])) == 1
        assert client.zscore(shared_key(key), writer) == 0
        for name, value in fields.items():
            if name in names:
                entries[key, name] = {
                    (record.standing, record.exists, *sorted(_split(record.hashes))) for record in read_entry(value)
                }
            elif len(name) == HASH_BYTES:
                others = sorted(shared.pop(name, []))
                assert value[:1] == (b"\1" if others else b"\0")
                found[key, name] = read_claim(value[1:]), others[:-1]
                assert not others or others[-1] == read_claim(value[1:])
        assert not shared
    return found, entries


def read_claim(value):
    """Give a claim by its bytes."""
    return Claim(int.from_bytes(value[:8], "big") - (1 << 63), value[8:].decode())


def expected_contents(lineage, hashes, topic):
    """Give what `contents` should be, by the rules: each contact's last record of the latest time is in force (C1)."""
    keys = shard_keys(lineage)
    claims: dict[tuple[str, bytes], list[Claim]] = {}
    entries: dict[tuple[str, bytes], set[tuple[object, ...]]] = {}
    in_force: dict[bytes, tuple[Standing, list[bytes]]] = {}
    for record in topic.last():
        standing = Standing(record.timestamp_ms, record.offset, record.partition)
        digests = sorted(hashes.identifier(identifier) for identifier in record.identifiers or ())
        contact = hashes.contact(record.contact_id)
        entries.setdefault((keys[shard_of(contact)], contact), set()).add(
            (standing, record.identifiers is not None, *digests)
        )
        in_force[record.contact_id] = max(in_force.get(record.contact_id, (standing, digests)), (standing, digests))
    for contact_id, (standing, digests) in in_force.items():
        for digest in digests:
            claim = Claim(standing.timestamp_ms, contact_id.decode())
            claims.setdefault((keys[shard_of(digest)], digest), []).append(claim)
    return {place: (max(some), sorted(some)[:-1]) for place, some in claims.items()}, entries


def _split(hashes):
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]
