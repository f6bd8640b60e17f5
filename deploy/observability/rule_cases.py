"""What makes each rule of Prometheus fire, and what must not: `make docs` writes prometheus/alerts-test.yaml from here.

`make observability-test` gives that file to `promtool test rules`. Values are in Prometheus' notation:
`90+30x20` is 90, then 20 times 30 more; one value each interval.
"""

import re
from typing import Any, Final, NamedTuple

import yaml

from deploy.observability.alerts import ALERTS
from deploy.observability.runbook import RUNBOOK, anchor

_LABEL: Final = re.compile(r"\{\{ \$labels\.(\w+) \}\}")
_REPLICA: Final = {"job": "order-facts", "instance": "replica-1"}
_AT: Final = 'job="order-facts", instance="replica-1"'


class Case(NamedTuple):
    """Series and their values; the moment; the labels of the alert that fires then, or None: it must be silent."""

    series: dict[str, str]
    at: str
    labels: dict[str, str] | None = None
    interval: str = "30s"


def _freshness(values: str) -> dict[str, str]:
    """Return one late partition's series beside one that is never late."""
    name = f"order_facts_freshness_seconds{{{_AT}, partition="
    return {f'{name}"0"}}': values, f'{name}"1"}}': "0x400"}


def _of(name: str, values: str, labels: str = "") -> dict[str, str]:
    """Return one series of a replica."""
    return {f"{name}{{{', '.join(filter(None, (_AT, labels)))}}}": values}


def _events(invalid: str, facts: str) -> dict[str, str]:
    name = "order_facts_events_total"
    return _of(name, invalid, 'outcome="invalid"') | _of(name, facts, 'outcome="fact"')


def _redis(used: str, most: str) -> dict[str, str]:
    return {'redis_memory_used_bytes{instance="redis"}': used, 'redis_memory_max_bytes{instance="redis"}': most}


def _segments(published: str) -> dict[str, str]:
    names = "order_facts_segments_published_timestamp_seconds", "order_facts_segments_every_seconds"
    return _of(names[0], published) | _of(names[1], "60x40")


