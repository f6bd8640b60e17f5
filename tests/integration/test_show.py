"""Proves what `facts show` and `rejected show` print: committed records only, as JSON, also as they come."""

import json
import re
import secrets
import shlex
import signal
import subprocess
import tracemalloc
from collections import Counter
from datetime import UTC, datetime

import pytest

from processor.cli.showing import latest_of
from processor.codec.avro import codec
from processor.kafka.clients import transactional_producer
from tests.support.commands import event, output
from tests.support.deployment import PROJECT, PYTHON, await_condition
from tests.support.producing import quick_producer
from tests.support.refusals import NOBODY, REQUEST_S, refusal
from tests.support.schemas import schema_of
from tests.support.traffic import Sent, created


@pytest.fixture(scope="module")
def worked(indexed):
    """Give a deployment that did its work: 12 facts of 8 orders, 6 rejected records."""
    orders = [f"order {number}" for number in range(8)]
    indexed.send([created(order, shipping=1.5, giftWrap=True) for order in orders])
    indexed.send([_status(order, "orderDelivered") for order in orders[:4]])
    indexed.send([_status(order, "orderDelivered") for order in orders[:2]])  # no_change
    indexed.send([created("nobody's", phone=NOBODY), _status("unknown", "orderCancelled")])
    indexed.send([created("bad", totalCost="1,5"), created("bad", date="yesterday")])
    replica = indexed.replica("a")
    indexed.await_accounted()
    replica.stop()
    assert indexed.require_right_outputs() == {
        "fact": 12,
        "no_change": 2,
        "contact_not_found": 1,
        "order_unknown": 1,
        "invalid_parameter": 2,
    }
    return indexed


def _status(order_id, event_type):
    return Sent(order_id.encode(), codec().encode_event(event(event_type, {"externalOrderId": order_id})))


def test_facts_show(worked):
    """Every fact is a line in each partition's order: money as text, times in ISO 8601 Z, types kept in custom."""
    facts = output(worked.command("facts", "show"))
    assert len(facts) == 12
    revisions = [fact["revision"] for fact in facts if fact["externalOrderId"] == "order 1"]
    assert revisions == [1, 2]
    fact = next(fact for fact in facts if fact["externalOrderId"] == "order 1")
    assert fact["totalCost"] == "258.0000"
    assert fact["shipping"] == "1.5000"
    assert fact["date"] == "2026-05-14T10:11:00.000Z"
    assert fact["custom"] == {"giftWrap": True}
    assert fact["contactId"] == "c1"
    for name in ("createdAt", "updatedAt", "statusChangedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fact[name])
        assert abs((datetime.now(UTC) - datetime.fromisoformat(fact[name])).total_seconds()) < 3600
    assert list(fact) == [field["name"] for field in schema_of("order-fact")["fields"]]


def test_facts_show_latest_and_one_order(worked):
    """`--latest` gives one fact an order, its newest; `--order` that order's only; both together its newest."""
    latest = output(worked.command("facts", "show", "--latest"))
    statuses = {fact["externalOrderId"]: (fact["revision"], fact["status"]) for fact in latest}
    expected = {f"order {number}": (2, "DELIVERED") if number < 4 else (1, "INITIALIZED") for number in range(8)}
    assert len(latest) == 8
    assert statuses == expected
    history = output(worked.command("facts", "show", "--order", "order 2"))
    assert [(fact["externalOrderId"], fact["revision"]) for fact in history] == [("order 2", 1), ("order 2", 2)]
    assert output(worked.command("facts", "show", "--order", "order 2", "--latest")) == history[1:]
    assert output(worked.command("facts", "show", "--order", "order")) == []
    assert refusal(worked.command("facts", "show", "--latest", "--follow", check=False), 2).startswith("--latest and")


def test_rejected_show(worked):
    """Every rejected record with its reason, where it came from, and the event itself."""
    lines = output(worked.command("rejected", "show"))
    assert sorted(line["reason"] for line in lines) == [
        *("contact_not_found", "invalid_parameter", "invalid_parameter", "no_change", "no_change", "order_unknown"),
    ]
    bad = output(worked.command("rejected", "show", "--reason", "invalid_parameter"))
    assert [line["detail"].split(":")[0] for line in bad] == ["totalCost", "date"]
    for line in bad:
        assert (line["outcome"], line["key"], line["sourceTopic"]) == ("invalid", "bad", worked.settings.events_topic)
        assert line["partition"] == line["sourcePartition"]
        assert line["event"]["eventTypeKey"] == "orderCreated"
        assert isinstance(line["sourceTimestamp"], int)
    wrong = worked.command("rejected", "show", "--reason", "wrong", check=False)
    assert wrong.returncode == 2
    assert "contact_not_found" in wrong.stderr


def test_rejected_show_since(worked):
    """`--since` takes ISO 8601, in UTC without a zone; what is no time is wrong usage."""
    assert len(output(worked.command("rejected", "show", "--since", "2020-01-01"))) == 6
    assert output(worked.command("rejected", "show", "--since", "2100-01-01T00:00:00+02:00")) == []
    line = refusal(worked.command("rejected", "show", "--since", "yesterday", check=False), 2)
    assert line == "--since yesterday: expected a time such as 2026-01-31T10:00:00Z"


@pytest.mark.parametrize("command", [("facts", "show"), ("rejected", "show")])
def test_show_without_topic(idle, command):
    """A missing topic is named, with the command that makes it."""
    line = refusal(idle.command(*command, check=False), 1)
    assert line.endswith("is missing; create it with: order-facts topics create")


@pytest.mark.parametrize("options", [(), ("--latest",)])
def test_facts_show_of_something_else(idle, options):
    """A record that is no fact is named by its place, not a crash."""
    idle.create("facts", 1)
    producer = quick_producer(idle.settings)
    producer.produce(idle.settings.facts_topic, b"no fact", b"key")
    assert producer.flush(REQUEST_S) == 0
    line = refusal(idle.command("facts", "show", *options, check=False), 1)
    assert line.startswith("partition 0, offset 0 is not a valid fact: ")


class Follower:
    """A command that follows, its output in a file."""

    def __init__(self, deployment, *arguments):
        self._path = deployment.folder / f"follower-{secrets.token_hex(4)}"
        with self._path.open("wb") as stream:
            self.popen = subprocess.Popen(
                (*PYTHON, "processor", *arguments, "--follow"),
                env=deployment.environment(),
                cwd=PROJECT,
                stdout=stream,
                stderr=subprocess.PIPE,
                text=True,
            )

    def lines(self):
        """Give what was printed so far."""
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]

    def await_count(self, count):
        """Wait for so many lines and give them."""
        await_condition(lambda: len(self.lines()) >= count, lambda: f"{count} lines: {self.lines()}")
        return self.lines()

    def interrupt(self):
        """Press Ctrl-C; give the exit code, and what was not a log line on standard error."""
        self.popen.send_signal(signal.SIGINT)
        _, errors = self.popen.communicate(timeout=REQUEST_S)
        return self.popen.returncode, [line for line in errors.splitlines() if not line.startswith("{")]


