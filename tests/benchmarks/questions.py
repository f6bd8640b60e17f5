"""The questions of the benchmark of segments: conditions beside queries written by hand, in a process of their own.

python -m tests.benchmarks.questions '{"step": "compare", "snapshots": DIR, "work": DIR, "found": FILE}'

The steps: `flat` writes the file that the queries ask; `compare` requires equal answers and writes what both take;
`condition` and `by_hand` ask only these, each once, for the memory that they need.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from processor.segments.snapshot_session import definitions
from processor.snapshots.columns import CONTACTS
from processor.snapshots.engine import database
from processor.snapshots.snapshot import require_snapshot
from tests.benchmarks.process import EndedError

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
ROUNDS = 5
ROWS_AT_ONCE = 10_000
GIVEN = {"as_of": AS_OF, "week": AS_OF - timedelta(days=7), "month": AS_OF - timedelta(days=30)}

COUNTED = "status IN ('INITIALIZED', 'IN_PROGRESS', 'DELIVERED') AND date < $as_of"
SOLD = "status = 'DELIVERED' AND date < $as_of"


def by_hand(where, having=None):
    """Give a query that somebody writes for one question: the contacts of rows, or of groups of rows."""
    if having is None:
        return f"SELECT DISTINCT contactId FROM flat WHERE {where}"
    return f"SELECT contactId FROM flat WHERE {where} GROUP BY contactId HAVING {having}"


# RFM in UTC and one currency, of the contacts that exist: the cuts are theirs.
SCORED = f"""
    WITH measured AS (
        SELECT contactId, (epoch_us($as_of) - epoch_us(max(date))) // 86400000000 AS recency, count(*) AS frequency,
            sum(totalCost) AS monetary
        FROM flat SEMI JOIN contacts USING (contactId) WHERE line = 1 AND {SOLD} GROUP BY contactId),
    cuts AS (
        SELECT quantile_disc(recency, [0.2, 0.4, 0.6, 0.8]) AS recencies,
            quantile_disc(frequency, [0.2, 0.4, 0.6, 0.8]) AS frequencies,
            quantile_disc(monetary, [0.2, 0.4, 0.6, 0.8]) AS amounts
        FROM measured),
    scores AS (
        SELECT contactId, 5 - len(list_filter(recencies, lambda cut: cut < recency)) AS r,
            1 + len(list_filter(frequencies, lambda cut: cut < frequency)) AS f,
            1 + len(list_filter(amounts, lambda cut: cut < monetary)) AS m
        FROM measured CROSS JOIN cuts)"""
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
    "rfm_group('Champions')": f"{SCORED} SELECT contactId FROM scores WHERE r = 5 AND (f + m + 1) // 2 >= 4",
    "rfm_score(r := 5, f := 4)": f"{SCORED} SELECT contactId FROM scores WHERE r = 5 AND f = 4",
    "rfm_cell(r := 1, f := 3)": by_hand(
        f"line = 1 AND {SOLD}", "count(*) = 3 AND max(date) > $as_of - INTERVAL 16 DAYS"
    ),
}

FLAT = """
    SELECT o.contactId, o.externalOrderId, o.status, o.date, o.statusChangedAt, o.totalCost, o.currency, o.custom,
        i.externalItemId, i.category, i.quantity, i.cost, row_number() OVER (PARTITION BY o.externalOrderId) AS line
    FROM orders AS o LEFT JOIN items AS i USING (externalOrderId) ORDER BY o.sourceOffset"""


def main():
    """Do one step."""
    job = json.loads(sys.argv[1])
    flat = Path(job["work"]) / "flat.parquet"
    with TemporaryDirectory(dir=job["work"]) as folder, database(Path(folder)) as connection:
        connection.execute(definitions(require_snapshot(Path(job["snapshots"])), AS_OF, ZoneInfo("UTC")))
        if job["step"] == "flat":
            connection.execute(f"COPY ({FLAT}) TO '{flat}'")
            return
        connection.execute(f"CREATE VIEW flat AS SELECT * FROM read_parquet('{flat}')")
        if job["step"] == "compare":
            found = {condition: compared(connection, condition, query) for condition, query in BY_HAND.items()}
            Path(job["found"]).write_text(json.dumps(found), encoding="utf-8")
            return
        for condition, query in BY_HAND.items():
            asked = connection.execute(*(_both(condition, query)[job["step"]]))
            while asked.fetchmany(ROWS_AT_ONCE):
                pass


def compared(connection, condition, query) -> dict[str, Any]:
    """Give how many contacts a condition finds, its least milliseconds and those of the query by hand.

    Raises EndedError if the two find others.
    """
    both = _both(condition, query)
    known = f"SELECT contactId FROM ({query}) SEMI JOIN {CONTACTS} USING (contactId)"
    answers = [
        sorted(connection.execute(sql, values).fetchall())
        for sql, values in (both["condition"], (known, both["by_hand"][1]))
    ]
    if answers[0] != answers[1]:
        raise EndedError(f"{condition} and the query by hand differ: {len(answers[0])} and {len(answers[1])}")
    best = dict.fromkeys(both, float("inf"))
    for _ in range(ROUNDS):
        for name, asked in both.items():
            begun = time.perf_counter()
            connection.execute(*asked).fetchall()
            best[name] = min(best[name], (time.perf_counter() - begun) * 1000)
    return {"contacts": len(answers[0]), **best, "ratio": best["condition"] / best["by_hand"]}


def _both(condition, query):
    used = {name: value for name, value in GIVEN.items() if f"${name}" in query}
    return {"condition": (f"FROM {condition}", {}), "by_hand": (query, used)}


if __name__ == "__main__":
    main()
