"""Snapshots and segments at size: `facts export` beside a bare reader, conditions beside queries written by hand.

The bare reader reads and decodes the same topic and keeps nothing. The queries ask one flat file with a row for each
line of an order, which holds what they need and nothing else; DuckDB has the same threads and memory for both.
"""

import json
import random
import shutil
import subprocess
import sys
import time
from datetime import timedelta

from processor.codec.avro import codec
from processor.domain.records import Item, Order, PlainItems
from processor.kafka.clients import plain_producer
from tests.benchmarks.figures import spread
from tests.benchmarks.process import EndedError, peak_rss_bytes
from tests.benchmarks.questions import AS_OF
from tests.benchmarks.stage import FLUSH_S, PARTITIONS, produce, project_environment
from tests.support.deployment import PYTHON

ORDERS_SENT, LARGE = 1_000_000, 10_000_000
ORDERS_A_CONTACT = 10
NEW_FACTS = 100_000
POLL_S = 0.02
SEED = 20_261_130
DAYS = 1_000
STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "DELIVERED", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
ITEM_COUNT, CATEGORY_COUNT = 5_000, 30


def measure(stage, options, say):
    """Fill the topics, export, export what is new, and ask."""
    count = LARGE if options.large else ORDERS_SENT
    deployment = stage.deployment(stage.settings())
    settings, folder = deployment.settings, stage.folder / "snapshots"
    stage.send_contacts(deployment, count // ORDERS_A_CONTACT)
    _send(stage, settings, range(count), revision=1)
    say(f"{count:,} facts are there")
    with stage.cores.everywhere():
        bare, exports = [], []
        job = {"bootstrap_servers": settings.bootstrap_servers, "facts_topic": settings.facts_topic}
        job["ends"] = stage.ends(settings.facts_topic)
        for _ in range(options.repeat):
            bare.append(_timed([sys.executable, "-m", "tests.benchmarks.bare_reader", json.dumps(job)], stage))
            shutil.rmtree(folder, ignore_errors=True)
            exports.append(_timed(_export(settings, folder), stage))
            say(f"bare reader {bare[-1]['seconds']:.1f} s, export {exports[-1]['seconds']:.1f} s")
        added = range(count - NEW_FACTS // 2, count + NEW_FACTS // 2)  # half are of orders that are there
        _send(stage, settings, added, revision=2)
        further = _timed(_export(settings, folder), stage)
        say(f"{NEW_FACTS:,} new facts: {further['seconds']:.1f} s")
        asked = _asked(stage, folder, say)
    ratio = [one["seconds"] / other["seconds"] for one, other in zip(bare, exports, strict=True)]
    return {
        "orders": count,
        "work": {"bare reader": _work(bare, count), "facts export": _work(exports, count)},
        "ratio": spread(ratio),
        "new_facts": NEW_FACTS,
        "further": further,
        **asked,
    }


def _work(runs, count):
    seconds = spread([run["seconds"] for run in runs])
    return {
        "seconds": seconds,
        "facts_per_s": spread([count / run["seconds"] for run in runs]),
        "peak_rss_mib": spread([run["peak_rss_mib"] for run in runs]),
    }


def _send(stage, settings, numbers, *, revision):
    """Send facts of orders, each order always on the same partition."""
    encode, producer = codec().encode_fact, plain_producer(settings)
    for number in numbers:
        partition = number % PARTITIONS
        order = _order(number, partition, revision)
        produce(producer, settings.facts_topic, encode(order), order.external_order_id.encode(), partition=partition)
    assert producer.flush(FLUSH_S) == 0


def _order(number, partition, revision):
    """Give an order that depends on its number and revision only."""
    source = random.Random(number * 4 + revision)
    contacts = max(1, number // ORDERS_A_CONTACT)
    moment = AS_OF - timedelta(seconds=source.randrange(DAYS * 86_400))
    lines = tuple(
        Item(
            external_item_id=f"item-{int(ITEM_COUNT * source.random() ** 2)}",
            quantity=float(source.randrange(1, 4)),
            name="An item of the shop",
            category=f"category-{source.randrange(CATEGORY_COUNT)}",
            cost=source.randrange(1, 3_000_000),
            custom={"size": source.choice("SML")},
        )
        for _ in range(source.randrange(1, 4))
    )
    at_ms = int(moment.timestamp() * 1000)
    return Order(
        external_order_id=f"SO-{number:09}",
        contact_id=f"c{source.randrange(contacts)}",
        identified_by="email",
        status=source.choice(STATUSES),
        date_ms=at_ms,
        total_cost=source.randrange(10_000_000),
        currency="UAH",
        event_type="orderUpdated",
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        status_changed_at_ms=at_ms,
        revision=revision,
        source_partition=partition,
        source_offset=number,
        items=PlainItems(lines),
        custom={"giftWrap": source.randrange(4), "channel": "web"},
    )


def _export(settings, folder):
    topics = ("--facts-topic", settings.facts_topic, "--contacts-topic", settings.contacts_topic)
    return [
        *PYTHON,
        "processor",
        "facts",
        "export",
        folder,
        "--bootstrap-servers",
        settings.bootstrap_servers,
        *topics,
    ]


def _timed(command, stage):
    """Run a command to its end; give its seconds and the most memory that it held."""
    log, peak = stage.folder / "timed.log", 0
    with log.open("wb") as stream:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=project_environment(), stdout=stream, stderr=stream)
        while process.poll() is None:
            peak = max(peak, peak_rss_bytes(process.pid) or 0)
            time.sleep(POLL_S)
        seconds = time.perf_counter() - begun
    if process.returncode:
        raise EndedError(f"{command} ended with {process.returncode}\n{log.read_text(encoding='utf-8')}")
    return {"seconds": seconds, "peak_rss_mib": peak / (1 << 20)}


def _asked(stage, folder, say):
    """Give the figures of each condition and of its query by hand, and the peaks of a process that asks only these."""
    work = stage.folder / "asked"
    work.mkdir()
    found = work / "found.json"
    peaks = {}
    for step in ("flat", "compare", "condition", "by_hand"):
        job = {"step": step, "snapshots": str(folder), "work": str(work), "found": str(found)}
        done = _timed([sys.executable, "-m", "tests.benchmarks.questions", json.dumps(job)], stage)
        peaks[step] = done["peak_rss_mib"]
        say(f"questions, {step}: {done['seconds']:.1f} s, {done['peak_rss_mib']:.0f} MiB")
    peaks = {step: peaks[step] for step in ("condition", "by_hand")}
    return {"asked": json.loads(found.read_text(encoding="utf-8")), "asked_peak_rss_mib": peaks}
