"""The watermark: how far a partition is, in the mirror and in the committed offset's metadata.

The metadata also says which deployment the offset belongs to, and how far the contact index was that events were
decided with.
"""

import hashlib
from collections.abc import Mapping
from itertools import zip_longest
from typing import Final, Self

import msgspec
from confluent_kafka import TopicPartition

from processor.errors import StopError
from processor.kafka.cluster import Topic
from processor.kafka.topics import repartitioned

MAX_METADATA_BYTES: Final = 4096  # the broker's default, offset.metadata.max.bytes
_NO_EPOCH: Final = -1  # what the client takes for "no leader epoch is known"
_METADATA_VERSIONS: Final = {1: 2, 2: 3}  # by the version of facts that is written
_READABLE_VERSIONS: Final = frozenset({1, *_METADATA_VERSIONS.values()})


class Watermark(msgspec.Struct, frozen=True, order=True):
    """How far a partition is: the next source offset, and the next facts offset (the last fact's + 1)."""

    source: int
    facts: int


def greatest(one: Watermark | None, other: Watermark | None) -> Watermark | None:
    """Return the greater of each of the two numbers."""
    if one is None or other is None:
        return one or other
    return Watermark(max(one.source, other.source), max(one.facts, other.facts))


def is_below(one: Watermark | None, other: Watermark | None) -> bool:
    """Return whether the other goes beyond this one in either number."""
    return greatest(one, other) != one


class ContactsPosition(msgspec.Struct, frozen=True):
    """How far the contact index was that events were decided with: the contacts topic's id, next offsets."""

    topic_id: str
    offsets: tuple[int, ...]

    def joined(self, other: "ContactsPosition | None") -> "ContactsPosition":
        """Return the greater of both, partition by partition; ignore another topic's position."""
        if other is None or other.topic_id != self.topic_id:
            return self
        pairs = zip_longest(self.offsets, other.offsets, fillvalue=0)
        return ContactsPosition(self.topic_id, tuple(max(pair) for pair in pairs))

    def reaches(self, other: "ContactsPosition | None") -> bool:
        """Return whether this position is at least as far as the other in every partition."""
        return self.joined(other).offsets == self.offsets


class EarlierLog(msgspec.Struct, frozen=True):
    """An events log whose end the brokers lost after it was processed, so that its offsets are used a second time.

    Up to source offset `until`, what was written below these offsets of the facts and the rejected topic, or is in a
    mirror of those facts, says nothing of the events that are there now.
    """

    until: int
    facts: int
    rejected: int


class EventsLog(msgspec.Struct, frozen=True):
    """What is committed of the events log besides the next offset: the leader epoch that it was read in."""

    epoch: int | None = None
    earlier: EarlierLog | None = None


class Notes(msgspec.Struct, frozen=True):
    """What is committed beside the watermarks: how far the contact index was, and each partition's events log."""

    contacts: ContactsPosition | None = None
    logs: Mapping[int, EventsLog] = {}


class _Version(msgspec.Struct, frozen=True):
    """The part of the metadata that every version has."""

    v: int


class _Metadata(_Version, frozen=True, omit_defaults=True):
    """A committed offset's metadata, as JSON. Unknown fields are ignored: a field may come without a new version.

    Version 1 has no `partitions`. Version 3 says that facts of version 2 may be there: a program that cannot read them
    stops here. A version that this program does not know is not read.
    """

    facts: int
    topics: tuple[str, str]  # the ids of the events and the facts topic
    contacts: ContactsPosition | None = None  # the greatest one used so far
    partitions: int | None = None  # of the events topic
    earlier: EarlierLog | None = None
    rejected: str | None = None  # the id of the rejected topic; None: written by a version that did not say


class Lineage(msgspec.Struct, frozen=True):
    """What makes one deployment's state its own: cluster, group, the ids of its topics, their number of partitions.

    The rejected topic is no part of its digest: its records say whose they are, and no state is made from them.
    """

    cluster_id: str
    group_id: str
    events_topic_id: str
    facts_topic_id: str
    rejected_topic_id: str
    partitions: int

    @classmethod
    def of(cls, cluster_id: str, group_id: str, events: Topic, facts: Topic, rejected: Topic) -> Self:
        """Return the lineage of a group with these topics."""
        return cls(cluster_id, group_id, events.topic_id, facts.topic_id, rejected.topic_id, events.partitions)

    def digest(self, form: bytes = b"") -> str:
        """Return a short hash of the lineage, and of the form of what belongs to it."""
        digest = hashlib.blake2b(form, digest_size=8)
        for part in (self.cluster_id, self.group_id, self.events_topic_id, self.facts_topic_id):
            digest.update(b"\0" + part.encode())
        return digest.hexdigest()


class UnreadableMetadataError(StopError):
    """A committed offset whose metadata this program did not write."""


def metadata_text(
    watermark: Watermark,
    lineage: Lineage,
    contacts: ContactsPosition | None = None,
    earlier: EarlierLog | None = None,
    *,
    fact_version: int = max(_METADATA_VERSIONS),
) -> str:
    """Return the metadata to commit with `watermark.source`, where facts of this version are written."""
    if earlier is not None and watermark.source >= earlier.until:
        earlier = None
    topics = (lineage.events_topic_id, lineage.facts_topic_id)
    about = (topics, contacts, lineage.partitions, earlier, lineage.rejected_topic_id)
    metadata = _Metadata(_METADATA_VERSIONS[fact_version], watermark.facts, *about)
    return msgspec.json.encode(metadata).decode()


