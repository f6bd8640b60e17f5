"""Files of contacts: CSV or JSON lines in, the records of the contacts topic out."""

import csv
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from processor.cli.sending import Encode, Entries, Lines, RefusedError, Sendable, json_entries, lines_of
from processor.errors import UsageError

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


def contact_entries(path: str, what: str) -> Entries:
    """Open a file, CSV by its name (.csv) or JSON lines, and return its contacts; `what` names the progress bar.

    Raises UsageError if the file cannot be read.
    """
    lines = lines_of(path, what)
    return _csv_entries(path, lines) if path.lower().endswith(".csv") else json_entries(path, lines)


def contact_record(entry: Any, encode: Encode) -> Sendable:
    """Return the record of a contact, its value as `encode` writes it. Raises as `RecordOf` may."""
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
    return Sendable(contact_id.encode(), None if deleted else encode(contact))


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
