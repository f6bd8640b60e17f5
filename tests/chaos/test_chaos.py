"""The short chaos run of every test run: a fresh seed each time, printed, so that a failure can be played again."""

import secrets

import pytest

from tests.chaos import faults
from tests.chaos.run import chaos

SECONDS = 60


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled_whatever_breaks(tmp_path, capsys):
    """Kills, restarts, flushes, roll-backs and floods while events flow: the topics equal the reference fold."""
    seed = secrets.randbelow(1 << 31)
    with capsys.disabled():
        print(f"\nchaos seed {seed}")
        summary = chaos(SECONDS, seed, tmp_path, least_events=15_000, kinds=faults.SHORT)
        print(summary)
    assert summary["duplicates"] == summary["losses"] == summary["mismatches"] == 0
