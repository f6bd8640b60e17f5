"""Drives the contact index's writer over a topic held in memory, with faults between any two of its commands."""

import zlib
from dataclasses import dataclass, field

from redis import RedisError

from processor.contacts.shards import FORMAT, HASH_BYTES, Mark, Position, read_claims, shard_keys, shard_of
from processor.contacts.writer import IndexWriter, standing, why_build
from processor.domain.claims import ContactChange
from processor.domain.identifiers import CONTACT_ID
from processor.domain.records import Identifier
from processor.errors import RetryError
from processor.state.connection import classify

PARTITIONS = 2


class Crash(Exception):  # noqa: N818 - it is no error of anybody
    """The writer's process ended here."""


@dataclass
class Topic:
    """A compacted contacts topic: all that was ever appended, and what compaction left of it."""

    ends: list = field(default_factory=lambda: [0] * PARTITIONS)
    records: list = field(default_factory=list)

    def append(self, contact_id, timestamp_ms, values):
        """Append a contact with these values of its phone; None deletes it."""
        partition = zlib.crc32(contact_id.encode()) % PARTITIONS
        identifiers = None
        if values is not None:
            found = [Identifier(CONTACT_ID, contact_id), *(Identifier("phone", value) for value in values)]
            identifiers = tuple(dict.fromkeys(found))
        change = ContactChange(contact_id.encode(), partition, self.ends[partition], timestamp_ms, identifiers)
        self.ends[partition] += 1
        self.records.append(change)

    def compact(self):
        """Drop the records that a later one of their contact replaces; tombstones stay (they are young)."""
        last = {record.contact_id: record for record in self.records}
        self.records = [record for record in self.records if last[record.contact_id] is record]

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

    def __init__(self, client, lineage, hashes, token, before):
        super().__init__(client, lineage, hashes, token)
        self._before = before

    def _execute(self, pipeline):
        replies = []
        for arguments, _ in pipeline.command_stack:
            self._before(arguments)
            try:
                replies.append(self._client.execute_command(*arguments))
            except RedisError as error:
                raise classify(error) from error
        return replies


def mark_of(topic, *, topic_id="topic", build="build"):
    """Give the mark of a build that begins now."""
    return Mark(FORMAT, build, topic_id, tuple(topic.ends), is_ready=False)


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
        newest = {record.contact_id: record for record in records}
        mark = ready_at(mark, offsets)
        writer.write(newest.values(), Position(offsets, 0), mark)
    if written is None and not mark.is_ready:
        writer.write((), position, ready_at(mark, position.offsets))
    return cause


def ready_at(mark, offsets):
    """Give the mark as it is once the index has come so far."""
    is_ready = mark.is_ready or all(offset >= end for offset, end in zip(offsets, mark.ends, strict=True))
    return Mark(mark.format, mark.build, mark.topic_id, mark.ends, is_ready)


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
    """Give what the index holds of a topic, the order of claims and entries not mattering: claims, entries."""
    names = {hashes.contact(record.contact_id) for record in topic.records}
    found, entries = {}, {}
    for key in shard_keys(lineage):
        for name, value in client.hgetall(key).items():
            if name in names:
                entries[key, name] = sorted(value[at : at + HASH_BYTES] for at in range(0, len(value), HASH_BYTES))
            elif len(name) == HASH_BYTES:
                found[key, name] = sorted(read_claims(value))
    return found, entries


def expected_contents(lineage, hashes, topic):
    """Give what `contents` should be, by the rules: each contact's last record is in force (C1)."""
    keys = shard_keys(lineage)
    found: dict[tuple[str, bytes], list[tuple[int, str]]] = {}
    entries = {}
    for record in {record.contact_id: record for record in topic.records}.values():
        digests = [hashes.identifier(identifier) for identifier in record.identifiers or ()]
        for digest in digests:
            claim = (record.timestamp_ms, record.contact_id.decode())
            found.setdefault((keys[shard_of(digest)], digest), []).append(claim)
        if digests:
            contact = hashes.contact(record.contact_id)
            entries[keys[shard_of(contact)], contact] = sorted(digests)
    return {place: sorted(claims) for place, claims in found.items()}, entries
