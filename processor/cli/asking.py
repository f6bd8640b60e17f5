"""What the commands that ask a snapshot share: where it is, as of when, and rows as CSV or JSON lines."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import click
import msgspec

from processor.cli.options import print_line
from processor.segments.moments import moment_of
from processor.segments.snapshot_session import Session, session
from processor.settings import Settings
from processor.snapshots.snapshot import require_snapshot

DATA: Final = click.option(
    "--data",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder of `facts export`.",
)
AS_OF: Final = click.option("--as-of", metavar="DATE", help="A date in time_zone, or an instant with an offset.  [now]")
FORMAT: Final = click.option(
    "--format",
    "form",
    type=click.Choice(("table", "csv", "jsonl")),
    default="table",
    show_default=True,
    help="How to print it; a table is for people, and short.",
)
_ROWS_AT_ONCE: Final = 1_000


@contextmanager
def asking(settings: Settings, folder: Path, as_of: str | None) -> Iterator[Session]:
    """Give a session that asks the snapshot in a folder."""
    zone = ZoneInfo(settings.time_zone)
    with session(require_snapshot(folder), moment_of(as_of, zone), zone) as asked:
        yield asked


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[object]], form: str) -> None:
    """Print rows as CSV with a header, or as JSON lines. A null is an empty field, and null."""
    left = iter(rows)
    if form == "csv":
        print_line(_csv((columns,)))
    while some := list(islice(left, _ROWS_AT_ONCE)):
        print_line(_csv(some) if form == "csv" else _jsonl(columns, some))


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow(row)  # a carriage return is quoted only by one that ends its lines so
        lines.append(line.getvalue().removesuffix("\r\n"))
    return "\n".join(lines).encode()


def _jsonl(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    return b"\n".join(msgspec.json.encode(dict(zip(columns, row, strict=True))) for row in rows)
