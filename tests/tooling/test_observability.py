"""Proves that dashboards, rules, queries, mappings and runbook name what the program has, and leave nothing out."""

import ast
import copy
import re

import pytest
import yaml
from prometheus_client import CollectorRegistry

from deploy.build.observability import DASHBOARDS, FOLDER, files, problems
from deploy.observability.alerts import ALERTS
from deploy.observability.grafana_dashboards import metrics_dashboard, selected
from deploy.observability.log_queries import logql, logsql
from deploy.observability.panels import PANELS
from deploy.observability.rule_cases import CASES
from deploy.observability.runbook import ROOT, RUNBOOK, anchor, headings
from processor.contacts import keeper_metrics
from processor.domain.rejections import Reason
from processor.logs import EVENTS
from processor.membership import publisher_metrics
from processor.replay import healer_metrics
from processor.replica import metrics
from tests.observability.log_cases import CASES as LOG_CASES

RUNBOOK_TEXT = (ROOT / RUNBOOK).read_text(encoding="utf-8")
SECTIONS = re.split(r"^### ", RUNBOOK_TEXT, flags=re.MULTILINE)[1:]
REGISTRIES = (metrics.REGISTRY, keeper_metrics.REGISTRY, healer_metrics.REGISTRY, publisher_metrics.REGISTRY)
ELSEWHERE = {"redis_memory_used_bytes", "redis_memory_max_bytes"}  # redis_exporter's
COMMON = {"instance", "level", "event", "message", "error", "dropped_lines", "repeated"}
NOT_BROUGHT_ABOUT = {
    "batch.committed",
    "kafka.client",
    "OrderFactsFailed",
    "service.failed",
}  # the last two: a table has
PARTS = ("Means", "See more", "Do", "Do not", "Tried")
LOGQL_WORDS = {
    "and",
    "bool",
    "by",
    "drop",
    "ignoring",
    "json",
    "keep",
    "logfmt",
    "offset",
    "on",
    "or",
    "pattern",
    "unwrap",
}
_LABEL = re.compile(r'\b(\w+)="[\w.]+"')
_METRIC = re.compile(r"\b(?:order_facts|redis)_\w+")
_EVENT = re.compile(r'event:(?:=|in\()((?:"[\w.]+"(?:, )?)+)')


def names_of(registry: CollectorRegistry):
    """Give each series' name that a registry's families have."""
    for family in registry.collect():
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        yield from (family.name + end for end in ends)


def warned_events():
    """Give the events that the sources log as warnings or errors."""
    for file in sorted((ROOT / "processor").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("warning", "error")
            ):
                event = node.args[0] if node.args else None
                if isinstance(event, ast.Constant) and event.value in EVENTS:
                    yield event.value


EXPRESSIONS = [expression for panel in PANELS for expression, _ in panel.metrics]
EXPRESSIONS += [alert.metrics for alert in ALERTS if alert.metrics]
QUERIES = [logsql(panel.logged) for panel in PANELS if panel.logged]
QUERIES += [alert.logs for alert in ALERTS if alert.logs]
WARNED = sorted(set(warned_events()))


