"""The faults of a schema registry; each acts on a world that has one."""

import signal
import time


def _lost(world, empty_s):
    """Kill the registry, and a replica which then starts without it; it comes back empty, and stays so for a while."""
    world.lose_registry()
    if world.random.random() < 0.5:
        name = world.random.choice(sorted(world.replicas))
        world.replicas[name].signal(signal.SIGKILL)
        world.replicas[name].await_end()
        world.start_replica(name)
    time.sleep(world.random.uniform(1, 4))
    world.registry.start()
    time.sleep(empty_s)
    world.restore_registry()


def registry_killed(world):
    """SIGKILL; it starts again after some seconds, and has its schemas again at once."""
    _lost(world, 0.0)


def registry_empty(world):
    """SIGKILL; it starts again and knows no schema for some seconds."""
    _lost(world, world.random.uniform(2, 6))


def _frozen(world, seconds):
    world.registry.pause()
    time.sleep(seconds)
    world.registry.resume()


def registry_frozen_shortly(world):
    """Stop the registry for 5 s."""
    _frozen(world, 5.0)


def registry_frozen(world):
    """Stop the registry for 60 s."""
    _frozen(world, 60.0)


SHORT = (registry_killed, registry_empty, registry_frozen_shortly)
LONG = (registry_killed, registry_empty, registry_frozen)
