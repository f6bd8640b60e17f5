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
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from processor.codec.avro import codec
from processor.domain.records import Item, Order, PlainItems
from processor.kafka.clients import plain_producer
from processor.segments.snapshot_session import definitions
from processor.snapshots.columns import CONTACTS
from processor.snapshots.engine import database
from processor.snapshots.snapshot import require_snapshot
from tests.benchmarks.figures import spread
from tests.benchmarks.process import EndedError, peak_rss_bytes
from tests.benchmarks.stage import FLUSH_S, PARTITIONS, produce, project_environment
from tests.support.deployment import PYTHON

ORDERS_SENT, LARGE = 1_000_000, 10_000_000
ORDERS_A_CONTACT = 10
NEW_FACTS = 100_000
ROUNDS = 5
POLL_S = 0.02
SEED = 20_261_130
AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
DAYS = 1_000
STATUSES = ("INITIALIZED", "IN_PROGRESS", "DELIVERED", "DELIVERED", "DELIVERED", "CANCELLED", "ABANDONED_SHOPPING_CART")
ITEM_COUNT, CATEGORY_COUNT = 5_000, 30

COUNTED = "status IN ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED') AND date < $as_of"
SOLD = "status = 'DELIVERED' AND date < $as_of"


def by_hand(where, having=None):
    """Give a query that somebody writes for one question: the contacts of rows, or of groups of rows."""
    if having is None:
        return f"SELECT DISTINCT contactId FROM flat WHERE {where}"
    return f"SELECT contactId FROM flat WHERE {where} GROUP BY contactId HAVING {having}"


BOUGHT = f"externalItemId = 'item-7' AND quantity > 0 AND {COUNTED}"
BOTH = f"externalItemId IN ('item-7', 'item-8') AND quantity > 0 AND {COUNTED}"
BY_HAND = {
    "bought('item-7')": by_hand(BOUGHT),
    "bought('item-7', days := 7)": by_hand(f"{BOUGHT} AND date >= $week"),
    "bought_category('category-7', days := 30)": by_hand(
        f"category = 'category-7' AND quantity > 0 AND {COUNTED} AND date >= $month"
    ),
    "bought_all(['item-7', 'item-8'])": by_hand(BOTH, "count(DISTINCT externalItemId) = 2"),
    "ordered(min := 3, days := 30)": by_hand(f"line = 1 AND {COUNTED} AND date >= $month", "count(*) >= 3"),
    "spent(5000)": by_hand(f"line = 1 AND {SOLD}", "sum(totalCost) >= 5000"),
    "average_order(min := 900)": by_hand(f"line = 1 AND {SOLD}", "sum(totalCost) >= 900 * count(*)"),
    "single_order(min := 990)": by_hand(f"{SOLD} AND totalCost >= 990"),
    "spent_on(100, item := 'item-7')": by_hand(
        f"externalItemId = 'item-7' AND quantity > 0 AND {SOLD}", "sum(quantity * cost) >= 100"
    ),
    "first_ordered(30)": by_hand(COUNTED, "min(date) >= $month"),
    "lapsed(30)": by_hand(COUNTED, "max(date) < $month"),
    "never_ordered()": f"FROM contacts SELECT contactId WHERE contactId NOT IN ({by_hand(COUNTED)})",
    "cancelled(30)": by_hand("status = 'CANCELLED' AND statusChangedAt < $as_of AND statusChangedAt >= $month"),
    "abandoned(30)": by_hand(
        "status = 'ABANDONED_SHOPPING_CART' AND date < $as_of AND date >= $month AND NOT EXISTS (FROM flat AS o WHERE "
        "o.contactId = flat.contactId AND o.date > flat.date AND "
        "o.status IN ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED') AND o.date < $as_of)"
    ),
    "order_field('giftWrap', '=', 1)": by_hand(
        f"{COUNTED} AND line = 1 AND CAST(custom ->> '$.giftWrap' AS BIGINT) = 1"
    ),
    "item_field('quantity', '>=', 3)": by_hand(f"{COUNTED} AND quantity >= 3"),
}

FLAT = """
    SELECT o.contactId, o.externalOrderId, o.status, o.date, o.statusChangedAt, o.totalCost, o.currency, o.custom,
        i.externalItemId, i.category, i.quantity, i.cost, row_number() OVER (PARTITION BY o.externalOrderId) AS line
    FROM orders AS o LEFT JOIN items AS i USING (externalOrderId) ORDER BY o.sourceOffset"""


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
        asked = _asked(folder, stage.folder / "asked", say)
    ratio = [one["seconds"] / other["seconds"] for one, other in zip(bare, exports, strict=True)]
    return {
        "orders": count,
        "work": {"bare reader": _work(bare, count), "facts export": _work(exports, count)},
        "ratio": spread(ratio),
        "new_facts": NEW_FACTS,
        "further": further,
        "asked": asked,
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


def _asked(folder, work, say):
    """Give, for each condition, its seconds and those of the query by hand; require equal answers."""
    snapshot, found = require_snapshot(folder), dict[str, Any]()
    work.mkdir()
    given = {"as_of": AS_OF, "week": AS_OF - timedelta(days=7), "month": AS_OF - timedelta(days=30)}
    with database(work) as connection:
        connection.execute(definitions(snapshot, AS_OF, ZoneInfo("UTC")))
        flat = work / "flat.parquet"
        connection.execute(f"COPY ({FLAT}) TO '{flat}'")
        connection.execute(f"CREATE VIEW flat AS SELECT * FROM read_parquet('{flat}')")
        for condition, query in BY_HAND.items():
            used = {name: value for name, value in given.items() if f"${name}" in query}
            known = f"SELECT contactId FROM ({query}) SEMI JOIN {CONTACTS} USING (contactId)"
            answers = [
                sorted(connection.execute(sql, values).fetchall())
                for sql, values in ((f"FROM {condition}", {}), (known, used))
            ]
            if answers[0] != answers[1]:
                raise EndedError(f"{condition} and the query by hand differ: {len(answers[0])} and {len(answers[1])}")
            best = {"condition": float("inf"), "by_hand": float("inf")}
            for _ in range(ROUNDS):
                for name, sql, values in (("condition", f"FROM {condition}", {}), ("by_hand", query, used)):
                    begun = time.perf_counter()
                    connection.execute(sql, values).fetchall()
                    best[name] = min(best[name], time.perf_counter() - begun)
            found[condition] = {"contacts": len(answers[0]), **{name: value * 1000 for name, value in best.items()}}
            found[condition]["ratio"] = best["condition"] / best["by_hand"]
            say(f"{condition}: {best['condition'] * 1000:.0f} ms, by hand {best['by_hand'] * 1000:.0f} ms")
    return found
