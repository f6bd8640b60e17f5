"""The short chaos run of every test run, with a fresh seed printed at its head, so that it can be played again."""

import os

import pytest

from tests.chaos import faults
from tests.chaos.run import WRONG, chaos
from tests.conftest import CHAOS_SEED

SECONDS = 60
LEAST_EVENTS = 15_000
LEAST_FAULTS = 5  # a minute has some ten


@pytest.mark.services
@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled_whatever_breaks(tmp_path):
    """Kills, restarts, flushes, roll-backs and floods while events flow: the topics equal the reference fold."""
    summary = chaos(SECONDS, int(os.environ[CHAOS_SEED]), tmp_path, least_events=LEAST_EVENTS, kinds=faults.SHORT)
    print(summary)
    assert summary["facts"] + summary["rejected"] == summary["events"] >= LEAST_EVENTS
    assert sum(summary["faults"].values()) >= LEAST_FAULTS
    assert {kind: summary[kind] for kind in WRONG} == dict.fromkeys(WRONG, 0), summary["differences"]
