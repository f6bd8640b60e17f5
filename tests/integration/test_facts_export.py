"""Proves `facts export` on a real broker: what a snapshot holds, what the next one adds, and what a kill leaves."""

import json
import shutil
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from processor.cli.showing import latest_of
from processor.codec.avro import codec
from processor.codec.fact_json import fact_object
from processor.kafka.clients import transactional_producer
from processor.snapshots.exporting import export
from processor.snapshots.snapshot import current_snapshot, require_snapshot
from tests.support.commands import output
from tests.support.deployment import PROJECT, PYTHON, await_condition
from tests.support.export_saboteur import MOMENTS
from tests.support.exports import REQUEST_S, contact_records, expected, fact_records, latest, send, tables

PLACED = ("after linking", "after removing")  # moments at which the new snapshot is in place
AT_ONCE = 3  # processes


class Warehouse:
    """A deployment's facts and contacts, which tests write, and a folder of snapshots."""

    def __init__(self, idle, folder):
        self.idle, self.settings, self.folder = idle, idle.settings, folder
        self.steps = 0
        for role in ("facts", "contacts"):
            idle.create(role, 3)

    def write(self, facts=40, contacts=20, **changes):
        """Write random facts, contacts and deletions, more with each call."""
        self.steps += 1
        send(
            self.settings,
            self.settings.facts_topic,
            fact_records(self.steps, facts, dict.fromkeys(range(3), 0), **changes),
        )
        send(
            self.settings,
            self.settings.contacts_topic,
            contact_records(self.steps, contacts, dict.fromkeys(range(3), 0)),
        )

    def export(self, folder=None, *, full=False, personal=False, **changes):
        """Export; give the outcome."""
        told = []
        settings = replace(self.settings, **changes)
        done = export(settings, folder or self.folder, lambda *what: told.append(what), full=full, personal=personal)
        assert [done for what, done, total in told if done == total and what == "Writing"]
        return done

    def expected(self, *, personal=False):
        """Give what a snapshot of both topics must hold."""
        facts, contacts = (self.idle.read(topic) for topic in (self.settings.facts_topic, self.settings.contacts_topic))
        return expected(facts, contacts, personal=personal)


@pytest.fixture
def warehouse(idle, tmp_path):
    """Give topics with some facts and contacts, and no snapshot yet."""
    made = Warehouse(idle, tmp_path / "snapshots")
    made.write()
    return made


def test_each_snapshot_holds_the_latest_facts(warehouse):
    """The first reads all, the next ones what is new, `--full` all again: all equal the topics; two are kept."""
    first = warehouse.export()
    assert first.whole == "there is no snapshot yet"
    assert first.skipped > 0
    assert tables(first.snapshot.path) == warehouse.expected()
    for _ in range(2):
        warehouse.write(facts=15, contacts=5)
        done = warehouse.export()
        assert done.whole is None
        assert set(done.read.values()) == {15, 5}
        assert tables(warehouse.folder / "current") == warehouse.expected()
    assert [path.name for path in sorted(warehouse.folder.iterdir())] == [".lock", "2", "3", "current"]
    idle_done = warehouse.export()
    assert idle_done.whole is None
    assert set(idle_done.read.values()) == {0}
    whole = warehouse.export(full=True)
    assert whole.whole == "--full"
    assert tables(whole.snapshot.path) == tables(idle_done.snapshot.path) == warehouse.expected()
    assert whole.snapshot == current_snapshot(warehouse.folder)


def test_the_command(warehouse):
    """It says what there is and how it was made; the manifest has the ends; stderr only what was skipped."""
    done = warehouse.idle.command("facts", "export", str(warehouse.folder), "--personal")
    held, how = done.stdout.splitlines()
    found = warehouse.expected(personal=True)
    assert tables(warehouse.folder / "current") == found
    counts = ", ".join(f"{len(found[table])} {table}" for table in ("orders", "items", "contacts"))
    assert held == f"{warehouse.folder}/1: {counts}"
    settings = warehouse.settings
    topics = f"40 records of {settings.facts_topic}, 20 records of {settings.contacts_topic}"
    assert how == f"read {topics}; there is no snapshot yet"
    (skipped,) = done.stderr.splitlines()
    assert "are no contacts and were skipped, the first: partition " in skipped
    manifest = json.loads((warehouse.folder / "current" / "manifest.json").read_bytes())
    cluster = warehouse.idle.cluster
    for name, topic in (("facts", settings.facts_topic), ("contacts", settings.contacts_topic)):
        assert manifest[name] == {
            "name": topic,
            "topicId": cluster.topics([topic])[topic].topic_id,
            "ends": {str(partition): end for partition, end in cluster.ends(topic, range(3)).items()},
        }
    assert manifest["factSchema"] == "order-fact.2"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(manifest["time"])) < timedelta(minutes=5)
    assert manifest["rows"] == {table: len(rows) for table, rows in found.items()}


def test_deletions_that_are_kept_too_short_a_time(warehouse, idle):
    """Where they may have gone before they were read, a line says so; and each snapshot is read whole."""
    topic = f"{warehouse.settings.facts_topic}-short"
    idle._create_topic(topic, 1, cleanup_policy="compact", delete_retention_ms=1)
    for why in ("there is no snapshot yet", f"is older than deletions in {topic} are kept (delete.retention.ms=1)"):
        done = idle.command("facts", "export", str(warehouse.folder), facts_topic=topic)
        assert why in done.stdout
        assert f"reading took longer than {topic} keeps deletions, and some may be missed; set its" in done.stderr


