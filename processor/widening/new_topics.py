"""The new topics: like the old ones, with more partitions; and whether those that exist can be taken.

A topic takes the own settings of its old one (retention, sizes, compression, policy), but for what would harm copies in
the new events topic. The time of a record must be its producer's: else every copy would have the time of copying. Any
time is taken. And retention removes nothing yet: a copy is as old as its event, so it could be gone before the new
deployment has read it.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

from processor.errors import UsageError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.creation import Created, create_like
from processor.kafka.ranges import read_range
from processor.widening.new_names import Widened

_TIMES: Final = "message.timestamp.type"
_OWN_TIMES: Final = "CreateTime"
_ANY_TIME: Final = str((1 << 63) - 1)
_TIME_LIMITS: Final = {  # each by some versions of Kafka
    "message.timestamp.before.max.ms": _ANY_TIME,
    "message.timestamp.after.max.ms": _ANY_TIME,
    "message.timestamp.difference.max.ms": _ANY_TIME,
}
_KEPT: Final = {"retention.ms": "-1", "retention.bytes": "-1"}
_FOR_COPIES: Final = {_TIMES: _OWN_TIMES} | _TIME_LIMITS | _KEPT
_PAIRS: Final = ("events_topic", "facts_topic", "rejected_topic")


def former_events(names: Widened, cluster: Cluster) -> Topic:
    """Return the old events topic. Raises StopError if a topic is missing, UsageError if N is no greater number."""
    settings = names.former
    found = cluster.required([settings.events_topic, settings.facts_topic, settings.rejected_topic])
    events = found[settings.events_topic]
    if names.partitions <= events.partitions:
        raise UsageError(
            f"--partitions {names.partitions}: {events.name} has {events.partitions} partitions; put a greater number"
        )
    return events


def create_topics(names: Widened, cluster: Cluster) -> Iterator[Created]:
    """Create what is missing of the new topics; each can be used when it is yielded.

    Raises UsageError for an existing topic that cannot be taken; StopError, RetryError or UnreachableError if one
    cannot be created.
    """
    pairs = {getattr(names.new, role): getattr(names.former, role) for role in _PAIRS}
    existing = cluster.topics(pairs)
    for topic in existing.values():
        if topic.partitions != names.partitions:
            raise UsageError(
                f"--suffix {names.suffix}: the topic {topic.name} exists with {topic.partitions} partitions, not "
                f"{names.partitions}; put another suffix, or delete the topic"
            )
    new_events = names.new.events_topic
    if new_events in existing and (kind := cluster.topic_settings(new_events).get(_TIMES)) != _OWN_TIMES:
        raise UsageError(
            f"--suffix {names.suffix}: the topic {new_events} has {_TIMES}={kind}, so that copies would lose their "
            f"events' times; set it to {_OWN_TIMES}, or put another suffix"
        )
    for new, former in pairs.items():
        if new in existing:
            yield Created(new, existing[new].partitions)
            continue
        known = cluster.topic_settings(former) if new == new_events else {}
        changed = {name: value for name, value in _FOR_COPIES.items() if name in known and known[name] != value}
        yield create_like(names.new, cluster, former, new, names.partitions, changed)


def require_empty(names: Widened, cluster: Cluster) -> None:
    """Require that the new topics hold nothing: no copy is on record. Raises UsageError."""
    for role in _PAIRS:
        topic, partitions = getattr(names.new, role), range(names.partitions)
        if _holds_any(names, topic, cluster.starts(topic, partitions), cluster.ends(topic, partitions)):
            raise UsageError(
                f"--suffix {names.suffix}: the topic {topic} holds records, and no copy of {names.former.events_topic} "
                "with these names is on record (Kafka forgets it after some days); put another suffix, or delete the "
                "new topics"
            )


def shortened(names: Widened, cluster: Cluster) -> dict[str, str]:
    """Return by name the settings with which the new events topic may lose copies: it was not created here."""
    found = cluster.topic_settings(names.new.events_topic)
    return {name: found[name] for name, value in _KEPT.items() if name in found and found[name] != value}


def to_set_back(names: Widened, cluster: Cluster) -> dict[str, str]:
    """Return by name the old events topic's settings that the new one does not have for the copies' sake."""
    former = cluster.topic_settings(names.former.events_topic)
    new = cluster.topic_settings(names.new.events_topic)
    return {name: former[name] for name in _FOR_COPIES if name in former and former[name] != new.get(name)}


def _holds_any(names: Widened, topic: str, starts: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    with closing(reader(names.former)) as consumer:
        return next(read_range(consumer, topic, starts, ends), None) is not None
