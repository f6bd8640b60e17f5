"""Draws the picture of `order-facts watch` in the README: a real summary of recorded lines, as SVG by rich.

The lines are those of a chaos run (tests/data/README.md). With `--check` it only compares.
"""

import gzip
import io
import re
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from deploy.build.written_files import write_or_compare
from processor.watching.summary import summary
from processor.watching.view import WIDTH, view
from processor.watching.watched import Watched

ROOT: Final = Path(__file__).resolve().parents[2]
LINES: Final = ROOT / "tests" / "data" / "chaos_log.jsonl.gz"
PICTURE: Final = ROOT / "deploy" / "watch.svg"
_TITLE: Final = "order-facts watch --once tests/data/chaos_log.jsonl.gz"
# No font is loaded from elsewhere: a page that shows a picture does not let it.
_FORMAT: Final = re.sub(r"@font-face \{\{.*?\n    \}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace"
)


def drawn() -> str:
    """Return the picture."""
    watched = Watched()
    with gzip.open(LINES) as lines:
        for line in lines:
            watched.feed(line)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(view(summary(watched)), highlight=False, markup=False)
    return console.export_svg(title=_TITLE, theme=MONOKAI, code_format=_FORMAT, unique_id="watch") + "\n"


def main() -> None:
    """Write the picture, or with --check name it if it differs, and exit with 1."""
    write_or_compare("Draw the picture of `watch`.", {PICTURE: drawn()}, ROOT, "differs from what the code draws")


if __name__ == "__main__":
    main()
