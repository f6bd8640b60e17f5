"""Holds who a dead predecessor's transaction is ended for, and that a claim outlives a failed question."""

import pytest

from processor.errors import RetryError
from processor.kafka.cluster import Cluster
from processor.replica import fencing
from processor.settings import Settings

SETTINGS = Settings(group_id="group", instance_id="me")
OTHER = "group/other"


class Answers(Cluster):
    """The cluster's answers about one output partition that is held back, and about the group's members, in turn."""

    def __init__(self, *members):
        self.members = list(members)

    def held_back(self, topic, partitions):
        """Say that the partition's committed end stays where it is."""
        return dict.fromkeys(partitions, 7)

    def instances(self, group_id):
        """Give the next answer; None is no answer."""
        found = self.members.pop(0)
        if found is None:
            raise RetryError("the coordinator is moving")
        return found


@pytest.fixture
def ended(monkeypatch):
    """Give the list of the transactional ids that are taken; nothing is waited for."""
    taken: list[str] = []
    monkeypatch.setattr(fencing, "SUSPICION_S", 0.0)
    monkeypatch.setattr(fencing, "end_transaction", lambda _, claim: taken.append(claim))
    return taken


def watching(*members):
    """Give a fence that watches a partition of another replica."""
    fence = fencing.Fence(SETTINGS, Answers(*members))
    fence.watch({0: OTHER})
    fence.look()
    return fence


@pytest.mark.parametrize("first", [None, set()], ids=["no answer", "members not known yet"])
def test_claim_outlives_a_question_that_fails(ended, first):
    """A coordinator that moves just then must not cost the claim: the next look ends the dead one's transaction."""
    fence = watching(first, {"me"})
    with pytest.raises(RetryError):
        fence.look()
    assert ended == []
    fence.look()
    fence.look()
    assert ended == [OTHER]


def test_transaction_of_a_member_is_left_alone(ended):
    """A predecessor that is in the group is at work, and nobody ends what it has open."""
    watching({"me", "other"}).look()
    assert ended == []


def test_own_and_missing_claims_are_not_watched(ended):
    """What this replica left itself, its own start has ended; a partition that nobody claimed has no predecessor."""
    fence = fencing.Fence(SETTINGS, Answers())
    fence.watch({0: "group/me", 1: None})
    fence.look()
    fence.look()
    assert ended == []
