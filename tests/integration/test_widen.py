"""Proves that `topics widen` copies each event once, in order, whatever dies, and says what it does not copy."""

import signal

import pytest
from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka
from processor.kafka.clients import reader
from processor.state.event_copies import Place
from processor.widening import merged_feed
from tests.support.deployment import await_condition, deployed
from tests.support.traffic import poison, traffic
from tests.support.ways import configure, require_row
from tests.support.widen_saboteur import MOMENTS
from tests.support.widenings import MORE, NOW_MS, Widening, numbered


@pytest.fixture
def widening(settings, tmp_path):
    """Give a deployment of three partitions, without contacts and without processes."""
    with deployed(settings, tmp_path, kind=Widening) as running:
        yield running


# --- the story ---------------------------------------------------------------------------------------------


def test_copies_are_as_their_events_and_in_order(widening):
    """Keys, values, headers and times are kept, empty and null ones too; each key is where murmur2 puts it."""
    widening.produce(numbered(500))
    headers = [("trace", b"7"), ("null", None), ("empty", b""), ("trace", b"8")]
    odd = [(None, b"no key", 2, NOW_MS), (b"", b"", 1, NOW_MS), (b"k", None, 0, NOW_MS), (b"k", b"early", 0, 1)]
    widening.produce([(*record, headers) for record in odd])
    widening.send([*traffic(seed=1, count=300), *poison().values()])
    copier = widening.widen()
    copier.await_line("widen.caught_up")
    widening.send(traffic(seed=2, count=300))
    done = widening.finish()
    assert copier.await_end() == 1, copier.tail("the one that finishes took over")
    widening.require_copies()
    names = [f"ORDER_FACTS_EVENTS_TOPIC={widening.new_settings.events_topic}"]
    names += [f"ORDER_FACTS_GROUP_ID={widening.new_settings.group_id}"]
    lines = done.stdout.splitlines()
    assert set(names) < set(lines)
    assert f"producers may write to {widening.new_settings.events_topic} now, with Kafka's own partitioner" in lines[-2]
    assert lines[-1] == f"the group {widening.settings.group_id} has processed nothing"


