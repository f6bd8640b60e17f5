"""Proves that a topic that gained partitions is not processed on: its keys moved, and known orders are unknown there.

And that the offsets' metadata, which remembers the number of partitions, is read whichever version wrote it.
"""

import json
import re

import pytest
from confluent_kafka.admin import NewPartitions
from msgspec.structs import replace

from tests.support.deployment import await_condition, deployed
from tests.support.refusals import REQUEST_S, facts, forget_offsets, offsets, process, refusal, refused_run, set_offset
from tests.support.traffic import traffic

MORE = 6


def grow(deployment, count=MORE):
    """Give the events topic and both outputs more partitions."""
    settings = deployment.settings
    for name in (settings.facts_topic, settings.rejected_topic, settings.events_topic):
        deployment.cluster.admin.create_partitions([NewPartitions(name, count)])[name].result(REQUEST_S)
    await_condition(
        lambda: deployment.cluster.topics([settings.events_topic])[settings.events_topic].partitions == count, "grown"
    )


WIDEN = ("topics", "widen", "--partitions", "8")


def refused_to_follow(deployment):
    """Require that `topics widen` copies only to finish: nothing may come meanwhile."""
    done = deployment.command(*WIDEN, check=False)
    assert done.returncode == 2
    assert f"{deployment.settings.events_topic} had 3 partitions when its events were processed" in done.stderr


@pytest.mark.follows("partitions added")
def test_partitions_added_while_nothing_runs(deployment, tmp_path):
    """Known orders are elsewhere: a start refuses, so does `state recover`; a copy of the events is gone on with."""
    deployment.send(traffic(seed=90, count=200))
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    grow(deployment)
    deployment.send(traffic(seed=91, count=200))
    (tmp_path / "new").mkdir()
    line = refused_run(deployment)
    assert line.startswith(f"{deployment.settings.events_topic} has {MORE} partitions, and had 3 when its events were ")
    assert line.endswith('see "Partitions were added" in deploy/README.md')
    assert refusal(deployment.command("state", "recover", check=False), 1) == line
    refused_to_follow(deployment)
    told = deployment.command(*WIDEN, "--finish", "--quiet", "1s").stdout.splitlines()
    assert told[-1].startswith(f"the group {deployment.settings.group_id} cannot process the rest")
    names = {
        name.lower(): value for name, value in re.findall(r"^ORDER_FACTS_(\w+)=(.+)$", "\n".join(told), re.MULTILINE)
    }
    with deployed(replace(deployment.settings, **names), tmp_path / "new", partitions=8) as copy:
        replica = copy.replica("a")
        copy.await_accounted(400)
        replica.stop()
        copy.require_right_outputs()
        former = (
            "--former-events",
            deployment.settings.events_topic,
            "--former-facts",
            deployment.settings.facts_topic,
        )
        told = copy.command("verify", *former).stdout.splitlines()
        assert f"{deployment.settings.facts_topic}: not compared, since the former group stopped" in told[-2]


def test_partitions_added_and_offsets_lost(deployment):
    """The outputs know the number as well: neither a start nor `state recover` gives known orders a second life."""
    deployment.send(traffic(seed=94, count=200))
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    grow(deployment)
    forget_offsets(deployment)
    refused_to_follow(deployment)
    line = refused_run(deployment)
    assert f"has {MORE} partitions, and had 3 when its events were processed" in line
    assert refusal(deployment.command("state", "recover", check=False), 1) == line


def test_partitions_added_while_a_replica_runs(deployment):
    """The client would notice after minutes; a replica at work stops at once, and leaves the new partitions alone."""
    deployment.send(traffic(seed=92, count=200))
    replica = deployment.replica("a")
    deployment.await_accounted()
    before = offsets(deployment)
    grow(deployment)

    def has_ended():
        deployment.send(traffic(seed=93, count=1))
        return replica.exit_code() is not None

    await_condition(has_ended, lambda: replica.tail("goes on"), patience_s=20)
    assert replica.await_end() == 1
    (failed,) = replica.lines("service.failed")
    assert f"has {MORE} partitions, and had 3 when its events were processed" in failed["error"]
    assert offsets(deployment).keys() == before.keys(), "no new partition was processed"


def test_partitions_added_while_an_idle_replica_runs(single):
    """With no event to commit, the look every few seconds finds it."""
    single.send(facts(3))
    replica = single.replica("a")
    single.await_accounted()
    grow(single, 2)
    await_condition(lambda: replica.exit_code() is not None, lambda: replica.tail("goes on"), patience_s=20)
    (failed,) = replica.lines("service.failed")
    assert "has 2 partitions, and had 1 when its events were processed" in failed["error"]


def test_metadata_of_the_first_version_is_read_and_replaced(single):
    """An upgrade goes on from what the version before committed, and notes the number of partitions."""
    process(single, facts(3))
    offset, text = offsets(single)[0]
    metadata = json.loads(text)
    assert (metadata["v"], metadata["partitions"]) == (3, 1)
    set_offset(single, offset, json.dumps({"v": 1, "facts": metadata["facts"], "topics": metadata["topics"]}))
    process(single, facts(2, first=3))
    assert json.loads(offsets(single)[0][1])["partitions"] == 1
    assert single.require_right_outputs() == {"fact": 5}


def test_metadata_with_a_field_that_is_not_known_is_read(single):
    """A later program of the same version may note more: this one goes on beside it."""
    process(single, facts(3))
    offset, text = offsets(single)[0]
    set_offset(single, offset, json.dumps(json.loads(text) | {"later": {"more": [1]}}))
    process(single, facts(2, first=3))
    assert single.require_right_outputs() == {"fact": 5}
