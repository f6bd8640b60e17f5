"""The four topics: which ones exist, and what must hold for them before and during processing."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from processor.errors import StopError
from processor.kafka.cluster import Cluster, Topic
from processor.settings import Settings

RETENTION_MARGIN: Final = 0.9
"""What was read longer ago than this part of `delete.retention.ms` may miss a deletion."""
_BATCH_OVERHEAD_BYTES: Final = 1_000  # for a fact alone in a batch: batch header, key, record header
_BATCH_BYTES: Final = 1 << 20
_LEAST_DELETE_RETENTION_MS: Final = 3_600_000  # an index is built in minutes, and an old one may be as old as this
_LEAST_REJECTED_BYTES: Final = 256 << 10  # a cut record: 64 KiB each of value, key and headers, plus our headers


class Topics(msgspec.Struct, frozen=True):
    """The topics that the processor needs, all existing."""

    events: Topic
    contacts: Topic
    facts: Topic
    rejected: Topic


def describe_topics(settings: Settings, cluster: Cluster) -> Topics:
    """Return the four topics. Raises StopError if one is missing or the partition counts differ."""
    names = (settings.events_topic, settings.contacts_topic, settings.facts_topic, settings.rejected_topic)
    found = cluster.topics(names)
    missing = [name for name in names if name not in found]
    if missing:
        plural = "topics are" if len(missing) > 1 else "topic is"
        raise StopError(f"the {plural} missing: {', '.join(missing)}; create with: order-facts topics create")
    topics = Topics(*(found[name] for name in names))
    for output in (topics.facts, topics.rejected):
        if output.partitions != topics.events.partitions:
            raise StopError(
                f"{topics.events.name} has {topics.events.partitions} partitions, {output.name} has "
                f"{output.partitions}: they must be equal, as an output goes to its event's partition number; "
                "before the first event, delete the outputs and recreate them with `topics create`; after it, "
                'reprocess: see "Add partitions" in deploy/README.md (other partitions would give orders two lives)'
            )
    return topics


def repartitioned(topic: str, before: int | None, now: int) -> StopError:
    """Return what to say of an events topic whose number of partitions is another than when events were processed."""
    return StopError(
        f"{topic} has {now} partitions, and had {before} when its events were processed: keys are on other partitions "
        "since, so that known orders would get a second life; stop the producers, and go on with a copy of the topic: "
        'see "Partitions were added" in deploy/README.md'
    )


def check_settings(settings: Settings, cluster: Cluster) -> int:
    """Return how large a produce batch both output topics take uncompressed. Raises StopError if a topic is unfit."""
    facts, rejected = cluster.topic_settings(settings.facts_topic), cluster.topic_settings(settings.rejected_topic)
    require_compact(settings.facts_topic, facts, "it holds the state of all orders")
    require_compact(settings.contacts_topic, cluster.topic_settings(settings.contacts_topic), "it holds all contacts")
    _require_delete(settings.rejected_topic, rejected, "it would lose rejected records, and refuse those without a key")
    events = cluster.topic_settings(settings.events_topic)
    _require_delete(settings.events_topic, events, "it would lose events that were not processed yet")
    facts_limit = int(facts.get("max.message.bytes", 0))
    needed = settings.max_fact_bytes + _BATCH_OVERHEAD_BYTES
    if facts_limit < needed:
        raise StopError(
            f"the topic {settings.facts_topic} takes {facts_limit} bytes at most, too little for facts of "
            f"max_fact_bytes={settings.max_fact_bytes}; set its max.message.bytes to {needed} "
            "or more, or lower the setting max_fact_bytes"
        )
    rejected_limit = int(rejected.get("max.message.bytes", 0))
    if rejected_limit < _LEAST_REJECTED_BYTES:
        raise StopError(
            f"the topic {settings.rejected_topic} takes {rejected_limit} bytes at most; set its max.message.bytes to "
            f"{_LEAST_REJECTED_BYTES} or more, so that no rejected record can stop a partition"
        )
    return batch_bytes(facts_limit, rejected_limit)


def deletions_kept_ms(name: str, topic_settings: Mapping[str, str]) -> int:
    """Return how long the contacts topic keeps deletions. Raises StopError if the index cannot be built meanwhile."""
    kept_ms = int(topic_settings["delete.retention.ms"])
    if kept_ms < _LEAST_DELETE_RETENTION_MS:
        raise StopError(
            f"the topic {name} keeps deletions for delete.retention.ms={kept_ms} only, so that the contact index would "
            f"miss some while it is built; set it to {_LEAST_DELETE_RETENTION_MS} or more (a day is Kafka's default), "
            "then start `order-facts contacts index` again"
        )
    return kept_ms


def require_compact(name: str, topic_settings: Mapping[str, str], why: str) -> None:
    """Raise StopError if a topic is not compacted, or forgets records in another way too."""
    policy = topic_settings.get("cleanup.policy", "")
    if policy != "compact":
        raise StopError(f"the topic {name} has cleanup.policy={policy}; {why}: set it to compact, and nothing else")


def _require_delete(name: str, topic_settings: Mapping[str, str], why: str) -> None:
    """Raise StopError if a topic is compacted, which removes records whose key comes again."""
    policy = topic_settings.get("cleanup.policy", "")
    if "compact" in policy.split(","):
        raise StopError(f"the topic {name} has cleanup.policy={policy}; {why}: set it to delete, and nothing else")


def warnings(settings: Settings, cluster: Cluster) -> Iterator[str]:
    """Yield what is allowed but may lose committed records: a topic of which a single broker's loss is enough."""
    names = (settings.events_topic, settings.contacts_topic, settings.facts_topic, settings.rejected_topic)
    for name, copies in cluster.copies(names).items():
        in_sync = int(cluster.topic_settings(name).get("min.insync.replicas", 1))
        if copies > 1 and in_sync > 1:
            continue
        what = "min.insync.replicas=1" if copies > 1 else "replication factor 1"
        yield f"the topic {name} has {what}: the loss of one broker can lose committed records"


def batch_bytes(*limits: int) -> int:
    """Return how large a produce batch topics of these `max.message.bytes` take uncompressed."""
    return min(_BATCH_BYTES, *(limit - _BATCH_OVERHEAD_BYTES for limit in limits))
