"""Item 7: how fast a replica rebuilds the mirror of an empty Redis from the facts topic."""

import json
from datetime import datetime

from tests.benchmarks import load, run
from tests.benchmarks.figures import spreads
from tests.benchmarks.stage import PARTITIONS, mirror_of, remove_mirror
from tests.support.deployment import await_condition

META_FIELDS = 3  # watermark, claim, topics
PATIENCE_S = 3_600.0


def measure(stage, options, say):
    """Work off events, then take the mirror away and have it rebuilt, several times.

    Each order has one fact, as in a topic that was compacted.
    """
    deployment = stage.with_contacts(options.contacts)
    settings = deployment.settings
    traffic = load.Traffic(contact_count=options.contacts, weights=load.CREATED_ONLY)
    count = stage.send(settings.events_topic, traffic.events(options.events))
    run.measure(stage, lambda: [run.replica(stage, deployment)], settings, count)
    mirror = mirror_of(settings)
    written = _orders(stage, mirror)
    runs = []
    for repetition in range(options.repeat):
        remove_mirror(mirror)
        empty_bytes = stage.redis_bytes()
        figures = _rebuilt(stage, deployment, f"rebuild-{repetition}")
        orders = _orders(stage, mirror)
        assert orders == written, f"{orders} orders instead of {written}"
        figures["orders_per_s"] = orders / figures["seconds"]
        figures["bytes_an_order"] = (stage.redis_bytes() - empty_bytes) / orders
        runs.append(figures)
        say(f"rebuilt {orders:,} orders in {figures['seconds']:.1f} s")
    return {"orders": written, "facts": runs[0]["facts"], "runs": runs, **spreads(runs)}


def _rebuilt(stage, deployment, name):
    """Start a replica and wait until its mirror is whole; give what its log says of that."""
    process = run.replica(stage, deployment, name)
    try:
        await_condition(lambda: _arrived(process), f"{name}: see {process.log}", PATIENCE_S)
        usage = process.stop()
    finally:
        process.kill()
    lines = _lines(process.log)
    began = min(_time(line) for line in lines if line["event"] == "mirror.behind")
    ended = max(_time(line) for line in lines if line["event"] == "mirror.caught_up")
    facts = sum(line["facts_read"] for line in lines if line["event"] == "mirror.caught_up")
    seconds = (ended - began).total_seconds()
    return {
        "seconds": seconds,
        "facts": facts,
        "facts_per_s": facts / seconds,
        "cpu_us_a_fact": usage.cpu_s / facts * 1e6,
    }


def _arrived(process):
    process.check()
    return sum(line["event"] == "mirror.caught_up" for line in _lines(process.log)) == PARTITIONS


def _lines(log):
    found = []
    for text in log.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:  # a line that is being written
            continue
    return found


def _time(line):
    return datetime.fromisoformat(line["timestamp"])


def _orders(stage, mirror):
    """Give how many orders the mirror holds."""
    return sum(stage.client.hlen(mirror.key(partition)) - META_FIELDS for partition in range(PARTITIONS))
