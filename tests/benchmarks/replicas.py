"""Item 8: what an event costs when 1, 2 or 4 replicas share the work, on one core and on several.

On one core they have the program's, in turns, and find its caches filled by another one at each turn; the bare loop,
shared out in the same way, tells how much of the cost is that. On several cores the first has the program's and the
others those of the services, round and round.
"""

from tests.benchmarks import load, run
from tests.benchmarks.programs import PROGRAMS, Job
from tests.benchmarks.throughput import summary

COUNTS = (1, 2, 4)
CONTROL = "bare"
LONGER = 3  # times the events of the other parts: four on a core take seconds until all are at work


def measure(stage, options, say):
    """Give the figures by program and share, which reads "4 on 2": replicas on cores."""
    settings = stage.with_contacts(options.contacts).settings
    traffic = load.Traffic(contact_count=options.contacts)
    events = stage.send(settings.events_topic, traffic.events(LONGER * options.events))
    inputs = {"events_topic": settings.events_topic, "contacts_topic": settings.contacts_topic}
    shares = shares_of(stage.cores.count)
    runs = {name: {share: [] for share in shares} for name in ("order-facts", CONTROL)}
    for _ in range(options.repeat):
        for name, by_share in runs.items():
            for share, (replicas, cores) in shares.items():
                deployment = stage.deployment(stage.settings(**inputs))
                start_all = _starter(stage, PROGRAMS[name], deployment, replicas, cores)
                figures = run.measure(stage, start_all, deployment.settings, events).figures
                by_share[share].append(figures)
                stage.remove(deployment)
                say(f"{name}, {share}: {figures['cpu_us_together'] or 0:.1f} us an event, all at work")
    counted = {name: {share: summary(found) for share, found in by_share.items()} for name, by_share in runs.items()}
    return {"events": events, "programs": counted}


def shares_of(cores):
    """Give (replicas, cores) by name: all on one core, then a core each, as far as there are cores."""
    together = [(number, 1) for number in COUNTS]
    apart = [(number, min(number, cores)) for number in COUNTS if min(number, cores) > 1]
    return {f"{number} on {on}": (number, on) for number, on in together + apart}


def _starter(stage, program, deployment, replicas, cores):
    numbered = [(f"replica-{number + 1}", number % cores) for number in range(replicas)]
    return lambda: [
        run.start(stage, program, Job(deployment, deployment.folder, instance_id=name), name, core)
        for name, core in numbered
    ]
