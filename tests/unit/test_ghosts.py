"""Holds when a fenced member takes who has its name for another process, and when for a ghost of its own."""

import time

import pytest

from processor.errors import RetryError, StopError
from processor.kafka.cluster import Cluster
from processor.replica.ghosts import NameTaken
from processor.settings import Settings

SESSION_S = 6.0
SETTINGS = Settings(group_id="group", instance_id="me", kafka={"session.timeout.ms": SESSION_S * 1000})


class Members(Cluster):
    """The cluster's answers about the group's members; None is no answer."""

    def __init__(self):
        self.members = {"me", "other"}

    def instances(self, group_id):
        """Give the answer of now."""
        if self.members is None:
            raise RetryError(f"the coordinator of {group_id} is moving")
        return self.members


@pytest.fixture
def sightings(monkeypatch):
    """Give what asks at a moment who has the name, and the answers."""
    taken, cluster = NameTaken(), Members()

    def ask(moment_s):
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: moment_s)
            taken.require_free(cluster, SETTINGS)

    return ask, cluster


def seen(ask, begin_s, end_s):
    """Ask every two seconds: nobody knows yet who it is."""
    moment_s = begin_s
    while moment_s <= end_s:
        with pytest.raises(RetryError):
            ask(moment_s)
        moment_s += 2.0


def test_a_name_that_stays_for_three_sessions_is_another_process(sightings):
    """A ghost has one session, and another one whenever the coordinator loads its group again."""
    ask, _ = sightings
    seen(ask, 0.0, 3 * SESSION_S)
    with pytest.raises(StopError, match="another process runs with this instance_id, me"):
        ask(3 * SESSION_S + 1)


def test_a_name_that_goes_was_a_ghost(sightings):
    """Then the member may join again."""
    ask, cluster = sightings
    seen(ask, 0.0, 10.0)
    cluster.members = {"other"}
    ask(12.0)


def test_the_time_begins_anew_after_an_answer_that_failed(sightings):
    """The coordinator may have moved, which gives a ghost another session."""
    ask, cluster = sightings
    seen(ask, 0.0, 3 * SESSION_S)
    cluster.members = None
    seen(ask, 3 * SESSION_S + 1, 3 * SESSION_S + 1)
    cluster.members = {"me"}
    seen(ask, 3 * SESSION_S + 2, 6 * SESSION_S + 2)
