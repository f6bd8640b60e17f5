"""What the demonstration tells about facts and rejected records, from lines made here."""

import io
import json
import shlex
import subprocess
from datetime import date

import pytest
from rich.console import Console

from deploy.demo import asking, demo, report
from deploy.demo.segments import questions_of, read_facts, read_rejected
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


def test_first_question_is_for_the_item_of_most_orders_in_its_busiest_week():
    """The window is seven whole days, its end excluded; the others are asked as of the day after the last order."""
    facts = read_facts(
        [
            fact_line("1", "ann", 1, ["A"]),
            fact_line("2", "bob", 10, ["A", "it's B"]),
            fact_line("3", "cid", 16, ["A"]),
            fact_line("4", "cid", 16, ["A"]),
            fact_line("5", "dan", 17, ["A"]),
            fact_line("6", "eve", 16, ["it's B"]),
        ]
    )
    first, second, *others = questions_of(facts)
    assert first.sql == "FROM bought('A', days := 7)"
    assert first.who == "bought A (A NAME) in the week before"
    assert first.as_of == date(2011, 5, 17)
    assert second.sql == "FROM bought('A') EXCEPT FROM bought('it''s B')"
    assert {question.as_of for question in (second, *others)} == {date(2011, 5, 18)}


def test_week_with_a_cancelled_order_is_preferred():
    """It shows who is left out. Only the latest fact of an order counts, in whatever order the lines come."""
    lines = [
        fact_line("1", "ann", 2, ["A"], status="CANCELLED", revision=2, event="orderCancelled"),
        fact_line("1", "ann", 2, ["A"]),
        fact_line("2", "bob", 2, ["A"]),
        *(fact_line(f"later {number}", "dan", 20, ["A"]) for number in range(9)),
    ]
    for order in (lines, lines[::-1]):
        assert questions_of(read_facts(order))[0].as_of == date(2011, 5, 3)


@pytest.mark.parametrize("lines", [[], [fact_line("1", "ann", 1, [])]])
def test_without_items_there_is_nothing_to_ask(lines):
    """A file that gave no item is said to have none, not an error."""
    assert questions_of(read_facts(lines)) == ()


def test_snapshot_of_the_last_demonstration_is_kept(tmp_path):
    """It takes the place of an earlier one, whole; nothing else stays beside it."""
    place = tmp_path / "cache" / "demo"
    for number in (1, 2):
        made = tmp_path / f"made {number}"
        (made / str(number)).mkdir(parents=True)
        (made / "current").symlink_to(str(number))
        asking.keep(made, place)
        assert [str(path.relative_to(place.parent)) for path in sorted(place.parent.rglob("*"))] == [
            "demo",
            f"demo/{number}",
            "demo/current",
        ]
        assert (place / "current").is_dir()


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


@pytest.mark.parametrize("item", ["22423", "it's", 'a "quoted" one', "$HOME `x`"])
def test_line_that_asks_again_is_one_that_a_shell_takes(item):
    """The query arrives as it was, whatever an item is called."""
    (question, *_) = questions_of(read_facts([fact_line("1", "ann", 1, [item])]))
    line = report.ask_text(question, demo.COMMAND, asking.SNAPSHOTS).splitlines()[-1]
    echo, _, run = line.rpartition(" | ")
    assert subprocess.run(["sh", "-c", echo], capture_output=True, text=True, check=True).stdout == f"{question.sql}\n"
    assert shlex.split(run)[1:] == ["segments", "run", "-", "--data", ".cache/demo", "--as-of", "2011-05-02", "--why"]


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