def test_follow_prints_what_is_committed_as_it_comes(idle, worked):
    """Facts come as they are committed, none of an open or an aborted transaction. Ctrl-C ends with 0."""
    idle.create("facts", 1)
    topic, fact = idle.settings.facts_topic, worked.read(worked.settings.facts_topic)[0].value
    follower = Follower(idle, "facts", "show", "--order", "followed")
    try:
        _write_in_transaction(idle.settings, topic, fact).abort_transaction(REQUEST_S)
        producer = _write_in_transaction(idle.settings, topic, fact)
        assert output(idle.command("facts", "show")) == follower.lines() == []
        producer.commit_transaction(REQUEST_S)
        assert len(follower.await_count(1)) == 1
        producer = _write_in_transaction(idle.settings, topic, fact)
        assert len(output(idle.command("facts", "show"))) == 1
        assert len(follower.lines()) == 1
        producer.commit_transaction(REQUEST_S)
        follower.await_count(2)
        assert follower.interrupt() == (0, [])
        assert len(follower.lines()) == 2, "the aborted fact is not among them"
    finally:
        follower.popen.kill()


def test_follow_of_rejected_records(idle):
    """`rejected show --follow` begins with what is there and goes on with what comes, by the same filters."""
    idle.create("rejected", 1)
    producer = quick_producer(idle.settings)

    def reject(key, reason):
        headers = {"reason": reason.encode(), "outcome": b"ignored", "source.offset": b"5"}
        producer.produce(idle.settings.rejected_topic, None, key, headers=headers)
        assert producer.flush(REQUEST_S) == 0

    reject(b"first", "order_unknown")
    follower = Follower(idle, "rejected", "show", "--reason", "order_unknown")
    try:
        assert [line["key"] for line in follower.await_count(1)] == ["first"]
        reject(b"another", "no_change")
        reject(b"second", "order_unknown")
        follower.await_count(2)
        assert follower.interrupt() == (0, [])
        assert [line["key"] for line in follower.lines()] == ["first", "second"]
    finally:
        follower.popen.kill()


def _write_in_transaction(settings, topic, value):
    """Write a fact in a transaction, which is left open; give its producer."""
    producer = transactional_producer(settings, 1 << 20)
    producer.init_transactions(REQUEST_S)
    producer.begin_transaction()
    producer.produce(topic, value, b"followed", 0)
    assert producer.flush(REQUEST_S) == 0
    return producer


def test_output_piped_into_head_ends_quietly(idle):
    """The reader has enough after one line: the command ends at once, without a word, and not as a failure."""
    idle.create("rejected", 1)
    producer = quick_producer(idle.settings)
    for _ in range(3_000):
        producer.produce(idle.settings.rejected_topic, b"x", b"key", headers={"detail": b"x" * 200})
    assert producer.flush(REQUEST_S) == 0
    command = f"set -o pipefail; {shlex.join(PYTHON)} processor rejected show | head -n 1"
    done = subprocess.run(
        ("bash", "-c", command), env=idle.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["key"] == "key"


def test_latest_facts_are_found_with_little_memory(settings, create_topic):
    """Of 60 MB of facts only their places are remembered; each key's latest comes once."""
    create_topic(settings.facts_topic, 2, cleanup_policy="compact")
    producer = quick_producer(settings)
    for number in range(620):
        key = b"%d" % (number % 600)
        producer.produce(settings.facts_topic, key + b"x" * 100_000 + b"%d" % number, key)
        producer.poll(0)
    assert producer.flush(30) == 0
    tracemalloc.start()
    keys = Counter[bytes]()
    try:
        for record in latest_of(settings, settings.facts_topic, lambda _: True):
            assert record.key is not None
            assert record.value is not None
            keys[record.key] += 1
            assert record.value.endswith(b"x%d" % (int(record.key) + (600 if int(record.key) < 20 else 0)))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(keys), keys.total()) == (600, 600)
    assert peak_bytes < 35_000_000
