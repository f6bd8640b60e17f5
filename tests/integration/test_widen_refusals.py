"""Proves that `topics widen` refuses what would lose or reorder events, and goes on as its lines say."""

import random
import signal

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewTopic

from processor.kafka.clients import reader
from tests.conftest import own_settings
from tests.support.batches import send_batch
from tests.support.deployment import await_condition, deployed
from tests.support.refusals import REQUEST_S, delete_records, delete_topic, in_transaction
from tests.support.traffic import created
from tests.support.ways import configure, require_row
from tests.support.widenings import MORE, NOW_MS, Widening, numbered


@pytest.fixture
def widening(settings, tmp_path):
    """Give a deployment of three partitions, without contacts and without processes."""
    with deployed(settings, tmp_path, kind=Widening) as running:
        yield running


@pytest.mark.follows("widen under load")
def test_finish_refuses_while_events_come(widening):
    """Nothing is finished; once the producers are stopped, it is."""
    widening.produce(numbered(50))
    finishing = widening.widen("--finish", "--quiet", "60s")
    finishing.await_line("widen.started")

    def has_ended():
        widening.send([created("o1")])
        return finishing.exit_code() is not None

    await_condition(has_ended, lambda: finishing.tail("goes on"), patience_s=20)
    assert finishing.await_end() == 1
    line = finishing.log_path.read_text(encoding="utf-8").splitlines()[-1]
    require_row(line, "widen under load")
    assert finishing.lines("service.failed")
    widening.finish()
    widening.require_copies()


def test_finish_refuses_an_open_transaction(widening):
    """A producer that may still commit is one that was not stopped."""
    widening.produce(numbered(50))
    producer = in_transaction(widening.settings)
    producer.produce(widening.settings.events_topic, b"x", b"k")
    assert producer.flush(REQUEST_S) == 0
    line = widening.refused("--finish", "--quiet", "1s")
    assert "a producer's transaction is open" in line
    producer.abort_transaction(REQUEST_S)
    widening.finish()
    widening.require_copies()


def test_events_after_the_finish_are_copied_while_nobody_writes_to_the_new_topic(widening):
    """A second run says how many came, and goes on; a third finds nothing to do."""
    widening.produce(numbered(50))
    widening.finish()
    assert "after the copy was finished" not in widening.finish().stdout
    widening.send([created("o1"), created("o2")])
    assert "2 events came to" in widening.finish().stdout
    assert "after the copy was finished" not in widening.finish().stdout
    widening.require_copies()


def test_finished_copy_stays_finished(widening):
    """Nothing follows it; and a second finish that dies after some of what came since leaves it finished."""
    widening.produce(numbered(50))
    widening.finish()
    widening.produce(numbered(200))
    assert "to copy what came since, add --finish" in widening.refused(code=2)
    copier = widening.sabotaged_widen("after end", 3, "SIGKILL", "--finish", "--quiet", "1s")
    assert copier.await_end() == -signal.SIGKILL
    assert 50 < len(widening.copies()) < 250
    assert widening.noted().is_finished
    widening.finish()
    widening.require_copies()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_finish_that_is_stopped_is_not_done(widening, number):
    """Nothing says that it is, the exit code neither; the next one is done."""
    widening.produce(numbered(50))
    finishing = widening.widen("--finish", "--quiet", "60s")
    finishing.await_line("widen.started")
    finishing.signal(number)
    assert finishing.await_end() in {130, -number}
    assert "producers may write" not in finishing.log_path.read_text(encoding="utf-8")
    widening.finish()
    widening.require_copies()


@pytest.mark.follows("widen behind producers")
def test_nothing_is_copied_behind_what_producers_wrote(widening):
    """Not after the finish, and not before; `--accept-late` copies it all the same."""
    widening.produce(numbered(50))
    widening.finish()
    new = widening.new_settings.events_topic
    widening.produce([(b"own", b"own 1", 3, NOW_MS, None)], new)
    widening.send([created("o1"), created("o2")])
    line = widening.refused("--finish", "--quiet", "1s")
    require_row(line, "widen behind producers")
    assert "and 2 events of" in line
    before = widening.copies()
    widening.finish("--accept-late")
    assert len(widening.copies()) == len(before) + 2
    widening.require_copies(added={b"own 1"})


