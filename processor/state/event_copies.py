"""What a copy of an event is, and how far the copying of a topic is: as committed offsets with metadata.

An entry of the old topic is the next offset to copy; its metadata say for which two topics that holds, the latest time
among the records before it, whether the copy was finished, and how many partitions the topic had first. An entry of the
new topic is the offset behind the last copy: what comes after that is somebody else's.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from processor.errors import StopError
from processor.kafka.cluster import Topic
from processor.kafka.partitioning import usual_partition
from processor.settings import Settings

NO_TIME: Final = -(1 << 62)


class Place(msgspec.Struct, frozen=True):
    """The next offset of a partition, and the latest time (ms) among the records before it."""

    offset: int
    time_ms: int = NO_TIME


class Copied(msgspec.Struct, frozen=True):
    """How far a copy is: by old partition the next place, by new partition the offset behind the last copy."""

    places: Mapping[int, Place] = {}
    ends: Mapping[int, int] = {}
    is_finished: bool = False
    former_group: str = ""  # of the deployment whose events are copied
    token: str = ""  # of the copier that committed this
    partitions_before: int | None = None  # of the old topic before it was given more; None if nothing says so


class _Note(msgspec.Struct, frozen=True, omit_defaults=True):
    v: int
    topics: tuple[str, str]  # the ids of the old and the new events topic
    time_ms: int = NO_TIME
    finished: bool = False
    group: str = ""
    token: str = ""
    before: int | None = None


def entries_of(copied: Copied, former: Topic, new: Topic) -> list[TopicPartition]:
    """Return the offsets to commit."""

    def entry(topic: Topic, partition: int, place: Place) -> TopicPartition:
        ids, group, token = (former.topic_id, new.topic_id), copied.former_group, copied.token
        note = _Note(1, ids, place.time_ms, copied.is_finished, group, token, copied.partitions_before)
        return TopicPartition(topic.name, partition, place.offset, msgspec.json.encode(note).decode())

    places = [entry(former, partition, place) for partition, place in copied.places.items()]
    return places + [entry(new, partition, Place(end)) for partition, end in copied.ends.items()]


def copied_of(entries: Iterable[TopicPartition], former: Topic, new: Topic) -> Copied | None:
    """Return what committed offsets say; None without any. Raises StopError if they are of other topics."""
    places: dict[int, Place] = {}
    ends: dict[int, int] = {}
    is_finished, group, token, before = False, "", "", None
    for entry in entries:
        if entry.offset < 0:
            continue
        try:
            note = msgspec.json.decode(entry.metadata or "", type=_Note)
        except msgspec.MsgspecError:
            note = None
        if note is None or note.v != 1 or note.topics != (former.topic_id, new.topic_id):
            raise StopError(
                f"the committed offset of {entry.topic}[{entry.partition}] is not of a copy from this {former.name} to "
                f"this {new.name} (a topic was deleted and recreated, or another tool set it); begin again with "
                "another --suffix"
            )
        if entry.topic == former.name:
            places[entry.partition] = Place(entry.offset, note.time_ms)
            is_finished, group, token, before = note.finished, note.group, note.token, note.before
        else:
            ends[entry.partition] = entry.offset
    return Copied(places, ends, is_finished, group, token, before) if places else None


def copier_group(settings: Settings) -> str:
    """Return the group that holds how far the copy is, of the new deployment's settings; nobody joins it."""
    return f"{settings.group_id}-widen"


def new_partition(key: bytes | None, former: int, partitions: int) -> int:
    """Return the partition of a copy: where Kafka's own producers put its key; without a key, its former one."""
    return former % partitions if key is None else usual_partition(key, partitions)


def new_time_ms(former_ms: int) -> int:
    """Return the timestamp of a copy: its event's. Only 1970-01-01T00:00:00Z becomes a millisecond later."""
    return former_ms or 1
