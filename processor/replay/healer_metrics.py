"""Every metric of `rejected replay --follow`. The names are public: dashboards and alerts use them.

`REGISTRY` is that of one process. Each label has few values.
"""

from typing import Final

from prometheus_client import Counter, Gauge

from processor.monitoring.expositions import Exposition, new_registry

REGISTRY: Final = new_registry()

SENT: Final = Counter("order_facts_healer_sent_events", "Rejected events that were sent back.", registry=REGISTRY)
WAITING: Final = Gauge(
    "order_facts_healer_waiting_events",
    "Rejected events that wait for a contact, or behind one that does.",
    registry=REGISTRY,
)
LAG: Final = Gauge(
    "order_facts_healer_lag_records",
    "Offsets of the rejected topic that this process has not read, by the ends that brokers last gave; NaN while it "
    "cannot continue, 0 in a standby.",
    registry=REGISTRY,
)
COMPLETE: Final = Gauge(
    "order_facts_healer_complete_timestamp_seconds",
    "When this process last had read the whole rejected topic and looked up what waits; 0 before, and in a standby.",
    registry=REGISTRY,
)
EXPIRED: Final = Counter(
    "order_facts_healer_expired_events",
    "Rejected events that waited for --within and were not found, or that retention removed.",
    registry=REGISTRY,
)
LET_GO: Final = Counter(
    "order_facts_healer_let_go_events", "Rejected events that no longer wait because too many do.", registry=REGISTRY
)
ACTIVE: Final = Gauge(
    "order_facts_healer_active", "1 while this process heals, 0 while it is a standby.", registry=REGISTRY
)
BLOCKED: Final = Gauge(
    "order_facts_healer_blocked",
    "1 while it cannot continue, else 0, by waiting_for: kafka, redis, contact_index, mirror or replay.",
    ["waiting_for"],
    registry=REGISTRY,
)

EXPOSITION: Final = Exposition(REGISTRY)