def test_a_producer_that_comes_too_early_is_noticed_within_a_transaction(widening):
    """It wrote while the copier runs: the next transaction is not committed."""
    widening.produce(numbered(50))
    copier = widening.widen()
    copier.await_line("widen.caught_up")
    new = widening.new_settings.events_topic
    for partition in range(MORE):
        widening.produce([(b"own", b"own", partition, NOW_MS, None)], new)
    widening.send([created("o1")])
    assert copier.await_end() == 1
    (failed,) = copier.lines("service.failed")
    require_row(failed["error"], "widen behind producers")
    assert len(widening.copies()) == 50 + MORE


def test_a_producer_that_writes_between_copies_and_their_marker_is_noticed(widening):
    """Its events are behind the copies of one transaction, and before those of the next."""
    widening.produce(numbered(600))
    copier = widening.sabotaged_widen("after write", 1, "SIGSTOP")
    copier.await_line("test.sabotage")
    new = widening.new_settings.events_topic
    for partition in range(MORE):
        widening.produce([(b"own", b"own", partition, NOW_MS, None)], new)
    copier.signal(signal.SIGCONT)
    assert copier.await_end() == 1
    (failed,) = copier.lines("service.failed")
    require_row(failed["error"], "widen behind producers")
    assert len(widening.copies()) == 40 + MORE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--partitions", "3"), "--partitions 3: {events} has 3 partitions; put a greater number"),
        ((), "--partitions: say here how many the new topics get, such as --partitions 24"),
        (("--partitions", "7", "--suffix", "/7"), "--suffix /7: put up to 50 letters, digits"),
        (("--partitions", "7", "--skip", "x"), "--skip x: put a partition and an offset there, such as 0:17"),
        (("--partitions", "7", "--quiet", "5"), "--quiet 5: put a number and a unit there"),
        (("--partitions", "9"), "--suffix -9: the topic {events}-9 exists with 4 partitions, not 9"),
        (("--partitions", "8"), "--suffix -8: the topic {facts}-8 holds records, and no copy of {events}"),
        (("--partitions", "6"), "--suffix -6: the topic {events}-6 has message.timestamp.type=LogAppendTime"),
    ],
)
def test_wrong_input(refusing, options, says):
    """One line says what to put there, with exit code 2; nothing is copied."""
    names = {"events": refusing.settings.events_topic, "facts": refusing.settings.facts_topic}
    done = refusing.command("topics", "widen", *options, check=False)
    assert done.returncode == 2, done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("order-facts: "))
    assert line.startswith(f"order-facts: {says.format(**names)}")


@pytest.fixture(scope="module")
def refusing(services, tmp_path_factory):
    """Give a deployment beside which stand new topics of other kinds; nobody changes it."""
    with deployed(own_settings(services), tmp_path_factory.mktemp("refusing"), kind=Widening) as running:
        admin, settings = running.cluster.admin, running.settings
        others = [
            NewTopic(f"{settings.events_topic}-9", 4, 1),
            NewTopic(f"{settings.facts_topic}-8", 8, 1),
            NewTopic(f"{settings.events_topic}-6", 6, 1, config={"message.timestamp.type": "LogAppendTime"}),
        ]
        for made in admin.create_topics(others).values():
            made.result(REQUEST_S)
        await_condition(lambda: len(running.cluster.topics([topic.topic for topic in others])) == 3, "created")
        running.produce([(b"k", b"v", 0, NOW_MS, None)], f"{settings.facts_topic}-8")
        yield running


