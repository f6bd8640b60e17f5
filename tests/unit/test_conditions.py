"""Holds every condition of segments against a second implementation in plain Python, which reads no SQL.

Random worlds: few contacts, orders at the edges of windows and around the nights when clocks change, awkward names and
values. Whom a condition finds must be equal, and the orders that are named as its reasons, and what is an error.
"""

import random
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

import duckdb
import pytest
from msgspec.structs import replace

from processor.domain.records import PlainItems
from processor.errors import UsageError
from processor.segments.snapshot_session import definitions, session
from processor.snapshots.snapshot import require_snapshot
from tests.reference.segments import People, WrongQuestionError
from tests.support.segment_questions import CONDITIONS, OPS, Question, literal, question, questions
from tests.support.segment_worlds import World, world
from tests.support.snapshots import snapshot_of

SEEDS = 7
QUESTIONS = 20  # of a world: all conditions once, and combinations
BINS = (1, 2, 3, 4, 5, 7, 10)
RFM = (
    'SELECT contactId, recency, frequency, monetary, r, f, m, "group" FROM rfm(bins := {bins}, currency := {currency})'
)
TIME_ZONES = ("Pacific/Kiritimati", "America/Los_Angeles")
TIMED = 41  # the seed of a world of many orders, one currency, and another zone than UTC
REFUSED = "refused"
SCORED = {"rfm_group", "rfm_score"}  # go by everybody's orders


def found_by_sql(asked, one):
    """Give whom the program finds and why, or that it refuses the question."""
    try:
        return asked.members(one.sql, one.parameters), asked.reasons(one.sql, one.parameters)
    except UsageError:
        return REFUSED


def found_by_reference(people, one):
    """Give the same by the reference."""
    try:
        found = one.ask(people)
    except WrongQuestionError:
        return REFUSED
    return found.contacts, found.reasons


def differences(asked, people, several):
    """Give a text for each question to which the two give different answers."""
    for one in several:
        here, there = found_by_sql(asked, one), found_by_reference(people, one)
        if here != there:
            yield f"{one.sql} {one.parameters}\n  program:   {here}\n  reference: {there}"
        elif can_be_recounted(people, one) and (again := recounted(people, one, here[1])) != here[0]:
            yield f"{one.sql} {one.parameters}\n  program:   {here}\n  of these orders: {again}"


def can_be_recounted(people, one):
    """Say whether a contact's own orders put it there: not everybody's, as scores do, nor that it has none."""
    if not isinstance(one, Question) or one.condition in SCORED or found_by_reference(people, one) == REFUSED:
        return False
    return not one.ask(_with_orders(people, ())).contacts


def recounted(people, one, reasons):
    """Give whom the reference finds if there are only the orders that the program named."""
    return one.ask(_with_orders(people, {order for _, order in reasons})).contacts


def _with_orders(people, order_ids):
    facts = [fact for fact in people.facts if fact["externalOrderId"] in order_ids]
    return People(facts, people.contact_ids, people.as_of, people.zone, personal=people.personal)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_conditions(tmp_path, seed):
    """Every condition, with all arguments by name and by place, and set algebra: equal contacts, reasons, errors.

    And whoever asks the same of only the orders that are reasons finds the same contacts.
    """
    made = world(seed)
    snapshot = snapshot_of(tmp_path / "data", made.orders, made.contact_ids, personal=made.personal)
    with session(snapshot, made.as_of, made.zone) as asked:
        different = list(differences(asked, made.people, islice(questions(seed, made.as_of), QUESTIONS)))
    assert different == [], f"as of {made.as_of} in {made.zone}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_rfm(tmp_path, seed):
    """Recency, frequency, monetary, scores and groups of every contact, of any number of bins and any currency."""
    made = world(1000 + seed)
    snapshot = snapshot_of(tmp_path / "data", made.orders, made.contact_ids)
    with session(snapshot, made.as_of, made.zone) as asked:
        for currency in (None, "EUR", ""):
            bins = BINS[(seed + len(currency or "none")) % len(BINS)]
            query = RFM.format(bins=bins, currency=literal(currency))
            assert _rows(asked, query) == _expected_rows(made.people, bins, currency), f"{query} as of {made.as_of}"