CASES: Final[dict[str, tuple[Case, ...]]] = {
    "OrderFactsFreshnessLost": (
        Case(_freshness("90+30x20"), "6m", {}),
        Case(_freshness("5x4 90x4 5x20"), "6m"),
        Case(_freshness("59x20"), "6m"),
    ),
    "OrderFactsFreshnessPoor": (
        Case(_freshness("0x80 100x20"), "100m", {}, "1m"),
        Case(_freshness("0x20 100x20 0x60"), "100m", None, "1m"),  # it was so, and is no longer
        Case(_freshness("0x97 100x3"), "100m", None, "1m"),  # it is so, but has not been for long
    ),
    "OrderFactsNoReplica": (
        Case(_of("order_facts_index_ready", "1x10"), "2m", {"state": "placed"}),
        Case(_of("order_facts_partitions", "3x10", 'state="placed"'), "2m"),
        Case(_of("order_facts_partitions", "0x10", 'state="placed"'), "2m"),  # a spare is a replica, too
    ),
    "OrderFactsNotAnswering": (
        Case(_of("up", "1x4 0x20") | _of("order_facts_rss_bytes", "5x4 stale"), "8m", _REPLICA),
        Case(_of("up", "1x4 0x6 1x20") | _of("order_facts_rss_bytes", "5x4 stale _x5 5x20"), "8m"),  # it was restarted
        Case(_of("up", "0x30"), "8m"),  # another program
    ),
    "OrderFactsLagWithoutCommits": (
        Case(_of("order_facts_lag_records", "5x20") | _of("order_facts_batches_total", "7x20"), "6m", _REPLICA),
        Case(_of("order_facts_lag_records", "5x20") | _of("order_facts_batches_total", "0+2x20"), "6m"),
        Case(_of("order_facts_lag_records", "0x20") | _of("order_facts_batches_total", "7x20"), "6m"),
        Case(_of("order_facts_lag_records", " ".join(["NaN"] * 20)) | _of("order_facts_batches_total", "7x20"), "6m"),
    ),
    "OrderFactsWaiting": (
        Case(_of("order_facts_waiting", "0 1x10", 'waiting_for="redis"'), "4m", _REPLICA | {"waiting_for": "redis"}),
        Case(
            _of("order_facts_index_blocked", "1x10", 'waiting_for="kafka"'), "4m", _REPLICA | {"waiting_for": "kafka"}
        ),
        Case(_of("order_facts_waiting", "0 1x2 0x10", 'waiting_for="redis"'), "4m"),
    ),
    "OrderFactsAbortLoop": (
        Case(_of("order_facts_recoveries_total", "0+2x20", 'recovery="retry"'), "6m", _REPLICA),
        Case(_of("order_facts_recoveries_total", "0+1x5 5x20", 'recovery="retry"'), "6m"),
    ),
    "OrderFactsRejectedShare": (
        Case(_events("0+20x40", "0+80x40"), "16m", {}),
        Case(_events("0+2x40", "0+98x40"), "16m"),
        Case(_events("0+1x40", "0x40"), "16m"),  # too few to judge
    ),
    "OrderFactsCatchUpLong": (
        Case(_of("order_facts_partitions", "2x30", 'state="catching_up"'), "11m", _REPLICA | {"state": "catching_up"}),
        Case(_of("order_facts_partitions", "2x10 0x20", 'state="catching_up"'), "11m"),
    ),
    "OrderFactsContactIndexStale": (
        Case(_of("order_facts_contacts_age_seconds", "100+30x20"), "8m", {}),
        Case(_of("order_facts_contacts_age_seconds", "2x20"), "8m"),
    ),
    "OrderFactsNearRetention": (
        Case(_freshness("430000x5"), "1m", {}),
        Case(_freshness("300000x5"), "1m"),
    ),
    "OrderFactsRedisNearlyFull": (
        Case(_redis("900x20", "1000x20"), "6m", {"instance": "redis"}),
        Case(_redis("500x20", "1000x20"), "6m"),
        Case(_redis("900x20", "0x20"), "6m"),  # without a maxmemory
    ),
    "OrderFactsPartitionUnreadable": (
        Case(
            _of("order_facts_unreadable_offset", "32x10", 'topic="order-events", partition="0"'),
            "2m",
            _REPLICA | {"topic": "order-events", "partition": "0"},
        ),
        Case(_of("order_facts_partitions", "3x10", 'state="placed"'), "2m"),
    ),
    "OrderFactsStalled": (
        Case(_of("order_facts_stalled_partitions_total", "0 0 1 2 3x20"), "6m", _REPLICA),
        Case(_of("order_facts_stalled_partitions_total", "0 0 1x20"), "6m"),
    ),
    "OrderFactsMixedPartitioners": (
        Case(_of("order_facts_mixed_partitioners", "0 1x10"), "2m", {}),
        Case(_of("order_facts_mixed_partitioners", "0x10"), "2m"),
    ),
    "OrderFactsBreaker": (
        Case(_of("order_facts_waiting", "1x10", 'waiting_for="breaker"'), "1m", _REPLICA),
        Case(_events("0+90x20", "0+10x20"), "5m", _REPLICA),
        Case(_events("0+40x20", "0+60x20"), "5m"),
        Case(_events("0+9x20", "0+1x20"), "5m"),  # too few to judge
        Case(_of("order_facts_waiting", "1x10", 'waiting_for="redis"'), "1m"),
    ),
    "OrderFactsHealerLetGo": (
        Case(_of("order_facts_healer_let_go_events_total", "0 0 100x20"), "5m", _REPLICA),
        Case(_of("order_facts_healer_let_go_events_total", "100x20"), "5m"),
    ),
    "OrderFactsSegmentsLate": (
        Case(_segments("0x40"), "6m", _REPLICA),
        Case(_segments("0+30x40"), "6m"),
    ),
    "OrderFactsLogLinesLost": (
        Case(_of("order_facts_dropped_log_lines", "0 0 5x20"), "5m", _REPLICA),
        Case(_of("order_facts_dropped_log_lines", "5x20"), "5m"),
    ),
}


def rule_tests() -> str:
    """Return the file for `promtool test rules`."""
    tests = [_test(name, case) for name, cases in CASES.items() for case in cases]
    head = "# Written by `make docs` from deploy/observability/; a change here is lost.\n"
    document = {"rule_files": ["alerts.yaml"], "evaluation_interval": "30s", "tests": tests}
    return head + str(yaml.safe_dump(document, sort_keys=False, width=120))


def _test(name: str, case: Case) -> dict[str, Any]:
    expected = [] if case.labels is None else [_fired(name, case.labels)]
    return {
        "name": f"{name} {'is silent' if case.labels is None else 'fires'}",
        "interval": case.interval,
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": name, "exp_alerts": expected}],
    }


def _fired(name: str, labels: dict[str, str]) -> dict[str, Any]:
    alert = next(alert for alert in ALERTS if alert.name == name)
    summary = _LABEL.sub(lambda found: labels[found[1]], alert.summary)
    annotations = {"summary": summary, "runbook_url": f"{RUNBOOK}#{anchor(name)}"}
    return {"exp_labels": {"severity": alert.severity, **labels}, "exp_annotations": annotations}
