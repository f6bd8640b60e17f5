"""The page on sizes: its figures are those of the pages that it names, and its arithmetic is that of a second hand."""

import json
import re

import pytest

from deploy.build.docs import ROOT
from deploy.build.sizing import ASSUMED, FIGURES, GROUP, LIMITS, RATES, SIZES, evaluated, met_at, values

DEPLOY = ROOT / "deploy"
ONLY_SHOWN = {"replica_memory", "commit"}  # figures that no formula needs
NAME = re.compile(r"[a-z_]+")


def cells(line):
    """Give the cells of a table's line."""
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def section(page):
    """Give the lines below the heading that a figure's page names."""
    file, _, anchor = page.partition("#")
    text = (DEPLOY / file).read_text(encoding="utf-8")
    parts = re.split(r"^#+ (.+)$", text, flags=re.MULTILINE)
    found = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): body
        for heading, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    return found[anchor]


def measured(figure):
    """Give a figure as its page has it: the cell's first number, or the last one of the words."""
    text = section(figure.page)
    if not figure.column:
        assert figure.row in " ".join(text.split())
        return float(re.findall(r"[\d.]+", figure.row)[-1])
    lines = [cells(line) for line in text.splitlines() if line.startswith("|")]
    (row,) = [line for line in lines if line[0] == figure.row]
    return float(row[lines[0].index(figure.column)].split()[0].replace(",", ""))


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure.unit != "bytes" or figure.column])
def test_a_figure_is_what_its_page_says(figure):
    """A benchmark that is run again, and gives another figure, is noticed here."""
    assert figure.value == measured(figure)


def test_the_bytes_of_an_event_and_of_its_output_are_those_of_the_batch_that_is_shown():
    """Both are the line's bytes by its 5,000 records; an order's 265 bytes are words of the text."""
    line = next(line for line in section("README.md#logs").splitlines() if '"batch.committed"' in line)
    batch, known = json.loads(line), {figure.name: figure for figure in FIGURES}
    assert known["input"].value == batch["input_bytes"] / batch["records"] == measured(known["input"]) / 5_000
    assert known["output"].value == batch["output_bytes"] / batch["records"] == measured(known["output"]) / 5_000
    assert known["order_bytes"].value == measured(known["order_bytes"])


def test_the_arithmetic_by_hand():
    """Each row at 100,000 events/s, written here once more with plain numbers."""
    found = values(100_000)
    orders = 10_000 * 86_400 / 2.5 * 30  # a tenth of the rate, all day, for a month
    memory = orders * 327 + orders / 10 * 5 * 79.6
    by_event = 1_633_732 / 5_000 + 2_074_348 / 5_000
    assert found["memory"] == pytest.approx(memory)
    assert (memory // 256e9, found["servers"], found["replicas"], found["partitions"]) == (14, 15, 30, 12)
    assert found["written"] == pytest.approx(100_000 * by_event * 3)
    assert (found["written"] // 50e6, found["brokers"]) == (4, 5)
    week, rest = 7 * 864e6 * by_event * 3, 23 * 345.6e6 * 2_074_348 / 5_000 * 3
    assert found["disk"] == pytest.approx(week + rest)
    traffic = 10_000 * (4 * by_event + 530) * 30 * 86_400 / 1e9 * 2 / 3 * 0.02
    costs = [45 * 30, 5 * 300, (week + rest) / 1e9 * 0.1, 2 * memory / 1e9 * 10, traffic]
    assert found["cost"] == pytest.approx(sum(costs))
    assert (found["members"], found["each"], found["contacts_partitions"]) == (7, 3, 21)
    assert found["batches"] == pytest.approx((7 - 3.4) * 100)
    assert found["batch"] == pytest.approx(0.299 / 96.6)
    assert found["busy"] == pytest.approx((3.4 + 360 * 0.299 / 96.6) / 7)
    assert found["build"] == pytest.approx(orders / 10 / 17_780)
    assert found["catch_up"] == pytest.approx((7 * 864e6 + 23 * 345.6e6) / 250_431)
    assert (found["healing"], found["thread"]) == pytest.approx((8_640_000, 0.49))
    assert found["offsets"] == pytest.approx(360 * 3 * 4_096)


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row.name)
def test_a_limit_is_met_at_the_rate_that_is_named(row):
    """It is exceeded there, and not one event a second below."""
    at, below = values(met_at(row)), values(met_at(row) - 1)
    assert at[row.name] > evaluated(row.most, at)
    assert below[row.name] <= evaluated(row.most, below)


def test_limits_are_in_the_order_in_which_they_are_met_and_the_page_says_which():
    """The numbers in the list of what to do are the rows, and the last table names those that a rate exceeds."""
    assert [met_at(row) for row in LIMITS] == sorted(met_at(row) for row in LIMITS)
    page = (DEPLOY / "SIZING.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| ([\d,]+) \| (?:None is met|Limits 1 to (\d))", page, re.MULTILINE))
    for rate in RATES:
        found = values(rate)
        exceeded = [number for number, row in enumerate(LIMITS, 1) if found[row.name] > evaluated(row.most, found)]
        assert exceeded == list(range(1, int(said[f"{rate:,}"] or 0) + 1))


def test_every_figure_and_assumption_is_used_once_by_name():
    """None is stated for nothing, and no name has two meanings."""
    rows = (*SIZES, *GROUP, *LIMITS)
    used = {name for row in rows for name in NAME.findall(f"{row.formula} {row.most}")}
    names = [stated.name for stated in (*FIGURES, *ASSUMED)]
    assert set(names) - used == ONLY_SHOWN
    every = [*names, *(row.name for row in rows), "rate"]
    assert len(every) == len(set(every))


def test_a_formula_with_a_name_that_is_not_known_is_an_error():
    """A misspelt name does not pass as nothing."""
    with pytest.raises(NameError, match="evnet"):
        evaluated("rate * evnet", {"rate": 1})
