"""Every metric of a replica in one list, each with its meaning. Names are public: dashboards and alerts use them.

`REGISTRY` is that of one process. Each label has few values: never an order, a contact or a key.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from processor.logs import dropped_lines

REGISTRY: Final = CollectorRegistry()
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
LAG: Final = Gauge(
    "order_facts_lag_records",
    "Committed events waiting in this replica's partitions, by the ends that the brokers give; NaN if they give none.",
    registry=REGISTRY,
)
STALLED: Final = Counter(
    "order_facts_stalled_partitions",
    "Partitions placed again because they had records and gave none.",
    registry=REGISTRY,
)
PARTITIONS: Final = Gauge(
    "order_facts_partitions",
    "Assigned partitions, by state: placed (events are read), catching_up (the mirror is behind) or owed (not placed).",
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
    "1 while the replica waits, else 0, by waiting_for: kafka, redis, contact_index, mirror or breaker.",
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
CAUGHT_UP: Final = Counter("order_facts_caught_up_facts", "Facts read to bring mirrors up to date.", registry=REGISTRY)

DROPPED_LINES: Final = Gauge(
    "order_facts_dropped_log_lines", "Log lines since the start that could not be written.", registry=REGISTRY
)
DROPPED_LINES.set_function(dropped_lines)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
