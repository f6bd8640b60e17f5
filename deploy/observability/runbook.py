"""The runbook's headings: names of alerts and of log events, and where each is."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
RUNBOOK: Final = "deploy/RUNBOOK.md"
_HEADING: Final = re.compile(r"^### (?P<names>.+)$", re.MULTILINE)
_SPACES: Final = re.compile(r"\s")


def headings(text: str) -> list[str]:
    """Return the names that have a section, in order."""
    return [found["names"].replace("`", "") for found in _HEADING.finditer(text)]


def anchor(heading: str) -> str:
    """Return what comes after # in the address of a heading, as GitHub and GitLab make it."""
    return _SPACES.sub("-", "".join(sign for sign in heading.lower() if sign.isalnum() or sign in "_- "))
