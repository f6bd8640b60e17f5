"""Proves that the README's questions have the answers that it prints: by the real rules, without Kafka."""

import os
import re
import subprocess
import sys

import pytest

from deploy.demo.demo import SAMPLE
from deploy.demo.invoices import read_invoices
from deploy.demo.retail import contacts, order_events
from processor.cli.contact_files import contact_record
from processor.cli.events import record_of
from processor.codec.avro import codec
from processor.contacts.changes import change_of
from processor.domain.records import Order, Record
from processor.explaining.contact_book import contact_book
from processor.explaining.explainer import Explainer
from processor.settings import Settings
from processor.settings.rules import identification_of
from tests.support.deployment import PROJECT
from tests.support.snapshots import snapshot_of

QUESTIONS = re.search(r"## Ask\n.*?```sh\n(.*?)```", (PROJECT / "README.md").read_text("utf-8"), re.DOTALL)
LAUNCHER = '#!/bin/sh\nexec "{python}" -m processor "$@"\n'


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Give a folder that looks as the project's after `make run`."""
    folder = tmp_path_factory.mktemp("project")
    settings = Settings(default_currency="GBP")
    people = [contact_record(person.as_json(), codec().encode_contact) for person in contacts(read_invoices(SAMPLE))]
    changes = (
        change_of(
            Record(0, number, number, person.key, person.value), identification_of(settings), codec().decode_contact
        )
        for number, person in enumerate(people)
    )
    explainer, orders = Explainer(settings, contact_book(changes)), {}
    for event in order_events(read_invoices(SAMPLE)):
        sent = record_of(event.as_json(), codec().encode_event)
        found = explainer.explain(sent.key, sent.value or b"", 0).result
        if isinstance(found, Order):
            orders[found.external_order_id] = found
    snapshot_of(folder / ".cache" / "demo", orders.values(), [(person.key or b"").decode() for person in people])
    command = folder / ".venv" / "bin" / "order-facts"
    command.parent.mkdir(parents=True)
    command.write_text(LAUNCHER.format(python=sys.executable))
    command.chmod(0o755)
    return folder


def test_the_readmes_questions_have_the_answers_that_it_prints(place):
    """Each line that a reader types, in one shell, and what follows it."""
    assert QUESTIONS is not None
    typed = [block.split("\n", 1) for block in QUESTIONS[1].split("$ ")[1:]]
    lines = [line for line, _ in typed if not line.startswith("#")]
    answers = "".join(answer for _, answer in typed)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDER_FACTS_")}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        cwd=place,
        env=environment | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(lines) == 4
    assert done.stderr == ""
    assert [line.rstrip() for line in done.stdout.splitlines()] == [line for line in answers.splitlines() if line]
