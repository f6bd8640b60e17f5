"""Every metric of `contacts index`. The names are public: dashboards and alerts use them.

`REGISTRY` is that of one process.
"""

from typing import Final

from prometheus_client import Counter, Gauge

from processor.monitoring.expositions import Exposition, new_registry

REGISTRY: Final = new_registry()

RECORDS: Final = Counter("order_facts_index_records", "Contact records that were read.", registry=REGISTRY)
READY: Final = Gauge(
    "order_facts_index_ready", "1 once the index is complete, 0 while it is being built.", registry=REGISTRY
)
COMPLETE: Final = Gauge(
    "order_facts_index_complete_timestamp_seconds",
    "When the index last held the whole contacts topic; at the start of a build, when that began.",
    registry=REGISTRY,
)
LAG: Final = Gauge(
    "order_facts_index_lag_records",
    "Offsets between what was read and the ends of the contacts topic, by the last look; NaN while it cannot continue.",
    registry=REGISTRY,
)
BLOCKED: Final = Gauge(
    "order_facts_index_blocked",
    "1 while it cannot continue, else 0, by waiting_for: kafka, redis or schema_registry.",
    ["waiting_for"],
    registry=REGISTRY,
)

EXPOSITION: Final = Exposition(REGISTRY)
