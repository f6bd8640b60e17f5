"""Makes what other log stores need: types of fields, and metrics from lines, for the same questions as the dashboards'.

All take lines of log_profile=default.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from deploy.observability.log_queries import insights
from deploy.observability.panels import PANELS
from processor.logs import SERVICE
from processor.logs.profiles import PROFILES
from processor.logs.published import TYPES

Json = dict[str, Any]
ECS: Final = PROFILES["ecs"]
_OPENSEARCH: Final = {"string": "keyword", "boolean": "boolean", "integer": "long", "number": "double"}
_LNAV: Final = {"string": "string", "boolean": "boolean", "integer": "integer", "number": "float"}
_TEXTS: Final = frozenset(
    {"message", "error", "detail", "problem", "cause"}
)  # to search in, and too long for a keyword
_UNITS: Final = {"_s": "Seconds", "_ms": "Milliseconds", "_bytes": "Bytes"}  # by the end of a field's name


class Number(NamedTuple):
    """A number that a line of an event has."""

    event: str
    field: str

    @property
    def name(self) -> str:
        """The metric's name."""
        return f"{self.event}.{self.field}".replace(".", "_")

    @property
    def unit(self) -> str:
        """The unit as CloudWatch calls it."""
        return next((unit for end, unit in _UNITS.items() if self.field.endswith(end)), "Count")


def numbers() -> list[Number]:
    """Return what the dashboards ask of lines, each once, in their order."""
    asked = (panel.logged for panel in PANELS if panel.logged is not None)
    found = (Number(event, field) for one in asked for event in one.events for field in one.fields)
    return list(dict.fromkeys(found))


def lnav() -> Json:
    """Return the format for lnav: how a line looks, and its fields as columns of the SQL table order_facts."""
    own = {name: kind for name, kind in TYPES.items() if name not in ("timestamp", "level")}
    fields: Json = {name: {"kind": _LNAV.get(kind, "json")} for name, kind in own.items()}
    for name in ("event", "instance"):
        fields[name] = fields[name] | {"identifier": True}
    shown = ["__timestamp__", "level", "instance", "event", "message"]
    line: list[Any] = [
        {"field": name, "min-width": 22 if name == "event" else 0, "default-value": ""} for name in shown
    ]
    spaced = [part for field in line for part in (field, "  ")][:-1]
    form = {
        "title": SERVICE,
        "description": "Log lines of order-facts (log_profile=default).",
        "json": True,
        "hide-extra": True,
        "line-format": spaced,
        "timestamp-field": "timestamp",
        "level-field": "level",
        "body-field": "message",
        "value": fields,
    }
    return {"$schema": "https://lnav.org/schemas/format-v1.schema.json", "order_facts": form}


def _ecs(name: str) -> str:
    return ECS.names.get(name, f"{ECS.prefix}{name}")


def opensearch() -> Json:
    """Return the index template for OpenSearch or Elasticsearch: a type for each field of log_profile=ecs."""
    properties = {_ecs(name): {"type": _search_type(name)} for name in TYPES}
    return {"index_patterns": [f"{SERVICE}-*"], "template": {"mappings": {"properties": properties}}}


def _search_type(name: str) -> str:
    if name == "timestamp":
        return "date"
    kind = TYPES[name]
    if kind == "counts":
        return "object"
    if name in _TEXTS:
        return "text"
    return _OPENSEARCH.get(kind) or ("long" if kind == "integers" else "keyword")


def ecs_pipeline() -> Json:
    """Return the ingest pipeline that gives lines of log_profile=default the names of log_profile=ecs."""
    renamed = {name: _ecs(name) for name in TYPES if _ecs(name) != name}
    steps: list[Json] = [
        {"rename": {"field": old, "target_field": new, "ignore_missing": True}} for old, new in renamed.items()
    ]
    steps += [{"set": {"field": name, "value": value}} for name, value in ECS.constants.items()]
    return {"description": "order-facts to ECS", "processors": steps}


def datadog() -> Json:
    """Return the pipeline and the metrics from logs, each as Datadog's API takes it."""
    remapped = {"date-remapper": "timestamp", "status-remapper": "level", "service-remapper": "service"}
    steps = [{"type": kind, "sources": [field]} for kind, field in (*remapped.items(), ("message-remapper", "message"))]
    query = f"service:{SERVICE}"
    pipeline = {"name": SERVICE, "is_enabled": True, "filter": {"query": query}, "processors": steps}
    metrics = [
        {
            "data": {
                "type": "logs_metrics",
                "id": f"order_facts.{number.name}",
                "attributes": {
                    "compute": {
                        "aggregation_type": "distribution",
                        "path": f"@{number.field}",
                        "include_percentiles": True,
                    },
                    "filter": {"query": f"{query} @event:{number.event}"},
                    "group_by": [{"path": "@instance", "tag_name": "instance"}],
                },
            }
        }
        for number in numbers()
    ]
    return {"pipeline": pipeline, "metrics": metrics}


def cloudwatch() -> Json:
    """Return metric filters, each as `aws logs put-metric-filter` takes it, and the dashboards' Insights queries."""
    filters = [
        {
            "logGroupName": SERVICE,
            "filterName": number.name,
            "filterPattern": f'{{ $.event = "{number.event}" && $.{number.field} = * }}',
            "metricTransformations": [
                {
                    "metricName": number.name,
                    "metricNamespace": SERVICE,
                    "metricValue": f"$.{number.field}",
                    "unit": number.unit,
                    "dimensions": {"instance": "$.instance"},
                }
            ],
        }
        for number in numbers()
    ]
    queries = {panel.title: insights(panel.logged) for panel in PANELS if panel.logged is not None}
    return {"metric_filters": filters, "insights": queries}


def gcp() -> Json:
    """Return metrics from logs, each as `gcloud logging metrics create --config-from-file` takes it."""
    return {"metrics": list(_gcp_metrics())}


def _gcp_metrics() -> Iterator[Json]:
    for number in numbers():
        where = f'jsonPayload.service="{SERVICE}" AND jsonPayload.event="{number.event}"'
        descriptor = {"metricKind": "DELTA", "valueType": "DISTRIBUTION", "labels": [{"key": "instance"}]}
        yield {
            "name": f"order_facts/{number.name}",
            "filter": f"{where} AND jsonPayload.{number.field}:*",
            "valueExtractor": f"EXTRACT(jsonPayload.{number.field})",
            "labelExtractors": {"instance": "EXTRACT(jsonPayload.instance)"},
            "metricDescriptor": descriptor,
        }


MADE: Final = {
    "lnav/order_facts.json": lnav,
    "mappings/opensearch-template.json": opensearch,
    "mappings/ecs-pipeline.json": ecs_pipeline,
    "mappings/datadog.json": datadog,
    "mappings/cloudwatch.json": cloudwatch,
    "mappings/gcp.json": gcp,
}
