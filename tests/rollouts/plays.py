"""The rollouts that are played, each on a deployment of its own whose events flow all the while.

A play yields the name of each step before it does it; what happens until the next one belongs to that step.
"""

import math
import time
from dataclasses import dataclass

STEADY_S = 6.0  # before the first step, to know how it flows without any
BETWEEN_S = 1.0  # a kubelet asks a new pod every two seconds whether it is ready
AFTER_S = 6.0
ALONE_S = 18.0  # after a loss: longer than a session, and than a transaction left open


@dataclass(frozen=True)
class Play:
    """What is played, on how many replicas and partitions; `steps` takes the fleets and the images."""

    steps: object
    goal_s: float = math.inf  # none for what is played for comparison
    replicas: int = 4
    partitions: int = 12
    deployments: int = 1
    is_previous: bool = False  # begin with the previous image
    is_keeping: bool = False  # replicas that keep their place when they stop
    is_ipv6_only: bool = False


def _restarted(fleet, image, *, keeping=False):
    """Replace all replicas, from the highest number down, as a StatefulSet does."""
    for name in reversed([name for name in fleet.replicas if name]):
        yield f"{name} replaced"
        fleet.replace(name, image, keeping=keeping)
        time.sleep(BETWEEN_S)


def rolling_restart(fleets, images):
    """Each replica stops and comes back, one by one."""
    yield from _restarted(fleets[0], images.new)


def rolling_restart_keeping(fleets, images):
    """Do the same with a program that does not leave the group when it stops."""
    yield from _restarted(fleets[0], images.new, keeping=True)


def rolling_update(fleets, images):
    """From the previous image to the new one, and back."""
    yield from _restarted(fleets[0], images.new)
    yield from _restarted(fleets[0], images.previous)


def scale(fleets, images):
    """From two replicas to six, and back to two."""
    yield "2 -> 6"
    fleets[0].scale_out(6, images.new)
    time.sleep(AFTER_S)
    yield "6 -> 2"
    fleets[0].scale_in(2)


def scale_keeping(fleets, images):
    """Do the same with a program that does not leave the group when it stops."""
    yield "2 -> 6"
    fleets[0].scale_out(6, images.new, keeping=True)
    time.sleep(AFTER_S)
    yield "6 -> 2"
    fleets[0].scale_in(2)


def node_loss(fleets, images):
    """Kill a replica whose name never comes back; add one with a new name, and lose another."""
    (fleet,) = fleets
    yield "order-facts-3 lost"
    fleet.lose("order-facts-3")
    time.sleep(ALONE_S)
    yield "order-facts-4 added"
    fleet.scale_out(5, images.new)
    time.sleep(BETWEEN_S)
    yield "order-facts-0 lost"
    fleet.lose("order-facts-0")
    time.sleep(ALONE_S)


def spares(fleets, images):
    """More replicas than partitions: a restart of all, then the loss of one that works."""
    (fleet,) = fleets
    yield from _restarted(fleet, images.new)
    for name in fleet.replicas[:2]:
        yield f"{name} lost"
        fleet.lose(name)
        time.sleep(ALONE_S)


def two_deployments(fleets, images):
    """Two deployments with equal names of replicas: one is restarted, then one replica of the other is lost."""
    yield from _restarted(fleets[0], images.new)
    yield "order-facts-1 of the other lost"
    fleets[1].lose("order-facts-1")
    time.sleep(ALONE_S)


PLAYS = {
    "rolling_restart": Play(rolling_restart, 2.0),
    "rolling_restart_keeping": Play(rolling_restart_keeping, is_keeping=True),
    "rolling_update": Play(rolling_update, 2.0, is_previous=True),
    "scale": Play(scale, 9.0, replicas=2),
    "scale_keeping": Play(scale_keeping, replicas=2, is_keeping=True),
    "node_loss": Play(node_loss, 9.0),
    "spares": Play(spares, 9.0, replicas=6, partitions=4),
    "two_deployments": Play(two_deployments, 9.0, replicas=2, deployments=2),
    "ipv6_only": Play(rolling_restart, 2.0, is_ipv6_only=True),
}