def test_every_condition_is_asked_and_finds():
    """What the two agree on would say little if the questions found nobody, or everybody, or were refused."""
    found, recountable = dict.fromkeys(CONDITIONS, 0), set()
    for seed in range(60):  # whose first questions are those above
        made = world(seed)
        people = made.people
        for one in islice(questions(seed, made.as_of), QUESTIONS):
            answer = found_by_reference(people, one)
            if isinstance(one, Question) and answer != REFUSED:
                found[one.condition] += 0 < len(answer[0]) < len(made.contact_ids)
                if answer[0] and can_be_recounted(people, one):
                    recountable.add(one.condition)
    assert min(found.values()) > 0, found
    assert recountable == CONDITIONS.keys() - SCORED - {"never_ordered"}


def test_many_custom_fields(tmp_path):
    """An order with 20,000 custom fields, and an item with as many: each is found by its name and its value."""
    names = [f"field {number} .'\"[\n" for number in range(20_000)]
    many = {name: (number, number / 7, f"{number}", number % 2 == 0)[number % 4] for number, name in enumerate(names)}
    made = next(one for one in map(world, range(100)) if len(one.orders) > 2 and one.orders[0].items.lines)
    line = replace(made.orders[0].items.lines[0], custom=many, quantity=1.0)
    changes = {"status": "DELIVERED", "date_ms": 0, "contact_id": made.contact_ids[0]}
    first = replace(made.orders[0], custom=many, items=PlainItems((line,)), **changes)
    made = World([first, *made.orders[1:]], made.contact_ids, made.as_of, made.zone, personal=False)
    snapshot = snapshot_of(tmp_path / "data", made.orders, made.contact_ids)
    several = [
        Question(condition, {"name": name, "op": op, "value": many[name]}, 3)
        for condition in ("order_field", "item_field")
        for name in names[-4:]
        for op in OPS[: 1 + (condition == "item_field")]
    ]
    with session(snapshot, made.as_of, made.zone) as asked:
        assert list(differences(asked, made.people, several)) == []


def test_the_machines_time_zone_does_not_matter(tmp_path, monkeypatch):
    """Windows, dates and RFM are those of the zone that is asked in."""
    seed = TIMED
    snapshot_of(tmp_path / "data", world(seed).orders, world(seed).contact_ids)
    monkeypatch.setenv("TZ", TIME_ZONES[0])
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as elsewhere:  # the zone is read once, at the start
        found = elsewhere.submit(_answers, tmp_path / "data", seed).result()
    people = world(seed).people
    assert found == [found_by_reference(people, one) for one in _timed_questions(world(seed))]


def test_a_sessions_time_zone_does_not_matter(tmp_path):
    """A session of one's own that loads the views and macros finds the same, in whatever zone it is."""
    made = world(TIMED)
    snapshot = snapshot_of(tmp_path / "data", made.orders, made.contact_ids)
    for time_zone in TIME_ZONES:
        with duckdb.connect() as connection:
            connection.execute(f"SET TimeZone = '{time_zone}'")
            connection.execute(definitions(snapshot, made.as_of, made.zone))
            for one in _timed_questions(made):
                found = sorted(row[0] for row in connection.execute(one.sql, one.parameters or None).fetchall())
                assert (one.sql, found) == (one.sql, one.ask(made.people).contacts)


def _timed_questions(made):
    """Give questions of every condition that has a window, and of dates, that are no errors."""
    source, people, found = random.Random(1), made.people, []
    for condition in (
        name for name, (arguments, _) in CONDITIONS.items() if "days" in arguments and "op" not in arguments
    ):
        several = (question(source, condition, made.as_of) for _ in range(6))
        found += [one for one in several if found_by_reference(people, one) != REFUSED and one.arguments.get("days")][
            :2
        ]
    dates = ({"name": "date", "op": op, "value": f"{made.as_of:%Y-%m-%d}"} for op in ("<", ">="))
    cells = ({"r": r, "f": None} for r in (1, 2))
    fields = (Question("order_field", arguments) for arguments in dates)
    return [*found, *fields, *(Question("rfm_cell", arguments) for arguments in cells)]


def _answers(folder, seed):
    made = world(seed)
    with session(require_snapshot(folder), made.as_of, made.zone) as asked:
        return [found_by_sql(asked, one) for one in _timed_questions(made)]


def _rows(asked, query):
    try:
        return sorted(asked.rows(query))
    except UsageError:
        return REFUSED


def _expected_rows(people, bins, currency):
    try:
        return sorted((contact, *row) for contact, row in people.rfm(bins, currency).items())
    except WrongQuestionError:
        return REFUSED
