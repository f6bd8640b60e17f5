"""What a panel of the dashboards is, and the goal that dashboards and alerts compare with."""

from typing import Final, NamedTuple

from deploy.observability.log_queries import Logged

FRESH_WITHIN_S: Final = 60
"""The goal: no event waits longer, from its record's timestamp to its commit."""
WAITING_GAUGES: Final = (
    "order_facts_waiting",
    "order_facts_index_blocked",
    "order_facts_healer_blocked",
    "order_facts_segments_blocked",
)
"""Gauges of each kind of process that are 1 while it waits, by `waiting_for`."""


class Panel(NamedTuple):
    """A panel: PromQL expressions with their legends, the question to the logs; a width of 24 is a whole row.

    `goal` draws a line above which a value is bad. A panel without PromQL is on the dashboard of the logs only, and one
    without `logged` on that of the metrics only.
    """

    title: str
    what: str
    unit: str
    runbook: str
    metrics: tuple[tuple[str, str], ...] = ()
    logged: Logged | None = None
    goal: float | None = None
    kind: str = "timeseries"
    width: int = 8
