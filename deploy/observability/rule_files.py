"""Makes the alert rules: Prometheus' of the metrics, and vmalert's, which asks VictoriaLogs about the log lines."""

from typing import Any, Final

import yaml

from deploy.observability.alerts import ALERTS, Alert
from deploy.observability.log_queries import logsql
from deploy.observability.panels import ROWS
from deploy.observability.runbook import RUNBOOK, anchor
from processor.logs import SERVICE

HEAD: Final = "# Written by `make docs` from deploy/observability/; a change here is lost.\n"


def metric_rules() -> str:
    """Return the rules for Prometheus."""
    rules = [_rule(alert, alert.metrics, alert.hold) for alert in ALERTS if alert.metrics]
    return HEAD + _text({"groups": [{"name": "order-facts", "interval": "30s", "rules": rules}]})


def log_rules() -> str:
    """Return the rules for vmalert with VictoriaLogs."""
    service = f'service:="{SERVICE}"'
    rules = [_rule(alert, f"{service} {alert.logs}", alert.logs_hold) for alert in ALERTS if alert.logs]
    group = {"name": "order-facts, from its logs", "type": "vlogs", "interval": "1m", "rules": rules}
    return HEAD + _text({"groups": [group]})


def log_queries() -> str:
    """Return the panels' questions to VictoriaLogs, to paste into its page or to send to its API."""
    parts = [HEAD + "# Each is a row for each minute. `#` begins a comment here, and in LogsQL, too.\n"]
    for row, panels in ROWS.items():
        asked = [panel for panel in panels if panel.logged is not None]
        parts += [f"\n# {row}\n"] * bool(asked)
        parts += [f"\n# {panel.title}: {panel.what}\n{logsql(panel.logged)}\n" for panel in asked if panel.logged]
    return "".join(parts)


def _rule(alert: Alert, expression: str, hold: str) -> dict[str, Any]:
    rule = {"alert": alert.name, "expr": expression, "for": hold, "labels": {"severity": alert.severity}}
    return rule | {"annotations": {"summary": alert.summary, "runbook_url": f"{RUNBOOK}#{anchor(alert.name)}"}}


def _text(document: Any) -> str:
    text: str = yaml.safe_dump(document, sort_keys=False, width=120)
    return text
