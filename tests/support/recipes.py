"""Reads the recipes of schemas/README.md: the blocks of code under each heading."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "schemas" / "README.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{2,3} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code: its language and its text."""

    language: str
    text: str


def blocks_of(heading, file=PAGE):
    """Give the blocks under a heading of a page, up to the next one."""
    page = file.read_text(encoding="utf-8")
    code = [found.span() for found in FENCE.finditer(page)]
    headings = [h for h in HEADING.finditer(page) if not any(start < h.start() < end for start, end in code)]
    (number,) = [number for number, found in enumerate(headings) if found[1] == heading]
    end = headings[number + 1].start() if number + 1 < len(headings) else len(page)
    return [Block(found[1], found[2]) for found in FENCE.finditer(page, headings[number].end(), end)]


def values_of(heading):
    """Give the JSON values under a heading, in their order."""
    return [json.loads(block.text) for block in blocks_of(heading) if block.language == "json"]


def recipes():
    """Give the headings of all recipes, in the page's order."""
    page = FENCE.sub("", PAGE.read_text(encoding="utf-8"))
    return re.findall(r"^### (.+)$", page.partition("\n## Recipes\n")[2].partition("\n## ")[0], re.MULTILINE)


def mismatches(expected, actual, place=""):
    """Say where a fact is not as a recipe shows it; of an object only the names that are shown count."""
    match expected, actual:
        case dict(), dict():
            return [
                told for name in expected for told in mismatches(expected[name], actual.get(name), f"{place}.{name}")
            ]
        case list(), list() if len(expected) == len(actual):
            pairs = enumerate(zip(expected, actual, strict=True))
            return [told for number, pair in pairs for told in mismatches(*pair, f"{place}[{number}]")]
    same = type(expected) is type(actual) and expected == actual
    return [] if same else [f"{place}: expected {expected!r}, got {actual!r}"]