def test_what_is_in_the_way_of_building_on_the_snapshot_before(warehouse, tmp_path):
    """An old snapshot, another topic, other columns, deleted records, a recreated topic: everything is read again."""
    warehouse.export()
    settings, folder = warehouse.settings, warehouse.folder
    manifest = require_snapshot(folder).manifest
    old = msgspec.json.encode(msgspec.structs.replace(manifest, time=manifest.time - timedelta(days=1)))
    (folder / "current" / "manifest.json").write_bytes(old)
    assert "is older than deletions in " in warehouse.export().whole
    assert warehouse.export(personal=True).whole == "the snapshot before was made without --personal"
    assert tables(folder / "current") == warehouse.expected(personal=True)
    assert warehouse.export().whole == "the snapshot before was made with --personal"
    other = f"{settings.facts_topic}-other"
    warehouse.idle._create_topic(other, 3, cleanup_policy="compact")
    assert warehouse.export(facts_topic=other).whole == f"the snapshot before is of the topic {settings.facts_topic}"
    assert tables(folder / "current")["orders"] == []
    assert warehouse.export().whole == f"the snapshot before is of the topic {other}"
    admin = AdminClient({"bootstrap.servers": settings.bootstrap_servers})
    admin.delete_topics([settings.contacts_topic])[settings.contacts_topic].result(REQUEST_S)
    gone = lambda: not warehouse.idle.cluster.topics([settings.contacts_topic])  # noqa: E731
    await_condition(gone, "the topic is gone")
    warehouse.idle.create("contacts", 2)
    assert warehouse.export().whole == f"the topic {settings.contacts_topic} was recreated"
    assert tables(folder / "current")["contacts"] == []


def test_orders_in_several_partitions_are_read_whole(warehouse):
    """An order that comes to another partition, and all snapshots after it, until a new topic."""
    warehouse.export()
    warehouse.write(scattered=True)
    for _ in range(2):
        assert "orders have facts in several partitions" in warehouse.export().whole
        assert tables(warehouse.folder / "current") == warehouse.expected()
    topic = warehouse.settings.facts_topic
    found = [one.value for one in latest_of(warehouse.settings, topic, lambda _: True) if one.value is not None]
    shown = [fact_object(codec().decode_fact(value)) for value in found]
    assert sorted(shown, key=repr) == sorted(latest(warehouse.idle.read(topic)), key=repr)


def test_show_latest_honours_deletions(warehouse):
    """`facts show --latest` prints what a snapshot holds."""
    shown = output(warehouse.idle.command("facts", "show", "--latest"))
    read = warehouse.idle.read(warehouse.settings.facts_topic)
    wanted = [json.loads(json.dumps(fact)) for fact in latest(read)]
    assert sorted(shown, key=repr) == sorted(wanted, key=repr)
    assert len(shown) < len({record.key for record in read})


def test_only_committed_facts(warehouse):
    """An aborted transaction adds nothing, and an open one only once it is committed."""
    warehouse.export()
    settings, (fact,) = warehouse.settings, fact_records(3, 1, {0: 0})

    def begin():
        producer = transactional_producer(settings, 1 << 20)
        producer.init_transactions(REQUEST_S)
        producer.begin_transaction()
        producer.produce(settings.facts_topic, fact.value, fact.key, fact.partition)
        assert producer.flush(REQUEST_S) == 0
        return producer

    begin().abort_transaction(REQUEST_S)
    producer = begin()
    assert warehouse.export().read[settings.facts_topic] == 0
    producer.commit_transaction(REQUEST_S)
    topic = settings.facts_topic
    behind = require_snapshot(warehouse.folder).manifest.facts.ends[0]
    await_condition(lambda: warehouse.idle.cluster.ends(topic, [0])[0] > behind + 1, "the marker is there")
    done = warehouse.export()
    assert (done.whole, done.read[topic]) == (None, 1)
    assert tables(done.snapshot.path) == warehouse.expected()


def test_killed_at_any_point(warehouse):
    """A kill leaves the snapshot before or the new one, whole; the next run makes the next."""
    warehouse.export()
    before = tables(warehouse.folder / "current")
    warehouse.write(facts=5, contacts=5)
    after = warehouse.expected()
    assert before != after
    for first in range(0, len(MOMENTS), AT_ONCE):
        running = [(moment, *_killed(warehouse, moment)) for moment in MOMENTS[first : first + AT_ONCE]]
        for moment, folder, process in running:
            assert process.wait(REQUEST_S) == -signal.SIGKILL, moment
            assert tables(folder / "current") == (after if moment in PLACED else before), moment
            done = warehouse.export(folder)
            assert done.whole is None
            assert tables(folder / "current") == after
            assert len([path for path in folder.iterdir() if path.name.isdecimal()]) == 2
            assert not (folder / ".export").exists()


def _killed(warehouse, moment):
    """Start an export that kills itself, in a copy of the snapshots; give the copy and the process."""
    folder = warehouse.folder.with_name(moment)
    shutil.copytree(warehouse.folder, folder, symlinks=True)
    command = (*PYTHON, "tests.support.export_saboteur", "facts", "export", str(folder))
    environment = warehouse.idle.environment() | {"TEST_SABOTAGE": moment}
    quiet = subprocess.DEVNULL
    return folder, subprocess.Popen(command, env=environment, cwd=PROJECT, stdout=quiet, stderr=quiet)
