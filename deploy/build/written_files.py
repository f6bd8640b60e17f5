"""Files that are written from the code: a command writes them, or with `--check` only compares."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path


def write_or_compare(description: str, texts: Mapping[Path, str], root: Path, difference: str) -> None:
    """Write each file that has not its text, or with --check in the arguments name it; exit with 1 if one is named.

    `difference` says of a named file in what it differs.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="only compare; exit with 1 where a file differs")
    is_check = parser.parse_args().check
    differing = {file: text for file, text in texts.items() if not file.exists() or file.read_text("utf-8") != text}
    for file, text in differing.items():
        if not is_check:
            file.write_text(text, encoding="utf-8")
        done = f"{difference}; run: make docs" if is_check else "written"
        print(f"{file.relative_to(root)}: {done}")
    sys.exit(int(is_check and bool(differing)))
