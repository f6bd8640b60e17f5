"""Proves that the model sees a planted defect and shortens what fails, and plays some of its plans."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from processor.codec.avro import codec
from processor.state.mirror import Mirror
from tests.model.books import Violation
from tests.model.run import Played, play, shortened, told
from tests.model.steps import Step
from tests.support.audits import lineage_of

FIRST_DATABASE = 8  # of Redis; the others are for whoever shares it
SOME = Step("produce", {"count": 8, "seed": 1})
MORE = Step("produce", {"count": 8, "seed": 2})
RUN = Step("run", {"replicas": 1, "batch": 3, "verify": False})
AUDITED = Step("run", {"replicas": 2, "batch": 500, "verify": True})
COPY, FLUSH, RESTORE = Step("keep_copy", {}), Step("flush", {}), Step("restore", {})
EXPIRE = Step("expire_offsets", {})
CRASH = Step("crash", {"moment": "before end", "batch": 1})
MOVE_BACK = Step("move_offset", {"part": 0.9, "by": -5, "metadata": True})
PLANS = {
    "lost offsets with an empty Redis": [SOME, RUN, MORE, CRASH, EXPIRE, FLUSH, MORE, AUDITED],
    "offsets moved back, Redis restored": [SOME, RUN, COPY, MORE, RUN, RESTORE, MOVE_BACK, SOME, AUDITED],
    "facts topic recreated": [SOME, RUN, Step("recreate", {"role": "facts"}), MORE, AUDITED],
    "events deleted": [
        SOME,
        RUN,
        MORE,
        Step("retain", {"role": "events", "part": 0.9, "fraction": 1.0}),
        SOME,
        AUDITED,
    ],
}


@pytest.fixture
def disposable(services):
    """Give services that a test may damage."""
    assert services.disposable, "this test destroys data"
    return services


def test_some_plans(disposable):
    """Crashes, lost and moved offsets, lost, restored and recreated state, deleted events: nothing is lost silently."""
    with ThreadPoolExecutor(len(PLANS)) as pool:
        databases = range(FIRST_DATABASE, FIRST_DATABASE + len(PLANS))
        played = list(pool.map(lambda database, steps: play(disposable, database, steps), databases, PLANS.values()))
    failed = [
        told(name, 0, PLANS[name], each) for name, each in zip(PLANS, played, strict=True) if each.violation is not None
    ]
    assert not failed, "\n".join(failed)


def test_a_planted_defect_is_seen(disposable):
    """A program that skips an event, and sets offset and mirror as if it had processed it, is caught."""
    played = play(disposable, FIRST_DATABASE, [SOME, RUN, MORE, RUN], sabotage=skip_silently)
    assert played.violation is not None
    assert played.violation.kind == "events skipped", told("planted", 0, [], played)


def test_a_plan_is_shortened_to_what_fails():
    """What is left of a plan still fails in the same way, and no step of it can go."""

    def played_by(steps):
        fails = MORE in steps and EXPIRE in steps[steps.index(MORE) :]
        return Played(Violation("no way on" if fails else "stuck", "here"))

    steps = [SOME, RUN, MORE, COPY, FLUSH, RUN, EXPIRE, AUDITED]
    shorter, played = shortened(played_by, steps, Violation("no way on", "there"))
    assert shorter == [MORE, EXPIRE]
    assert played.violation.kind == "no way on"


def skip_silently(world):
    """Have every run of this world begin one event too far in one partition."""
    begin = world.books.begin

    def begin_too_far():
        begin()
        offsets = world.offsets()
        for partition, unprocessed in world.books.pending().items():
            if offsets and partition in offsets and unprocessed:
                offset, metadata = offsets[partition]
                mirror = Mirror(world.redis, lineage_of(world.settings), codec()).key(partition)
                _, _, facts = world.redis.hget(mirror, "").partition(b" ")
                world.set_offset(partition, offset + 1, metadata)
                world.redis.hset(mirror, "", f"{offset + 1} {facts.decode()}")

    world.books.begin = begin_too_far
