"""Reads facts and rejected records back from the lines of `facts show` and `rejected show`.

Takes JSON lines; gives counts, the latest state of each order, and the questions that a demonstration asks about them:
`segments run` answers. Pure: it does not know where the lines come from or how the result is shown.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

WEEK_DAYS = 7
CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Order:
    """The part of an order's latest fact that a segment needs."""

    contact_id: str
    day: date
    status: str
    item_ids: frozenset[str]
    revision: int


@dataclass(slots=True)
class Facts:
    """Everything that the demonstration shows about the facts."""

    count_by_type: Counter[str] = field(default_factory=Counter)
    orders: dict[str, Order] = field(default_factory=dict)
    item_names: dict[str, str] = field(default_factory=dict)
    example: dict[str, Any] | None = None
    """A fact with the highest revision, and among those one with the fewest items, as it is to be read."""


@dataclass(frozen=True, slots=True)
class Question:
    """Who is in a segment: in words, in SQL, and the day before whose begin everything happened."""

    who: str
    sql: str
    as_of: date


def read_facts(lines: Iterable[str]) -> Facts:
    """Read the lines of `facts show`, one fact each; an order's latest fact has its highest revision."""
    facts = Facts()
    example_rank = (0, 0)
    for line in lines:
        fact = json.loads(line)
        facts.count_by_type[fact["eventTypeKey"]] += 1
        order_id, revision = fact["externalOrderId"], fact["revision"]
        known = facts.orders.get(order_id)
        if known is None or revision > known.revision:
            facts.orders[order_id] = _order(fact)
        for item in fact["items"]:
            if item["name"] is not None:
                facts.item_names.setdefault(item["externalItemId"], item["name"].strip())
        rank = (revision, -len(fact["items"]))
        if facts.example is None or rank > example_rank:
            facts.example, example_rank = fact, rank
    return facts


def read_rejected(lines: Iterable[str]) -> Counter[tuple[str, str]]:
    """Count the lines of `rejected show` by outcome and reason."""
    records = (json.loads(line) for line in lines)
    return Counter((record["outcome"], record["reason"]) for record in records)


def questions_of(facts: Facts) -> tuple[Question, ...]:
    """Return questions about these orders; none if no order holds an item.

    The first one asks for the item in most orders, in the week in which most of those were placed; weeks with a
    cancelled order come first: they show that it is left out. The others are asked as of the day after the last order.
    """
    popularity = Counter(item_id for order in facts.orders.values() for item_id in order.item_ids)
    if not popularity:
        return ()
    # Of equal items take the smaller id: the same facts give the same questions, in whatever order they are read.
    item_id, *others = sorted(popularity, key=lambda each: (-popularity[each], each))[:2]
    orders = [order for order in facts.orders.values() if item_id in order.item_ids]
    week_end = _busiest_week_end(orders)
    end = max(order.day for order in facts.orders.values()) + timedelta(days=1)
    name, item = facts.item_names.get(item_id, ""), _text(item_id)
    asked = [
        (f"bought {item_id} ({name}) in the week before", f"FROM bought({item}, days := {WEEK_DAYS})", week_end),
        *(
            (f"bought it, and never {other}", f"FROM bought({item}) EXCEPT FROM bought({_text(other)})", end)
            for other in others
        ),
        ("ordered 60 to 90 days ago, and not since", "FROM ordered(days := 90) INTERSECT FROM lapsed(60)", end),
        ("ordered once in all", "FROM ordered(min := 1, max := 1)", end),
        ("spent 1,000 or more, in five orders or more", "FROM spent(1000) INTERSECT FROM ordered(min := 5)", end),
        ("never ordered", "FROM never_ordered()", end),
    ]
    return tuple(Question(*each) for each in asked)


def _text(value: str) -> str:
    """Return a text as SQL has it."""
    return "'" + value.replace("'", "''") + "'"


def _order(fact: dict[str, Any]) -> Order:
    return Order(
        contact_id=fact["contactId"],
        day=datetime.fromisoformat(fact["date"]).date(),
        status=fact["status"],
        item_ids=frozenset(item["externalItemId"] for item in fact["items"]),
        revision=fact["revision"],
    )


def _busiest_week_end(orders: Collection[Order]) -> date:
    """Return the day after the seven days with most orders; of equal weeks take the earliest."""
    placed = Counter(order.day for order in orders)
    cancelled = Counter(order.day for order in orders if order.status == CANCELLED)

    def rank(last: date) -> tuple[bool, int, date]:
        week = [last - timedelta(days=ago) for ago in range(WEEK_DAYS)]
        return not any(day in cancelled for day in week), -sum(placed[day] for day in week), last

    return min(placed, key=rank) + timedelta(days=1)
