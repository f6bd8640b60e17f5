"""The metrics as text: the form that a request accepts, and how often it is made."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import Counter, Gauge
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from processor.contacts import keeper_metrics
from processor.membership import publisher_metrics
from processor.monitoring.expositions import PAUSE_S, ByPartition, Exposition, new_registry
from processor.replay import healer_metrics
from processor.replica import metrics

SCRAPERS = 20
PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html, text/plain", PLAIN),
        (PROMETHEUS_3, OPEN),
        ("application/openmetrics-text", OPEN),
        ("Application/OpenMetrics-Text ; Version=1.0.0", OPEN),
        ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5", PLAIN),
        ("application/openmetrics-text;version=99.0.0", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
        ("application/openmetrics-text;q=0.3, text/plain;q=0.7", PLAIN),
        ("application/openmetrics-text;q=nan", PLAIN),
        ("application/openmetrics-text;version=;q=;;=,;,", PLAIN),
    ],
)
def test_form_is_the_one_that_is_accepted(accept, kind):
    """By type, version and weight; what cannot be read counts for nothing, and nothing asked for is plain."""
    registry = new_registry()
    Counter("order_facts_tries", "Tries.", registry=registry).inc(3)
    text, found = Exposition(registry)(accept)
    assert found == kind
    families = {
        family.name: family for family in (openmetrics_families if kind == OPEN else plain_families)(text.decode())
    }
    assert [s.value for s in families["order_facts_tries"].samples if s.name == "order_facts_tries_total"] == [3.0]
    assert text.endswith(b"# EOF\n") == (kind == OPEN)


@pytest.mark.parametrize("of", [metrics, keeper_metrics, healer_metrics, publisher_metrics])
def test_every_process_gives_both_forms(of):
    """What each kind of process lists can be read in both, with the same names."""
    plain, _ = of.EXPOSITION("")
    opened, _ = of.EXPOSITION("application/openmetrics-text")
    names = {family.name for family in openmetrics_families(opened.decode())}
    assert names
    assert {family.name.removesuffix("_created") for family in plain_families(plain.decode())} <= names


def test_text_is_made_seldom_however_many_ask():
    """A crowd of scrapers shares what is made after they asked; whoever asks next gets what is true then."""
    registry, made = new_registry(), []
    gauge = Gauge("order_facts_tries", "Tries.", registry=registry)

    def tries():
        made.append(time.monotonic())
        return len(made)

    gauge.set_function(tries)
    expose = Exposition(registry)
    began_s = time.monotonic()
    with ThreadPoolExecutor(SCRAPERS) as crowd:
        texts = [text for text, _ in crowd.map(expose, [""] * 5 * SCRAPERS)]
    assert len({*texts}) == len(made) < SCRAPERS
    assert (len(made) - 1) * PAUSE_S <= made[-1] - began_s
    for _ in range(2):
        asked_s = time.monotonic()
        text, _ = expose("")
        assert f"order_facts_tries {len(made)}.0\n".encode() in text
        assert made[-1] >= asked_s


def test_a_gauge_by_partition_has_what_it_is_given():
    """A sample for each partition with a value, and no other."""
    registry = new_registry()
    gauge = ByPartition("order_facts_ages", "Ages.", registry)
    assert registry.get_sample_value("order_facts_ages", {"partition": "3"}) is None
    gauge.set_function(lambda: {3: 1.5, 0: 0})
    assert registry.get_sample_value("order_facts_ages", {"partition": "3"}) == 1.5
    assert registry.get_sample_value("order_facts_ages", {"partition": "0"}) == 0
    gauge.set_function(dict)
    assert registry.get_sample_value("order_facts_ages", {"partition": "3"}) is None
