"""The fuzz in short: its corpus, the corpus changed at random, and a round of what Hypothesis draws."""

import random
import secrets

import pytest

from tests.fuzz import corpus, foreign_schemas
from tests.fuzz.checking import Checker
from tests.fuzz.engines import play_drawn
from tests.fuzz.foreign_schemas import foreign_cases
from tests.fuzz.form import case_of
from tests.fuzz.session import Session

ENTRIES = corpus.entries()
CHANGED = 400


@pytest.mark.parametrize(("name", "expect", "case"), ENTRIES, ids=[name for name, _, _ in ENTRIES])
def test_an_input_of_the_corpus_comes_out_as_it_did(name, expect, case):
    """Every record gives what its entry says, as fastavro and the reference fold see it too, in 100 ms of CPU time."""
    assert Checker().check(case) == expect


def test_the_corpus_changed_at_random_gives_facts_or_reasons():
    """Bytes changed, cut out, doubled and put together: one fact or one reason each, the reference's."""
    seed = secrets.randbelow(1 << 31)
    print(f"seed {seed}")
    source, forms, checker = random.Random(seed), corpus.forms(), Checker()
    for _ in range(CHANGED):
        form = bytearray(source.choice(forms))
        for _ in range(source.randrange(1, 6)):
            place, other = source.randrange(len(form) + 1), source.choice(forms)
            cut = source.randrange(len(other))
            piece = source.choice((source.randbytes(1), b"\xff", b"\xfe", other[cut : cut + source.randrange(40)]))
            form[place : place + source.choice((0, 1, len(piece)))] = piece
        checker.check(case_of(bytes(form[:4_096])))
    assert checker.records >= CHANGED / 2


def test_what_hypothesis_draws_gives_facts_or_reasons(tmp_path):
    """A round of the structured engine from a fresh seed: `make fuzz SEED=` begins with the like."""
    seed = secrets.randbelow(1 << 31)
    print(f"seed {seed}")
    session = Session(tmp_path, seconds=60, limit_ms=100.0)
    play_drawn(session, seed, examples=80)
    assert not session.failures
    assert session.checker.records >= session.checker.compared >= 100


@pytest.mark.parametrize("name", foreign_schemas.KINDS)
def test_a_schema_of_a_hostile_registry_costs_little(name):
    """Read or refused, in a second of CPU time, and so is a value of it, in 100 ms: never another error."""
    assert set(Checker().check(foreign_schemas.named(name))) <= {"fact", "undecodable"}


def test_what_hypothesis_draws_of_foreign_schemas_gives_facts_or_reasons(tmp_path):
    """A round of the engine for schemas of a registry, from a fresh seed: what resolves is what fastavro reads."""
    seed = secrets.randbelow(1 << 31)
    print(f"seed {seed}")
    session = Session(tmp_path, seconds=60, limit_ms=100.0)
    play_drawn(session, seed, examples=80, strategy=foreign_cases)
    assert not session.failures
    assert session.checker.records >= 60
