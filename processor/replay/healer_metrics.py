"""Every metric of `rejected replay --follow`. The names are public: dashboards and alerts use them.

`REGISTRY` is that of one process. Each label has few values.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from processor.logs import dropped_lines

REGISTRY: Final = CollectorRegistry()

SENT: Final = Counter("order_facts_healer_sent_events", "Rejected events that were sent back.", registry=REGISTRY)
WAITING: Final = Gauge(
    "order_facts_healer_waiting_events",
    "Rejected events that wait for a contact, or behind one that does.",
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

_DROPPED_LINES: Final = Gauge(
    "order_facts_dropped_log_lines", "Log lines since the start that could not be written.", registry=REGISTRY
)
_DROPPED_LINES.set_function(dropped_lines)


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
