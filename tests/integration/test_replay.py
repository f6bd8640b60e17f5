"""Proves that `rejected replay` repairs what was rejected: exactly once, in order, under kills, loops in sight."""

import json
import random
import re
import signal
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from tests.support.deployment import SOON_OVER, deployed
from tests.support.producing import quick_producer
from tests.support.refusals import refusal
from tests.support.replays import EXISTS, FOUND, OPEN, PARAMETER, Replays, facts_of, facts_with_contacts_first
from tests.support.traffic import contacts, created, traffic

SKIPPED = {"rounds": 0, "truncated": 0, "already": 0}
AWAY = "+999777777"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment of three partitions, without contacts and without processes."""
    with deployed(settings, tmp_path) as made:
        running = Replays(made.settings, tmp_path)
        yield running
        running.end()


def expected_numbers(chosen, partitions=3):
    """Give what `numbers` gives when exactly these came back."""
    return {p: numbers for p in range(partitions) if (numbers := [n for n in chosen if n % partitions == p])}


def ended(process):
    """Give a finished replay's own line of data."""
    assert process.await_end() == 0, process.tail("exit code")
    return json.loads(process.log_path.read_text(encoding="utf-8").splitlines()[-1])


# --- the story -----------------------------------------------------------------------------------------


def send_at(deployment, records):
    """Send records with timestamps of an hour ago, a second apart; give the first timestamp."""
    producer, first_ms = quick_producer(deployment.settings), int(time.time() * 1000) - 3_600_000
    for number, record in enumerate(records):
        timestamp = first_ms + number * 1000
        producer.produce(deployment.settings.events_topic, record.value, record.key, timestamp=timestamp)
    assert producer.flush(30) == 0
    deployment.sent += len(records)
    return first_ms


def test_orders_before_their_contacts_become_the_facts_they_would_have_been(deployment, tmp_path):
    """All rejected, contacts imported, replayed: fact for fact as where the contacts came first, times too (D23)."""
    index = deployment.index()
    replica = deployment.replica("a")
    first_ms = send_at(deployment, traffic(seed=60, count=300))
    deployment.await_accounted()
    assert deployment.read(deployment.settings.facts_topic) == []
    originals = deployment.events()
    deployment.import_contacts(index)
    options = [f"--reason={r}" for r in (FOUND, "no_identifier", "missing_parameter", "order_unknown")]
    planned, _ = deployment.replay(*options, "--dry-run")
    assert deployment.events() == originals, "a dry run writes nothing"
    line, _ = deployment.replay(*options)
    assert line == {"replayed": planned["replayed"], "selected": planned["selected"], "skipped": SKIPPED}
    deployment.await_accounted(deployment.sent + line["replayed"])
    replica.stop()
    wanted = facts_with_contacts_first(deployment.settings, tmp_path / "other", originals, contacts())
    found = facts_of(deployment)
    assert found == wanted
    assert len(found) > 100
    assert any(fact["revision"] > 2 for _, fact in found)
    times = {fact[name] for _, fact in found for name in ("createdAt", "updatedAt", "statusChangedAt")}
    assert times <= {first_ms + number * 1000 for number in range(300)}


def test_loop_is_visible_and_stops_after_replay_max_rounds(deployment):
    """An order that is rejected each time goes back so often, with its round and first time, and then stays."""
    deployment.index()
    replica = deployment.replica("a")
    first_ms = send_at(deployment, [created("o1", phone=AWAY)])
    deployment.await_accounted()
    for number in (1, 2):
        line, _ = deployment.replay(replay_max_rounds=2)
        assert line == {"replayed": 1, "selected": number, "skipped": {**SKIPPED, "already": number - 1}}
        deployment.await_accounted(number + 1)
    line, told = deployment.replay(replay_max_rounds=2)
    assert line == {"replayed": 0, "selected": 3, "skipped": {"rounds": 1, "truncated": 0, "already": 2}}
    assert told == "order-facts: 1 replayed 2 times or more, rejected each time: skipped\n"
    assert deployment.replay(replay_max_rounds=2) == (line, told), "and it stays so"
    replica.stop()
    line, _ = deployment.replay()
    assert line["replayed"] == 1, "a higher limit lets it go again"
    marks = [record.headers for record in deployment.events()]
    time_mark = ("replay.timestamp", str(first_ms).encode())
    assert marks == [(), *((("replay.round", str(n).encode()), time_mark) for n in (1, 2, 3))]


