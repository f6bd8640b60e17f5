"""Proves that every stop line has its row in the operators' table, and that tests follow the rows."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from deploy.build.stops import ROWS, rows_of, stop_lines

TESTS = Path(__file__).parents[1]
NAMES = [row.name for row in ROWS]
LINES = list(stop_lines())


def followed():
    """Give the rows that tests follow, by the marker `follows`."""
    found: Counter[str] = Counter()
    for file in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "follows":
                found.update(str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))
    return found


@pytest.mark.parametrize("line", LINES, ids=[line.place for line in LINES])
def test_every_stop_line_has_one_row(line):
    """An operator who searches the table for words of a line finds one answer."""
    assert len(rows_of(line.text)) == 1, (line, rows_of(line.text))


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_every_row_is_of_a_line(row):
    """No row outlives its line."""
    assert any(row.says in line.text for line in LINES)


def test_rows_are_followed_to_a_running_program():
    """Each row has a test that goes on as it says, and no test names a row that is none."""
    assert len(set(NAMES)) == len(NAMES)
    assert sorted(followed().keys()) == sorted(NAMES)


def test_a_new_line_without_a_row_is_noticed(tmp_path):
    """Whoever adds a way to stop is told to say how to go on."""
    (tmp_path / "replica").mkdir()
    (tmp_path / "replica" / "new.py").write_text('raise StopError(f"{what} is of the wrong colour; paint it")\n')
    (line,) = stop_lines(tmp_path)
    assert line == ("replica/new.py:1", "… is of the wrong colour; paint it")
    assert rows_of(line.text) == []
