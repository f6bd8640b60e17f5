"""Every metric of a replica, in one list, each with its meaning. Names are public: dashboards and alerts build on them.

`REGISTRY` is that of one process. Labels have few values each: no order, contact or key is ever one.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY: Final = CollectorRegistry()
_STEP_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

EVENTS: Final = Counter(
    "order_facts_events",
    "Events accounted for, by outcome: fact, ignored or invalid. Their sum is the number of events consumed.",
    ["outcome"],
    registry=REGISTRY,
)
REJECTED: Final = Counter("order_facts_rejected", "Rejected events, by reason.", ["reason"], registry=REGISTRY)
BATCHES: Final = Counter("order_facts_batches", "Committed batches.", registry=REGISTRY)
STEP: Final = Histogram(
    "order_facts_step_seconds",
    "Time of a batch's steps, by step: poll, decode, lookup, fold, commit or mirror.",
    ["step"],
    buckets=_STEP_SECONDS,
    registry=REGISTRY,
)
RECOVERIES: Final = Counter(
    "order_facts_recoveries",
    "Rounds of the recovery path, by recovery: retry or producer_lost.",
    ["recovery"],
    registry=REGISTRY,
)
LAG: Final = Gauge(
    "order_facts_lag_records", "Committed events that wait in this replica's partitions.", registry=REGISTRY
)
PARTITIONS: Final = Gauge(
    "order_facts_partitions",
    "Assigned partitions, by state: placed (being read), catching_up (their mirror is) or owed (neither yet).",
    ["state"],
    registry=REGISTRY,
)
WAITING: Final = Gauge(
    "order_facts_waiting",
    "1 while the replica waits, by waiting_for: kafka, redis, contact_index, mirror or breaker. Else 0.",
    ["waiting_for"],
    registry=REGISTRY,
)
CAUGHT_UP: Final = Counter("order_facts_caught_up_facts", "Facts read to bring mirrors up to date.", registry=REGISTRY)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
