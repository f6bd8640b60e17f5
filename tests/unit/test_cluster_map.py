"""Which nodes are asked for a Cluster's map, in which order, and what is taken of their answers."""

import pytest

from processor.errors import RedisError, StopError
from processor.state.cluster_map import SLOTS, ClusterMap, named

A, B, C = ("a", 1), ("b", 2), ("c", 3)
WHOLE = [[0, SLOTS - 1, [b"b", 2, b"id"]]]


class Nodes:
    """Answers for each host what it was told to, or raises it."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __call__(self, host):
        """Note the question."""
        self.asked.append(host[0])
        answer = self.answers[host[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_node_without_a_map_is_not_asked_for_ever():
    """One that lost its place answers with nothing: the next one is asked at once."""
    nodes = Nodes(a=[], b=WHOLE)
    assert set(ClusterMap([A, B], nodes).asked([])) == {B}
    assert nodes.asked == ["a", "b"]


def test_each_attempt_begins_with_another_node():
    """A node that was cut off may give an old map for ever; what another one named is asked first."""
    nodes = Nodes(a=WHOLE, b=WHOLE, c=WHOLE)
    cluster = ClusterMap([A, B], nodes)
    for _ in range(4):
        cluster.asked([A, C])
    assert nodes.asked == ["a", "c", "b", "a"]
    cluster.ask_first(C)
    cluster.asked([])
    assert nodes.asked[-1] == "c"


def test_the_map_that_knows_most_is_taken_if_none_knows_all():
    """A Cluster may work on with the slots that it has."""
    half = [[0, 99, [b"a", 1]]]
    nodes = Nodes(a=half, b=[[0, 199, [b"b", 2]]], c=RedisError("away"))
    found = ClusterMap([A, B, C], nodes).asked([])
    assert (found.count(B), found.count(None)) == (200, SLOTS - 200)


def test_refusals_count_if_most_refuse():
    """A wrong password stops the program though one node is away; one node's old rules do not while others are away."""
    refusal, away = StopError("wrong password"), RedisError("away")
    with pytest.raises(StopError, match="wrong password"):
        ClusterMap([A, B, C], Nodes(a=refusal, b=refusal, c=away)).asked([])
    with pytest.raises(RedisError, match="wrong password"):
        ClusterMap([A, B, C], Nodes(a=away, b=away, c=refusal)).asked([])
    with pytest.raises(RedisError, match="no node of the cluster knows who has its slots"):
        ClusterMap([A], Nodes(a=[])).asked([])


def test_silent_nodes_do_not_hold_a_replica_up(monkeypatch):
    """After a few seconds the attempt ends; the next one goes on with those that were not asked."""
    clock = [0.0]
    monkeypatch.setattr("processor.state.cluster_map.time.monotonic", lambda: clock[0])

    def ask(host):
        asked.append(host[0])
        clock[0] += 2.0
        raise RedisError("silent")

    asked: list[str] = []
    cluster = ClusterMap([(name, 1) for name in "abcdef"], ask)
    for _ in range(2):
        with pytest.raises(RedisError, match="silent"):
            cluster.asked([])
    assert asked == [*"abcdef"]


@pytest.mark.parametrize(("name", "found"), [(b"", A[0]), (None, A[0]), (b"?", A[0]), (b"x", "x"), ("y", "y")])
def test_node_that_does_not_know_its_name_is_the_one_that_was_asked(name, found):
    """So it is until it met another node, or where endpoints are unknown."""
    assert named(name, 7, A) == (found, 7)
