"""What each of the six steps costs: sums the `batch.committed` lines of processors' logs into a table.

Takes log files of one replica or of several; skips lines that are not JSON, and other events. Gives a Markdown table on
standard output. A replica waits in step 1 for its first record, and that counts as part of the step.
Exit codes: 0 done; 1 no batch was committed in these logs; 2 a file that cannot be read.

    python -m deploy.demo.steps LOGFILE...
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

COMMITTED: Final = "batch.committed"
STEPS: Final = (
    ("1 poll", "poll_ms"),
    ("2 decode", "decode_ms"),
    ("3 look up", "lookup_ms"),
    ("4 fold", "fold_ms"),
    ("5 commit", "commit_ms"),
    ("6 mirror", "mirror_ms"),
)


@dataclass(slots=True)
class Totals:
    """Sums over batches: their number, their records, and the time of each step by its field's name."""

    batches: int = 0
    records: int = 0
    time_ms: Counter[str] = field(default_factory=Counter)

    def add(self, line: dict[str, Any]) -> None:
        """Add one `batch.committed` line."""
        self.batches += 1
        self.records += line["records"]
        for _, name in STEPS:
            self.time_ms[name] += line[name]


def total(lines: Iterable[str]) -> Totals:
    """Sum the lines of logs."""
    totals = Totals()
    for text in lines:
        line = _json(text)
        if isinstance(line, dict) and line.get("event") == COMMITTED:
            totals.add(line)
    return totals


def table(totals: Totals) -> str:
    """Return the times of at least one batch as a Markdown table: in all, a batch, an event, and the share."""
    all_ms = sum(totals.time_ms.values())
    rows = [(step, totals.time_ms[name]) for step, name in STEPS]
    lines = ["| step | ms in all | ms a batch | us an event | share |", "|---|--:|--:|--:|--:|"]
    lines += [_row(step, ms, totals, all_ms) for step, ms in (*rows, ("all six", all_ms))]
    return "\n".join([*lines, "", f"{totals.records:,} events in {totals.batches:,} batches"])


def _row(step: str, ms: float, totals: Totals, all_ms: float) -> str:
    an_event_us = ms * 1000 / totals.records
    return f"| {step} | {ms:,.0f} | {ms / totals.batches:,.1f} | {an_event_us:,.1f} | {ms / all_ms:.1%} |"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # a library's line, or one that is still being written
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of some logs; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.steps", description="Sum the time of the six steps.")
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOGFILE", help="standard error of `order-facts run`")
    options = parser.parse_args(arguments)
    lines: list[str] = []
    for log in options.logs:
        try:
            lines += log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            print(f"{log}: {error.strerror}", file=sys.stderr)
            return 2
    totals = total(lines)
    if not totals.batches:
        print(f"no {COMMITTED} line in {', '.join(map(str, options.logs))}", file=sys.stderr)
        return 1
    print(table(totals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