def offset_entry(topic: str, partition: int, offset: int, epoch: int | None, metadata: str = "") -> TopicPartition:
    """Return an offset with its leader epoch, as the client takes it."""
    return TopicPartition(topic, partition, offset, metadata, _NO_EPOCH if epoch is None else epoch)


def check_metadata_fits(contacts_partitions: int) -> None:
    """Refuse a contacts topic with too many partitions: its position must fit into an offset's metadata."""
    topic_id = "x" * 22
    lineage = Lineage("", "", topic_id, topic_id, topic_id, 10**5)
    largest = ContactsPosition(topic_id, (10**14,) * contacts_partitions)
    earlier = EarlierLog(10**15, 10**14, 10**14)
    if len(metadata_text(Watermark(10**14, 10**14), lineage, largest, earlier)) > MAX_METADATA_BYTES:
        raise StopError(
            f"the contacts topic has {contacts_partitions} partitions: its position does not fit into the "
            f"{MAX_METADATA_BYTES} bytes of a committed offset's metadata; use a contacts topic with fewer partitions"
        )


def is_own_metadata(committed: TopicPartition) -> bool:
    """Return whether this program wrote a committed offset, in whatever deployment and version."""
    try:
        _metadata_of(committed)
    except msgspec.MsgspecError:
        return False
    return True


def contacts_of(committed: TopicPartition) -> ContactsPosition | None:
    """Return how far the contact index was, for an offset whose metadata `watermark_of` could read."""
    return msgspec.json.decode(committed.metadata or "", type=_Metadata).contacts


def log_of(committed: TopicPartition) -> EventsLog:
    """Return what a committed offset says of the events log, of an offset whose metadata `watermark_of` could read."""
    metadata = msgspec.json.decode(committed.metadata or "", type=_Metadata)
    return EventsLog(committed.leader_epoch, metadata.earlier)


def has_other_rejected(committed: TopicPartition, lineage: Lineage) -> bool:
    """Return whether rejected records went to another topic, for an offset whose metadata `watermark_of` could read."""
    return rejected_topic_of(committed) not in {None, lineage.rejected_topic_id}


def rejected_topic_of(committed: TopicPartition) -> str | None:
    """Return the id of the topic that rejected records went to; None if the metadata do not say, or are not ours."""
    found = _own_metadata(committed)
    return None if found is None else found.rejected


def partitions_noted(committed: TopicPartition) -> int | None:
    """Return how many partitions the events topic had when an offset was committed; None if it does not say."""
    found = _own_metadata(committed)
    return None if found is None else found.partitions


def lineage_in(committed: TopicPartition, cluster_id: str, group_id: str) -> Lineage | None:
    """Return the lineage that a group's committed offset belongs to; None if there is none, or it is not ours."""
    found = _own_metadata(committed)
    if committed.offset < 0 or found is None:
        return None
    return Lineage(cluster_id, group_id, *found.topics, found.rejected or "", found.partitions or 0)


def watermark_of(committed: TopicPartition, lineage: Lineage) -> Watermark:
    """Return the watermark that a committed offset holds. Raises StopError if it is not of this lineage."""
    place = f"the committed offset of {committed.topic}[{committed.partition}] in group {lineage.group_id}"
    try:
        metadata = _metadata_of(committed)
    except msgspec.MsgspecError as error:
        raise UnreadableMetadataError(
            f"{place} was not written by this program (its metadata is unreadable); set it again "
            "with `order-facts state recover`, or take a new group_id with a new facts_topic and rejected_topic"
        ) from error
    if isinstance(metadata, int):
        raise StopError(
            f"{place} was written by a newer version of this program (format {metadata}, this one reads up to "
            f"{max(_READABLE_VERSIONS)}); run that version"
        )
    if metadata.topics != (lineage.events_topic_id, lineage.facts_topic_id):
        raise StopError(
            f"{place} belongs to another events or facts topic (a topic was deleted and recreated); take a new "
            "group_id with a new facts_topic and rejected_topic"
        )
    if metadata.partitions not in {None, lineage.partitions}:
        raise repartitioned(str(committed.topic), metadata.partitions, lineage.partitions)
    return Watermark(committed.offset, metadata.facts)


def _own_metadata(committed: TopicPartition) -> _Metadata | None:
    """Return the metadata; None if another tool wrote it, or a version that this one cannot read."""
    try:
        found = _metadata_of(committed)
    except msgspec.MsgspecError:
        return None
    return None if isinstance(found, int) else found


def _metadata_of(committed: TopicPartition) -> _Metadata | int:
    """Return the metadata, or the version that wrote it if that is unknown. Raises MsgspecError for another tool's."""
    text = committed.metadata or ""
    version = msgspec.json.decode(text, type=_Version).v
    return msgspec.json.decode(text, type=_Metadata) if version in _READABLE_VERSIONS else version
