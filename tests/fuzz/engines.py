"""The engines that need nothing beyond the tests' own packages: `python -m tests.fuzz.engines NAME FOLDER ...`.

large       records of `max_event_bytes`: every kind by its name, then kinds made up from the seed
structured  what Hypothesis draws, some hundred cases from each seed, shrunk where one fails
foreign     the same for writers' schemas that a registry gives, after the largest and oddest ones by name
"""

import argparse
import gc
import random

import hypothesis
from hypothesis import HealthCheck, Phase, given

from tests.fuzz import foreign_schemas, large
from tests.fuzz.drawing import cases
from tests.fuzz.foreign_schemas import foreign_cases
from tests.fuzz.session import Session

EXAMPLES = 200
LEAST_GROWN = 20


def play_large(session, seed):
    """Play every kind of large record and some made up, whatever the time, then go on with such."""
    source = random.Random(seed)
    for name in large.KINDS:
        _quietly(session, lambda name=name: session.play(large.named(name)))
    played = 0
    while played < LEAST_GROWN or not session.is_over():
        _quietly(session, lambda: session.play(large.grown(source)))
        played += 1


def play_structured(session, seed):
    """Play what Hypothesis draws, until the time is up."""
    while not session.is_over():
        play_drawn(session, seed)
        seed += 1
        gc.collect()


def play_foreign(session, seed):
    """Play every schema and answer that has a name, whatever the time, then what Hypothesis draws."""
    for name in foreign_schemas.KINDS:
        _quietly(session, lambda name=name: session.play(foreign_schemas.named(name)))
    while not session.is_over():
        play_drawn(session, seed, strategy=foreign_cases)
        seed += 1
        gc.collect()


def play_drawn(session, seed, examples=EXAMPLES, strategy=cases):
    """Play so many cases that Hypothesis draws from a seed, and the smallest it finds where one fails."""

    @hypothesis.settings(
        database=None,
        deadline=None,
        max_examples=examples,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(case=strategy())
    def play(case):
        session.play(case)

    _quietly(session, hypothesis.seed(seed)(play))


def _quietly(session, play):
    """Play; a case's failure is in the session's report, any other is the engine's own."""
    try:
        play()
    except Exception:
        if not session.has_failed:
            raise


ENGINES = {"large": play_large, "structured": play_structured, "foreign": play_foreign}


def parse(arguments=None):
    """Read what the process that started this one says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--limit-ms", type=float, required=True)
    return parser.parse_args(arguments)


def main():
    """Run one engine and leave its report in the folder."""
    options = parse()
    session = Session(options.folder, options.seconds, options.limit_ms)
    ENGINES[options.engine](session, options.seed)
    session.report()


if __name__ == "__main__":
    main()
