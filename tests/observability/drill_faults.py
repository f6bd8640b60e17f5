"""The drill's faults: each lasts for the block of a context manager, and is healed at its end as the runbook says."""

import re
import signal
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

from processor.codec.avro import codec
from tests.observability.drill_world import BATCH, REPLICAS
from tests.support.batches import send_batch
from tests.support.healers import updated
from tests.support.traffic import created

BROKEN_PER_S = 300
HOT_PER_S = 4_000
CONTACTS_PER_S = 300
INDEX_BYTES_PER_S = 10_000  # less than the contacts that come
MANY = 150  # of nearly 1 MB each: more than the Kafka client unpacks
OUTPUTS_BATCH = 5_000


class Drill(NamedTuple):
    """A fault, the alert that must fire, and what of `watch` tells it: an expression for one of its lines."""

    fault: Callable
    what: str
    alert: str
    shown: str
    patience_s: float = 120.0


@contextmanager
def redis_down(world):
    """Kill Redis."""
    world.redis.kill()
    yield
    world.redis.start()


@contextmanager
def broker_down(world):
    """Kill the broker."""
    world.kafka.kill()
    yield
    world.kafka.start()


@contextmanager
def redis_disk_full(world):
    """Let Redis fail to save, as on a full disk, so that it refuses writes: a folder is where its file should be."""
    blocked = world.redis.folder / "dump.rdb"
    blocked.mkdir()
    (blocked / "full").touch()
    world.client.config_set("save", "1 1")
    yield
    world.client.config_set("save", "")
    (blocked / "full").unlink()
    blocked.rmdir()


@contextmanager
def broken_schema(world):
    """Send events that cannot be decoded: most of all that come."""
    with world.producing(BROKEN_PER_S, world.deployment.settings.events_topic, _undecodable):
        yield


def _undecodable(number):
    key, value = b"b%d" % number, created(f"b{number}").value
    return key, value[:2] + bytes(8) + value[10:]  # a fingerprint that no schema has


@contextmanager
def replica_frozen(world):
    """Stop one of two replicas by SIGSTOP; then kill it, and start it under the same name."""
    frozen = world.processes[REPLICAS[0]]
    frozen.signal(signal.SIGSTOP)
    yield
    frozen.signal(signal.SIGKILL)
    world.start(REPLICAS[0])


@contextmanager
def hot_partition(world):
    """Send more events of one order than a replica can process; then give replicas larger batches."""
    topic = world.deployment.settings.events_topic
    values = [updated("hot", storeId=f"s{number}").value for number in range(2)]
    world.deployment.send([created("hot", phone="+999000001")])
    with world.producing(HOT_PER_S, topic, lambda number: (b"hot", values[number % 2])):
        yield
    world.restart(*REPLICAS, max_batch=OUTPUTS_BATCH)


@contextmanager
def poisoned_record(world):
    """Send a batch that is more than the Kafka client unpacks: no replica can read on; then skip it."""
    topic = world.deployment.settings.events_topic
    value = created("large", note="x" * 850_000).value
    send_batch(world.deployment.settings, topic, [(b"large", value)] * MANY)
    yield
    lines = [line for name in REPLICAS for line in world.processes[name].lines("partition.unreadable")]
    command = lines[-1]["error"].partition("order-facts ")[2].split()
    world.stop(*REPLICAS)
    world.deployment.command(*command, "--yes")
    for name in REPLICAS:
        world.start(name, max_batch=BATCH)


@contextmanager
def index_dead(world):
    """Kill `contacts index`; nobody starts it again."""
    world.processes["index"].signal(signal.SIGKILL)
    yield
    world.start("index")


@contextmanager
def contacts_lagging(world):
    """Send contacts faster than the index may read: the broker has a quota for it."""
    world.limit_reading("index", INDEX_BYTES_PER_S)
    with world.producing(CONTACTS_PER_S, world.deployment.settings.contacts_topic, _contact):
        yield
    world.limit_reading("index", None)


def _contact(number):
    name = f"new-{number}"
    return name.encode(), codec().encode_contact({"contactId": name, "email": f"{name}@shop.example"})


@contextmanager
def topic_recreated(world):
    """Delete the events topic and create it again; then begin a new group with new outputs."""
    world.recreate_events()
    yield
    world.begin_anew()


DRILLS = (
    Drill(redis_down, "Redis down", "OrderFactsWaiting", r"since .*replica-\d: waiting for redis"),
    Drill(broker_down, "broker down", "OrderFactsWaiting", r"since .*: waiting for kafka"),
    Drill(
        redis_disk_full, "disk of Redis full: it refuses writes", "OrderFactsWaiting", r"since .*replica-\d: .*MISCONF"
    ),
    Drill(broken_schema, "a producer with a broken schema", "OrderFactsBreaker", r".*breaker\.tripped|undecodable"),
    Drill(
        replica_frozen,
        "one of two replicas frozen (SIGSTOP)",
        "OrderFactsNotAnswering",
        r"since .*replica-1: run: no line",
    ),
    Drill(hot_partition, "a hot partition", "OrderFactsFreshnessLost", r"since .*replica-\d: .*has waited", 300.0),
    Drill(poisoned_record, "a poisoned record", "OrderFactsPartitionUnreadable", r"since .*replica-\d: .*cannot read"),
    Drill(
        index_dead, "index writer dead", "OrderFactsContactIndexStale", r"since .*index: contacts index: no line", 600.0
    ),
    Drill(contacts_lagging, "contacts lagging", "OrderFactsContactIndexStale", r"since .*replica-\d: .*index", 600.0),
    Drill(topic_recreated, "topic recreated", "OrderFactsNoReplica", r"since .*replica-\d: .*(recreated|deleted)"),
)


def line_of(watched, shown):
    """Give the first entry of what `watch` printed that an expression finds, wrapped lines as one; None: none."""
    entries: list[str] = []
    for text in watched.splitlines():
        if text.startswith(" ") and entries:
            entries[-1] += f" {text.strip()}"
        else:
            entries.append(text)
    found = next((entry for entry in entries if re.match(shown, entry)), None)
    return None if found is None else re.sub(r" +", " ", found)
