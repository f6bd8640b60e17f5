"""`order-facts events explain`: from files to lines that say what becomes of each event."""

import functools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from processor.cli.contact_files import contact_entries, contact_record
from processor.cli.options import print_line
from processor.cli.sending import NOW, Entries, RecordOf, RefusedError, Sendable, json_entries, lines_of, sendable
from processor.codec.avro import codec
from processor.codec.fact_json import fact_object
from processor.contacts.changes import change_of
from processor.domain.claims import ContactChange
from processor.domain.records import Identification, Order, Record, UndecodableError
from processor.domain.rejections import Outcome, shown
from processor.errors import UsageError
from processor.explaining.contact_book import ANYBODY, ContactBook, contact_book
from processor.explaining.explainer import Explained, Explainer
from processor.settings import Settings
from processor.settings.rules import identification_of

_JSON: Final = msgspec.json.Encoder()
_FACT: Final = "fact"
_REFUSED: Final = "refused"
_TAKEN_AS_FOUND: Final = (
    "contacts were taken as found: every identifier as if of the same contact; --contacts FILE names them"
)
_MADE_UP: Final = ("sourcePartition", "sourceOffset")


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """What is said about one event; `outcome` is fact, ignored, invalid, or refused: Avro cannot hold it."""

    place: str
    event_type_key: str | None
    external_order_id: str | None
    outcome: str
    rule: str | None = None
    reason: str | None = None
    detail: str | None = None
    what_to_do: str | None = None
    fact: dict[str, Any] | None = None


def explain(settings: Settings, events: str, contacts: str | None, record_of: RecordOf) -> None:
    """Print what becomes of each event of a file: a table on a terminal, JSON lines elsewhere.

    `contacts` is a file of contacts; None: anybody is found. `record_of` gives an event's record, and raises as
    `RecordOf` may. Exits with 1 if an event is invalid or cannot be sent; raises UsageError for a file that is wrong.
    """
    entries = json_entries(events, lines_of(events, "Judging events"))
    book = ContactBook() if contacts is None else contact_book(_changes(contacts, identification_of(settings)))
    explainer = Explainer(settings, book)
    lines = _lines(explainer, entries, record_of)
    counts = _print_table(events, lines) if sys.stdout.isatty() else _print_json(lines)
    if not counts:
        raise UsageError(f"{events}: holds no event")
    if contacts is None:
        click.echo(f"order-facts: {_TAKEN_AS_FOUND}", err=True)
    if counts[Outcome.INVALID] or counts[_REFUSED]:
        raise click.exceptions.Exit(1)


def _changes(path: str, rules: Identification) -> Iterator[ContactChange]:
    """Yield the contacts of a file, as if each were sent a millisecond after the one before."""
    to_record = functools.partial(contact_record, encode=codec().encode_contact)
    for number, (place, entry) in enumerate(contact_entries(path, "Reading contacts")):
        try:
            key, value, _ = sendable(entry, to_record, "a Contact")
            yield change_of(Record(0, number, number, key, value), rules, codec().decode_contact)
        except (RefusedError, UndecodableError) as error:
            raise UsageError(f"{place}: {error}") from error


def _lines(explainer: Explainer, entries: Entries, record_of: RecordOf) -> Iterator[Line]:
    now_ms = time.time_ns() // 1_000_000
    for place, entry in entries:
        if isinstance(entry, RefusedError):
            raise UsageError(f"{place}: {entry}")
        event_type = _event_type(entry)
        try:
            record = sendable(entry, record_of, "an OrderEvent")
        except RefusedError as error:
            what_to_do = "correct it: `events send` refuses it too"
            yield Line(place, event_type, None, _REFUSED, detail=str(error), what_to_do=what_to_do)
        else:
            yield _line(place, event_type, record, _explained(explainer, record, now_ms))


def _event_type(entry: Any) -> str | None:
    found = entry.get("eventTypeKey") if isinstance(entry, dict) else None
    return found if isinstance(found, str) else None


def _explained(explainer: Explainer, record: Sendable, now_ms: int) -> Explained:
    assert record.value is not None, "an event is never null"
    at_ms = now_ms if record.timestamp_ms == NOW else record.timestamp_ms
    return explainer.explain(record.key, record.value, at_ms)


def _line(place: str, event_type: str | None, record: Sendable, explained: Explained) -> Line:
    order_id = None if record.key is None else record.key.decode()
    result, rule = explained.result, explained.rule
    if isinstance(result, Order):
        return Line(place, event_type, order_id, _FACT, rule, fact=_fact(result))
    reason = result.reason
    return Line(place, event_type, order_id, reason.outcome, rule, reason, result.detail, reason.what_to_do)


def _fact(order: Order) -> dict[str, Any]:
    """Return a fact without what only a topic has, and without a contact that is nobody."""
    fact = {name: value for name, value in fact_object(order).items() if name not in _MADE_UP}
    return fact | {"contactId": None} if order.contact_id == ANYBODY else fact


def _print_json(lines: Iterator[Line]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in lines:
        print_line(_JSON.encode(line))
        counts[line.outcome] += 1
    return counts


def _print_table(events: str, lines: Iterator[Line]) -> Counter[str]:
    table = Table(*("event", "type", "order", "outcome", "rule", "what", "what to do"))
    counts: Counter[str] = Counter()
    for line in lines:
        place = line.place.removeprefix(f"{events}, ")
        made_up = map(shown, (line.event_type_key or "", line.external_order_id or ""))
        table.add_row(place, *made_up, line.outcome, line.rule or "", _what(line), line.what_to_do or "")
        counts[line.outcome] += 1
    if counts:
        table.caption = ", ".join(f"{count:,} {outcome}" for outcome, count in counts.most_common())
        Console(markup=False, emoji=False, highlight=False).print(table)
    return counts


def _what(line: Line) -> str:
    if line.fact is not None:
        return f"revision {line.fact['revision']}, {line.fact['status']}, {line.fact['totalCost']}"
    return ": ".join(filter(None, (line.reason, line.detail)))
