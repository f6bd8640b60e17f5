"""The small corpus `tests/data/fuzz_corpus.jsonl`: what the guided engine starts from, and a unit test replays."""

import json
from pathlib import Path

from tests.fuzz.case import of_json
from tests.fuzz.form import case_of
from tests.support.events import GOOD_VALUES, STATUSES, TYPES
from tests.support.hostile import HOSTILE_TEXTS, HOSTILE_VALUES

PATH = Path(__file__).parents[1] / "data" / "fuzz_corpus.jsonl"
_WORD_CHARACTERS = 40


def entries():
    """Give of each entry its name, what comes out of its records, and its case."""
    lines = [json.loads(line) for line in PATH.read_text(encoding="ascii").splitlines()]
    return [(line["name"], line["expect"], _case(line)) for line in lines]


def forms():
    """Give the corpus as bytes that a guided engine can change."""
    lines = [json.loads(line) for line in PATH.read_text(encoding="ascii").splitlines()]
    return [line["form"].encode("latin-1") for line in lines if "form" in line]


def words():
    """Give what a guided engine may put in: names, statuses, and hostile values that are short."""
    texts = [value for value in HOSTILE_VALUES if isinstance(value, str)]
    found = dict.fromkeys([*GOOD_VALUES, *STATUSES, *TYPES, *HOSTILE_TEXTS, *texts])
    return [word for word in found if word and len(word) <= _WORD_CHARACTERS]


def _case(line):
    if "form" in line:
        return case_of(line["form"].encode("latin-1"))
    return of_json(json.dumps(line["case"]).encode())
