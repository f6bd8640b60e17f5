"""Item 5: how long after an event's timestamp a reader of committed records has its fact, at a steady rate.

Sender and reader are this process, on the services' core; event timestamps are whole ms. The reader asks again every
10 ms at the latest. The first seconds are not counted: programs start, and Java compiles.
"""

import threading
import time

from confluent_kafka import Producer, TopicPartition

from processor.kafka.clients import reader
from tests.benchmarks import load, run
from tests.benchmarks.figures import percentile
from tests.benchmarks.programs import LATENCY_COMMIT_MS, PROGRAMS, Job
from tests.benchmarks.stage import PARTITIONS, Progress
from tests.benchmarks.throughput import summary, turns
from tests.support.deployment import await_condition, headers_of
from tests.support.facts import fact_of

RATE = 1_000
WARM_S = 10
MEASURED_S = 30
FIRST = 60  # events that show that the program has begun


def measure(stage, options, say):
    """Measure the chosen programs in turns; give percentiles in ms by program."""
    contacts = stage.with_contacts(options.contacts).settings.contacts_topic
    stage.load_identifiers(options.contacts)
    found: dict[str, list[dict]] = {name: [] for name in options.programs}
    consumer = reader(stage.settings(), **{"fetch.wait.max.ms": 10, "enable.partition.eof": False})
    for name in turns(options):
        settings = stage.settings(contacts_topic=contacts)
        found[name].append(_latencies(stage, PROGRAMS[name], settings, consumer, options))
        say("{}: p50 {p50_ms:.0f} ms, p99 {p99_ms:.0f} ms".format(name, **found[name][-1]))
    consumer.close()
    return {
        "rate": RATE,
        "seconds": MEASURED_S,
        "programs": {name: summary(runs) for name, runs in found.items()},
    }


def _latencies(stage, program, settings, consumer, options):
    traffic = load.Traffic(contact_count=options.contacts)
    deployment = stage.deployment(settings)
    job = Job(deployment, deployment.folder, LATENCY_COMMIT_MS.get(program.name, 0))
    records = list(traffic.events(FIRST + RATE * (WARM_S + MEASURED_S)))
    consumer.assign([TopicPartition(settings.facts_topic, partition, 0) for partition in range(PARTITIONS)])
    arrivals, stop = list[tuple[bytes, float]](), threading.Event()
    watcher = threading.Thread(target=_read, args=(consumer, arrivals, stop), daemon=True)
    watcher.start()
    progress = Progress(settings)
    process = run.start(stage, program, job)
    try:
        stage.send(settings.events_topic, records[:FIRST])
        _await(progress, process, FIRST)
        since_ms, late_ms = _pace(settings, records[FIRST:])
        _await(progress, process, len(records))
        time.sleep(1.0)
        usage = process.stop()
    finally:
        process.kill()
        progress.close()
        stop.set()
        watcher.join()
        consumer.unassign()
    stage.remove(deployment)
    facts = ((fact_of(value)["updatedAt"], arrived_ms) for value, arrived_ms in arrivals)
    latencies = sorted(arrived_ms - sent_ms for sent_ms, arrived_ms in facts if sent_ms >= since_ms)
    shares = (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))
    return {
        "facts": len(latencies),
        **{name: percentile(latencies, share) for name, share in shares},
        "max_ms": latencies[-1],
        "sender_late_ms": late_ms,
        "cpu_us": usage.cpu_s / len(records) * 1e6,
    }


def _pace(settings, records):
    """Send records at the rate; give the time, in ms, from which on they count, and how late the latest of them was."""
    properties = {
        "bootstrap.servers": settings.bootstrap_servers,
        "linger.ms": 0,
        "max.in.flight": 5,  # where the broker is slow, the next request takes more records
        "partitioner": "murmur2_random",
    }
    producer = Producer(properties)
    began_s, since_ms, latest_s = time.perf_counter(), 0, 0.0
    for number, record in enumerate(records):
        while (early_s := began_s + number / RATE - time.perf_counter()) > 0:
            time.sleep(early_s)
        if number >= RATE * WARM_S:
            latest_s = max(latest_s, -early_s)
        if number == RATE * WARM_S:
            since_ms = time.time_ns() // 1_000_000
        producer.produce(settings.events_topic, record.value, record.key, headers=headers_of(record))
        producer.poll(0)
    assert producer.flush(60) == 0
    return since_ms, latest_s * 1000


def _read(consumer, arrivals, stop):
    """Note each fact as it comes, with the time in ms."""
    while not stop.is_set():
        message = consumer.poll(0.05)
        if message is not None and message.error() is None:
            arrivals.append((message.value(), time.time_ns() / 1e6))


def _await(progress, process, count):
    """Wait until so many events are committed."""

    def reached():
        process.check()
        time.sleep(0.1)
        return progress.committed() >= count

    await_condition(reached, f"{count} events committed", 120.0)