# --- what goes back, and what does not -----------------------------------------------------------------


def test_record_goes_back_as_it_was_with_two_more_headers(deployment):
    """Key, value and own headers are the original's, null and empty ones too, on the partition of the event."""
    headers = [("trace", b"7"), ("replay.round", b"1"), ("empty", b""), ("trace", None)]
    headers += [("replay.timestamp", b"1600000000000")]
    deployment.reject([(FOUND, {"headers": headers, "source": 2}), (FOUND, {"value": None})])
    line, _ = deployment.replay()
    assert line == {"replayed": 2, "selected": 2, "skipped": SKIPPED}
    null, whole = deployment.events()
    assert (whole.partition, whole.key, whole.value) == (2, b"order 0", b"value 0")
    own = (("n", b"0"), ("trace", b"7"), ("empty", b""), ("trace", None))
    assert whole.headers == (*own, ("replay.round", b"2"), ("replay.timestamp", b"1600000000000"))
    assert (null.partition, null.key, null.value) == (1, b"order 1", None)
    assert null.headers == (("n", b"1"), ("replay.round", b"1"), ("replay.timestamp", b"1700000000001"))


def test_second_run_replays_nothing(deployment):
    """What went back once stays where it is; what is rejected later goes back; order is kept throughout."""
    deployment.reject([(FOUND, {})] * 2500)
    assert deployment.replay()[0] == {"replayed": 2500, "selected": 2500, "skipped": SKIPPED}
    assert deployment.replay()[0] == {"replayed": 0, "selected": 2500, "skipped": {**SKIPPED, "already": 2500}}
    assert deployment.numbers() == expected_numbers(range(2500))
    deployment.reject([(FOUND, {})] * 3)
    assert deployment.replay()[0]["replayed"] == 3


def test_reasons_and_times_hide_nothing_of_each_other(deployment):
    """One reason's run leaves another's records replayable, --since the older ones; each goes back once in all."""
    now_ms = int(time.time() * 1000)
    old, new = {"rejected_ms": now_ms - 7_200_000}, {"rejected_ms": now_ms}
    rows = [(reason, age) for age in (old, new) for reason in (FOUND, PARAMETER, EXISTS) for _ in range(4)]
    deployment.reject(rows)
    groups = {  # numbers as `reject` gave them
        (reason, age): {n for n, row in enumerate(rows) if row == (reason, {"old": old, "new": new}[age])}
        for reason in (FOUND, PARAMETER, EXISTS)
        for age in ("old", "new")
    }
    since = datetime.fromtimestamp(now_ms / 1000 - 3600, UTC).isoformat()
    back = set()
    for options, replayed, already in (
        ((f"--reason={FOUND}", "--since", since), [(FOUND, "new")], 0),
        ((f"--reason={PARAMETER}",), [(PARAMETER, "old"), (PARAMETER, "new")], 0),
        (("--since", since), [], 8),
        ((), [(FOUND, "old")], 12),
        ((f"--reason={EXISTS}", f"--reason={FOUND}", "--since", since), [(EXISTS, "new")], 4),
        ((f"--reason={EXISTS}",), [(EXISTS, "old")], 4),
    ):
        line, _ = deployment.replay(*options)
        assert (line["replayed"], line["skipped"]["already"]) == (4 * len(replayed), already), options
        back |= set().union(*(groups[group] for group in replayed))
        assert Counter(n for numbers in deployment.numbers().values() for n in numbers) == Counter(back)


