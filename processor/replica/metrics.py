"""Every metric of a replica, in one list. Names are public: dashboards and alerts build on them.

`METRICS` is one registry for one process. Labels have few values each: no order, contact or key is ever one.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY: Final = CollectorRegistry()
_STEP_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Events accounted for, by outcome: fact, ignored, invalid. Their sum is the number of events consumed.
EVENTS: Final = Counter("order_facts_events", "Events accounted for.", ["outcome"], registry=REGISTRY)
# Rejected events by reason.
REJECTED: Final = Counter("order_facts_rejected", "Rejected events.", ["reason"], registry=REGISTRY)
# Committed batches, and the time of each of the six steps of a batch.
BATCHES: Final = Counter("order_facts_batches", "Committed batches.", registry=REGISTRY)
STEP: Final = Histogram(
    "order_facts_step_seconds", "Time of a batch's step.", ["step"], buckets=_STEP_SECONDS, registry=REGISTRY
)
# Rounds of the recovery path, by what was done: retry or producer_lost.
RECOVERIES: Final = Counter("order_facts_recoveries", "Rounds of the recovery path.", ["recovery"], registry=REGISTRY)
# Committed records of the events topic that wait, in this replica's partitions.
LAG: Final = Gauge("order_facts_lag_records", "Events that wait in this replica's partitions.", registry=REGISTRY)
# Partitions by state: placed (they are read), catching_up (their mirror is), owed (neither yet).
PARTITIONS: Final = Gauge("order_facts_partitions", "Assigned partitions.", ["state"], registry=REGISTRY)
# 1 while the replica waits for the thing named (kafka, redis, contact_index, mirror, breaker), else 0.
WAITING: Final = Gauge("order_facts_waiting", "Whether the replica waits.", ["waiting_for"], registry=REGISTRY)
# Facts read to bring mirrors up to date.
CAUGHT_UP: Final = Counter("order_facts_caught_up_facts", "Facts read by catch-ups.", registry=REGISTRY)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