@pytest.mark.follows("widen retention")
def test_events_that_retention_removed(deployment, tmp_path):
    """It names partitions, and how many orders would be missing; with `--accept-loss` it copies the rest."""
    old = Widening(deployment.settings, tmp_path)
    old.send([created(f"o{number}") for number in range(60)])
    replica = old.replica("a")
    old.await_accounted()
    replica.stop()
    ends = old.cluster.ends(old.settings.events_topic, range(3))
    removed = {partition: end // 2 for partition, end in ends.items() if partition < 2}
    for partition, before in removed.items():
        delete_records(old, old.settings.events_topic, before, partition)
    line = old.refused()
    require_row(line, "widen retention")
    assert f"{sum(removed.values())} orders of {old.settings.facts_topic} have no creation left" in line
    assert f"in partitions 0 (offsets 0 to {removed[0] - 1}), 1 (offsets 0 to {removed[1] - 1})" in line
    old.finish("--accept-loss")
    old.require_copies()
    old.end()


@pytest.mark.follows("widen begin again")
def test_topics_that_are_others(widening):
    """A new topic that was recreated, or events that the brokers lost: the copy begins again under other names."""
    widening.produce(numbered(50))
    widening.finish()
    new = widening.new_settings.events_topic
    delete_topic(widening, new)
    line = widening.refused()
    require_row(line, "widen begin again")
    done = widening.finish("--suffix", "-again")
    assert f"producers may write to {widening.settings.events_topic}-again now" in done.stdout
    assert len(widening.read(f"{widening.settings.events_topic}-again")) == 50


@pytest.mark.follows("widen too large")
def test_event_that_the_new_topic_does_not_take(widening):
    """Its limit is smaller than the old one's: it is named, and once the limit is raised the copy goes on."""
    widening.produce([*numbered(50), (b"k", random.Random(1).randbytes(500_000), 1, NOW_MS, None)])
    widening.create_new_topics()
    configure(widening, widening.new_settings.events_topic, max_message_bytes="100000")
    line = widening.refused()
    require_row(line, "widen too large")
    configure(widening, widening.new_settings.events_topic, max_message_bytes="1000000")
    widening.finish()
    widening.require_copies()


@pytest.mark.follows("widen time")
def test_event_whose_time_the_new_topic_does_not_take(widening):
    """A topic that the command creates takes any; of another one the record and the setting are named."""
    configure(widening, widening.settings.events_topic, message_timestamp_before_max_ms="86400000000")
    widening.produce([*numbered(50), (b"k", b"old", 1, NOW_MS - 86_000_000_000, None)])
    configure(widening, widening.settings.events_topic, message_timestamp_before_max_ms="3600000000")
    widening.create_new_topics()
    new = widening.new_settings.events_topic
    assert int(widening.cluster.topic_settings(new)["message.timestamp.before.max.ms"]) == (1 << 63) - 1
    configure(widening, new, message_timestamp_before_max_ms="7200000000")
    require_row(widening.refused(), "widen time")
    configure(widening, new, message_timestamp_before_max_ms="90000000000")
    widening.finish()
    widening.require_copies()


@pytest.mark.follows("widen late")
def test_event_that_comes_while_the_old_group_is_waited_for(widening):
    """A producer had it in its buffer: the command does not end as if all were well."""
    widening.produce(numbered(50))
    widening.finish()
    topic = widening.settings.events_topic
    asked = [TopicPartition(topic, partition, 0) for partition in range(3)]
    with reader(widening.settings, **{"group.id": widening.settings.group_id}) as consumer:
        consumer.commit(offsets=asked, asynchronous=False)
    finishing = widening.widen("--finish", "--quiet", "1s")
    await_condition(
        lambda: "it is waited for" in finishing.log_path.read_text(encoding="utf-8"), lambda: finishing.tail("waits")
    )
    widening.send([created("o1")])
    assert finishing.await_end() == 1
    line = finishing.log_path.read_text(encoding="utf-8").splitlines()[-1]
    require_row(line, "widen late")


@pytest.mark.runbook("widen.skipped")
@pytest.mark.follows("widen unreadable")
def test_events_that_cannot_be_read(widening):
    """They are named; `--skip` leaves out exactly them, with a line."""
    widening.produce(numbered(50))
    topic = widening.settings.events_topic
    first = widening.cluster.ends(topic, [0])[0]
    send_batch(widening.settings, topic, [(b"big", b"x" * 850_000)] * 150)  # too much for the client to expand
    widening.send([created("o1"), created("o2"), created("o3")])
    line = widening.refused()
    require_row(line, "widen unreadable")
    option = line.rpartition("start again with ")[2].split()
    assert option == ["--skip", f"0:{first}"]
    done = widening.finish(*option)
    assert '"event": "widen.skipped"' in done.stderr
    assert len(widening.copies()) == 53
