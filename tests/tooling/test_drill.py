"""Proves that the drill shortens what it says, and reads from `watch` what it shows."""

import yaml

from deploy.build.observability import FOLDER
from tests.observability.drill_faults import DRILLS, line_of
from tests.observability.scaled_rules import scaled

RULES = (FOLDER / "prometheus/alerts.yaml").read_text(encoding="utf-8")


def test_durations_are_shortened_and_thresholds_stay():
    """Windows, steps, `for` and the interval are divided; seconds that a metric is compared with are not."""
    (group,) = yaml.safe_load(scaled(RULES, 10))["groups"]
    rules = {rule["alert"]: rule for rule in group["rules"]}
    assert group["interval"] == "3000ms"
    lost = rules["OrderFactsFreshnessLost"]
    assert lost["expr"] == "min_over_time(max(order_facts_freshness_seconds)[30000ms:3000ms]) > 60"
    stale = rules["OrderFactsContactIndexStale"]
    assert (stale["expr"], stale["for"]) == ("max(order_facts_contacts_age_seconds) > 300", "6000ms")
    (as_they_are,) = yaml.safe_load(RULES)["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [rule["alert"] for rule in as_they_are["rules"]]


def test_each_drill_waits_for_an_alert_that_is_there():
    """A rule that is renamed is noticed before a drill waits for it."""
    (group,) = yaml.safe_load(RULES)["groups"]
    assert {one.alert for one in DRILLS} <= {rule["alert"] for rule in group["rules"]}
    assert len(DRILLS) == len({one.what for one in DRILLS}) == 10


def test_a_wrapped_entry_of_watch_is_one_line():
    """Entries are found by their begin, and end with the place in the runbook."""
    watched = "Now\nsince 1 (1 s) a: waits for x,\n              next in 1 s\n              R#e\n\nReplicas\nb  runs\n"
    assert line_of(watched, r"since .*a: waits") == "since 1 (1 s) a: waits for x, next in 1 s R#e"
    assert line_of(watched, r"b ") == "b runs"
    assert line_of(watched, r"c ") is None
