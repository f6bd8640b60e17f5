"""Finds out whether a partition lost its end below a committed offset and was filled again.

That happens after an unclean election, or if a broker's disk is restored: the offset exists, but others are the records
below it. Each leader of a partition has an epoch, and a committed offset carries the one that its records were written
in. The broker knows where that epoch ended.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from typing import Final, cast

from confluent_kafka import TopicPartition

from processor.errors import RetryError
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader
from processor.kafka.cluster import Cluster
from processor.kafka.failures import failures, is_end
from processor.settings import Settings

_POLL_S: Final = 0.1


def log_cuts(settings: Settings, cluster: Cluster, committed: Iterable[TopicPartition]) -> dict[int, int]:
    """Return where other records begin, or the log ends, in each partition that was cut below its committed offset.

    Tells nothing of an offset that was committed without a leader epoch. Where no new leader came, no broker is asked a
    second question. Raises RetryError.
    """
    known = {entry.partition: entry for entry in committed if entry.offset >= 0 and entry.leader_epoch is not None}
    leaders = cluster.leader_epochs(settings.events_topic, known)
    doubtful = [entry for partition, entry in known.items() if leaders[partition] != entry.leader_epoch]
    return _first_offsets_below(settings, doubtful) if doubtful else {}


def _first_offsets_below(settings: Settings, entries: list[TopicPartition]) -> dict[int, int]:
    """Read from each offset with its epoch: if the log was cut below it, the client begins where it was cut."""
    topic = settings.events_topic
    places = [TopicPartition(topic, e.partition, e.offset, "", e.leader_epoch) for e in entries]
    waiting, cuts = {entry.partition: entry.offset for entry in entries}, {}
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    with closing(reader(settings, **{"auto.offset.reset": "latest"})) as consumer, failures(f"reading {topic}"):
        consumer.assign(places)
        for place in places:
            consumer.seek(place)  # which checks the epoch before anything is read
        while waiting:
            if time.monotonic() >= deadline:
                raise RetryError(f"{topic}: partitions {sorted(waiting)} do not say whether they lost their end")
            message = consumer.poll(_POLL_S)
            if message is None:
                continue
            is_end(message, f"reading {topic}")
            partition, offset = cast("int", message.partition()), cast("int", message.offset())
            place_offset = waiting.pop(partition, offset)
            if offset < place_offset:
                cuts[partition] = offset
    return cuts
