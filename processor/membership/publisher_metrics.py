"""Every metric of `segments publish --every`. The names are public: dashboards and alerts use them.

`REGISTRY` is that of one process. The label `segment` has as many values as segments are published.
"""

from typing import Final

from prometheus_client import Counter, Gauge

from processor.monitoring.expositions import Exposition, new_registry

REGISTRY: Final = new_registry()

MEMBERS: Final = Gauge(
    "order_facts_segments_members", "Contacts in a segment by the last round.", ["segment"], registry=REGISTRY
)
ENTERED: Final = Counter(
    "order_facts_segments_entered", "Entries that were written, by segment.", ["segment"], registry=REGISTRY
)
LEFT: Final = Counter(
    "order_facts_segments_left", "Leaves that were written, by segment.", ["segment"], registry=REGISTRY
)
PUBLISHED: Final = Gauge(
    "order_facts_segments_published_timestamp_seconds",
    "The moment that the last round asked for: the topic is as of then.",
    registry=REGISTRY,
)
EVERY: Final = Gauge(
    "order_facts_segments_every_seconds",
    "How often a round is due (--every): what order_facts_segments_published_timestamp_seconds is compared with.",
    registry=REGISTRY,
)
BLOCKED: Final = Gauge(
    "order_facts_segments_blocked",
    "1 while it cannot continue, else 0, by waiting_for: kafka, schema_registry or folder.",
    ["waiting_for"],
    registry=REGISTRY,
)

EXPOSITION: Final = Exposition(REGISTRY)
