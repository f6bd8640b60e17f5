"""`order-facts contacts index | import | find`."""

import csv
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
import msgspec

from processor.cli.options import CONNECTION, REDIS, print_line, with_settings
from processor.cli.sending import Entries, Lines, RefusedError, Sendable, Sender, json_entries, lines_of
from processor.cli.serving import serving
from processor.codec.avro import codec
from processor.contacts.keeper import IndexKeeper
from processor.domain.identifiers import BUILT_IN_FIELDS, candidates
from processor.errors import UsageError
from processor.replica import startup
from processor.settings import Settings
from processor.settings.rules import identification_of

contacts = click.Group("contacts", help="Import contacts, keep their index, find a contact.")
_IDENTIFYING: Final = ("identification", "phone_matching", "phone_region")
_TEXTS: Final = ("externalCustomerId", "email", "phone", "contactKey")


class _Contact(msgspec.Struct, rename="camel"):
    """The JSON types of a contact's fields."""

    contact_id: str
    external_customer_id: str | None = None
    email: str | None = None
    phone: str | None = None
    contact_key: str | None = None
    push_tokens: list[str] = []
    fields: dict[str, str] = {}


_COLUMNS: Final = {*_Contact.__struct_encode_fields__} - {"fields"}


@contacts.command()
@click.option("--accept-new-topic", is_flag=True, help="Build the index from a contacts topic that was recreated.")
@click.option(
    "--skip",
    "skips",
    metavar="PARTITION:OFFSET",
    multiple=True,
    help="Step over this place, which the log line names, if it cannot be read. Its contacts must be sent again.",
)
@with_settings("contacts_topic", *_IDENTIFYING, "instance_id", *CONNECTION, *REDIS)
def index(settings: Settings, *, accept_new_topic: bool, skips: tuple[str, ...]) -> None:
    """Keep the contact index in Redis up to date until SIGTERM or SIGINT. Run only one.

    Orders wait while the index is missing or being built.
    """
    with serving() as stop:
        stop.is_working = True
        places = [_place(text) for text in skips]
        IndexKeeper(settings, stop, accept_new_topic=accept_new_topic, skips=places).run()


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UsageError(f"--skip {text}: put a partition and an offset there, such as 0:17")
    return int(partition), int(offset)


@contacts.command(name="import")
@click.argument("file")
@with_settings("contacts_topic", *CONNECTION)
def import_(settings: Settings, file: str) -> None:
    """Send contacts from FILE to the contacts topic: CSV (by its name, .csv) or JSON lines.

    CSV needs the column contactId and may have externalCustomerId, email, phone, contactKey and pushTokens
    (separate several by spaces). Any other column is a further field. A JSON line is an object with the same
    names: pushTokens is an array, further fields are in the object `fields`. Both replace the whole contact.
    {"contactId": "...", "deleted": true} deletes it.
    """
    lines = lines_of(file, "Sending contacts")
    entries = _csv_entries(file, lines) if file.lower().endswith(".csv") else json_entries(file, lines)
    Sender(settings, settings.contacts_topic).send_all(entries, record_of, "a Contact")


@contacts.command()
@click.argument("identifier", metavar="NAME=VALUE")
@with_settings("contacts_topic", *_IDENTIFYING, *CONNECTION, *REDIS)
def find(settings: Settings, identifier: str) -> None:
    """Find the contact that an event's parameter NAME with VALUE identifies, as the processor would.

    Exits with 1 if no contact is found.
    """
    name, separator, value = identifier.partition("=")
    rules = identification_of(settings)
    tried = candidates([(name, value)], rules)
    if not separator or not tried:
        known = ", ".join(dict.fromkeys((*BUILT_IN_FIELDS, *(rule.parameter for rule in settings.identification))))
        raise UsageError(f"expected NAME=VALUE with a name that identifies a contact, such as {known}")
    found = startup.check(settings)
    for candidate in tried:
        contact_id = found.index.find(candidate.identifier) if candidate.identifier else None
        if contact_id is not None:
            print_line(msgspec.json.encode({"contactId": contact_id, "identifiedBy": candidate.field}))
            return
    click.echo(f"order-facts: no contact found by {name}", err=True)
    raise click.exceptions.Exit(1)


def record_of(entry: Any) -> Sendable:
    """Return the record of a contact. Raises as `RecordOf` may."""
    if not isinstance(entry, dict):
        raise RefusedError("expected an object with contactId")
    contact = dict(entry)
    deleted = contact.pop("deleted", False)
    if unknown := sorted(contact.keys() - {*_COLUMNS, "fields"}):
        raise RefusedError(f"unknown field {unknown[0]}; put further fields into the object `fields`")
    contact_id = contact.get("contactId")
    if not isinstance(contact_id, str) or not contact_id.strip():
        raise RefusedError("contactId: expected a string that is not blank")
    if not isinstance(deleted, bool):
        raise RefusedError("deleted: expected true or false")
    msgspec.convert(contact, _Contact)  # the encoder would take a string for an array of its characters
    return Sendable(contact_id.encode(), None if deleted else codec().encode_contact(contact))


def _csv_entries(path: str, lines: Lines) -> Entries:
    """Yield the rows of a CSV file with a header line, as contacts."""
    rows = csv.reader(_texts(path, lines), strict=True)
    header = _next_row(rows)
    if not isinstance(header, list) or "contactId" not in header or len(set(header)) != len(header):
        raise UsageError(f"{path}, line 1: expected a header of different names, with contactId")
    while (row := _next_row(rows)) is not None:
        place = f"{path}, line {rows.line_num}"
        if isinstance(row, RefusedError):
            yield place, row
        elif len(row) == len(header):
            yield place, _contact_of(dict(zip(header, row, strict=True)))
        elif row:
            yield place, RefusedError(f"expected {len(header)} columns, found {len(row)}")


def _texts(path: str, lines: Lines) -> Iterator[str]:
    for number, line in lines:
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:  # the file has another encoding: trust none of it
            raise UsageError(f"{path}, line {number}: expected UTF-8: {error}") from error


def _next_row(rows: Iterator[list[str]]) -> list[str] | RefusedError | None:
    """Return the next row, an error for a bad one, or None after the last."""
    try:
        return next(rows, None)
    except csv.Error as error:
        return RefusedError(str(error))


def _contact_of(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "contactId": row["contactId"],
        **{name: row[name] or None for name in _TEXTS if name in row},
        "pushTokens": row.get("pushTokens", "").split(),
        "fields": {name: value for name, value in row.items() if name not in _COLUMNS and value},
    }
