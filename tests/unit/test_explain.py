"""Proves that `events explain` says of each event what `run` would make of it, without any service."""

import json
import os
import pty
import subprocess

import pytest

from processor.domain.rejections import Reason
from processor.explaining.rule_numbers import OF_PARAMETERS
from processor.settings import Settings
from tests.support.cases import fact_differences, load_cases, noted
from tests.support.commands import VENDOR_EXAMPLE, event
from tests.support.deployment import PROJECT, PYTHON
from tests.support.explaining import Explain, contacts_of, events_of, with_times_in_ms
from tests.unit.test_rules import settings_of

CASES = load_cases()
SAID = [case for case in CASES if events_of(case) is not None]
NEW = {
    "externalOrderId": "1",
    "email": "ann@example.com",
    "totalCost": "5",
    "status": "INITIALIZED",
    "date": "2020-05-14",
}
ANN = {"contactId": "ann", "email": "Ann@Example.com"}
TAKEN_AS_FOUND = "contacts were taken as found"


@pytest.fixture
def explain(tmp_path, capsysbinary):
    """Give the command, in this process."""
    return Explain(tmp_path, capsysbinary)


def created(**params):
    """Give an orderCreated that is right but for these parameters."""
    return event("orderCreated", NEW | params)


def test_cases_are_explained_as_they_expect(explain):
    """Every case that a file of JSON can hold: the fact or the reason written there, with a rule and what to do.

    One test: the corpus is counted where the program is held to it. A failure lists the cases, and what is wrong.
    """
    wrong = []
    for case in SAID:
        with noted(case.id):
            wrong += [f"{case.id}: {told}" for told in differences(case, explain)]
    assert not wrong, "\n".join(wrong)


def differences(case, explain):
    """Say, event by event, where what is printed is not as a case expects it."""
    run = explain(settings_of(case.rules), events_of(case), contacts_of(case))
    problems = [line_problem(*pair) for pair in zip(case.expect, run.lines, strict=True)]
    told = [f"event {number}: {problem}" for number, problem in enumerate(problems) if problem]
    exit_code = int(any(line["outcome"] == "invalid" for line in run.lines))
    if run.exit_code != exit_code or run.said:
        told.append(f"it left with {run.exit_code}, and said {run.said!r}")
    return told


def line_problem(expected, line):
    """Say where one line is not as expected, None where it is."""
    if not line["rule"]:
        return "no rule"
    if "fact" in expected:
        if line["fact"] is None or line["outcome"] != "fact":
            return f"rejected: {line['reason']}"
        return fact_differences(expected["fact"], with_times_in_ms(line["fact"])) or None
    reason = Reason(expected["reason"])
    if (line["reason"], line["outcome"], line["whatToDo"]) != (reason, reason.outcome, reason.what_to_do):
        return line
    return None if all(name in line["detail"] for name in expected.get("detail", ())) else line["detail"]


def test_most_cases_can_be_said_in_a_file():
    """Left out is what JSON or a file cannot hold: bytes, NaN, foreign keys, sizes, times of records, partitions."""
    assert len(SAID) > 0.85 * len(CASES)
    assert {case.rule for case in CASES} - {case.rule for case in SAID} <= {"D23", "D24"}


