"""`order-facts segments`: asks a snapshot of `facts export`: who is in a segment, and why."""

import sys
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from processor.cli.asking import AS_OF, DATA, FORMAT, asking, print_rows
from processor.cli.options import print_line, with_settings
from processor.cli.publishing import publish_
from processor.cli.rfm_report import rfm
from processor.errors import UsageError
from processor.segments.moments import moment_of
from processor.segments.queries import Query, library, query_of, values_of
from processor.segments.snapshot_session import definitions
from processor.settings import Settings
from processor.snapshots.snapshot import require_snapshot

_MOST_SHOWN = 50
_PIPE_WIDTH = 200
_WHY = ("contactId", "externalOrderId")

segments = click.Group("segments", help="Ask a snapshot of facts who is in a segment, and why.")
segments.add_command(rfm)
segments.add_command(publish_)


@segments.command(name="list")
def list_() -> None:
    """List the segments that come with the program, and what each asks for."""
    table = Table("segment", "parameters", "who is in it", box=None, pad_edge=False)
    for query in library():
        table.add_row(query.name, _usage(query), query.about)
    _print_table(table)


@segments.command(name="show")
@click.argument("name")
def show(name: str) -> None:
    """Print a segment's SQL: a beginning for one of your own."""
    print_line(query_of(name).sql.rstrip("\n").encode())


@segments.command(name="sql")
@DATA
@AS_OF
@with_settings("time_zone")
def sql(settings: Settings, folder: Path, as_of: str | None) -> None:
    """Print the views and conditions as SQL, for any DuckDB or notebook."""
    zone = ZoneInfo(settings.time_zone)
    print_line(definitions(require_snapshot(folder), moment_of(as_of, zone), zone).encode())


@segments.command(name="run")
@click.argument("query", metavar="NAME|FILE.sql|-")
@click.argument("values", metavar="[PARAMETER=VALUE]...", nargs=-1)
@DATA
@AS_OF
@click.option("--count", "what", flag_value="count", multiple=True, help="Print only how many contacts there are.")
@click.option(
    "--why", "what", flag_value="why", multiple=True, help="Also print the orders that put each contact there."
)
@FORMAT
@with_settings("time_zone")
def run(
    settings: Settings,
    query: str,
    values: tuple[str, ...],
    folder: Path,
    *,
    as_of: str | None,
    what: tuple[str, ...],
    form: str,
) -> None:
    """Print the contacts of a segment: one of `segments list`, or a query of your own.

    \b
    A query is set algebra of conditions, each a set of contacts:
      echo "FROM bought('22423', days := 7) EXCEPT FROM cancelled(days := 30)" |
        order-facts segments run - --data snapshots
    """  # noqa: D301 - \b is click's mark for a paragraph that keeps its lines
    if len(set(what)) > 1:
        raise UsageError("--count and --why contradict each other: one prints a number, the other orders")
    wanted = query_of(query)
    given = wanted.filled(values_of(values))
    with asking(settings, folder, as_of) as asked:
        if "count" in what:
            print_line(str(asked.count(wanted.sql, given)).encode())
        elif "why" in what and form == "table":
            found, count = asked.first_reasons(wanted.sql, _MOST_SHOWN, given)
            _print_found((*_WHY, "date", "status", "totalCost", "currency"), asked.told(found), count)
        elif "why" in what:
            print_rows(_WHY, asked.each_reason(wanted.sql, given), form)
        elif form == "table":
            members = list(asked.each_member(wanted.sql, given))
            _print_found(_WHY[:1], members[:_MOST_SHOWN], len(members))
        else:
            print_rows(_WHY[:1], asked.each_member(wanted.sql, given), form)


def _print_found(columns: Sequence[str], rows: Sequence[Sequence[object]], count: int) -> None:
    """Print the first of what was found as a table, and how much it is."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    if rows:
        _print_table(table)
    more = f", of which {len(rows)} are shown (--format csv prints all)" if count > len(rows) else ""
    what = "contacts" if len(columns) == 1 else "orders"
    click.echo(f"{count} {what}{more}")


def _print_table(table: Table) -> None:
    """Print a table; into a pipe at its full width."""
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False)
    console.print(table)


def _usage(query: Query) -> str:
    return " ".join(
        f"{one.name}=..." if one.default is None else f"[{one.name}={one.default}]" for one in query.parameters
    )
