"""Proves what `segments rfm` draws for large figures, and on terminals of all kinds."""

import io
import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.cells import cell_len
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.style import Style

from processor.cli.rfm_picture import MEANINGS, SHADES, WIDTH, _figure, draw_grid, draw_scored
from processor.segments.rfm import Cuts, Grid, Population, Scored, Total

MOMENT = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.mark.parametrize("system", [ColorSystem.STANDARD, ColorSystem.EIGHT_BIT, ColorSystem.TRUECOLOR])
def test_shades_are_readable_on_any_terminal(system):
    """Both colours of a cell are set, and differ enough, also where a terminal has sixteen colours only."""
    for shade in SHADES:
        style = Style.parse(shade)
        assert style.color is not None
        assert style.bgcolor is not None
        text, ground = (_luminance(colour.downgrade(system)) for colour in (style.color, style.bgcolor))
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5  # WCAG 2's ratio for text


def _luminance(colour: Color):
    parts = [part / 255 for part in colour.get_truecolor()]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    ("options", "marks", "has_colours"),
    [
        ({"force_terminal": True, "color_system": "256"}, "", True),
        ({"force_terminal": True, "color_system": "256", "no_color": True}, "·░▒▓█", False),
        ({"force_terminal": False}, "·░▒▓█", False),
    ],
)
def test_where_there_are_no_colours_marks_say_it(options, marks, has_colours):
    """A pipe and NO_COLOR get marks, a terminal gets a ground of its own for each cell, and no line is too long."""
    file = io.StringIO()
    console = Console(file=file, width=WIDTH, **options)
    draw_scored(console, large(), MOMENT)
    draw_grid(console, Grid(large().population, large().cells), MOMENT)
    drawn = file.getvalue()
    assert ("\x1b[38;5;16;48;5;195m" in drawn) == has_colours
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn)
    assert set(marks) <= set(plain)
    assert has_colours == (not set("░▒▓█") & set(plain))
    assert max(map(cell_len, plain.splitlines())) <= WIDTH


def test_ascii_only():
    """An output whose encoding has no blocks gets other marks."""
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    console = Console(file=raw, width=WIDTH)
    draw_scored(console, large(), MOMENT)
    raw.flush()
    assert b"from few contacts to many: . : + * #" in raw.buffer.getvalue()


def large():
    """Give RFM of a large shop, of eight scores, with the widest figures."""
    sums = [(count := 10**number % 1_999_999, count, Decimal(f"-{count}456789.1234"), count) for number in range(7)]
    cells = {(r, value): Total(*sums[(8 * r + value) % 7]) for r in range(1, 9) for value in range(1, 9)}
    total = Total(9_999_999, 99_999_999, Decimal("999999999.9999"), 99_999_999)
    groups = dict.fromkeys(MEANINGS, Total(999_999, 9_999_999, Decimal("99999999.9999"), 9_999_999))
    cuts = Cuts(tuple(range(1000, 8000, 1000)), tuple(range(1, 8)), tuple(map(Decimal, range(7))))
    return Scored(Population(total, 10**7, "a currency of a long name", ("UAH",)), 8, 8, cuts, cells, groups)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *[(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (99_950, "100k"), (999_499, "999k"), (999_500, "1.00M")],
        *[(Decimal("9999.99"), "10.0k"), (Decimal("0.4"), "0"), (Decimal("-12345.6"), "-12.3k")],
        *[(10**9, "1.00B"), (-999 * 10**9, "-999B"), (10**12, "1.00T"), (Decimal(10) ** 25, "1e+25")],
    ],
)
def test_figures_fit_a_cell(value, shown):
    """Six characters at most, three digits at least."""
    assert _figure(value) == shown
    assert len(shown) <= 6
