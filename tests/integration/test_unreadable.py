"""Proves that bytes which the Kafka client cannot read, or which swell, stop at most their own partition, by name."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from deploy.local.servers import free_ports
from processor.codec import rejected
from processor.codec.avro import codec
from tests.support.batches import send_batch
from tests.support.deployment import await_condition, deployed
from tests.support.health_answers import ask
from tests.support.traffic import contacts, created, event, traffic

MANY = 150


def large(order_id):
    """Give a valid event of nearly 1 MB as key and value; a batch of 150 of them is too much for the client."""
    sent = created(order_id, note="x" * 850_000)
    return sent.key, sent.value


def most_memory_mib(process):
    """Give the most memory that a process ever held."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment of two partitions with contacts, its index complete, and a port for health."""
    with deployed(replace(settings, http_port=free_ports(1)[0]), tmp_path, partitions=2) as running:
        running.send_contacts(contacts())
        running.start("contacts", "index", name="index", http_port=0).await_line("contacts.ready")
        yield running


@pytest.mark.follows("replicas run")
@pytest.mark.runbook("OrderFactsPartitionUnreadable", "partition.unreadable", "state.skipped")
def test_a_batch_that_cannot_be_read_stops_only_its_partition_until_it_is_skipped(deployment):
    """The other partition goes on, line, metric and health name the place; skipped, every event has its output."""
    topic, port = deployment.settings.events_topic, deployment.settings.http_port
    deployment.send(traffic(seed=80, count=60))
    first = deployment.cluster.ends(topic, [0])[0]
    send_batch(deployment.settings, topic, [large(f"big{number}") for number in range(MANY)])
    behind = deployment.cluster.ends(topic, [0, 1])
    assert behind[0] == first + MANY
    deployment.send(traffic(seed=81, count=60))
    after = deployment.cluster.ends(topic, [0, 1])
    replica = deployment.replica("a")
    deployment.await_accounted(deployment.sent - (after[0] - behind[0]))
    (line, *_) = replica.await_line("partition.unreadable")
    assert (line["topic"], line["partition"], line["offset"]) == (topic, 0, first)
    place = f"{topic}[0]: cannot read offset {first}: "
    await_condition(lambda: place in ask(port, "/readyz")[1], lambda: ask(port, "/readyz"))
    assert ask(port, "/livez")[0] == 200
    gauge = f'order_facts_unreadable_offset{{partition="0",topic="{topic}"}} {float(first)}'
    assert gauge in ask(port, "/metrics")[1]
    replica.await_line("partition.unreadable", attempts=2)  # it is tried again by itself
    command = line["error"].partition("order-facts ")[2].split()
    assert command == ["state", "skip", "--partition", "0", "--offset", str(first)]
    running = deployment.command(*command, check=False)
    assert "stop them first" in running.stderr
    replica.stop()
    planned = deployment.command(*command)
    assert f"offsets {first} to {first + MANY - 1} cannot be read" in planned.stdout
    for wrong in (["--offset", str(first - 1)], ["--offset", str(first), "--to-offset", str(first + MANY)]):
        refused = deployment.command("state", "skip", "--partition", "0", *wrong, check=False)
        assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    done = deployment.command(*command, "--yes")
    assert f"offset {first + MANY} is committed" in done.stdout
    assert '"event": "state.skipped"' in done.stderr
    again = deployment.replica("a")
    deployment.await_accounted(deployment.sent + MANY)
    again.stop()
    stand_ins = [r for r in deployment.read(deployment.settings.rejected_topic) if r.value is None]
    headers = [rejected.read(record) for record in stand_ins]
    assert [said.offset for said in headers] == list(range(first, first + MANY))
    assert {(said.reason, said.outcome) for said in headers} == {("unreadable", "invalid")}
    verified = deployment.command("verify")
    assert verified.returncode == 0, verified.stdout
    nothing = deployment.command(*command, check=False)
    assert "there is nothing to skip" in nothing.stderr


@pytest.mark.parametrize(("codec", "size"), [("zstd", 90_000_000), ("lz4", 150_000_000), ("gzip", 150_000_000)])
def test_a_value_that_swells_is_rejected_within_memory_and_its_copy_can_be_read(deployment, codec, size):
    """Whatever one record swells to, it costs twice its size once; its copy is cut, and every reader can read it."""
    topic = deployment.settings.events_topic
    deployment.send([created("before")])
    send_batch(deployment.settings, topic, [(b"o1", bytes(size))], codec=codec)
    deployment.sent += 1
    deployment.send([created("after")])
    replica = deployment.replica("a", http_port=0)
    deployment.await_accounted()
    assert most_memory_mib(replica) < 2 * (size >> 20) + 150
    replica.stop()
    (copy,) = deployment.read(deployment.settings.rejected_topic)
    said = rejected.read(copy)
    assert (len(copy.value), said.truncated_bytes, said.reason) == (rejected.CUT_BYTES, size, "oversized")
    assert deployment.command("verify").returncode == 0


def test_many_compressible_events_do_not_fill_the_memory(deployment):
    """1,800 valid events of nearly 1 MB each came as less than 2 MB; the client unpacks a response of them at once.

    They are of unknown orders, so that only their number and size cost memory and time.
    """
    value = codec().encode_event(event("orderDelivered", "o1", email="x" * 850_000))
    for _ in range(900):
        send_batch(deployment.settings, deployment.settings.events_topic, [(b"o1", value)] * 2)
    deployment.sent += 1_800
    replica = deployment.replica("a", http_port=0)
    deployment.await_accounted()
    most = most_memory_mib(replica)
    replica.stop()
    assert most < 1_200, most


def test_contacts_that_cannot_be_read_stop_only_their_partition_until_they_are_skipped(settings, tmp_path):
    """The other contacts are indexed meanwhile, a line names the place; skipped, the index is complete."""
    with deployed(settings, tmp_path, partitions=2) as deployment:
        topic = settings.contacts_topic
        partitions = range(deployment.cluster.topics([topic])[topic].partitions)
        send_batch(settings, topic, [(b"big%d" % number, b"x" * 1_000_000) for number in range(MANY)], partition=1)
        deployment.send_contacts(contacts())
        ends = deployment.cluster.ends(topic, partitions)
        index = deployment.start("contacts", "index", name="index")
        (line, *_) = index.await_line("partition.unreadable")
        assert (line["topic"], line["partition"], line["offset"]) == (topic, 1, 0)
        index.await_line("contacts.committed")
        assert not index.lines("contacts.ready"), "it is not complete"
        index.stop()
        command = line["error"].partition("order-facts ")[2].split()
        assert command == ["contacts", "index", "--skip", "1:0"]
        again = deployment.start(*command, name="index")
        again.await_line("contacts.skipped", partition=1, offset=0)
        again.await_line("contacts.ready")
        deployment.send(traffic(seed=83, count=60))
        replica = deployment.replica("a")
        deployment.await_accounted()
        assert ends[1] > MANY
        replica.stop()