RULES = {
    "D1": created(**{"x" * 101: 1}),
    "D2": event("orderSeen", {}),
    "D5": event("orderDelivered", {}),
    "D5 ": event("orderCreated", {"externalOrderId": True}),
    "D6": created(shipping="1,234"),
    "D7": created(status="paid"),
    "D8": created(date="05/06/2020"),
    "D9": created(currencyCode="EURO"),
    "D10": created(items="[{}]"),
    "D13": event("orderUpdated", {**NEW, "email": None}),
    "D16": event("orderCreated", {"externalOrderId": "1"}),
    "D18": event("orderUpdated", NEW | {"totalCost": None}),
    "D19": event("orderUpdated", {"externalOrderId": "1"}),
    "D21": event("orderCancelled", {"externalOrderId": "1"}),
    "D25": created(happened="yesterday"),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule_of_a_rejection_is_that_of_the_parameter(rule, explain):
    """Where several rules give one reason, the line names the one that the event broke."""
    (line,) = explain(Settings(occurred_at_parameter="happened", on_null="clear"), [RULES[rule]]).lines
    assert line["rule"] == rule.strip()
    assert line["fact"] is None


def test_rule_of_a_fact_says_what_the_event_did(explain):
    """Creation by either event, a status, a merge, and a creation that is taken as an update."""
    events = [
        *(created(), event("orderDelivered", {"externalOrderId": "1"})),
        *(created(totalCost=6), event("orderUpdated", NEW | {"externalOrderId": "2"})),
        event("orderUpdated", {"externalOrderId": "2", "giftWrap": True}),
    ]
    run = explain(Settings(on_duplicate_create="update"), events)
    assert [line["rule"] for line in run.lines] == ["D16", "D20", "D17", "D19", "D18"]
    assert [line["fact"]["revision"] for line in run.lines] == [1, 2, 3, 1, 2]
    assert run.exit_code == 0


def test_every_reason_and_every_order_parameter_has_its_rule():
    """What a producer may meet can be looked up by its number."""
    assert all(reason.rules and reason.what_to_do for reason in Reason)
    assert {"externalOrderId", "totalCost", "status", "date", "currency", "currencyCode"} <= OF_PARAMETERS.keys()


def test_contacts_that_are_not_given_are_taken_as_found(explain):
    """Every identifier finds the same contact, and the fact shows none; what can match nothing still finds nobody."""
    other = event("orderUpdated", {"externalOrderId": "1", "Phone": "0501234567", "totalCost": 6})
    run = explain(Settings(), [created(), other, created(externalOrderId="2", email=True)])
    assert [line["outcome"] for line in run.lines] == ["fact", "fact", "invalid"]
    assert [line["fact"]["contactId"] for line in run.lines[:2]] == [None, None]
    assert run.lines[0]["fact"]["identifiedBy"] == "email"
    assert run.lines[2]["reason"] == "contact_not_found"
    assert TAKEN_AS_FOUND in run.said


def test_contacts_of_a_file_are_those_of_their_last_lines(explain):
    """A later line replaces the earlier one of its contact, and claims what two have (C1, C3)."""
    bob, late = {"contactId": "bob", "email": "ann@example.com"}, {"contactId": "ann", "email": "ann@example.com"}
    assert owner(explain, [ANN, bob]) == "bob"
    assert owner(explain, [bob, ANN]) == "ann"
    assert owner(explain, [ANN, bob, late]) == "ann"
    assert owner(explain, [ANN, bob, {"contactId": "bob", "deleted": True}]) == "ann"
    assert owner(explain, [bob, {"contactId": "bob"}]) is None
    assert owner(explain, []) is None


def owner(explain, contacts):
    """Give the contact that an order of ann@example.com gets."""
    run = explain(Settings(), [created()], contacts)
    assert run.said == ""
    fact = run.lines[0]["fact"]
    return fact and fact["contactId"]


def test_times_of_a_backfill_are_in_its_facts(explain):
    """As `events send --timestamp-from` would send them; what it refuses is refused here, and judged no further."""
    events = [created(paidAt="2019-01-01T10:00:00Z"), created(externalOrderId="2")]
    run = explain(Settings(), events, time_from="paidAt")
    assert run.lines[0]["fact"]["createdAt"] == "2019-01-01T10:00:00.000Z"
    assert (run.lines[1]["outcome"], run.lines[1]["reason"], run.lines[1]["rule"]) == ("refused", None, None)
    assert "paidAt" in run.lines[1]["detail"]
    assert run.exit_code == 1


def test_fact_is_what_would_be_written(explain):
    """A fact of version 1 has no time of its own, and one that is too large is none."""
    settings = Settings(fact_version=1, max_fact_bytes=400)
    run = explain(settings, [created(), created(externalOrderId="2", comment="x" * 400)])
    assert run.lines[0]["fact"]["occurredAt"] is None
    assert (run.lines[1]["reason"], run.lines[1]["rule"]) == ("fact_too_large", "D23")


def command(*arguments, stdin="", **environment):
    """Run the command as a process, without any setting of an environment but these."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("ORDER_FACTS_")}
    return subprocess.run(
        (*PYTHON, "processor", "events", "explain", *map(str, arguments)),
        env=clean | environment,
        cwd=PROJECT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_vendors_example_needs_no_service(tmp_path):
    """As its page prints it, from standard input; settings come from where they always do."""
    done = command("-", stdin=VENDOR_EXAMPLE, ORDER_FACTS_DEFAULT_CURRENCY="EUR")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    line = json.loads(done.stdout)
    assert (line["place"], line["eventTypeKey"], line["externalOrderId"]) == ("-", "orderCreated", "12345679")
    assert line["fact"]["totalCost"] == "258.0000"
    contacts = tmp_path / "contacts.csv"
    contacts.write_text("contactId,phone\nc-7,+38 050 123-45-67\n")
    done = command("-", "--contacts", contacts, "--item-profile", "strict", stdin=VENDOR_EXAMPLE)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["fact"]["contactId"] == "c-7"


BAD = {
    "not JSON": ('{"eventTypeKey": "a"}\n{', "", "events.jsonl, line 2: not JSON: "),
    "no event": ("\n", "", "events.jsonl: holds no event"),
    "a contact without an id": ("{}", "{}", "contacts.jsonl, line 1: contactId: "),
    "a contact that is not JSON": ("{}", "{", "contacts.jsonl: not JSON: "),
    "a contact whose id is too long": (
        "{}",
        json.dumps({"contactId": "x" * 65_536}),
        "contacts.jsonl, line 1: the key",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_file_that_is_wrong_is_named_with_the_place(name, tmp_path):
    """Wrong usage (2), one line."""
    events, contacts, problem = BAD[name]
    (tmp_path / "events.jsonl").write_text(events)
    (tmp_path / "contacts.jsonl").write_text(contacts)
    done = command(tmp_path / "events.jsonl", *(("--contacts", tmp_path / "contacts.jsonl") if contacts else ()))
    assert done.returncode == 2
    assert done.stderr.startswith(f"order-facts: {tmp_path}/{problem}")
    assert done.stderr.count("\n") == 1


def test_file_that_is_missing_is_named(tmp_path):
    """Either of the two."""
    (tmp_path / "events.jsonl").write_text("{}")
    missing = tmp_path / "none.jsonl"
    for arguments in ((missing,), (tmp_path / "events.jsonl", "--contacts", missing)):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"order-facts: {missing}: No such file or directory\n"


def test_terminal_gets_a_table(tmp_path):
    """A row for each event, the counts below; what a file made up cannot steer the terminal."""
    entries = [created(), event("\x1b[31mred", {}), created(totalCost="1,2"), {"eventTypeKey": 5}]
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, entries)))
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    arguments = (*PYTHON, "processor", "events", "explain", str(tmp_path / "events.jsonl"))
    done = subprocess.run(arguments, cwd=PROJECT, env=environment, stdout=end, stderr=subprocess.PIPE, check=False)
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert done.returncode == 1
    rows = [[cell.strip() for cell in row.split("│")[1:-1]] for row in shown.splitlines() if "│ line" in row]
    assert [row[0] for row in rows] == [f"line {number}" for number in range(1, 5)]
    assert [row[3] for row in rows] == ["fact", "ignored", "invalid", "refused"]
    assert rows[0][5] == "revision 1, INITIALIZED, 5.0000"
    assert rows[2][4] == "D6"
    assert "1 fact, 1 ignored, 1 invalid, 1 refused" in shown
    assert "\x1b[31mred" not in shown
