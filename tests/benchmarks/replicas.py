"""Item 8: what an event costs when 1, 2 or 4 replicas share the work, all on the one core of the program.

Processes that share a core cost more each, whatever they are: they take turns in its caches. The bare loop, shared out
in the same way, tells how much of that is the machine's.
"""

from tests.benchmarks import load, run
from tests.benchmarks.programs import PROGRAMS, Job
from tests.benchmarks.throughput import summary

COUNTS = (1, 2, 4)
CONTROL = "bare"
LONGER = 2  # times the events of the other parts: four replicas on a core take seconds until all are at work


def measure(stage, options, say):
    """Give the figures by program and number of replicas."""
    settings = stage.with_contacts(options.contacts).settings
    traffic = load.Traffic(contact_count=options.contacts)
    events = stage.send(settings.events_topic, traffic.events(LONGER * options.events))
    inputs = {"events_topic": settings.events_topic, "contacts_topic": settings.contacts_topic}
    runs = {name: {str(number): [] for number in COUNTS} for name in ("order-facts", CONTROL)}
    for _ in range(options.repeat):
        for name, by_count in runs.items():
            for number in COUNTS:
                deployment = stage.deployment(stage.settings(**inputs))
                start_all = _starter(stage, PROGRAMS[name], deployment, number)
                figures = run.measure(stage, start_all, deployment.settings, events).figures
                by_count[str(number)].append(figures)
                stage.remove(deployment)
                say(f"{name}, {number} replicas: {figures['cpu_us_together'] or 0:.1f} us an event, all at work")
    counted = {name: {n: summary(found) for n, found in by_count.items()} for name, by_count in runs.items()}
    return {"events": events, "programs": counted}


def _starter(stage, program, deployment, number):
    names = [f"replica-{replica}" for replica in range(1, number + 1)]
    return lambda: [
        run.start(stage, program, Job(deployment, deployment.folder, instance_id=name), name) for name in names
    ]
