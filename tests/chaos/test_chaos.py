"""The short chaos run of every test run, with a fresh seed printed at its head, so that it can be played again."""

import os

import pytest

from tests.chaos import faults, registry_faults
from tests.chaos.registry_world import RegistryWorld
from tests.chaos.run import WRONG, chaos, has_registry
from tests.chaos.world import World
from tests.conftest import CHAOS_SEED

SECONDS = 60
LEAST_EVENTS = 15_000
LEAST_FAULTS = 5  # a minute has some ten; fewer where a schema registry starts again and again


@pytest.mark.services
@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled_whatever_breaks(tmp_path):
    """Kills, restarts, flushes, roll-backs and floods while events flow: the topics equal the reference fold."""
    seed = int(os.environ[CHAOS_SEED])
    world, kinds = (RegistryWorld, registry_faults.SHORT) if has_registry(seed) else (World, ())
    summary = chaos(SECONDS, seed, tmp_path, LEAST_EVENTS, faults.SHORT + kinds, world=world)
    print(summary)
    assert summary["facts"] + summary["rejected"] == summary["events"] >= LEAST_EVENTS
    assert sum(summary["faults"].values()) >= LEAST_FAULTS // (2 if has_registry(seed) else 1)
    assert {kind: summary[kind] for kind in WRONG} == dict.fromkeys(WRONG, 0), summary["differences"]
