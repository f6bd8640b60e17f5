"""Proves that the benchmark of segments asks equal questions by condition and by hand, and measures their memory."""

from types import SimpleNamespace

from processor.segments.calls import CONDITIONS
from tests.benchmarks import report, segments
from tests.benchmarks.questions import BY_HAND
from tests.support.snapshots import snapshot_of

ORDERS = 3_000
EQUAL = {"median": 1, "min": 1, "max": 1}


def test_every_condition_is_compared(tmp_path):
    """Each finds somebody, and the peaks are in the report; orders of contacts that do not exist are among them."""
    orders = [segments._order(number, 0, 1) for number in range(ORDERS)]
    snapshot_of(tmp_path / "data", orders, [f"c{number}" for number in range(ORDERS // 10 - 20)])
    found = segments._asked(SimpleNamespace(folder=tmp_path), tmp_path / "data", lambda _: None)
    assert {condition.partition("(")[0] for condition in found["asked"]} == CONDITIONS
    assert found["asked"].keys() == BY_HAND.keys()
    assert sum(figures["contacts"] > 0 for figures in found["asked"].values()) > len(BY_HAND) / 2
    assert min(found["asked_peak_rss_mib"].values()) > 0
    work = {"facts export": {"seconds": EQUAL, "facts_per_s": EQUAL, "peak_rss_mib": EQUAL}}
    further = {"seconds": 1, "peak_rss_mib": 1}
    lines = report._segments(
        {"orders": ORDERS, "work": work, "ratio": EQUAL, "new_facts": 1, "further": further} | found
    )
    assert lines[-1].startswith("Peak of a process that asks each once: ")
