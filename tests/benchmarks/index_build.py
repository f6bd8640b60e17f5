"""Item 8: how fast `contacts index` builds the index, beside loaders that send the same fields to the same Redis.

Also what an outage of the index's writer and a lost Redis cost, and an identifier that very many contacts share.
"""

import sys
import threading
import time
from contextlib import contextmanager

from processor.codec.avro import codec
from processor.contacts.lookup import ContactIndex, IndexNotReadyError
from processor.contacts.shards import lineage_of, shard_keys
from processor.domain.records import Identifier
from processor.kafka.clients import plain_producer
from processor.kafka.cluster import Cluster
from processor.state.connection import connect
from tests.benchmarks import load
from tests.benchmarks.figures import percentile, spreads
from tests.benchmarks.process import Measured, cpu_s
from tests.benchmarks.stage import FLUSH_S, produce
from tests.support import log_lines
from tests.support.deployment import PROJECT, await_condition

CHANGED = 20_000  # contacts that change while no writer runs
SHARED = 100_000  # contacts of which all have one phone
GONE = 100  # of them, those that win the phone in turn: each is deleted by itself
PATIENCE_S = 3_600.0
AT_ONCE = 16_000  # fields of one round trip of the loader
LOADERS = {"bare loader, 1,000 fields a command": 1_000, "bare loader, a field a command": 1}
LOOK_S = 0.002
PHONE = Identifier("phone", "380500000000")


class Index:
    """The contact index of a deployment: its writer, and what a replica sees of it."""

    def __init__(self, stage, deployment):
        self._stage = stage
        self._deployment = deployment
        settings = deployment.settings
        cluster = Cluster(settings)
        lineage = lineage_of(cluster.wait(), settings)
        self.keys = shard_keys(lineage)
        self._topic = cluster.topics([settings.contacts_topic])[settings.contacts_topic]
        self.reader = lambda: ContactIndex(connect(settings), settings, lineage, self._topic)  # for one thread
        self._reader = self.reader()
        self._log = deployment.folder / "index.log"

    @contextmanager
    def writer(self):
        """Run `contacts index` on the program's core for the length of a block, with a new log."""
        self._log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "processor", "contacts", "index"]
        environment = self._deployment.environment(instance_id="index")
        process = Measured(command, environment, PROJECT, self._log, self._stage.cores.on(0))
        try:
            yield process
        finally:
            process.kill()

    def lines(self, event):
        """Give the writer's lines of an event."""
        lines = log_lines.lines_in(self._log.read_text(encoding="utf-8"))
        return [line for line in lines if line["event"] == event]

    def await_line(self, process, event, count=1):
        """Wait for a line of the writer, and give the last one."""

        def seen():
            process.check()
            time.sleep(0.2)  # the log of a long build is long, too
            return len(self.lines(event)) >= count

        await_condition(seen, f"{event}: see {self._log}", PATIENCE_S)
        return self.lines(event)[-1]

    def find(self, identifier):
        """Look an identifier up as a replica does. Raises IndexNotReadyError."""
        return self._reader.find(identifier)

    def is_ready(self):
        """Tell whether replicas may use the index."""
        try:
            self._reader.claimed(())
        except IndexNotReadyError:
            return False
        return True

    def await_complete(self):
        """Wait until the index, which must be ready all the time, holds the whole topic; give how long that took."""
        began_s, ends = time.monotonic(), self._stage.ends(self._topic.name)
        wanted = tuple(ends[partition] for partition in range(self._topic.partitions))
        await_condition(lambda: self._reader.claimed(())[1].offsets == wanted, "the index is complete", PATIENCE_S)
        return time.monotonic() - began_s

    def remove(self):
        """Remove the index from Redis."""
        self._stage.forget("order-facts:contacts:*")


def measure(stage, options, say):
    """Give the figures of builds and loads in turn, and what goes wrong costs."""
    deployment = stage.deployment(stage.settings())
    stage.send_contacts(deployment, options.indexed)
    index = Index(stage, deployment)
    runs: dict[str, list[dict]] = {"contacts index": [], **{name: [] for name in LOADERS}}
    for _ in range(options.repeat):
        index.remove()
        built = _built(stage, index, options.indexed)
        runs["contacts index"].append(built | {"ratio": 1.0})
        for name, fields in LOADERS.items():
            loaded = _loaded(stage, index, options.indexed, fields)
            runs[name].append(loaded | {"ratio": built["contacts_per_s"] / loaded["contacts_per_s"]})
        say(f"built {built['contacts_per_s']:,.0f} contacts/s")
    found = {"contacts": options.indexed, "work": {name: spreads(some) for name, some in runs.items()}, "runs": runs}
    found["outage"] = _outage(stage, deployment, index)
    say(f"outage: complete after {found['outage']['seconds']:.1f} s")
    found["lost"] = _lost_redis(stage, index)
    say(f"lost Redis: ready after {found['lost']['seconds']:.1f} s")
    index.remove()
    stage.remove(deployment)
    found["shared"] = {}
    for name, is_shared in (("a phone each", False), ("one phone", True)):
        found["shared"][name] = _shared(stage, is_shared=is_shared)
        say(f"{name}: slowest batch {found['shared'][name]['batch_max_ms']} ms")
    return found


