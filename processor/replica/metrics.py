"""Every metric of a replica in one list, each with its meaning. Names are public: dashboards and alerts use them.

`REGISTRY` is that of one process. Each label has few values: never an order, a contact or a key.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from processor.monitoring.expositions import ByPartition, Exposition, new_registry

REGISTRY: Final = new_registry()
_LATENCY_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400)
_STEP_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EVENTS: Final = Counter(
    "order_facts_events",
    "Processed events, by outcome: fact, ignored or invalid. Their sum is the number of events consumed.",
    ["outcome"],
    registry=REGISTRY,
)
REJECTED: Final = Counter("order_facts_rejected", "Rejected events, by reason.", ["reason"], registry=REGISTRY)
BATCHES: Final = Counter("order_facts_batches", "Committed batches.", registry=REGISTRY)
STEP: Final = Histogram(
    "order_facts_step_seconds",
    "Duration of a batch's steps, by step: poll, decode, lookup, fold, commit or mirror.",
    ["step"],
    buckets=_STEP_SECONDS,
    registry=REGISTRY,
)
RECOVERIES: Final = Counter(
    "order_facts_recoveries",
    "Runs of the recovery path, by recovery: retry or producer_lost.",
    ["recovery"],
    registry=REGISTRY,
)
FRESHNESS: Final = ByPartition(
    "order_facts_freshness_seconds",
    "Age of a partition's oldest event that is not committed, by its record's timestamp; 0 if none waits. While the "
    "brokers do not answer and no event is known to wait: since they last said so, which is the most that it can be. "
    "If events wait in a partition that was just assigned, and none was read yet: since that is known, the least that "
    "it can be. No sample before anything is known.",
    REGISTRY,
)
LATENCY: Final = Histogram(
    "order_facts_latency_seconds",
    "From an event's record timestamp to its commit: of the first event of each partition in each batch, which waited "
    "longest.",
    buckets=_LATENCY_SECONDS,
    registry=REGISTRY,
)
LAST_COMMIT: Final = Gauge(
    "order_facts_last_commit_timestamp_seconds",
    "When this replica last committed a batch of events; 0 before the first.",
    registry=REGISTRY,
)
LAG: Final = Gauge(
    "order_facts_lag_records",
    "Committed events waiting in this replica's partitions, by the ends that the brokers give; NaN if they give none.",
    registry=REGISTRY,
)
PARTITION_LAG: Final = ByPartition(
    "order_facts_partition_lag_records",
    "As order_facts_lag_records, by partition; no sample while it is not known.",
    REGISTRY,
)
REBALANCES: Final = Counter(
    "order_facts_rebalances",
    "Times that the group changed this replica's partitions, by change: assigned, revoked or lost (with the session).",
    ["change"],
    registry=REGISTRY,
)
STALLED: Final = Counter(
    "order_facts_stalled_partitions",
    "Partitions placed again because they had records and gave none.",
    registry=REGISTRY,
)
PARTITIONS: Final = Gauge(
    "order_facts_partitions",
    "Assigned partitions: placed (events are read), catching_up (the mirror is behind), owed (not placed) or withheld "
    "(the schema of their next event is not known yet).",
    ["state"],
    registry=REGISTRY,
)
UNREADABLE: Final = Gauge(
    "order_facts_unreadable_offset",
    "Where a partition waits, alone, because the Kafka client cannot read it; no sample while all is read.",
    ["topic", "partition"],
    registry=REGISTRY,
)
WAITING: Final = Gauge(
    "order_facts_waiting",
    "1 while the replica waits, else 0, by waiting_for: kafka, redis, contact_index, mirror, schema_registry, breaker.",
    ["waiting_for"],
    registry=REGISTRY,
)
CONTACTS_AGE: Final = Gauge(
    "order_facts_contacts_age_seconds",
    "Age of the contact index: since it last held the whole contacts topic. A few seconds if all is well.",
    registry=REGISTRY,
)
MIXED_PARTITIONERS: Final = Gauge(
    "order_facts_mixed_partitioners",
    "1 if a sample of keys of the last minutes shows producers with different partitioners, else 0.",
    registry=REGISTRY,
)
CATCH_UP_LEFT: Final = Gauge(
    "order_facts_catch_up_left_facts",
    "Facts that are still to be read to bring mirrors up to date; at most so many, since compaction leaves gaps.",
    registry=REGISTRY,
)
CAUGHT_UP: Final = Counter("order_facts_caught_up_facts", "Facts read to bring mirrors up to date.", registry=REGISTRY)

EXPOSITION: Final = Exposition(REGISTRY)
