"""What the demonstration tells about facts and rejected records, from lines made here."""

import io
import json
from datetime import date

import pytest
from rich.console import Console

from deploy.demo import demo, report
from deploy.demo.segments import popular_item_segment, read_facts, read_rejected
from deploy.local.services import Services


def fact_line(order_id, contact_id, day, items, *, status="DELIVERED", revision=1, event="orderCreated"):
    """Give a line of `facts show`, as far as it is looked at."""
    fact = {
        "externalOrderId": order_id,
        "contactId": contact_id,
        "date": f"2011-05-{day:02d}T10:00:00Z",
        "status": status,
        "items": [{"externalItemId": item, "name": f"{item} NAME "} for item in items],
        "revision": revision,
        "eventTypeKey": event,
    }
    return json.dumps(fact) + "\n"


def test_segment_asks_for_the_item_of_most_orders_in_its_busiest_week():
    """The window is seven whole days, its end excluded; each contact counts once, other items not at all."""
    facts = read_facts(
        [
            fact_line("1", "ann", 1, ["A"]),
            fact_line("2", "bob", 10, ["A", "B"]),
            fact_line("3", "cid", 16, ["A"]),
            fact_line("4", "cid", 16, ["A"]),
            fact_line("5", "dan", 17, ["A"]),
            fact_line("6", "eve", 16, ["B"]),
        ]
    )
    segment = popular_item_segment(facts)
    assert segment is not None
    assert (segment.item_id, segment.item_name, segment.before) == ("A", "A NAME", date(2011, 5, 17))
    assert segment.contact_ids == ("bob", "cid")


def test_segment_leaves_out_who_cancelled():
    """Only the latest fact of an order counts, in whatever order the lines come; its week is preferred."""
    lines = [
        fact_line("1", "ann", 2, ["A"], status="CANCELLED", revision=2, event="orderCancelled"),
        fact_line("1", "ann", 2, ["A"]),
        fact_line("2", "bob", 2, ["A"]),
        fact_line("3", "cid", 2, ["A"], status="ABANDONED_SHOPPING_CART"),
        *(fact_line(f"later {number}", "dan", 20, ["A"]) for number in range(9)),
    ]
    for order in (lines, lines[::-1]):
        segment = popular_item_segment(read_facts(order))
        assert segment is not None
        assert segment.contact_ids == ("bob",)
        assert segment.cancelled_orders == 1
    assert "did not cancel: 1\n  bob\n" in report.segment_text(segment)


@pytest.mark.parametrize("lines", [[], [fact_line("1", "ann", 1, [])]])
def test_without_items_there_is_no_segment(lines):
    """A file that gave no item is said to have none, not an error."""
    assert popular_item_segment(read_facts(lines)) is None
    assert "no" in report.segment_text(None).lower()


def test_example_is_the_longest_history_with_the_fewest_items():
    """The fact to be read in full shows an order's life, and fits a screen."""
    facts = read_facts(
        [
            fact_line("1", "ann", 1, ["A"], revision=2),
            fact_line("2", "bob", 1, ["A", "B"], revision=3),
            fact_line("3", "cid", 1, ["A"], revision=3),
            fact_line("4", "cid", 1, ["A"]),
        ]
    )
    assert facts.example is not None
    assert facts.example["externalOrderId"] == "3"


def test_table_adds_up_to_the_input():
    """Facts by type, rejected records by reason, and their sum beside the events sent (D24)."""
    facts = read_facts([fact_line(str(number), "ann", 1, []) for number in range(1_200)])
    rejected = read_rejected(['{"reason":"order_unknown","outcome":"ignored"}\n'] * 34)
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    console.print(report.outcome_table(facts, rejected, 1_234, 5))
    cells = [
        " ".join(part.strip() for part in line.split("│") if part.strip())
        for line in shown.getvalue().splitlines()
        if "│" in line
    ]
    assert cells == [
        "fact orderCreated 1,200",
        "rejected: ignored order_unknown 34",
        "facts 1,200",
        "rejected 34",
        "facts + rejected 1,234",
        "events sent 1,234",
        "sent back once their contact was there 5",
    ]


def test_lines_of_a_growing_file_are_counted_once(tmp_path):
    """A line counts when it is complete, and only once."""
    path = tmp_path / "lines"
    path.write_text("one\ntw")
    counter = demo.LineCounter(path)
    assert counter.count() == 1
    with path.open("a") as stream:
        stream.write("o\nthree\n")
    assert (counter.count(), counter.count()) == (3, 3)


def test_services_of_someone_else_get_names_that_nobody_has(monkeypatch):
    """On services not started here every name is fresh; the log-in stays, other settings are dropped."""
    monkeypatch.setenv("ORDER_FACTS_KAFKA", '{"security.protocol":"SSL"}')
    monkeypatch.setenv("ORDER_FACTS_ITEM_PROFILE", "lenient")
    theirs, ours = (Services("b:9092", "redis://r", disposable=disposable) for disposable in (False, True))
    names = ("GROUP_ID", "EVENTS_TOPIC", "CONTACTS_TOPIC", "FACTS_TOPIC", "REJECTED_TOPIC")
    first, second, own = demo.settings_for(theirs), demo.settings_for(theirs), demo.settings_for(ours)
    for name in (f"ORDER_FACTS_{name}" for name in names):
        assert len({first[name], second[name], own[name]}) == 3
    kept = {name for name in demo.clean_environment(theirs) if name.startswith("ORDER_FACTS_")}
    assert kept == {"ORDER_FACTS_KAFKA"}
    assert not any(name.startswith("ORDER_FACTS_") for name in demo.clean_environment(ours))


def test_example_event_names_an_existing_contact():
    """What is printed to be typed is one line a shell takes: an order of the contact given."""
    settings = {"ORDER_FACTS_REDIS_URL": "redis://r/0 ?x"}
    text = report.keep_text(settings, demo.COMMAND, "it's me")
    assert "export ORDER_FACTS_REDIS_URL='redis://r/0 ?x'\n" in text
    event = report.example_event("it's me")
    params = event["params"]
    assert isinstance(params, list)
    assert {"name": "contactId", "value": "it's me"} in params
    assert sum("events send -" in line for line in text.splitlines()) == 1