def _built(stage, index, count):
    """Give the figures of one build from nothing, by the writer's own line about it."""
    before_s = cpu_s(stage.redis.pid)
    with index.writer() as process:
        ready = index.await_line(process, "contacts.ready")
        redis_s = cpu_s(stage.redis.pid)
        usage = process.stop()
    assert ready["records"] == count, ready
    return _figures(count, ready["took_ms"] / 1000, usage.cpu_s, before_s, redis_s) | {
        "peak_rss_mib": usage.peak_rss_bytes / (1 << 20)
    }


def _loaded(stage, index, count, fields):
    """Send what the finished index holds to other keys, so many fields a command, and give the figures of that."""
    held = {key: [part for pair in stage.client.hgetall(key).items() for part in pair] for key in index.keys}
    step, longest = 2 * AT_ONCE // len(held), max(map(len, held.values()))
    before_s = cpu_s(stage.redis.pid)
    with stage.cores.on(0):
        began_s, own_s = time.monotonic(), time.thread_time()
        for start in range(0, longest, step):
            pipeline = stage.client.pipeline(transaction=False)
            for key, parts in held.items():
                for at in range(start, min(start + step, len(parts)), 2 * fields):
                    pipeline.execute_command("HSET", f"bare:{key}", *parts[at : min(at + 2 * fields, start + step)])
            pipeline.execute()
        took_s, own_s = time.monotonic() - began_s, time.thread_time() - own_s
    redis_s = cpu_s(stage.redis.pid)
    assert all(stage.client.hlen(f"bare:{key}") == stage.client.hlen(key) for key in index.keys)
    stage.forget("bare:*")
    return _figures(count, took_s, own_s, before_s, redis_s)


def _figures(count, took_s, own_s, redis_before_s, redis_after_s):
    is_told = redis_before_s is not None
    return {
        "contacts_per_s": count / took_s,
        "cpu_us": own_s / count * 1e6,
        "redis_cpu_us": (redis_after_s - redis_before_s) / count * 1e6 if is_told else None,
    }


def _outage(stage, deployment, index):
    """Kill the writer, change contacts, start it again; the index must stay ready. Give the seconds since the start."""
    with index.writer() as process:
        index.await_complete()
        index.await_line(process, "contacts.resumed")
    settings, encode = deployment.settings, codec().encode_contact
    producer = plain_producer(settings)
    for contact in load.contacts(CHANGED):
        changed = contact | {"email": f"new.{contact['email']}"}
        produce(producer, settings.contacts_topic, encode(changed), contact["contactId"].encode())
    assert producer.flush(FLUSH_S) == 0
    with index.writer() as process:
        seconds = index.await_complete()
        index.await_line(process, "contacts.resumed")
        process.stop()
    return {"changed": CHANGED, "seconds": seconds}


def _lost_redis(stage, index):
    """Empty Redis under the writer; give how long the index is not ready, and how long its build took."""
    with index.writer() as process:
        index.await_complete()
        began_s = time.monotonic()
        stage.client.flushall()
        await_condition(index.is_ready, "the index is ready again", PATIENCE_S)
        seconds = time.monotonic() - began_s
        ready = index.await_line(process, "contacts.ready")
        process.stop()
    return {"seconds": seconds, "build_s": ready["took_ms"] / 1000}


def _shared(stage, *, is_shared):
    """Index contacts that share a phone, or do not; then delete those that win it, one by one.

    Give the slowest batch of the writer, and what look-ups took meanwhile.
    """
    deployment = stage.deployment(stage.settings())
    settings, encode = deployment.settings, codec().encode_contact
    topic, producer = settings.contacts_topic, plain_producer(settings)
    index = Index(stage, deployment)
    with index.writer() as process:
        index.await_line(process, "contacts.ready")  # of an empty topic: what comes now meets an index in use
        process.stop()
    for number, contact in enumerate(load.contacts(SHARED)):
        phone = PHONE.value if is_shared else contact["phone"]
        produce(producer, topic, encode(contact | {"phone": phone}), contact["contactId"].encode())
        if number % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(FLUSH_S) == 0
    with _looked_up(index) as taken_ms, index.writer() as process:
        index.await_complete()
        built_lines = len(index.lines("contacts.committed"))
        for number in range(GONE):
            winner = index.find(PHONE) if is_shared else f"c{number}"
            produce(producer, topic, None, winner.encode())
            assert producer.flush(FLUSH_S) == 0
            index.await_complete()
        process.stop()
    lines = index.lines("contacts.committed")
    index.remove()
    stage.remove(deployment)
    taken_ms.sort()
    return {
        "batch_max_ms": max(line["write_ms"] for line in lines[:built_lines]),
        "seconds_writing": sum(line["write_ms"] for line in lines[:built_lines]) / 1000,
        "deleted_max_ms": max(line["write_ms"] for line in lines[built_lines:]),
        "look_p99_ms": percentile(taken_ms, 0.99),
        "look_max_ms": taken_ms[-1],
    }


@contextmanager
def _looked_up(index):
    """Look an identifier up again and again in another thread; the list gets how many ms each look-up took."""
    taken_ms, is_over, reader = [], threading.Event(), index.reader()

    def look():
        while not is_over.wait(LOOK_S):
            began_s = time.monotonic()
            reader.find(PHONE)
            taken_ms.append((time.monotonic() - began_s) * 1000)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield taken_ms
    finally:
        is_over.set()
        thread.join()
