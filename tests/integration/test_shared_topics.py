"""Proves that groups that share topics neither count each other's outputs nor write into each other's facts."""

from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from processor.state.watermark import ContactsPosition, Watermark, metadata_text
from tests.support.audits import lineage_of
from tests.support.deployment import Deployment, await_condition, deployed
from tests.support.refusals import (
    facts,
    forget_mirror,
    forget_offsets,
    offsets,
    process,
    refused_run,
    rejections,
    set_offset,
)


class Shop(Deployment):
    """A deployment that shares its rejected topic."""

    def read(self, topic):
        """Give the records of a topic; of the rejected topic those of this group."""
        own = lineage_of(self.settings).digest().encode()
        is_shared = topic == self.settings.rejected_topic
        return [record for record in super().read(topic) if not is_shared or ("lineage", own) in record.headers]


@contextmanager
def another(original, folder, **changes):
    """Give another group on the topics of a deployment, except those changed."""
    settings = replace(original.settings, group_id=f"{original.settings.group_id}-2", **changes)
    folder.mkdir()
    with deployed(settings, folder, partitions=1, kind=Shop) as running:
        running.sent = original.sent if "events_topic" not in changes else 0
        yield running


def run_until(deployment, count):
    """Run a replica until so many outputs of its own group are there."""
    replica = deployment.replica("b")
    deployment.await_accounted(count)
    replica.stop()


def test_a_new_group_with_the_old_rejected_topic_processes_everything(single, tmp_path):
    """Rejected records of another group are no past: neither `run` nor `state recover` passes over any event."""
    process(single, [*facts(3), *rejections(5)])
    with another(single, tmp_path / "new", facts_topic=f"{single.settings.facts_topic}-2") as new:
        assert "nothing was ever processed" in new.command("state", "recover").stdout
        assert offsets(new) == {}
        run_until(new, 5 + 8)
        assert new.require_right_outputs() == {"fact": 3, "contact_not_found": 5}
        assert new.command("verify").stdout.endswith("ok\n")


@pytest.mark.follows("another group's facts")
def test_a_second_group_on_the_topics_of_another_writes_nothing(single, tmp_path):
    """Neither command takes the facts of another group for its own: no event is processed a second time."""
    process(single, facts(4))
    with another(single, tmp_path / "second") as second:
        line = refused_run(second)
        assert line.startswith(f"the facts topic {single.settings.facts_topic} belongs to another group")
        assert line.endswith("take a new group_id with a new facts_topic and rejected_topic")
        refused = second.command("state", "recover", "--adopt-unmarked", check=False)
        assert refused.returncode == 1
        assert "order-facts: the facts topic" in refused.stderr
        assert offsets(second) == {}
    process(single, facts(2, first=4))
    assert single.require_right_outputs() == {"fact": 6}
    # As the line says: its own topics.
    own = {f"{role}_topic": f"{getattr(single.settings, f'{role}_topic')}-2" for role in ("facts", "rejected")}
    with another(single, tmp_path / "own", **own) as second:
        run_until(second, 6)
        assert second.require_right_outputs() == {"fact": 6}


def test_two_groups_that_start_at_once_on_the_same_topics(single, tmp_path):
    """Neither finds an output of the other at its start: the first that finds its facts between its own stops."""
    with another(single, tmp_path / "second") as second:
        replicas = [single.replica("a"), second.replica("b")]
        for replica in replicas:
            replica.await_line("partition.positioned")
        single.send(facts(1))
        for replica in replicas:
            replica.await_line("batch.committed")
        single.send(facts(1, first=1))
        stopped = await_condition(
            lambda: next((replica for replica in replicas if replica.exit_code() is not None), None), single.tails
        )
        assert stopped.exit_code() == 1
        (line,) = stopped.lines("service.failed")
        assert f"the facts topic {single.settings.facts_topic} belongs to another group" in line["error"]


@pytest.mark.follows("unmarked outputs")
@pytest.mark.parametrize("how", ["ours", "another's"])
def test_rejected_records_that_do_not_say_whose_they_are(single, tmp_path, how):
    """An older version wrote them: a group without offsets stops and asks, and goes on as the line says, either way."""
    single.send([*rejections(3)])
    older = single.start("run", name="older", module="tests.support.unmarked")
    single.await_accounted()
    older.stop()
    forget_mirror(single)
    if how == "ours":
        forget_offsets(single)
        line = refused_run(single)
        assert "rejected records up to source offset 2 do not say which group wrote them" in line
        assert "if it was this group: order-facts state recover --adopt-unmarked" in line
        assert "1 offsets set" in single.command("state", "recover", "--adopt-unmarked").stdout
        process(single, facts(2))
        assert single.require_right_outputs() == {"fact": 2, "contact_not_found": 3}
    else:
        with another(single, tmp_path / "new", facts_topic=f"{single.settings.facts_topic}-2") as new:
            assert refused_run(new).endswith("if not, take a new rejected_topic")
        own = {f"{role}_topic": f"{getattr(single.settings, f'{role}_topic')}-2" for role in ("facts", "rejected")}
        with another(single, tmp_path / "own", **own) as new:
            run_until(new, 3)
            assert new.require_right_outputs() == {"contact_not_found": 3}


def test_two_shops_with_one_rejected_topic_survive_a_flush(single, tmp_path):
    """With their mirrors gone both start again: neither takes the other's source offsets for its own."""
    with another(single, tmp_path / "shop", **{
        f"{role}_topic": f"{getattr(single.settings, f'{role}_topic')}-2" for role in ("events", "facts")
    }) as shop:  # fmt: skip
        process(single, rejections(4))
        shop.send([*rejections(1), *facts(1)])
        run_until(shop, 4 + 2)
        for deployment in (single, shop):
            forget_mirror(deployment)
        shop.send(facts(2, first=1))
        run_until(shop, 4 + 4)
        single.send(facts(2))
        replica = single.replica("a")
        single.await_accounted(7)
        replica.stop()
        assert shop.require_right_outputs() == {"fact": 3, "contact_not_found": 1}
        assert shop.command("verify").stdout.endswith("ok\n")


@pytest.mark.follows("offsets of a tool")
def test_an_offset_of_another_tool_where_nothing_was_processed(single):
    """It is set to the earliest event, and the plan says so: nothing is skipped, and the next start goes on."""
    single.send(facts(3))
    set_offset(single, 2, "")
    line = refused_run(single)
    assert "set it again with `order-facts state recover`" in line
    done = single.command("state", "recover")
    assert "2 -> 0: 2 was set by another tool, and nothing was ever processed: the earliest event" in done.stdout
    run_until(single, 3)
    assert single.require_right_outputs() == {"fact": 3}


def test_recover_keeps_how_far_the_contact_index_was(deployment):
    """C4: what is set gets the greatest position that any of the group's offsets holds, partition by partition."""
    topic = deployment.cluster.topics([deployment.settings.contacts_topic])[deployment.settings.contacts_topic]
    lineage = lineage_of(deployment.settings)
    for partition, reached in enumerate([(7, 1, 5), (2, 9, 5)]):
        position = ContactsPosition(topic.topic_id, reached)
        set_offset(deployment, 0, metadata_text(Watermark(0, 0), lineage, position), partition)
    set_offset(deployment, 0, "", 2)
    deployment.command("state", "recover")
    _, metadata = offsets(deployment)[2]
    assert f'["{topic.topic_id}",[7,9,5]]' in metadata or '"offsets":[7,9,5]' in metadata