def test_new_topics_are_like_the_old_ones(widening):
    """Own settings are taken over; outputs stay compacted; only the time of a record is its producer's."""
    own = {"retention_ms": "987654321", "max_message_bytes": "2000000", "compression_type": "zstd"}
    configure(widening, widening.settings.events_topic, **own, message_timestamp_type="LogAppendTime")
    widening.send(traffic(seed=3, count=50))
    done = widening.finish()
    new = widening.new_settings
    kept = {name.replace("_", "."): value for name, value in own.items()}
    found = widening.cluster.own_topic_settings(new.events_topic)
    back = {name: found.pop(name) for name in ("retention.ms", "message.timestamp.type")}
    assert back == {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
    assert {name: value for name, value in kept.items() if name != "retention.ms"}.items() <= found.items()
    for role in ("facts_topic", "rejected_topic"):
        former = widening.cluster.own_topic_settings(getattr(widening.settings, role))
        assert widening.cluster.own_topic_settings(getattr(new, role)) == former
    assert {topic.partitions for topic in widening.cluster.topics([new.events_topic, new.facts_topic]).values()} == {7}
    line = next(line for line in done.stdout.splitlines() if "set back: " in line)
    assert {"retention.ms=987654321", "message.timestamp.type=LogAppendTime"} < set(line.split())
    widening.require_copies()


def test_both_deployments_come_to_the_same_facts(deployment, tmp_path):
    """The new one runs beside the old one, from the start of the copy; it is an ordinary deployment."""
    old = Widening(deployment.settings, tmp_path)
    old.send(traffic(seed=4, count=400))
    former = old.replica("old")
    copier = old.widen()
    copier.await_line("widen.started")
    with deployed(old.new_settings, tmp_path, partitions=MORE) as new:
        replica = new.replica("new")
        old.send(traffic(seed=5, count=400))
        copier.await_line("widen.caught_up")
        old.await_accounted(800)
        done = old.finish()
        assert f"the group {old.settings.group_id} has processed all events" in done.stdout
        new.await_accounted(800)
        new.send(traffic(seed=6, count=200))
        new.await_accounted(1_000)
        replica.stop()
        new.require_right_outputs()
    former.stop()
    old.end()


# --- whatever dies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
def test_copier_that_is_killed_goes_on_where_it_was(widening, moment):
    """At each moment of a transaction, twice: nothing is missing, and nothing doubled."""
    widening.produce(numbered(600))
    for transaction in (1, 3):
        copier = widening.sabotaged_widen(moment, transaction, "SIGKILL")
        copier.await_line("test.sabotage")
        assert copier.await_end() == -signal.SIGKILL
    widening.finish()
    widening.require_copies()


@pytest.mark.follows("widen overtaken")
def test_second_copier_takes_over(widening):
    """The first one can write nothing more, also if it was frozen in a transaction, and ends with a line."""
    widening.produce(numbered(600))
    copier = widening.sabotaged_widen("after note", 2, "SIGSTOP")
    copier.await_line("test.sabotage")
    second = widening.widen()
    second.await_line("widen.caught_up")
    copier.signal(signal.SIGCONT)
    assert copier.await_end() == 1
    (failed,) = copier.lines("service.failed")
    require_row(failed["error"], "widen overtaken")
    second.stop()
    widening.finish()
    widening.require_copies()


def test_copier_that_was_paused_goes_on(widening):
    """Longer than its transaction may take: the broker fenced it, nobody else did."""
    widening.produce(numbered(600))
    new = widening.new_settings.events_topic
    copier = widening.sabotaged_widen("after write", 2, "SIGSTOP")
    copier.await_line("test.sabotage")
    await_condition(lambda: not widening.cluster.held_back(new, range(MORE)), "aborted by the broker", patience_s=60)
    copier.signal(signal.SIGCONT)
    copier.await_line("widen.caught_up")
    copier.stop()
    widening.finish()
    widening.require_copies()


@pytest.mark.parametrize(("all_bytes", "each_bytes"), [(192 << 10, 64 << 10), (64 << 10, 64 << 20)])
def test_one_partition_far_ahead_costs_no_memory(widening, monkeypatch, all_bytes, each_bytes):
    """What has enough ready is not read until the others have caught up; the order is that of the times."""
    monkeypatch.setattr(merged_feed, "_READY_BYTES", all_bytes)
    monkeypatch.setattr(merged_feed, "_LEAST_READY_BYTES", each_bytes)
    early = [(b"a", b"x" * 1_000, 0, NOW_MS - 10_000_000 + n, None) for n in range(3_000)]
    late = [(b"b", b"x" * 1_000, p, NOW_MS - 1_000_000 + n, None) for n in range(3_000) for p in (1, 2)]
    widening.produce([*late, *early])
    topic = widening.settings.events_topic
    ends = widening.cluster.ends(topic, range(3))
    with reader(widening.settings, **{"fetch.message.max.bytes": 16 << 10}) as consumer:
        feed = merged_feed.MergedFeed(consumer, topic, {partition: Place(0) for partition in range(3)})
        taken, most = [], 0

        def all_taken():
            nonlocal most
            feed.read(0.1)
            most = max(most, sum(lane.ready_bytes for lane in feed._lanes.values()))
            taken.extend(feed.merged(ends, 500, 1 << 20))
            return feed.has_reached(ends)

        await_condition(all_taken, lambda: f"{len(taken)} were taken")
    assert len(taken) == 9_000
    assert [record.timestamp_ms for record in taken] == sorted(record.timestamp_ms for record in taken)
    assert most < 9_000_000, "a turn reads some megabytes at most"


@pytest.mark.runbook("widen.waiting")
def test_kafka_that_goes_away_is_waited_for(settings, tmp_path):
    """It says so, tries again by itself, and copies what came meanwhile."""
    kafka = EmbeddedKafka(tmp_path / "kafka")
    kafka.start()
    try:
        own = replace(settings, bootstrap_servers=kafka.bootstrap_servers)
        with deployed(own, tmp_path, kind=Widening) as widening:
            widening.produce(numbered(300))
            copier = widening.widen()
            copier.await_line("widen.caught_up")
            kafka.kill()
            copier.await_line("widen.waiting")
            kafka.start()
            copier.await_line("widen.resumed")
            widening.produce(numbered(300))
            copier.stop()
            widening.finish()
            widening.require_copies()
    finally:
        kafka.kill()


# --- a count that was raised before ------------------------------------------------------------------------


@pytest.mark.runbook("widen.other_partitioner")
def test_keys_in_two_partitions_are_merged_by_time(widening):
    """After the count was raised a key's later events are elsewhere: their copies are in the order of the times."""
    widening.produce(numbered(300))
    widening.add_partitions(5)
    widening.produce(numbered(300, partitions=5, begin_ms=NOW_MS - 1_800_000))
    for moment in ("after write", "after end"):
        copier = widening.sabotaged_widen(moment, 3, "SIGKILL", "--finish", "--quiet", "1s")
        assert copier.await_end() == -signal.SIGKILL
    done = widening.finish()
    assert "widen.other_partitioner" in done.stderr
    widening.require_copies()


def test_added_partitions_come_after_the_others(widening):
    """One wrong clock gives a whole partition a time in the future: orders that moved from it stay in order."""
    widening.produce(numbered(100))
    copier = widening.widen()
    copier.await_line("widen.caught_up")
    copier.stop()
    widening.produce([(b"clock", b"wrong", 0, NOW_MS + 600_000, None)])
    widening.produce(numbered(300))
    widening.add_partitions(6)
    widening.produce(numbered(300, partitions=6, begin_ms=NOW_MS - 1_800_000))
    assert "had 3 partitions" in widening.refused(code=2)
    widening.finish()
    widening.require_copies(before=3)


@pytest.mark.follows("widen grown")
def test_partitions_that_are_added_meanwhile(widening):
    """Nothing is called finished that leaves them out, not by a copier that follows either."""
    widening.produce(numbered(100))
    copier = widening.widen()
    copier.await_line("widen.caught_up")
    finishing = widening.widen("--finish", "--quiet", "60s", "--suffix", "-too")
    finishing.await_line("widen.started")
    widening.add_partitions(6)
    for one in (copier, finishing):
        assert one.await_end() == 1
        require_row(one.log_path.read_text(encoding="utf-8").splitlines()[-1], "widen grown")
    widening.produce(numbered(300, partitions=6, begin_ms=NOW_MS - 1_800_000))
    widening.finish()
    widening.require_copies(before=3)
