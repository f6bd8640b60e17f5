"""How replayed records are kept: a committed offset for each partition of the rejected topic, with sweeps by reason.

The offsets belong to the group `<group_id>-replay`; their metadata says in JSON, by reason, which sweeps earlier runs
made. A sweep says in three numbers which records a run dealt with, so that a later run with another selection leaves
out exactly those. An offset that somebody sets by hand (no metadata) says: all records below were dealt with, none
above.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from processor.errors import StopError
from processor.kafka.cluster import Topic

EVER: Final = -1  # no lower bound: Kafka's mark for a record without a timestamp, and so the least time there is
ANY_REASON: Final = "*"
ANY_ROUNDS: Final = 1 << 53
_MOST_METADATA_BYTES: Final = 4_000  # a broker takes 4,096 by default
_VERSION: Final = 1


class Sweep(msgspec.Struct, frozen=True, array_like=True):
    """Records of one partition of the rejected topic, with one reason, that need no replay any more.

    They are those below the offset `end` that were rejected at `since_ms` (ms since the epoch) or later and had been
    replayed fewer than `rounds` times before.
    """

    end: int
    since_ms: int
    rounds: int

    def covers(self, offset: int, rejected_ms: int, rounds: int) -> bool:
        """Return whether a record is among them."""
        return offset < self.end and rejected_ms >= self.since_ms and rounds < self.rounds

    def includes(self, other: "Sweep") -> bool:
        """Return whether this sweep covers everything that the other covers."""
        return self.end >= other.end and self.since_ms <= other.since_ms and self.rounds >= other.rounds


Sweeps = Mapping[str, tuple[Sweep, ...]]  # of one partition: by reason, or for ANY_REASON


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A committed offset's metadata, as JSON."""

    v: int
    topic: str  # the id of the rejected topic
    swept: dict[str, tuple[Sweep, ...]]


def all_below(offset: int) -> Sweeps:
    """Return what says that every record below an offset was dealt with, whatever its reason."""
    return {ANY_REASON: (Sweep(offset, EVER, ANY_ROUNDS),)}


def with_sweep(sweeps: tuple[Sweep, ...], new: Sweep) -> tuple[Sweep, ...]:
    """Return the sweeps with a new one, without those that another one includes."""
    if any(sweep.includes(new) for sweep in sweeps):
        return sweeps
    return (*(sweep for sweep in sweeps if not new.includes(sweep)), new)


def offset_of(partition: int, sweeps: Sweeps, topic: Topic) -> TopicPartition:
    """Return what to commit for a partition of the rejected topic. Raises StopError if it is too long."""
    text = msgspec.json.encode(_Metadata(_VERSION, topic.topic_id, dict(sweeps)))
    if len(text) > _MOST_METADATA_BYTES:
        raise StopError(
            f"{topic.name}[{partition}]: too many replays with different --since are on record, each of which left "
            "older records out; replay once with an earlier --since, or with none"
        )
    end = max((sweep.end for found in sweeps.values() for sweep in found), default=0)
    return TopicPartition(topic.name, partition, end, text.decode())


def sweeps_of(committed: TopicPartition, topic: Topic) -> Sweeps:
    """Return the sweeps that a committed offset holds. Raises StopError if it is not this topic's."""
    place = f"the committed offset of {topic.name}[{committed.partition}] in the replay's group"
    if not committed.metadata:
        return all_below(committed.offset)
    try:
        metadata = msgspec.json.decode(committed.metadata, type=_Metadata)
    except msgspec.MsgspecError as error:
        raise StopError(
            f"{place} was not written by this program: its metadata is unreadable; set it again with Kafka's "
            "kafka-consumer-groups, which leaves no metadata: records below it count as replayed, the rest does not"
        ) from error
    if metadata.v != _VERSION:
        raise StopError(
            f"{place} was written by a newer version of this program (format {metadata.v}, this one reads {_VERSION}); "
            "run that version"
        )
    if metadata.topic != topic.topic_id:
        raise StopError(
            f"{place} belongs to another topic of that name (it was deleted and recreated); delete the offsets of "
            "that group with Kafka's kafka-consumer-groups, then run this again: the topic's records count as never "
            "replayed"
        )
    return metadata.swept
