"""`order-facts segments rfm`: recency, frequency and monetary value, as a picture or contact by contact."""

import sys
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from rich.console import Console

from processor.cli.asking import AS_OF, DATA, FORMAT, print_rows
from processor.cli.options import with_settings
from processor.cli.rfm_picture import WIDTH, draw_grid, draw_scored
from processor.errors import UsageError
from processor.segments.moments import moment_of
from processor.segments.rfm import (
    CONTACT_COLUMNS,
    GRID_COLUMNS,
    MOST_BINS,
    contact_rows,
    grid,
    grid_rows,
    scored,
)
from processor.segments.snapshot_session import session
from processor.settings import Settings
from processor.snapshots.snapshot import require_snapshot

_BINS = 5


@click.command(name="rfm")
@DATA
@AS_OF
@click.option(
    "--bins", metavar="NUMBER", type=click.IntRange(1, MOST_BINS), help=f"How many scores there are.  [{_BINS}]"
)
@click.option("--currency", metavar="CODE", help="Only orders in it; needed where there are several; '' for none.")
@click.option("--grid", "is_grid", is_flag=True, help="By fixed thresholds, instead of by scores and groups.")
@FORMAT
@with_settings("time_zone")
def rfm(
    settings: Settings,
    *,
    folder: Path,
    as_of: str | None,
    bins: int | None,
    currency: str | None,
    is_grid: bool,
    form: str,
) -> None:
    """Show RFM: how long ago, how often and for how much contacts bought, by scores, groups and a heat map."""
    if is_grid and bins is not None:
        raise UsageError("--grid and --bins contradict each other: the grid's thresholds are fixed")
    zone, bins = ZoneInfo(settings.time_zone), bins or _BINS
    moment = moment_of(as_of, zone)
    with session(require_snapshot(folder), moment, zone) as asked:
        if form != "table":
            if is_grid:
                print_rows(GRID_COLUMNS, grid_rows(asked, currency), form)
            else:
                print_rows(CONTACT_COLUMNS, contact_rows(asked, bins, currency), form)
        elif is_grid:
            draw_grid(_console(), grid(asked, currency), moment.astimezone(zone))
        else:
            draw_scored(_console(), scored(asked, bins, currency), moment.astimezone(zone))


def _console() -> Console:
    """Return standard output; into a pipe at the width that the picture is made for."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)
