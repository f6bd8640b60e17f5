"""`order-facts watch`: what the log lines of all processes say, as a picture that changes, or once."""

import io
import sys
import time
from typing import Final

import click
from rich.console import Console
from rich.live import Live

from processor.cli.options import print_line
from processor.cli.serving import stop_on_signals
from processor.errors import UsageError
from processor.watching.summary import summary
from processor.watching.tailing import (
    BACKLOG_BYTES,
    STANDARD_INPUT,
    Source,
    lines_as_they_come,
    lines_to_the_end,
    sources,
)
from processor.watching.view import WIDTH, view
from processor.watching.watched import Watched

_WINDOW_S: Final = 60.0
_DRAWN_EVERY_S: Final = 0.5


@click.command()
@click.argument("names", metavar="[FILE|-]...", nargs=-1)
@click.option("--once", "is_once", is_flag=True, help="Print a summary of all lines and end.")
def watch(names: tuple[str, ...], *, is_once: bool) -> None:
    """Show what all processes do, from their log lines alone.

    It shows what is wrong now, since when, for whom, and where the runbook says what to do; then events a second by
    outcome, freshness and lag of each replica, the steps of a batch, rejections by reason, waits, warnings. It needs
    no settings and asks no service: only lines, of `run` and of the other commands that run until a signal.

    \b
      order-facts watch /var/log/order-facts/*.log
      kubectl logs -f -l app.kubernetes.io/name=order-facts --prefix --max-log-requests 50 | order-facts watch -
      docker compose logs -f | order-facts watch -
      order-facts watch --once replica-1.log replica-2.log.1.gz

    Files are followed as by `tail -F`; of large ones it begins 32 MiB before the end. Rates and steps are those of the
    last minute; with --once, or where the output is no terminal, those of all lines. - is standard input.
    """  # noqa: D301 - \b is click's mark for a paragraph that keeps its lines
    if not names and sys.stdin.isatty():
        raise UsageError("name log files, or pipe log lines to: order-facts watch -")
    names = names or (STANDARD_INPUT,)
    if is_once or not sys.stdout.isatty():
        with sources(names) as read_from:
            _print(_read(read_from), None)
    else:
        with sources(names, BACKLOG_BYTES) as read_from:
            _print(_follow(read_from), time.time())


def _read(read_from: list[Source]) -> Watched:
    watched = Watched()
    for lines in lines_to_the_end(read_from):
        for line in lines:
            watched.feed(line)
    return watched


def _follow(read_from: list[Source]) -> Watched:
    """Draw until a signal, or until nothing is left that could have more lines."""
    watched, stop = Watched(_WINDOW_S), stop_on_signals()
    stop.is_working = True
    with Live(console=_console(), screen=True, auto_refresh=False) as live:
        while not stop.is_set() and not all(source.has_ended for source in read_from):
            until_s = time.monotonic() + _DRAWN_EVERY_S
            while not stop.is_set() and (left_s := until_s - time.monotonic()) > 0:
                for line in lines_as_they_come(read_from, left_s):
                    watched.feed(line)
            live.update(view(summary(watched, time.time()), live.console.width), refresh=True)
    return watched


def _print(watched: Watched, as_of_s: float | None) -> None:
    """Print what is known: on a terminal in its width and colours, elsewhere as plain text."""
    console, shown = _console(), summary(watched, as_of_s)
    if console.is_terminal:
        console.print(view(shown, console.width))
        return
    text = io.StringIO()
    Console(file=text, width=WIDTH, highlight=False, markup=False, emoji=False).print(view(shown))
    for line in text.getvalue().splitlines():
        print_line(line.rstrip().encode())


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)
