"""Asks the demonstration's facts: exports a snapshot, has `segments` answer, and keeps the snapshot for the user's own.

The snapshot stays in the project's cache until the next demonstration: its data is what the demonstration was given.
"""

import csv
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from deploy.demo import report
from deploy.demo.segments import Question
from deploy.local.children import Child, Children
from deploy.local.programs import CACHE

SNAPSHOTS = CACHE / "demo"


def ask(console: Console, children: Children, questions: Sequence[Question], folder: Path, command: Path) -> None:
    """Show what `segments` answers about all facts, and what to type, with a `command`, for another question."""
    if not questions:
        console.print("\nNo fact holds an item, so there is nothing to ask.")
        return
    data = folder / "snapshots"
    children.finish(children.begin("facts export", "facts", "export", str(data)))
    end = max(question.as_of for question in questions)
    grid = children.begin("segments rfm", "segments", "rfm", "--grid", "--data", str(data), "--as-of", str(end))
    begun = [_begin(children, question, data, folder / f"question-{n}.sql") for n, question in enumerate(questions)]
    answers = [_contacts(children.finish(child)) for child in begun]
    console.print()
    console.print(report.questions_table(zip(questions, answers, strict=True)), soft_wrap=False)
    console.print(f"{report.first_answer_text(answers[0])}\n")
    console.print(children.finish(grid).read_text(encoding="utf-8"))
    keep(data, SNAPSHOTS)
    console.print(report.ask_text(questions[0], command, SNAPSHOTS))


def keep(data: Path, place: Path) -> None:
    """Put a folder of snapshots in place of one that an earlier demonstration left, or another one that runs now."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="demo-", dir=place.parent) as aside:
        shutil.copytree(data, Path(aside) / "new", symlinks=True)
        if place.exists():
            place.rename(Path(aside) / "old")
        (Path(aside) / "new").rename(place)


def _begin(children: Children, question: Question, data: Path, file: Path) -> Child:
    file.write_text(question.sql, encoding="utf-8")
    options = ("--data", str(data), "--as-of", str(question.as_of), "--format", "csv")
    return children.begin(file.stem, "segments", "run", str(file), *options)


def _contacts(output: Path) -> list[str]:
    with output.open(encoding="utf-8", newline="") as lines:
        return [row[0] for row in list(csv.reader(lines))[1:]]
