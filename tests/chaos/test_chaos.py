"""The short chaos run of every test run, with a fresh seed printed at its head, so that it can be played again."""

import os

import pytest

from tests.chaos import faults
from tests.chaos.run import WRONG, chaos
from tests.conftest import CHAOS_SEED

SECONDS = 60


@pytest.mark.services
@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled_whatever_breaks(tmp_path):
    """Kills, restarts, flushes, roll-backs and floods while events flow: the topics equal the reference fold."""
    summary = chaos(SECONDS, int(os.environ[CHAOS_SEED]), tmp_path, least_events=15_000, kinds=faults.SHORT)
    print(summary)
    assert {kind: summary[kind] for kind in WRONG} == dict.fromkeys(WRONG, 0), summary["differences"]
