"""Proves on the real broker and Redis that every event becomes one right fact or rejection, however it is cut."""

import pytest
from msgspec.structs import replace

from tests.support.deployment import deployed
from tests.support.traffic import contacts, created, poison, traffic


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment with contacts, its index complete."""
    with deployed(settings, tmp_path) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


@pytest.mark.parametrize("max_batch", [1, 7, 5000])
def test_same_facts_whatever_the_batch_size(deployment, max_batch):
    """An order's events, interleaved in one batch and across batches, give the reference's facts (D18 to D24)."""
    deployment.send(traffic(seed=1, count=400))
    replica = deployment.replica("a", max_batch=max_batch)
    deployment.await_accounted()
    replica.stop()
    reasons = deployment.require_right_outputs()
    assert len(reasons) > 8, "the traffic should meet most reasons"
    committed = replica.lines("batch.committed")
    assert max(line["records"] for line in committed) <= max_batch
    assert sum(line["records"] for line in committed) == deployment.sent


def test_poison_of_every_kind_harms_no_neighbour(deployment):
    """A bad record is one rejection with its reason; the good records around it become facts (D24)."""
    kinds = poison(max_event_bytes=100_000)
    records = []
    for number, record in enumerate(kinds.values()):
        records += [created(f"before{number}"), record, created(f"after{number}")]
    deployment.send(records)
    replica = deployment.replica("a", max_event_bytes=100_000)
    deployment.settings = replace(deployment.settings, max_event_bytes=100_000)
    deployment.await_accounted()
    replica.stop()
    reasons = deployment.require_right_outputs()
    assert reasons["fact"] >= 2 * len(kinds)
    assert reasons["undecodable"] == 12
    assert reasons["oversized"] == 1


def test_restart_and_rebalance_with_unchanged_watermark_read_no_facts(deployment):
    """A restart, and a second replica that takes partitions over, find the mirror equal and read no fact."""
    deployment.send(traffic(seed=2, count=300))
    first = deployment.replica("a")
    deployment.await_accounted()
    first.stop()
    again = deployment.replica("a")
    again.await_line("partition.positioned", count=3)
    second = deployment.replica("b")
    second.await_line("partition.positioned")
    deployment.send(traffic(seed=3, count=300))
    deployment.await_accounted()
    for replica in (again, second):
        replica.stop()
        assert {line["mirror"] for line in replica.lines("partition.positioned")} == {"equal"}
        assert replica.lines("mirror.behind") == []
    deployment.require_right_outputs()
