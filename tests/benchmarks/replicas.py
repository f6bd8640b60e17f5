"""Item 8: what an event costs when 1, 2 or 4 replicas share the work, on one core and on several.

On one core they have the program's. Either the system's scheduler goes from one to the other, hundreds of times a
second, and each finds the caches filled by another one; the bare loop, shared out in the same way, tells how much of
the cost is that. Or they run one at a time, half a second each: what they cost with a core each, as far as a machine
with fewer cores can tell. On several cores the first has the program's and the others those of the services, round and
round.
"""

import time
from typing import NamedTuple

from tests.benchmarks import load, run
from tests.benchmarks.programs import PROGRAMS, Job
from tests.benchmarks.throughput import summary

COUNTS = (1, 2, 4)
CONTROL = "bare"
LONGER = 3  # times the events of the other parts: four on a core take seconds until all are at work
TURN_S = 0.5  # four in turns wait 1.5: a request that waits for 3 is given up


class Share(NamedTuple):
    """How many replicas run on how many cores, and whether one at a time."""

    replicas: int
    cores: int
    in_turns: bool = False

    def __str__(self):
        return f"{self.replicas} {'in turns ' if self.in_turns else ''}on {self.cores}"


class Turns:
    """Replicas of which one runs at a time, while all are at work; before and after the scheduler's turns are enough.

    (Some have more partitions than others, and would be waiting for the turns of those that are done.)
    """

    def __init__(self, turn_s=TURN_S):
        self._turn_s = turn_s
        self._next_s = 0.0
        self._number = 0

    def __call__(self, processes, done):
        """Change turns if it is time to."""
        begin, end = run.TOGETHER
        if done > end:
            for process in processes:
                process.resume()
        elif done >= begin and time.monotonic() >= self._next_s:
            self._number = (self._number + 1) % len(processes)
            for number, process in enumerate(processes):
                if number != self._number:
                    process.pause()
            processes[self._number].resume()
            self._next_s = time.monotonic() + self._turn_s


def measure(stage, options, say):
    """Give the figures by program and share, which reads "4 on 2": replicas on cores."""
    settings = stage.with_contacts(options.contacts).settings
    traffic = load.Traffic(contact_count=options.contacts)
    events = stage.send(settings.events_topic, traffic.events(LONGER * options.events))
    inputs = {"events_topic": settings.events_topic, "contacts_topic": settings.contacts_topic}
    own = shares_of(stage.cores.count)
    compared = {"order-facts": own, CONTROL: [share for share in own if not share.in_turns]}
    runs: dict[str, dict[str, list]] = {name: {str(share): [] for share in shares} for name, shares in compared.items()}
    for _ in range(options.repeat):
        for name, by_share in runs.items():
            for share in compared[name]:
                deployment = stage.deployment(stage.settings(**inputs))
                start_all = _starter(stage, PROGRAMS[name], deployment, share)
                turns = Turns() if share.in_turns else run.as_they_come
                figures = run.measure(stage, start_all, deployment.settings, events, turns=turns).figures
                by_share[str(share)].append(figures)
                stage.remove(deployment)
                say(f"{name}, {share}: {figures['cpu_us_together'] or 0:.1f} us an event, all at work")
    counted = {name: {share: summary(found) for share, found in by_share.items()} for name, by_share in runs.items()}
    return {"events": events, "programs": counted}


def shares_of(cores):
    """Give all on one core, then in turns on it, then a core each, as far as there are cores."""
    together = [Share(number, 1) for number in COUNTS]
    in_turns = [Share(number, 1, in_turns=True) for number in COUNTS if number > 1]
    apart = [Share(number, min(number, cores)) for number in COUNTS if min(number, cores) > 1]
    return together + in_turns + apart


def _starter(stage, program, deployment, share):
    numbered = [(f"replica-{number + 1}", number % share.cores) for number in range(share.replicas)]
    return lambda: [
        run.start(stage, program, Job(deployment, deployment.folder, instance_id=name), name, core)
        for name, core in numbered
    ]
