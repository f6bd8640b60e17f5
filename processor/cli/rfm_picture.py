"""What `segments rfm` draws: a heat map of R and FM, or of R and F, the groups, and the cut points.

Takes counts; gives text for a terminal of 80 columns. Each cell has contacts above and money below. Where there are
colours, a darker cell has more contacts, with the colour of its text chosen for it, so that it is as readable on a
light terminal; elsewhere a mark in front says the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal
from math import isqrt
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.segments.rfm import GRID_DAYS, GRID_MOST_ORDERS, Grid, Population, Scored, Total, code_shown

WIDTH: Final = 80
MEANINGS: Final = {
    "Champions": "often, much, lately",
    "Loyal customers": "often, not long ago",
    "Potential loyalists": "lately, now and then",
    "New customers": "very lately, little",
    "Promising": "lately, little",
    "Need attention": "middling in all",
    "About to sleep": "little, a while ago",
    "At risk": "much, but long ago",
    "Can't lose them": "most, but long ago",
    "Hibernating": "little, and long ago",
}
"""The groups, each with what it means in at most five words: how its contacts bought."""
SHADES: Final = (
    "color(16) on color(195)",
    "color(16) on color(153)",
    "color(16) on color(75)",
    "color(231) on color(25)",
    "color(231) on color(18)",
)
"""From few contacts to many. None of these colours is the terminal's own, which may be any."""
_MARKS: Final = "·░▒▓█"
_PLAIN_MARKS: Final = ".:+*#"  # where the output's encoding has only ASCII
_UNITS: Final = ((Decimal("1e12"), "T"), (Decimal("1e9"), "B"), (Decimal("1e6"), "M"), (Decimal("1e3"), "k"))
_LEAST_SHORTENED: Final = 10_000
_FIGURE: Final = 6
_CELL: Final = _FIGURE + 2  # and a space before it
_LABEL: Final = 5
_LONGEST_NAME: Final = 9  # of a currency
_LONGEST_AMOUNT: Final = 9
_ROUNDED: Final = Context(prec=3)


class Axis(NamedTuple):
    """The map's columns, or its rows: numbers in the order that they are drawn in, each with its label."""

    labels: Mapping[int, str]
    notes: Mapping[int, str]  # in a second line; none for rows


def draw_scored(console: Console, found: Scored, moment: datetime) -> None:
    """Draw RFM by scores. `moment` is as-of in the shop's zone."""
    population = found.population
    _print_lines(console, _introduction("RFM", population, moment))
    if not population.total.contacts:
        return
    scores = range(1, found.steps + 1)
    are_scores = found.steps == found.bins
    notes = dict(zip(reversed(scores), _ranges(found.cuts.recency), strict=True)) if are_scores else {}
    across = Axis({score: f"R {score}" for score in scores}, notes)
    down = Axis({value: f"FM {value}" for value in reversed(scores)}, {})
    _print_lines(console, _map(console, across, down, found.cells))
    fifths = "" if are_scores else f" R, F and M are fifths of {found.bins} scores here."
    _print_lines(console, (Text(_legend(console, population)), Text(f"FM is (F + M) / 2, halves up.{fifths}"), Text()))
    console.print(_group_table(found))
    _print_lines(console, (Text("days: since the last sold order, on average"), Text(), *_cut_lines(found)))


def draw_grid(console: Console, found: Grid, moment: datetime) -> None:
    """Draw RF by fixed thresholds. `moment` is as-of in the shop's zone."""
    population = found.population
    _print_lines(console, _introduction("RF by fixed thresholds", population, moment))
    if not population.total.contacts:
        return
    cells = range(len(GRID_DAYS) + 1, 0, -1)
    across = Axis({cell: f"R {cell}" for cell in cells}, dict(zip(reversed(cells), _ranges(GRID_DAYS), strict=True)))
    most = GRID_MOST_ORDERS
    down = Axis({cell: f"F {cell}{'+' if cell == most else ''}" for cell in range(most, 0, -1)}, {})
    _print_lines(console, _map(console, across, down, found.cells))
    rest = f"{'F 0':<{_LABEL}}{_figure(population.rest):>{_CELL}}  without a sold order"
    _print_lines(console, (Text(rest), Text(_legend(console, population)), Text("F is the number of sold orders.")))


def _print_lines(console: Console, lines: Iterable[Text]) -> None:
    """Print lines as they are, each on one line of its own."""
    for line in lines:
        console.print(line, soft_wrap=True)


def _introduction(what: str, population: Population, moment: datetime) -> Iterator[Text]:
    """Yield who is counted, and who is not."""
    total = population.total
    currency = "" if population.currency is None else f" in {code_shown(population.currency)}"
    yield Text(f"{what} as of {moment.isoformat(' ', 'seconds')}", style="bold")
    if total.contacts:
        orders = _count(total.orders, "sold order")
        yield Text(f"{_count(total.contacts, 'contact')} with {orders}: {_amount(total.money)} {_money(population)}")
    else:
        yield Text(f"No sold order{currency} before that: nothing to draw")
        if population.currencies:
            yield Text(f"Sold orders are in: {', '.join(map(code_shown, population.currencies))}")
    yield Text(f"Row 0: {_count(population.rest, 'contact')} without a sold order{currency}")
    if total.contacts:
        yield Text()


