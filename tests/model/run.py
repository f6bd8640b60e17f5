"""The model of start, recovery and growth: `python -m tests.model.run --seconds 600 --seed 7`, or `make model`.

It draws plans (see `steps`), plays each on topics and a Redis database of its own, with the program's processes, and
requires after each run that the books agree (see `books`) or that a stop said how to go on (see `ways`). A plan that
fails is shortened while it still fails the same way. Prints each such plan as a script, then a summary as JSON; exits
with 1 where anything was found.
"""

import argparse
import json
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy.local.services import start_services
from processor.settings import Settings
from tests.model.books import Violation
from tests.model.estate import ROLES, Skipped
from tests.model.steps import ACTIONS, BUYERS, Step, plan
from tests.model.world import World
from tests.support.traffic import contacts

LENGTH = 8  # of a plan's middle part
WORKERS = 3
SHRINKS = 30  # plays, at most, to shorten one plan


@dataclass
class Played:
    """What came of a plan: what broke (None: nothing), and what was said at each step."""

    violation: Violation | None
    script: list = field(default_factory=list)


def play(services, database, steps, sabotage=None):
    """Play a plan in a world of its own; `sabotage` may damage the world's methods first."""
    unique = secrets.token_hex(4)
    folder = Path(tempfile.mkdtemp(prefix="order-facts-model-"))
    settings = Settings(
        bootstrap_servers=services.bootstrap_servers,
        redis_url=f"{services.redis_url.rsplit('/', 1)[0]}/{database}",
        group_id=f"group-{unique}",
        instance_id="model",
        events_topic=f"events-{unique}",
        contacts_topic=f"contacts-{unique}",
        facts_topic=f"facts-{unique}",
        rejected_topic=f"rejected-{unique}",
        identifier_key="a secret of the tests",
    )
    world = World(settings, folder)
    played = Played(None)
    try:
        world.create_missing_topics()
        world.produce_contacts(contacts()[:BUYERS])
        if sabotage is not None:
            sabotage(world)
        for step in steps:
            _take(world, step, played)
    except Violation as violation:
        played.violation = violation
    except Exception as error:  # noqa: BLE001 - whatever the model or the services met: it is not silent either
        where = "".join(traceback.format_exception(error)[-4:])
        played.violation = Violation(f"the model failed ({type(error).__name__})", where)
    finally:
        world.end()
        _remove_topics(world)
        shutil.rmtree(folder, ignore_errors=True)
    return played


def _take(world, step, played):
    world.said.clear()
    played.script.append(str(step))
    began = time.monotonic()
    try:
        ACTIONS[step.name](world, **step.arguments)
    except Skipped as skipped:
        played.script[-1] += f"  # skipped: {skipped}"
    finally:
        world.say(f"{time.monotonic() - began:.1f} s")
        played.script += [f"    # {line}" for line in world.said]


def _remove_topics(world):
    names = {getattr(settings, f"{role}_topic") for settings in (*world.earlier, world.settings) for role in ROLES}
    for future in world.cluster.admin.delete_topics(list(names)).values():
        future.exception()


def shortened(played_by, steps, violation):
    """Give a shorter plan that fails the same way, and what came of it; `played_by` plays a plan."""
    best, played = steps, None
    size, plays = max(1, len(best) // 2), 0
    while size >= 1 and plays < SHRINKS:
        for first in range(0, len(best), size):
            shorter = best[:first] + best[first + size :]
            if plays >= SHRINKS or not shorter:
                break
            plays += 1
            again = played_by(shorter)
            if again.violation is not None and again.violation.kind == violation.kind:
                best, played = shorter, again
                break
        else:
            size //= 2
    return best, played


class Explorer:
    """Plays plans in several threads until the time is over, and keeps what it finds."""

    def __init__(self, services, seed, seconds, length=LENGTH, most=None):
        self._services = services
        self._seed = seed
        self._until_s = time.monotonic() + seconds
        self._length = length
        self._most = most
        self._lock = threading.Lock()
        self._number = 0
        self.plays = 0
        self.steps: Counter[str] = Counter()
        self.found: list[tuple] = []  # (number, steps, played), shortened
        self.again: Counter[int] = Counter()

    def explore(self, workers=WORKERS):
        """Play until the time is over."""
        threads = [threading.Thread(target=self._work, args=(index,), daemon=True) for index in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, database):
        while (number := self._next()) is not None:
            steps = plan(random.Random(f"{self._seed} {number}"), self._length)
            played = play(self._services, database, steps)
            with self._lock:
                self.plays += 1
                self.steps.update(step.name for step in steps[: sum(line[:5] != "    #" for line in played.script)])
            if played.violation is not None:
                self._note(database, number, steps, played)

    def _next(self):
        with self._lock:
            if time.monotonic() > self._until_s or (self._most is not None and self._number >= self._most):
                return None
            self._number += 1
            return self._number

    def _note(self, database, number, steps, played):
        kind, names = played.violation.kind, {_sort(step) for step in steps}
        with self._lock:
            for other, shorter, found in self.found:
                if found.violation.kind == kind and {_sort(step) for step in shorter} <= names:
                    self.again[other] += 1
                    return
        print(f"found, to be shortened: {told(self._seed, number, steps, played)}", file=sys.stderr, flush=True)
        shorter, again = shortened(partial(play, self._services, database), steps, played.violation)
        with self._lock:
            self.found.append((number, shorter, again or played))
        print(told(self._seed, number, shorter, again or played), flush=True)

    def summary(self):
        """Give what was played and found."""
        return {
            "seed": self._seed,
            "plans": self.plays,
            "steps": dict(sorted(self.steps.items())),
            "found": [[number, found.violation.kind, 1 + self.again[number]] for number, _, found in self.found],
        }


def _sort(step):
    """Give what makes two steps of different findings different."""
    return step.name, str(step.arguments.get("role") or step.arguments.get("roles") or step.arguments.get("fields"))


def told(seed, number, steps, played):
    """Give a finding as text: the script, what broke, and how to play it again."""
    script = "\n".join(f"  {line}" for line in played.script)
    again = json.dumps([[step.name, step.arguments] for step in steps])
    return f"--- seed {seed}, plan {number}\n{script}\n  => {played.violation}\n  again: --plan '{again}'\n"


@contextmanager
def ended_by_signal():
    """Have SIGTERM go through the clean-up, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    yield


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Play random plans of start, recovery and growth.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--length", type=int, default=LENGTH)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--plan", help="play this plan only: JSON, as printed")
    parser.add_argument("--number", type=int, help="play only the plan of this number")
    options = parser.parse_args()
    seed = options.seed or f"{secrets.randbelow(1 << 31)}"
    with ended_by_signal(), start_services() as services:
        if options.plan or options.number:
            steps = plan(random.Random(f"{seed} {options.number}"), options.length)
            if options.plan:
                steps = [Step(name, arguments) for name, arguments in json.loads(options.plan)]
            played = play(services, 0, steps)
            print(told(seed, options.number or 0, steps, played))
            sys.exit(1 if played.violation else 0)
        print(f"seed {seed}", file=sys.stderr)
        explorer = Explorer(services, seed, options.seconds, options.length)
        explorer.explore(options.workers)
    print(json.dumps(explorer.summary(), indent=2))
    sys.exit(1 if explorer.found else 0)


if __name__ == "__main__":
    main()