def test_files_are_as_the_code_writes_them():
    """Nobody edits what is written, and nobody forgets `make docs`."""
    assert [file for file, text in files().items() if file.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_are_valid_by_grafanas_types(name):
    """Grafana's own types take each dashboard; a field that they do not know is noticed."""
    dashboard = DASHBOARDS[name]()
    assert list(problems(dashboard)) == []
    for spoil in (_with_unknown_option, _without_title_type, _with_custom):
        spoiled = copy.deepcopy(dashboard)
        spoil(next(panel for panel in spoiled["panels"] if panel["type"] == "timeseries"))
        assert list(problems(spoiled)), spoil


def _with_unknown_option(panel):
    panel["options"]["legend"]["colour"] = "red"


def _without_title_type(panel):
    panel["title"] = 7


def _with_custom(panel):
    panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "scribbled"


def test_panels_have_what_an_operator_needs():
    """Each has a meaning, a unit, a link to a section of the runbook; none has a place that another has."""
    for made in DASHBOARDS.values():
        dashboard = made()
        panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
        for panel in panels:
            (link,) = panel["links"]
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert link["url"].partition("#")[2] in {anchor(heading) for heading in headings(RUNBOOK_TEXT)}
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_metrics_of_panels_and_rules_exist(expression):
    """A metric that is renamed, or that no process has, is noticed."""
    known = {name for registry in REGISTRIES for name in names_of(registry)} | ELSEWHERE
    assert set(_METRIC.findall(expression)) <= known
    assert set(_METRIC.findall(expression))


@pytest.mark.parametrize("query", QUERIES)
def test_events_and_fields_of_log_queries_exist(query):
    """An event or a field that is renamed is noticed."""
    events = [name for found in _EVENT.findall(query) for name in re.findall(r"[\w.]+", found)]
    assert set(events) <= EVENTS.keys()
    known = {field for event in events for field in EVENTS[event]} | COMMON
    asked = re.findall(r"\b(?:sum|min|max|rate_sum|quantile)\((?:[\d.]+, )?([\w.]+)\)|(\w+):(?:>|\*)", query)
    named = set(re.findall(r" as (\w+)", query))
    computed = set(re.findall(r"\bmath [^|]* as (\w+)", query))
    fields = {summed or compared for summed, compared in asked if summed or compared not in named} - computed
    reasons = {field for field in fields if field.startswith("reasons.")}
    assert fields - reasons <= known
    assert {field.removeprefix("reasons.") for field in reasons} <= {reason.value for reason in Reason}


def test_each_alert_fires_and_stays_silent_in_a_test():
    """`make observability-test` runs these: each rule has a case for both."""
    assert list(CASES) == [alert.name for alert in ALERTS if alert.metrics]
    assert sorted(LOG_CASES) == sorted(alert.name for alert in ALERTS if alert.logs)
    for cases in CASES.values():
        assert {case.labels is None for case in cases} == {True, False}
    for log_cases in LOG_CASES.values():
        assert {case.fires for case in log_cases} == {True, False}


def test_rules_are_what_prometheus_and_vmalert_read():
    """Each rule has a name, a condition, a severity, a summary and a section of the runbook."""
    anchors = {anchor(heading) for heading in headings(RUNBOOK_TEXT)}
    for name in ("prometheus/alerts.yaml", "victorialogs/alerts.yaml"):
        (group,) = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]:
            assert rule["expr"]
            assert re.fullmatch(r"\d+[sm]", rule["for"])
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["runbook_url"].partition("#")[2] in anchors


def test_runbook_has_a_section_for_each_alert_and_each_warning():
    """Whoever is woken finds what to do; and no section is of something that does not exist."""
    wanted = {alert.name for alert in ALERTS} | {*WARNED, "kafka.client"}
    found = headings(RUNBOOK_TEXT)
    assert len(found) == len(set(found))
    assert wanted - set(found) == set()
    assert set(found) - wanted <= EVENTS.keys()
    ids = re.findall(r'^<a id="([\w.]+)"></a>$', RUNBOOK_TEXT, re.MULTILINE)
    assert ids == [name for name in found if name in EVENTS]  # `watch` names a section by its event


@pytest.mark.parametrize("section", SECTIONS, ids=headings(RUNBOOK_TEXT))
def test_sections_of_the_runbook_are_whole(section):
    """Each says what it means, how to see more, what to do, what not to do, and which test did it."""
    assert re.findall(r"^- \*\*([\w ]+):\*\*", section, re.MULTILINE) == list(PARTS)
    tried = section.rpartition("**Tried:**")[2]
    named = re.findall(r"`(tests/[\w/]+\.py)`", tried)
    assert all((ROOT / name).exists() for name in named)
    assert named or re.search(r"not|table", tried)


def test_each_procedure_of_the_runbook_is_followed_by_a_test():
    """The file that a section names has a test with the marker `runbook` for it; and no marker is of no section."""
    followed = {
        argument.value: str(file.relative_to(ROOT))
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "runbook"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    sections = dict(zip(headings(RUNBOOK_TEXT), SECTIONS, strict=True))
    for name in NOT_BROUGHT_ABOUT:
        del sections[name]
    assert followed == {
        name: re.findall(r"Tried:\*\* `(\S+)`$", text, re.MULTILINE)[0] for name, text in sections.items()
    }


def test_dashboard_selects_by_job_and_instance():
    """Each metric of an expression gets the variables, beside its own labels."""
    assert selected('sum(order_facts_events_total{outcome="fact"}) / order_facts_batches_total') == (
        'sum(order_facts_events_total{outcome="fact", job=~"$job", instance=~"$instance"})'
        ' / order_facts_batches_total{job=~"$job", instance=~"$instance"}'
    )
    assert metrics_dashboard()["uid"] == "order-facts-metrics"


def test_questions_to_loki_name_no_label_as_a_word_of_logql():
    """Loki would not read `sum by (by)`, which the grammar of Grafana's editor takes."""
    named = {
        name for panel in PANELS if panel.logged for query, _ in logql(panel.logged) for name in _LABEL.findall(query)
    }
    assert {"event", "value", "grouped"} <= named
    assert not named & LOGQL_WORDS


def test_questions_to_loki_name_each_field():
    """Each field of a question has a query of its own, which skips lines that lack it."""
    for panel in PANELS:
        if panel.logged is not None and panel.logged.fields:
            assert len(list(logql(panel.logged))) == len(panel.logged.fields)
