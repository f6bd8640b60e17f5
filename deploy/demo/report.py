"""What a demonstration shows: progress while it works, then tables, one fact, answers, and what to type next.

Takes what was counted and read; gives text and rich renderables. On a terminal progress is one moving line, elsewhere a
plain line every few seconds. Starts nothing and reads nothing.
"""

import json
import os
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.demo.segments import Facts, Question

PLAIN_LINE_INTERVAL_S = 2.0
CONTACTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """What has been seen so far; sent is None while events are still being sent."""

    sent: int | None
    facts: int
    rejected: int

    @property
    def accounted(self) -> int:
        """Events that have become a fact or a rejected record (D24)."""
        return self.facts + self.rejected

    def __str__(self) -> str:
        sent = "sending" if self.sent is None else f"{self.sent:,} sent"
        return f"{sent}, {self.facts:,} facts, {self.rejected:,} rejected"


class ShowProgress(Protocol):
    """Called often, from one thread, with the counts so far; must not block."""

    def __call__(self, counts: Counts) -> None:
        """Show the counts."""


@contextmanager
def progress(console: Console, event_count: int) -> Iterator[ShowProgress]:
    """Show counts while the block runs, in the form that suits the console."""
    if not console.is_terminal:
        yield _plain_progress(console)
        return
    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("sending", total=event_count)
        yield lambda counts: bar.update(task, completed=counts.accounted, description=str(counts))


def _plain_progress(console: Console) -> ShowProgress:
    next_line_at = time.monotonic() + PLAIN_LINE_INTERVAL_S

    def show(counts: Counts) -> None:
        nonlocal next_line_at
        if time.monotonic() >= next_line_at:
            next_line_at = time.monotonic() + PLAIN_LINE_INTERVAL_S
            console.print(f"  {counts}")

    return show


def outcome_table(facts: Facts, rejected: Counter[tuple[str, str]], sent: int, healed: int) -> Table:
    """Return facts by type of event and rejected records by reason, with their sum beside the input."""
    table = Table(title="What became of the events")
    table.add_column("outcome")
    table.add_column("by type of event, by reason")
    table.add_column("records", justify="right")
    for type_key, count in facts.count_by_type.most_common():
        table.add_row("fact", type_key, f"{count:,}")
    table.add_section()
    for (outcome, reason), count in rejected.most_common():
        table.add_row(f"rejected: {outcome}", reason, f"{count:,}")
    table.add_section()
    table.add_row("facts", "", f"{facts.count_by_type.total():,}")
    table.add_row("rejected", "", f"{rejected.total():,}")
    table.add_row("facts + rejected", "", f"{facts.count_by_type.total() + rejected.total():,}")
    table.add_row("events sent", "", f"{sent:,}")
    table.add_row("sent back", "once their contact was there", f"{healed:,}")
    return table


def rate_line(sent: int, elapsed_s: float, replicas: int) -> str:
    """Return the throughput, and what was measured."""
    return (
        f"{sent:,} events in {elapsed_s:.1f} s: {sent / elapsed_s:,.0f} events per second, from the start of "
        f"`events send` to the last fact or rejected record read back. Sender, broker, Redis, contact index, "
        f"{replicas} replicas and the two readers share this machine."
    )


def stall_text(counts: Counts, stall_s: float) -> str:
    """Return what is missing."""
    if counts.sent is None:
        return f"no new fact or rejected record for {stall_s:.0f} s: {counts}"
    missing = counts.sent - counts.accounted
    return f"no new fact or rejected record for {stall_s:.0f} s: {counts}, {missing:,} missing"


def fact_text(fact: Mapping[str, Any]) -> str:
    """Return a fact in full."""
    return json.dumps(fact, indent=2, ensure_ascii=False)


def questions_table(answers: Iterable[tuple[Question, Sequence[str]]]) -> Table:
    """Return questions with the number of contacts that answers each."""
    table = Table(title="Segments, asked with `segments run`")
    for heading in ("contacts who", "as of", "SQL"):
        table.add_column(heading, overflow="fold")
    table.add_column("contacts", justify="right")
    for question, contacts in answers:
        table.add_row(question.who, str(question.as_of), question.sql, f"{len(contacts):,}")
    return table


def first_answer_text(contacts: Sequence[str]) -> str:
    """Return the contacts that answer the first question, as far as there is room."""
    more = len(contacts) - CONTACTS_SHOWN
    return f"The first are {', '.join(contacts[:CONTACTS_SHOWN])}{f' and {more:,} more' if more > 0 else ''}."


def ask_text(question: Question, command: Path, folder: Path) -> str:
    """Return the line that asks the same again, to be changed."""
    program, data = (shlex.quote(os.path.relpath(path)) for path in (command, folder))
    return (
        "Ask a question of your own: the snapshot stays until the next demonstration.\n\n"
        f"echo {_quoted(question.sql)} | {program} segments run - --data {data} --as-of {question.as_of} --why"
    )


def _quoted(sql: str) -> str:
    """Return SQL as one word of a shell; its own quotes stay readable."""
    return shlex.quote(sql) if set(sql) & set('"$`\\!') else f'"{sql}"'


def left_behind_text(settings: Mapping[str, str]) -> str:
    """Return what stays on other people's services: they are not ours to clean."""
    names = [value for name, value in settings.items() if name.endswith("_TOPIC")]
    return (
        f"These services are yours: the topics {', '.join(names)}, the consumer group "
        f"{settings['ORDER_FACTS_GROUP_ID']} and its keys in Redis stay there."
    )


def keep_text(settings: Mapping[str, str], command: Path, contact_id: str) -> str:
    """Return the lines to type in another terminal: the settings, then commands that use them."""
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())
    program, event = shlex.quote(os.path.relpath(command)), shlex.quote(json.dumps(example_event(contact_id)))
    return (
        "Everything keeps running until Ctrl-C. In another terminal, in this folder, type\n\n"
        f"{exports}\n\n"
        "and then, to watch new facts, or to send your own event:\n\n"
        f"{program} facts show --follow\n\n"
        f"echo {event} | {program} events send -\n"
    )


def example_event(contact_id: str) -> dict[str, object]:
    """Return an event for an order of an existing contact, to change and send by hand."""
    item = {
        "externalItemId": "200600",
        "name": "Super Device",
        "quantity": 1,
        "cost": 258.0,
        "url": "https://shop.example/item/200600",
        "imageUrl": "https://shop.example/item/200600/image.png",
    }
    params = {
        "externalOrderId": "my-first-order",
        "contactId": contact_id,
        "totalCost": "258.0",
        "status": "INITIALIZED",
        "date": "2020-05-14T10:11:00",
        "currency": "GBP",
        "items": [item],
    }
    return {
        "eventTypeKey": "orderCreated",
        "keyValue": "my-first-order",
        "params": [{"name": name, "value": value} for name, value in params.items()],
    }
