"""Makes Grafana's dashboards of the panels: one that asks Prometheus, one that asks Loki.

Both have a fixed uid, so that importing one again replaces it, and variables: the data source, `job` and `instance` (or
Loki's labels), and the address of the runbook that each panel links to.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from deploy.observability.log_queries import logql
from deploy.observability.panel import Panel
from deploy.observability.panels import ROWS
from deploy.observability.runbook import RUNBOOK, anchor

METRICS_UID: Final = "order-facts-metrics"
LOGS_UID: Final = "order-facts-logs"
_SCHEMA_VERSION: Final = 39  # of Grafana 10.4; newer ones migrate it
_HEIGHT: Final = {"stat": 4, "timeseries": 8, "logs": 12}
_METRIC: Final = re.compile(r"\b(order_facts_\w+)(?:\{([^}]*)\})?")
_SELECTED: Final = 'job=~"$job", instance=~"$instance"'
_WHOLE_ROW: Final = 24

Json = dict[str, Any]


def metrics_dashboard() -> Json:
    """Return the dashboard for Prometheus."""
    job = _query("job", "label_values(order_facts_dropped_log_lines, job)")
    instance = _query("instance", 'label_values(order_facts_dropped_log_lines{job=~"$job"}, instance)')
    variables = [_data_source("prometheus", "Prometheus"), job, instance, _text("runbook", RUNBOOK)]
    rows = {row: [panel for panel in panels if panel.metrics] for row, panels in ROWS.items()}
    return _dashboard(METRICS_UID, "order-facts", "From Prometheus.", variables, list(_panels(rows, "prometheus")))


def logs_dashboard() -> Json:
    """Return the dashboard for Loki."""
    variables = [_data_source("loki", "Loki"), _text("stream", 'service_name="order-facts"'), _text("runbook", RUNBOOK)]
    rows = {row: [panel for panel in panels if panel.logged] for row, panels in ROWS.items()}
    return _dashboard(
        LOGS_UID, "order-facts, from its logs", "From log lines alone.", variables, list(_panels(rows, "loki"))
    )


def selected(expression: str) -> str:
    """Return a PromQL expression with the dashboard's variables in each selector."""
    return _METRIC.sub(lambda found: f"{found[1]}{{{', '.join(filter(None, (found[2], _SELECTED)))}}}", expression)


def _dashboard(uid: str, title: str, description: str, variables: list[Json], panels: list[Json]) -> Json:
    return {
        "uid": uid,
        "title": title,
        "description": f"{description} Written by `make docs` from deploy/observability/panels.py.",
        "tags": ["order-facts"],
        "editable": True,
        "graphTooltip": 1,  # the same moment in all panels
        "refresh": "30s",
        "schemaVersion": _SCHEMA_VERSION,
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def _panels(rows: dict[str, list[Panel]], source: str) -> Iterator[Json]:
    """Yield the panels, each row's below its title, from left to right."""
    number, x, y, below = 1, 0, 0, 0
    for title, panels in rows.items():
        if not panels:
            continue
        x, y = 0, below
        place = {"x": 0, "y": y, "w": _WHOLE_ROW, "h": 1}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}
        number, y = number + 1, y + 1
        below = y
        for panel in panels:
            if x + panel.width > _WHOLE_ROW:
                x, y = 0, below
            height = _HEIGHT[panel.kind]
            yield _panel(panel, number, source) | {"gridPos": {"x": x, "y": y, "w": panel.width, "h": height}}
            number, x, below = number + 1, x + panel.width, y + height


def _panel(panel: Panel, number: int, source: str) -> Json:
    targets = _metric_targets(panel) if source == "prometheus" else _log_targets(panel)
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": f"{panel.what}\n\nRunbook: {panel.runbook}",
        "links": [{"title": f"Runbook: {panel.runbook}", "url": f"${{runbook}}#{anchor(panel.runbook)}", **_OPENED}],
        "datasource": {"type": source, "uid": "${datasource}"},
        "targets": targets,
        "options": _OPTIONS[panel.kind],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
    }


def _metric_targets(panel: Panel) -> list[Json]:
    return [
        {"refId": ref, "expr": selected(expression), "legendFormat": legend, "datasource": _source("prometheus")}
        for ref, (expression, legend) in zip(_refs(), panel.metrics, strict=False)
    ]


def _log_targets(panel: Panel) -> list[Json]:
    assert panel.logged is not None
    return [
        {"refId": ref, "expr": query, "legendFormat": legend, "queryType": "range", "datasource": _source("loki")}
        for ref, (query, legend) in zip(_refs(), logql(panel.logged), strict=False)
    ]


def _refs() -> Sequence[str]:
    return [chr(ord("A") + number) for number in range(26)]


def _field(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    if panel.goal is not None:
        steps.append({"color": "red", "value": panel.goal})
    field: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind != "timeseries":
        return field
    mode = "off" if panel.goal is None else "dashed"
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "thresholdsStyle": {"mode": mode}}
    return field | {"custom": custom, "color": {"mode": "palette-classic"}, "min": 0}


def _source(kind: str) -> Json:
    return {"type": kind, "uid": "${datasource}"}


def _data_source(kind: str, label: str) -> Json:
    return {"name": "datasource", "label": label, "type": "datasource", "query": kind, "refresh": 1}


def _query(name: str, query: str) -> Json:
    every = {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    asked = {"qryType": 1, "query": query, "refId": name}
    return {"name": name, "type": "query", "datasource": _source("prometheus"), "query": asked, "refresh": 2, **every}


def _text(name: str, value: str) -> Json:
    return {"name": name, "type": "textbox", "query": value, "current": {"text": value, "value": value}}


_OPENED: Final[Json] = {
    "type": "link",
    "targetBlank": True,
    "asDropdown": False,
    "icon": "doc",
    "includeVars": False,
    "keepTime": False,
    "tags": [],
    "tooltip": "",
}
_OPTIONS: Final[dict[str, Json]] = {
    "timeseries": {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "showPercentChange": False,
        "textMode": "auto",
        "wideLayout": True,
    },
    "logs": {
        "dedupStrategy": "none",
        "enableLogDetails": True,
        "prettifyLogMessage": False,
        "showCommonLabels": False,
        "showLabels": False,
        "showLogContextToggle": False,
        "showTime": True,
        "sortOrder": "Descending",
        "wrapLogMessage": True,
    },
}