def test_dry_run_says_what_would_be_done_and_writes_nothing(deployment):
    """Counts by reason and partition, as the run that follows then does; no record, no offset, no transaction."""
    deployment.reject([(FOUND, {}), (PARAMETER, {}), (FOUND, {}), (EXISTS, {}), (FOUND, {"partition": 1})])
    line, _ = deployment.replay("--dry-run")
    assert line == {
        "replayed": 4,
        "selected": 4,
        "skipped": SKIPPED,
        "dry_run": True,
        "reasons": {FOUND: 3, PARAMETER: 1},
        "partitions": {"0": 1, "1": 2, "2": 1},
    }
    settings = deployment.settings
    assert set(deployment.cluster.ends(settings.events_topic, range(3), committed=False).values()) == {0}
    assert deployment.offsets() == {}
    assert deployment.replay()[0] == {"replayed": 4, "selected": 4, "skipped": SKIPPED}
    assert deployment.replay("--dry-run")[0]["skipped"]["already"] == 4


def test_cut_and_foreign_records_are_reported_and_left(deployment):
    """A value that was cut cannot go back, one that somebody else wrote has nowhere to go; both are told, each time."""
    producer = quick_producer(deployment.settings)
    producer.produce(deployment.settings.rejected_topic, b"x", b"k", 0)
    assert producer.flush(30) == 0
    deployment.reject([(FOUND, {"headers": [("truncated", b"300000")]}), (FOUND, {})])
    for replayed in (1, 0):
        line, told = deployment.replay()
        assert line["replayed"] == replayed
        assert line["skipped"] == {**SKIPPED, "truncated": 1, "already": 1 - replayed}
        assert [text.split(" ", 2)[1] for text in told.splitlines()] == ["1", "1"]
        assert "truncated" in told
        assert "not written by this group" in told
    assert deployment.numbers() == {1: [1]}


# --- kills, and two at once ----------------------------------------------------------------------------


@pytest.mark.follows("replay running")
@pytest.mark.parametrize("moment", ["before note", "after note", "after write", "after end"])
def test_killed_replay_goes_on_where_it_was(deployment, moment):
    """Killed at any moment of its second transaction and run again, it has replayed each record once, in order."""
    deployment.reject([(FOUND, {})] * 35)
    killed = deployment.sabotaged_replay(moment, 2, "SIGKILL", kafka=SOON_OVER)
    assert killed.await_end() == -signal.SIGKILL, killed.tail("exit code")
    assert killed.lines("test.sabotage", moment=moment)
    is_open = moment in {"after note", "after write"}
    if is_open:  # one command only: the transaction ends soon
        options = ["--dry-run"] if moment == "after note" else []
        assert OPEN.match(refusal(deployment.command("rejected", "replay", *options, check=False), 1))
    line = deployment.await_replay() if is_open else deployment.replay()[0]
    already = 20 if moment == "after end" else 10
    assert line == {"replayed": 35 - already, "selected": 35, "skipped": {**SKIPPED, "already": already}}
    assert deployment.numbers() == expected_numbers(range(35))


def test_second_replay_is_refused_while_the_first_has_a_transaction_open(deployment):
    """A second run in the middle of the first one's writing is refused and harms nothing: the first ends well."""
    deployment.reject([(FOUND, {})] * 35)
    first = deployment.sabotaged_replay("after write", 2, "SIGSTOP")
    first.await_line("test.sabotage")
    assert OPEN.match(refusal(deployment.command("rejected", "replay", check=False), 1))
    first.signal(signal.SIGCONT)
    assert ended(first)["replayed"] == 35
    assert deployment.replay()[0]["skipped"]["already"] == 35
    assert deployment.numbers() == expected_numbers(range(35))


@pytest.mark.follows("replay overtaken")
def test_second_replay_between_two_transactions_takes_over(deployment):
    """A run that stood still is fenced by the next one, which replays the rest; then the first can write nothing."""
    deployment.reject([(FOUND, {})] * 35)
    zombie = deployment.sabotaged_replay("before note", 2, "SIGSTOP")
    zombie.await_line("test.sabotage")
    assert deployment.replay()[0]["replayed"] == 25
    zombie.signal(signal.SIGCONT)
    assert zombie.await_end() == 1
    assert "another `rejected replay` has begun" in zombie.tail("")
    assert deployment.replay()[0]["skipped"]["already"] == 35
    assert deployment.numbers() == expected_numbers(range(35))


