"""Proves that the recipes of schemas/README.md do what the page says, by `events explain` and the page's own JSON."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from processor.cli import cli
from tests.support.deployment import PROJECT, PYTHON
from tests.support.recipes import blocks_of, mismatches, recipes, values_of

ALONE = {"Two stores", "A backfill"}  # they do not go on from the page's first order
ON_SERVICES = {"A merged contact"}  # contacts change between its events: see test_merged_contact.py
EXPLAINED = [name for name in recipes() if name not in ON_SERVICES]
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def options_of(heading):
    """Give the options of a recipe's own `events explain`, without its file."""
    commands = [line for block in blocks_of(heading) if block.language == "sh" for line in block.text.splitlines()]
    begin = ["order-facts", "events", "explain"]
    shown = [words for line in commands if (words := shlex.split(line, comments=True))[:3] == begin]
    return shown[0][3:-1] if shown else []


@pytest.mark.parametrize("heading", EXPLAINED)
def test_recipe_becomes_what_the_page_shows(heading, tmp_path):
    """Each event of a recipe gives the fact, field by field, or the reason that stands below it."""
    events, expected = values_of(heading)
    before = [] if heading in ALONE else values_of("Recipes")[0]
    (tmp_path / "events.json").write_text(json.dumps([*before, *events]))
    done = CliRunner().invoke(cli, ["events", "explain", *options_of(heading), str(tmp_path / "events.json")])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["outcome"] == "fact" for line in lines[: len(before)])
    for wanted, line in zip(expected, lines[len(before) :], strict=True):
        assert mismatches(wanted, line if "reason" in wanted else line["fact"]) == [], line


def test_all_recipes_are_tried():
    """A recipe that is added is tried here, or is named above."""
    assert len(EXPLAINED) >= 6
    assert set(recipes()) >= ALONE | ON_SERVICES


def test_table_on_the_page_is_what_a_terminal_shows(tmp_path):
    """The vendor's WooCommerce payload, and an update with two mistakes of which the first is named; exit code 1."""
    heading = "Does my payload become a fact?"
    (events,) = values_of(heading)
    (table,) = [block.text for block in blocks_of(heading) if block.language == "text"]
    (tmp_path / "events.json").write_text(json.dumps(events))
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    arguments = (*PYTHON, "processor", "events", "explain", str(tmp_path / "events.json"))
    done = subprocess.run(arguments, cwd=PROJECT, env=environment, stdout=end, stderr=subprocess.PIPE, check=False)
    os.close(end)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert done.returncode == 1
    assert [line.rstrip() for line in CONTROL.sub("", shown).splitlines()] == table.splitlines()


def by_name():
    """Give an environment in which `order-facts` is a command, as for whoever installed it."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ORDER_FACTS_", "PYTEST"))}
    quick = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return own | quick | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_pages_tests_pass(tmp_path):
    """What the page gives a producer for pytest is tests that pass, as it stands."""
    (tests,) = [block.text for block in blocks_of("In your tests") if block.language == "python"]
    (tmp_path / "test_exporter.py").write_text(tests)
    command = [*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=by_name(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("given", "code"),
    [({}, 0), ({"totalCost": "118,00"}, 1), ({"eventTypeKey": "orderPacked"}, 1)],
)
def test_the_pages_step_fails_where_an_event_becomes_no_fact(tmp_path, given, code):
    """An invalid event, and one that is passed over, end the step; one that becomes a fact does not."""
    (step,) = [block.text for block in blocks_of("In your tests") if block.language == "sh"]
    ((created, _),) = values_of("Does my payload become a fact?")
    event = {"eventTypeKey": given.get("eventTypeKey", "orderCreated")}
    event["params"] = [param | {"value": given.get(param["name"], param["value"])} for param in created["params"]]
    (tmp_path / "payload.json").write_text(json.dumps(event))
    command = ["sh", "-e", "-c", step]
    done = subprocess.run(command, cwd=tmp_path, env=by_name(), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr


def test_the_page_says_how_to_mend_its_bad_event(tmp_path):
    """With the setting and the point that the page names, the second event is a fact."""
    (events,) = values_of("Does my payload become a fact?")
    mended = json.dumps(events).replace("118,00", "118.00")
    (tmp_path / "events.json").write_text(mended)
    settings = ("--statuses", '{"wc-completed": "DELIVERED"}')
    done = CliRunner().invoke(cli, ["events", "explain", *settings, str(tmp_path / "events.json")])
    assert done.exit_code == 0, done.output
    fact = json.loads(done.stdout.splitlines()[1])["fact"]
    assert (fact["status"], fact["statusDescription"], fact["totalCost"]) == ("DELIVERED", "wc-completed", "118.0000")
