"""Reads invoices from a file in the form of the UCI "Online Retail" data set (Chen, 2015, doi 10.24432/C5BW33).

Takes a CSV or CSV.gz file with the data set's columns, in any order. Gives its invoices unchanged: it cleans nothing
and only groups the lines of each number. Never uses the network. Raises RetailFileError for a file it cannot use.
"""

import csv
import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TextIO

COLUMNS = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
CREDIT_NOTE_PREFIX = "C"
NUMBER_LIMIT = 10**12
"""Quantities and prices must be smaller, so that a double holds them with their decimals."""


class RetailFileError(Exception):
    """The file cannot be used; the text is one line: the file, the line number if there is one, and why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice, as the file has it."""

    stock_code: str
    description: str
    quantity: Decimal
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class Invoice:
    """The lines of one invoice number, with its earliest date; customer is None if no line names one."""

    number: str
    at: datetime
    customer: str | None
    country: str
    lines: tuple[Line, ...]

    @property
    def is_credit_note(self) -> bool:
        """Whether goods were returned: the data set marks such invoices by their number."""
        return self.number.startswith(CREDIT_NOTE_PREFIX)

    @property
    def total_cost(self) -> Decimal:
        """Sum of quantity x unit price, in pounds."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal(0))


def read_invoices(path: Path) -> list[Invoice]:
    """Read a file's invoices and credit notes, by date, then number; lines stay in the file's order."""
    try:
        with _open(path) as stream:
            return _grouped(_records(stream, path))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise RetailFileError(f"{path}: cannot be read: {reason}") from error


def _open(path: Path) -> TextIO:
    # Lets bytes through that are not UTF-8; _records refuses them with their line number.
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _records(stream: TextIO, path: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each line's place ("FILE:LINE") and its fields by column."""
    reader = csv.reader(stream, strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise RetailFileError(f"{path}:1: the header lacks {', '.join(missing)}")
        for row in reader:
            if not row:
                continue
            place = f"{path}:{reader.line_num}"
            if len(row) != len(header):
                raise RetailFileError(f"{place}: {len(row)} fields, but the header has {len(header)}")
            if not _is_text(row):
                raise RetailFileError(f"{place}: not UTF-8")
            yield place, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise RetailFileError(f"{path}:{reader.line_num}: not CSV: {error}") from error
    if reader.line_num <= 1:
        raise RetailFileError(f"{path}: no invoice line after the header")


def _is_text(row: Iterable[str]) -> bool:
    try:
        "".join(row).encode()
    except UnicodeEncodeError:
        return False
    return True


def _grouped(records: Iterable[tuple[str, Mapping[str, str]]]) -> list[Invoice]:
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    dates: dict[str, datetime] = {}
    customers: dict[str, str] = {}
    countries: dict[str, str] = {}
    for place, record in records:
        number = record["InvoiceNo"].strip()
        if not number:
            raise RetailFileError(f"{place}: InvoiceNo is empty")
        at = _date(record, place)
        dates[number] = min(at, dates.get(number, at))
        # A spreadsheet turned the ids into numbers: 17850 is 17850.0 in the file.
        if customer := record["CustomerID"].strip().removesuffix(".0"):
            customers.setdefault(number, customer)
        countries.setdefault(number, record["Country"])
        quantity, price = (_number(record, column, place) for column in ("Quantity", "UnitPrice"))
        lines[number].append(Line(record["StockCode"], record["Description"], quantity, price))
    invoices = [
        Invoice(number, dates[number], customers.get(number), countries[number], tuple(lines[number]))
        for number in lines
    ]
    return sorted(invoices, key=lambda invoice: (invoice.at, invoice.number))


def _date(record: Mapping[str, str], place: str) -> datetime:
    text = record["InvoiceDate"]
    try:
        return datetime.strptime(text, DATE_FORMAT)  # noqa: DTZ007 - the file's times are local, without a zone
    except ValueError:
        raise RetailFileError(f"{place}: InvoiceDate {text[:40]!r} is not YYYY-MM-DD HH:MM:SS") from None


def _number(record: Mapping[str, str], column: str, place: str) -> Decimal:
    text = record[column]
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    # A NaN cannot be compared, so check for it first.
    if number.is_nan() or abs(number) >= NUMBER_LIMIT:
        raise RetailFileError(f"{place}: {column} {text[:40]!r} is not a number below 10^12")
    return number