def test_run_that_was_overtaken_before_its_start_sees_what_the_other_did(deployment):
    """Between asking what was replayed and fencing others another run replays everything: it is asked for again."""
    deployment.reject([(FOUND, {})] * 35)
    late = deployment.sabotaged_replay("before take over", 0, "SIGSTOP")
    late.await_line("test.sabotage")
    assert deployment.replay()[0]["replayed"] == 35
    late.signal(signal.SIGCONT)
    assert ended(late) == {"replayed": 0, "selected": 35, "skipped": {**SKIPPED, "already": 35}}
    assert deployment.numbers() == expected_numbers(range(35))


def test_interrupted_replay_leaves_nothing_open(deployment):
    """Ctrl-C in the middle of a transaction aborts it: the next run goes on at once."""
    deployment.reject([(FOUND, {})] * 35)
    interrupted = deployment.sabotaged_replay("after write", 2, "SIGINT")
    assert interrupted.await_end() == 130, interrupted.tail("exit code")
    assert deployment.replay()[0]["replayed"] == 25
    assert deployment.numbers() == expected_numbers(range(35))


# --- what is refused -----------------------------------------------------------------------------------


def test_event_of_a_partition_that_is_no_more_is_refused(deployment):
    """An events topic recreated with fewer partitions: the line names the record and what to do."""
    deployment.reject([(FOUND, {"source": 5})])
    line = deployment.refused_replay()
    assert "offset 0, came from partition 5, and" in line
    assert line.endswith(f"add partitions to {deployment.settings.events_topic}")


@pytest.mark.parametrize("others", [2, 900], ids=["few others", "many others"])
def test_record_too_large_for_the_events_topic_is_refused(deployment, create_topic, others):
    """What the topic does not take any more stops the run with its place; its chunk is aborted as a whole.

    Of many others some are dropped from the client's queues, and some not taken: they say nothing of the reason.
    """
    small = f"small-{deployment.settings.events_topic}"
    create_topic(small, 3, max_message_bytes=20_000)
    deployment.settings = replace(deployment.settings, events_topic=small)
    source = random.Random(1)
    later = [(FOUND, {"value": source.randbytes(5_000)})] * others
    deployment.reject([(FOUND, {}), (FOUND, {"value": source.randbytes(50_000)}), *later], partitions=1)
    place = f"{deployment.settings.rejected_topic}[0] at offset 1"
    assert deployment.refused_replay() == (
        f"the topic {small} refuses the record of {place} for its size; raise its max.message.bytes"
    )


@pytest.mark.follows("replay forgotten")
def test_what_kafka_may_have_forgotten_is_not_replayed_again(deployment):
    """Records older than Kafka keeps a group's offsets: refused without --since, left for good with it."""
    now_ms = int(time.time() * 1000)
    deployment.reject([(FOUND, {"rejected_ms": now_ms - 8 * DAY_MS}), (FOUND, {})], partitions=1)
    line = deployment.refused_replay()
    (since,) = re.findall(r"To leave them out for good, use --since (\S+)\. ", line)
    assert f"--group {deployment.settings.group_id}-replay" in line
    assert deployment.replay("--since", since)[0] == {"replayed": 1, "selected": 1, "skipped": SKIPPED}
    assert deployment.replay()[0] == {"replayed": 0, "selected": 2, "skipped": {**SKIPPED, "already": 2}}
    assert deployment.numbers() == {0: [1]}


def test_operator_says_that_old_records_were_never_replayed(deployment):
    """An offset set by hand at the beginning lets them all go; one in the middle lets go what is above it."""
    old = {"rejected_ms": int(time.time() * 1000) - 8 * DAY_MS}
    deployment.reject([(FOUND, old | {"partition": n // 2}) for n in range(4)])
    entries = [TopicPartition(deployment.settings.rejected_topic, n, offset) for n, offset in ((0, 0), (1, 1))]
    with closing(deployment.replay_reader()) as consumer:
        consumer.commit(offsets=entries, asynchronous=False)
    assert deployment.replay()[0]["replayed"] == 3
    assert deployment.numbers() == {0: [0, 1], 1: [3]}
