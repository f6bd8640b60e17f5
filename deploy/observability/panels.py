"""What the dashboards show: each panel once, with its question to Prometheus and its question to the logs.

`make docs` writes Grafana's dashboards and the queries for log stores from here. A PromQL expression here names metrics
without a deployment's labels; the dashboards add `job` and `instance`. `runbook` is a heading of deploy/RUNBOOK.md.
"""

from typing import Final

from deploy.observability.flow_panels import BATCHES, FLOW, GLANCE, REJECTED
from deploy.observability.panel import Panel
from deploy.observability.state_panels import LINES, STATE, TROUBLES

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "At a glance": GLANCE,
    "Flow": FLOW,
    "Batches": BATCHES,
    "Rejected events": REJECTED,
    "Troubles": TROUBLES,
    "State, contacts, processes": STATE,
    "What was logged": LINES,
}
PANELS: Final = tuple(panel for panels in ROWS.values() for panel in panels)