def _map(console: Console, across: Axis, down: Axis, cells: Mapping[tuple[int, int], Total]) -> Iterator[Text]:
    """Yield the lines of a heat map."""
    most = max(cell.contacts for cell in cells.values())
    yield Text(_heads("", across.labels.values()), style="bold")
    if across.notes:
        yield Text(_heads("days", (across.notes[number] for number in across.labels)))
    paint, is_coloured = _painter(console), _is_coloured(console)
    for row, label in down.labels.items():
        line = {number: cells.get((number, row), Total()) for number in across.labels}
        shades = {number: _shade(cell.contacts, most) for number, cell in line.items()}
        for name, figures in (
            (label, {number: _figure(cell.contacts) for number, cell in line.items()}),
            ("", {number: _figure(cell.money) for number, cell in line.items()}),
        ):
            text = Text(f"{name:<{_LABEL}}")
            for number, figure in figures.items():
                paint(text, figure, shades[number])
            if not is_coloured:
                text.rstrip()
            yield text


def _heads(label: str, names: Iterable[str]) -> str:
    return f"{label:<{_LABEL}}" + "".join(f"{name:>{_CELL}} " for name in names).rstrip()


def _painter(console: Console) -> Callable[[Text, str, int | None], None]:
    """Return what adds a cell's line to a text: with a shade as far as the console has colours, else with a mark."""
    is_coloured, marks = _is_coloured(console), _marks(console)

    def paint(text: Text, figure: str, shade: int | None) -> None:
        text.append(" ")
        if shade is None:
            text.append(" " * _CELL)
        elif is_coloured:
            text.append(f"{figure:>{_FIGURE + 1}} ", style=SHADES[shade])
        else:
            text.append(f"{marks[shade]}{figure:>{_FIGURE}} ")

    return paint


def _shade(contacts: int, most: int) -> int | None:
    """Return a cell's shade: by the root of its contacts, since most contacts are often in a few cells."""
    return min(isqrt(contacts * len(SHADES) ** 2 // most), len(SHADES) - 1) if contacts else None


def _legend(console: Console, population: Population) -> str:
    shown = "the darker, the more contacts"
    if not _is_coloured(console):
        shown = f"from few contacts to many: {' '.join(_marks(console))}"
    return f"In each cell: contacts, and their {_money(population)}; {shown}"


def _is_coloured(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def _marks(console: Console) -> str:
    return _PLAIN_MARKS if console.options.ascii_only else _MARKS


def _money(population: Population) -> str:
    """Return the name of what was added up."""
    shown = code_shown(population.currency or "")
    return shown if population.currency and len(shown) <= _LONGEST_NAME else "money"


def _group_table(found: Scored) -> Table:
    total = found.population.total
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("group", no_wrap=True)
    table.add_column("who bought")
    for name in ("contacts", "share", _money(found.population), "share", "days"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, meaning in MEANINGS.items():
        group = found.groups.get(name, Total())
        table.add_row(name, meaning, *_figures(group, total))
    table.add_row("all", "", *_figures(total, total), style="bold")
    return table


def _figures(group: Total, total: Total) -> Sequence[str]:
    days = f"{group.days / group.contacts:,.0f}" if group.contacts else "-"
    money_share = f"{group.money / total.money:.1%}" if total.money > 0 else "-"
    share = f"{group.contacts / total.contacts:.1%}"
    amount = _amount(group.money)
    shown = amount if len(amount) <= _LONGEST_AMOUNT else _figure(group.money)
    return f"{group.contacts:,}", share, shown, money_share, days


def _cut_lines(found: Scored) -> Iterator[Text]:
    cuts, money = found.cuts, _money(found.population)
    yield Text(f"Cuts into {_count(found.bins, 'score')}; a value that equals a cut is on its lower side")
    for name, values, unit in (
        ("recency", map(str, cuts.recency), "days"),
        ("frequency", map(str, cuts.frequency), "orders"),
        ("monetary", (f"{value.normalize():f}" for value in cuts.monetary), money),
    ):
        yield Text(f"  {name + ':':<10} {', '.join(values)} {unit}" if found.bins > 1 else f"  {name + ':':<10} none")


def _ranges(cuts: Sequence[int]) -> Iterator[str]:
    """Yield which days are between cuts, from the latest on; nothing between equal ones."""
    begin = 0
    for cut in cuts:
        between = f"{begin}-{cut}" if cut > begin else f"{begin}" if cut == begin else ""
        yield between if len(between) <= _CELL else f"..{cut}"
        begin = cut + 1
    yield f"{begin}+"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _amount(money: Decimal) -> str:
    """Return an amount in whole units, or exactly to two places where it is small."""
    return f"{money:,.0f}" if abs(money) >= 1_000 or money == money.to_integral_value() else f"{money:,.2f}"


def _figure(value: Decimal | int) -> str:
    """Return a number in at most six characters: 9,999, 12.3k, 1.23M, -4.56B; a whole one, or of three digits."""
    if abs(round(value)) < _LEAST_SHORTENED:
        return f"{round(value):,}"
    rounded = _ROUNDED.create_decimal(value)
    unit, name = next((unit, name) for unit, name in _UNITS if abs(rounded) >= unit)
    scaled = rounded / unit
    return f"{scaled:.{max(0, 2 - scaled.adjusted())}f}{name}" if abs(scaled) < _UNITS[-1][0] else f"{value:.0e}"
