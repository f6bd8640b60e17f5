"""What a terminal shows of a summary: text and tables of rich, the most urgent first.

Figures are short, and long texts wrap in a column of their own. Colours only repeat what words say. All times are UTC,
as in the lines.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from processor.watching.counting import OUTCOMES, STEPS
from processor.watching.summary import SILENT, Replica, Summary

WIDTH: Final = 100
RUNBOOK: Final = "deploy/RUNBOOK.md"
_SILENT_SECTION: Final = "orderfactsnotanswering"
_MOST_TROUBLES: Final = 8
_MOST_WARNED: Final = 5
_MOST_REASONS: Final = 8
_MOST_WAITED: Final = 6
_MOST_REPLICAS: Final = 24
_MOST_NAMES: Final = 4
_LONGEST_TEXT: Final = 500  # an error names the command that helps at its end
_NONE: Final = "-"
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_LARGE: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
_HEADING: Final = "bold cyan"
_WRONG: Final = "bold red"
_COLUMN: Final = "bold"


def view(shown: Summary, width: int = WIDTH) -> RenderableType:
    """Return everything to show of a summary, for so many columns."""
    parts: list[RenderableType] = [Text(_title(shown), style="bold"), *_other_lines(shown), *_troubles(shown)]
    parts += [*_replicas(shown, width), *_commands(shown), *_warned(shown), *_steps(shown)]
    beside = [Group(*section) for section in ([*_reasons(shown)], [*_waited(shown)]) if section]
    parts += [Columns(beside, padding=(0, 6))] if beside else []
    if shown.notes:
        parts += _section("Also", [Text(", ".join(shown.notes))])
    return Group(*parts)


def _title(shown: Summary) -> str:
    if shown.lines == shown.not_json + shown.foreign:
        return f"No line of order-facts in {_count(shown.lines, 'line')}"
    begin, end = _moment(shown.begin_s), _moment(shown.end_s)
    if begin[:10] == end[:10]:
        end = end[11:]
    return f"{begin} to {end} UTC, {duration(shown.end_s - shown.begin_s)}: {_count(shown.lines, 'line')}"


def _other_lines(shown: Summary) -> Iterator[Text]:
    """Yield how many lines say nothing."""
    counts = ((shown.not_json, "not JSON"), (shown.foreign, "JSON of something else"))
    if said := ", ".join(f"{count:,} {what}" for count, what in counts if count):
        useless = shown.not_json + shown.foreign == shown.lines
        hint = "; order-facts writes JSON with log_format=json" if useless else ""
        yield Text(f"Lines that say nothing here: {said}{hint}", style="yellow")


def _troubles(shown: Summary) -> Iterator[RenderableType]:
    """Yield what is wrong or unfinished now, the oldest first, each with where to read on."""
    if not shown.replicas and not shown.commands:
        return
    if not shown.troubles:
        yield from _section("Now", [Text("Nothing waits and nothing is silent.", style="green")])
        return
    rows = Table.grid(padding=(0, 1, 0, 0))
    for one in shown.troubles[:_MOST_TROUBLES]:
        since = f"since {_clock(one.since_s)} ({duration(shown.end_s - one.since_s)})"
        rows.add_row(Text(since, style=_WRONG), _said(one.name, one.text, one.event))
    yield from _section("Now", [rows, *_more(len(shown.troubles), _MOST_TROUBLES)])


def _said(who: str, text: str, event: str) -> Text:
    """Return who says what, and on a line of its own where to read on: a section of the runbook."""
    said = f"{text[: _LONGEST_TEXT - 1]}\N{HORIZONTAL ELLIPSIS}" if len(text) > _LONGEST_TEXT else text
    section = _SILENT_SECTION if event == SILENT else event
    return Text.assemble((f"{who}: ", "bold"), said, (f"\n{RUNBOOK}#{section}", "blue"))


def _replicas(shown: Summary, width: int) -> Iterator[RenderableType]:
    if not shown.replicas:
        return
    table = _table("replica", "state", *OUTCOMES, "events", "freshness", "lag", space=2 if width >= WIDTH else 1)
    table.add_column("partitions", overflow="ellipsis", no_wrap=True)
    for replica in _with_total(shown):
        table.add_row(
            replica.name,
            Text(replica.state, style=_style(replica.state)),
            *(_rate(replica.rates[outcome]) for outcome in OUTCOMES),
            f"{replica.events:,}",
            _NONE if replica.freshness_s is None else duration(replica.freshness_s),
            _NONE
            if replica.lag_records is None
            else f"{replica.lag_records:,.0f}{'+' if replica.is_lag_least else ''}",
            _ranges(replica.partitions),
            style="bold" if replica is shown.total else "",
        )
    more = _more(len(shown.replicas), _MOST_REPLICAS)
    rates = f"{', '.join(OUTCOMES)} are events a second over {duration(shown.span_s)}"
    yield from _section(f"Replicas; {rates}", [table, *more])


def _steps(shown: Summary) -> Iterator[RenderableType]:
    if not shown.replicas:
        return
    table = _table("replica", *STEPS)
    for replica in _with_total(shown):
        figures = (_step(*replica.steps_ms[step]) for step in STEPS)
        table.add_row(replica.name, *figures, style="bold" if replica is shown.total else "")
    yield from _section("Steps of a batch, ms: p50 / p99", [table])


def _with_total(shown: Summary) -> Iterator[Replica]:
    """Yield the replicas, and their total if there are several."""
    yield from shown.replicas[:_MOST_REPLICAS]
    if len(shown.replicas) > 1:
        yield shown.total


def _reasons(shown: Summary) -> Iterator[RenderableType]:
    if shown.reasons:
        table = _table("reason", "records", "records/s", "of all events")
        for reason in shown.reasons[:_MOST_REASONS]:
            share = f"{reason.records / max(shown.total.events, 1):.1%}"
            table.add_row(reason.name, f"{reason.records:,}", _rate(reason.rate), share)
        yield from _section("Rejected", [table, *_more(len(shown.reasons), _MOST_REASONS)])


def _commands(shown: Summary) -> Iterator[RenderableType]:
    if shown.commands:
        table = _table("instance", "command", "state", "says", numbers=False)
        for command in shown.commands[:_MOST_REPLICAS]:
            state = Text(command.state, style=_style(command.state))
            table.add_row(command.name, command.command, state, command.says or _NONE)
        yield from _section("Other processes", [table, *_more(len(shown.commands), _MOST_REPLICAS)])


def _waited(shown: Summary) -> Iterator[RenderableType]:
    if shown.waited:
        table = _table("what for", "times", "in all", "longest")
        for one in shown.waited[:_MOST_WAITED]:
            more = "+" if one.is_least else ""
            table.add_row(
                one.what, f"{one.times:,}", *(duration(ms / 1000) + more for ms in (one.total_ms, one.longest_ms))
            )
        yield from _section("Waits that are over", [table, *_more(len(shown.waited), _MOST_WAITED)])


def _warned(shown: Summary) -> Iterator[RenderableType]:
    """Yield the last warnings, without what `Now` says already."""
    told = {trouble.event for trouble in shown.troubles}
    if warned := [one for one in shown.warned if one.event not in told]:
        rows = Table.grid(padding=(0, 1, 0, 0))
        for one in warned[:_MOST_WARNED]:
            level = Text(one.level, style="yellow" if one.level == "warning" else "red")
            times = f" x{one.times:,}" if one.times > 1 else ""
            said = _said(f"{one.event}{times}, {_names(one.names)}", one.text, one.event)
            rows.add_row(_clock(one.last_s), level, said)
        yield from _section("Last warnings and errors", [rows, *_more(len(warned), _MOST_WARNED)])


def _names(names: list[str]) -> str:
    """Return the names of instances, shortened if there are many."""
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else shown


def duration(seconds: float) -> str:
    """Return a duration for people: 0.4 s, 12 s, 3 min 5 s, 2 h 4 min, 3 d 2 h."""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    units = (*_UNITS, (1, "s"))
    for (size, name), (next_size, next_name) in pairwise(units):
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {name}{f' {rest} {next_name}' if rest else ''}"
    raise AssertionError(seconds)  # 60 s and more are minutes


def _section(heading: str, lines: Iterable[RenderableType]) -> list[RenderableType]:
    return [Text(), Text(heading, style=_HEADING), *lines]


def _table(first: str, *columns: str, numbers: bool = True, space: int = 2) -> Table:
    """Return a table without lines; all columns but the first, and one named state, hold numbers."""
    table = Table(box=None, padding=(0, space, 0, 0), pad_edge=False, header_style=_COLUMN)
    table.add_column(first, no_wrap=True, overflow="ellipsis", min_width=8)
    for name in columns:
        is_number = numbers and name != "state"
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number)
    return table


def _more(count: int, most: int) -> list[Text]:
    return [Text(f"and {count - most:,} more")] if count > most else []


def _style(state: str) -> str:
    if state == SILENT or state.startswith(("failed", "waits", "paused", "unreadable", "withheld", "no token")):
        return _WRONG
    return "green" if state in {"runs", "standby"} else "yellow"


def _step(p50_ms: float | None, p99_ms: float | None) -> str:
    return _NONE if p50_ms is None or p99_ms is None else f"{_figure(p50_ms)} / {_figure(p99_ms)}"


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 99.5 else f"{rate:.1f}" if rate else "0"


def _figure(value: float) -> str:
    """Return a number of about two digits after which little matters: 0.25, 3.1, 42, 1,240, 75k."""
    for size, name in _LARGE:
        if value >= size:
            return f"{value / (size / 10 if name == 'k' else size):,.0f}{name}"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def _ranges(numbers: list[int]) -> str:
    """Return sorted numbers as ranges: 0-3, 7."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in found) or _NONE


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _clock(at_s: float) -> str:
    return _moment(at_s)[11:]
