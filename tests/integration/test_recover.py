"""Proves `state recover`: offsets lost or spoilt are set to where the outputs say, and nothing is done twice."""

import pytest

from tests.support.deployment import deployed
from tests.support.refusals import delete_records, forget_offsets, offsets, set_offset
from tests.support.traffic import contacts, traffic
from tests.support.ways import stopped


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment with contacts, its index complete, whose replica processed some events and stopped."""
    with deployed(settings, tmp_path) as running:
        running.send_contacts(contacts())
        running.index()
        running.send(traffic(seed=70, count=300))
        replica = running.replica("a")
        running.await_accounted()
        replica.stop()
        yield running


def go_on(deployment):
    """Process more events, and require that every event has one right output."""
    deployment.send(traffic(seed=71, count=200))
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    deployment.require_right_outputs()


def places(deployment):
    """Give the group's committed offsets, without what the program notes beside them."""
    return {partition: offset for partition, (offset, _) in offsets(deployment).items()}


def ends_of(records):
    """Give the offset after the last of some records, by partition."""
    ends: dict[int, int] = {}
    for record in records:
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)
    return ends


@pytest.mark.follows("offsets lost")
def test_lost_offsets_are_set_again_exactly(deployment):
    """The group was forgotten: a start refuses and names the command, which sets what stood there, to the offset."""
    before = places(deployment)
    forget_offsets(deployment)
    refused = deployment.command("run", check=False)
    assert refused.returncode == 1
    assert "state recover" in refused.stderr
    done = deployment.command("state", "recover")
    assert done.stdout.count("none -> ") == 3
    assert "3 offsets set" in done.stdout
    assert places(deployment) == before
    go_on(deployment)


def test_offsets_spoilt_by_another_tool_are_mended(deployment):
    """One offset moved back, one written without metadata: both are set to what was processed, the third stays."""
    before = places(deployment)
    set_offset(deployment, 1, "")
    set_offset(deployment, before[1], "", partition=1)
    done = deployment.command("state", "recover")
    assert places(deployment) == before
    assert done.stdout.count("one above the last event with an output") == 2
    assert done.stdout.count("as it was") == 1
    go_on(deployment)


def test_an_offset_moved_forward_by_another_tool_is_set_back(deployment):
    """Beyond events that wait, without metadata: `state recover` sets what was processed, and nothing is skipped."""
    before = places(deployment)
    deployment.send(traffic(seed=73, count=100))
    set_offset(deployment, before[0] + 5, "")
    deployment.command("state", "recover")
    assert places(deployment) == before
    go_on(deployment)


@pytest.mark.follows("retention")
def test_events_lost_to_retention_are_passed_over_only_when_accepted(deployment):
    """Events deleted unprocessed stop the command, which says how many; with the flag the rest goes on."""
    before, topic = places(deployment), deployment.settings.events_topic
    deployment.send(traffic(seed=72, count=200))
    events = deployment.read(topic)
    end = deployment.cluster.ends(topic, [0])[0]
    delete_records(deployment, topic, end)
    for command in (("run",), ("state", "recover")):
        assert f"up to {end - before[0]} events" in stopped(deployment, "retention", *command)
    assert f"-> {end}: " in deployment.command("state", "recover", "--accept-loss").stdout
    deployment.send(traffic(seed=74, count=100))
    left = [record for record in events if record.partition != 0 or record.offset < before[0]]
    later = [record for record in deployment.read(topic) if record.offset >= ends_of(events)[record.partition]]
    replica = deployment.replica("a")
    deployment.await_accounted(len(left) + len(later))
    replica.stop()
    deployment.require_right_outputs([*left, *later])


def test_refused_while_replicas_run(deployment):
    """Offsets are not moved under a running group: the replicas are named."""
    replica = deployment.replica("a")
    replica.await_line("partition.positioned")
    refused = deployment.command("state", "recover", check=False)
    assert refused.returncode == 1
    assert "stop them first" in refused.stderr
    replica.stop()


def test_nothing_to_recover_in_a_new_deployment(settings, tmp_path):
    """Where nothing was ever processed nothing is set, and the first start begins at the earliest event."""
    with deployed(settings, tmp_path) as deployment:
        done = deployment.command("state", "recover")
        assert done.stdout.count("nothing was ever processed") == 3
        assert offsets(deployment) == {}
