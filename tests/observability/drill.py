"""The drill: brings about one fault after the other, and sees which alert fires and what `watch` shows: `make drill`.

A real Prometheus with the shipped rules scrapes two replicas, contact index and healer, on a real broker and Redis.
All durations in the rules are divided by one factor, 10 by default; thresholds stay, and so does the time that a fault
takes to reach one. Each fault is healed before the next: then its alert no longer fires, and `watch` shows no trouble.

Prints a table for deploy/observability/README.md. Exit codes: 0 each fault's alert fired and went away, and `watch`
named the fault; 1 something did not, and is named; 2 a program is missing.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from deploy.build.observability import FOLDER
from deploy.local.services import ServicesError
from tests.observability.drill_faults import DRILLS, line_of
from tests.observability.drill_world import DrillWorld
from tests.observability.scaled_rules import scaled
from tests.observability.servers import Prometheus, require_programs
from tests.support.deployment import await_condition

HEALED_S = 400.0
CALM = "Nothing waits and nothing is silent."


def drill(folder, factor, drills):
    """Play the drills; yield for each what `_played` gives, or what went wrong, as text."""
    rules = folder / "alerts.yaml"
    rules.write_text(scaled((FOLDER / "prometheus/alerts.yaml").read_text(), factor))
    prometheus = Prometheus(folder / "prometheus", rules)
    try:
        world = DrillWorld(folder, prometheus)
        try:
            world.begin()
            for one in drills:
                try:
                    yield _played(one, world, prometheus)
                except AssertionError as error:
                    yield f"{one.what}: {error}"
        finally:
            world.end()
    finally:
        prometheus.end()


def _played(one, world, prometheus):
    """Give what was seen: fault, alert, seconds until it fired, those of others before it, the line of `watch`."""
    await_condition(lambda: one.alert not in prometheus.firing(), f"{one.alert} is silent", HEALED_S)
    before = prometheus.firing()
    fired: dict[str, float] = {}
    begun = time.monotonic()

    def seen():
        for name in prometheus.firing() - before:
            fired.setdefault(name, time.monotonic() - begun)
        return one.alert in fired

    with one.fault(world):
        problem = _until(seen, one, world, fired)
        watched = world.watched()
    healed = time.monotonic()
    await_condition(lambda: one.alert not in prometheus.firing(), f"{one.alert} ends", HEALED_S)
    await_condition(lambda: CALM in world.watched(), world.watched, HEALED_S)
    assert problem is None, problem
    line = line_of(watched, one.shown)
    assert line is not None, f"watch shows no line {one.shown!r} in\n{watched}"
    silent_s = time.monotonic() - healed
    print(f"{one.what}: {fired}, silent {silent_s:.0f} s after it was healed\n{watched}", file=sys.stderr, flush=True)
    others = {name: after for name, after in fired.items() if name != one.alert}
    return one.what, one.alert, fired[one.alert], others, line


def _until(seen, one, world, fired):
    """Wait until the alert fires; give what is wrong if it does not: the fault is healed all the same."""
    try:
        await_condition(seen, lambda: f"{one.alert} does not fire; {fired} do\n{world.watched()}", one.patience_s)
    except AssertionError as error:
        return str(error)
    return None


def _row(what, alert, after_s, others, line):
    before = "; before it " + ", ".join(f"{name} {after:.0f} s" for name, after in others.items()) if others else ""
    return f"| {what} | {alert} | {after_s:.0f} s{before} | {line.replace('|', chr(92) + '|')} |"


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Bring about faults, and see which alerts fire.")
    parser.add_argument("--factor", type=float, default=10, help="what durations in the rules are divided by")
    parser.add_argument("--only", help="faults by name, with commas between them; by default all")
    parser.add_argument("--keep", help="a folder for logs and data, which stay; default: a temporary one")
    options = parser.parse_args()
    known = {one.fault.__name__: one for one in DRILLS}
    names = options.only.split(",") if options.only else list(known)
    if unknown := set(names) - known.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    print(f"All durations in the rules are divided by {options.factor:g}; thresholds stay.\n")
    print("| fault | alert | after | what `watch` showed then |\n|---|---|---|---|", flush=True)
    try:
        require_programs(("prometheus",))
        with tempfile.TemporaryDirectory(prefix="order-facts-drill-") as folder:
            if options.keep:
                Path(options.keep).mkdir(parents=True)
            wrong = 0
            for seen in drill(Path(options.keep or folder), options.factor, [known[name] for name in names]):
                wrong += isinstance(seen, str)
                print(seen if isinstance(seen, str) else _row(*seen), flush=True)
    except ServicesError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
