"""`order-facts contacts index | import | find`."""

import csv
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from processor.cli.options import CONNECTION, REDIS, print_line, with_settings
from processor.cli.sending import RefusedError, Sender, json_entries, lines_of
from processor.cli.serving import Stop, serve
from processor.codec.avro import codec
from processor.contacts.keeper import IndexKeeper
from processor.domain.identifiers import BUILT_IN_FIELDS, candidates
from processor.errors import UsageError
from processor.replica import startup
from processor.settings import Settings
from processor.settings.rules import identification_of

if TYPE_CHECKING:
    import _csv

_TEXTS: Final = ("externalCustomerId", "email", "phone", "contactKey")
_COLUMNS: Final = ("contactId", *_TEXTS, "pushTokens")


class _Contact(msgspec.Struct):
    """The JSON types of a contact's fields."""

    contactId: str  # noqa: N815 - the names are the file's
    externalCustomerId: str | None = None  # noqa: N815
    email: str | None = None
    phone: str | None = None
    contactKey: str | None = None  # noqa: N815
    pushTokens: list[str] = []  # noqa: N815
    fields: dict[str, str] = {}


@click.group()
def contacts() -> None:
    """Import contacts, keep their index, find a contact."""


@contacts.command()
@click.option("--accept-new-topic", is_flag=True, help="Build the index from a contacts topic that was recreated.")
@with_settings("contacts_topic", "identification", "instance_id", *CONNECTION, *REDIS)
def index(settings: Settings, *, accept_new_topic: bool) -> None:
    """Keep the contact index in Redis up to date until SIGTERM or SIGINT. Run only one.

    Orders wait while the index is missing or being built.
    """

    def work(stop: Stop) -> None:
        stop.is_working = True
        IndexKeeper(settings, stop, accept_new_topic=accept_new_topic).run()

    serve(work)


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
    sender = Sender(settings, settings.contacts_topic, file)
    for place, entry in _csv_entries(file) if file.lower().endswith(".csv") else json_entries(file, "Sending contacts"):
        try:
            key, value = record_of(entry)
        except RefusedError as error:
            sender.refuse(place, error)
        else:
            sender.send(place, key, value)
    sender.finish()


@contacts.command()
@click.argument("identifier", metavar="NAME=VALUE")
@with_settings("contacts_topic", "identification", *CONNECTION, *REDIS)
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


def record_of(entry: Any) -> tuple[bytes, bytes | None]:
    """Return the key and value of a contact. Raises RefusedError."""
    if isinstance(entry, RefusedError):
        raise entry
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
    try:
        msgspec.convert(contact, _Contact)  # the encoder would take a string for an array of its characters
        return contact_id.encode(), None if deleted else codec().encode_contact(contact)
    except UnicodeEncodeError as error:
        raise RefusedError("holds half a surrogate pair, which is not valid text") from error
    except (ValueError, TypeError) as error:
        raise RefusedError(f"cannot be written as a Contact: {error}") from error


def _csv_entries(path: str) -> Iterator[tuple[str, Mapping[str, Any] | RefusedError]]:
    """Yield the rows of a CSV file with a header line, as contacts."""
    text = (line.decode("utf-8-sig" if number == 1 else "utf-8") for number, line in lines_of(path, "Sending contacts"))
    rows = csv.reader(text, strict=True)
    header = _next_row(path, rows)
    if not isinstance(header, list) or "contactId" not in header or len(set(header)) != len(header):
        raise UsageError(f"{path}, line 1: expected a header of different names, with contactId")
    while (row := _next_row(path, rows)) is not None:
        place = f"{path}, line {rows.line_num}"
        if isinstance(row, RefusedError):
            yield place, row
        elif len(row) == len(header):
            yield place, _contact_of(dict(zip(header, row, strict=True)))
        elif row:
            yield place, RefusedError(f"expected {len(header)} columns, found {len(row)}")


def _next_row(path: str, rows: "_csv.Reader") -> list[str] | RefusedError | None:
    """Return the next row, an error for a bad one, or None after the last."""
    try:
        return next(rows, None)
    except csv.Error as error:
        return RefusedError(str(error))
    except UnicodeDecodeError as error:  # the file has another encoding: trust none of it
        raise UsageError(f"{path}, line {rows.line_num + 1}: expected UTF-8: {error}") from error


def _contact_of(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "contactId": row["contactId"],
        **{name: row[name] or None for name in _TEXTS if name in row},
        "pushTokens": row.get("pushTokens", "").split(),
        "fields": {name: value for name, value in row.items() if name not in _COLUMNS and value},
    }
