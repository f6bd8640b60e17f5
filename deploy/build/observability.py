"""Writes deploy/observability/'s dashboards, rules, queries and mappings from the code: `make docs`.

With `--check` it only compares. Both check the dashboards by Grafana's own types. Exit codes: 0 the files match the
code and the dashboards are valid; 1 something does not match or is not valid, and is named; 2 wrong usage.

`grafana-13.json.xz` has Grafana's types of a dashboard and of the panels used here as JSON Schema, made by
ts-json-schema-generator from the npm packages @grafana/schema 13.2.3 and, for Loki's query, 12.4.0. Copyright Grafana
Labs; Apache License 2.0.
"""

import functools
import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema

from deploy.build.written_files import write_or_compare
from deploy.observability.grafana_dashboards import logs_dashboard, metrics_dashboard
from deploy.observability.mappings import MADE
from deploy.observability.rule_cases import rule_tests
from deploy.observability.rule_files import log_queries, log_rules, metric_rules

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy/observability"
DASHBOARDS: Final = {"grafana/metrics.json": metrics_dashboard, "grafana/logs.json": logs_dashboard}
_OPTIONS: Final = {"timeseries": "TimeSeriesOptions", "stat": "StatOptions", "logs": "LogsOptions"}


def files() -> dict[Path, str]:
    """Return each file's text as the code has it."""
    made = {
        **{name: _json(made()) for name, made in {**DASHBOARDS, **MADE}.items()},
        "prometheus/alerts.yaml": metric_rules(),
        "prometheus/alerts-test.yaml": rule_tests(),
        "victorialogs/alerts.yaml": log_rules(),
        "victorialogs/queries.txt": log_queries(),
    }
    return {FOLDER / name: text for name, text in made.items()}


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def problems(dashboard: Any) -> Iterator[str]:
    """Yield what Grafana's types say against a dashboard."""
    yield from _of("Dashboard", dashboard, dashboard["uid"])
    for panel in dashboard["panels"]:
        place = f"{dashboard['uid']}: {panel['title']}"
        if panel["type"] == "row":
            continue
        yield from _of(_OPTIONS[panel["type"]], panel["options"], place)
        if panel["type"] == "timeseries":
            yield from _of("TimeSeriesCustom", panel["fieldConfig"]["defaults"]["custom"], place)
        for target in panel["targets"]:
            if target["datasource"]["type"] == "loki":
                yield from _of("LokiQuery", {key: target[key] for key in target if key != "datasource"}, place)


def _of(kind: str, value: Any, place: str) -> Iterator[str]:
    for error in _validator(kind).iter_errors(value):
        yield f"{place}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"


@functools.cache
def _validator(kind: str) -> Any:
    with lzma.open(Path(__file__).parent / "grafana-13.json.xz") as file:
        return jsonschema.Draft7Validator(json.load(file)[kind])


def main() -> None:
    """Write the files, or with --check name each that differs; name what is not valid. Exits with 1 if it named any."""
    found = [problem for made in DASHBOARDS.values() for problem in problems(made())]
    for problem in found:
        print(f"deploy/observability/grafana: {problem}")
    if found:
        sys.exit(1)
    write_or_compare("Write dashboards, rules and queries from the code.", files(), ROOT, "differs from the code")


if __name__ == "__main__":
    main()
