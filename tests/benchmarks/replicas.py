"""Item 8: what an event costs when 1, 2 or 4 replicas share the work, all on the one core of the program."""

from tests.benchmarks import load, run
from tests.benchmarks.throughput import summary

COUNTS = (1, 2, 4)


def measure(stage, options, say):
    """Give the figures by the number of replicas."""
    settings = stage.with_contacts(options.contacts).settings
    traffic = load.Traffic(contact_count=options.contacts)
    events = stage.send(settings.events_topic, traffic.events(options.events))
    inputs = {"events_topic": settings.events_topic, "contacts_topic": settings.contacts_topic}
    runs = {str(number): [] for number in COUNTS}
    for _ in range(options.repeat):
        for number in COUNTS:
            deployment = stage.deployment(stage.settings(**inputs))
            names = [f"replica-{replica}" for replica in range(1, number + 1)]
            done = run.measure(stage, _starter(stage, deployment, names), deployment.settings, events)
            runs[str(number)].append(done.figures)
            stage.remove(deployment)
            say(f"{number} replicas: {done.figures['cpu_us']:.1f} us an event")
    return {"events": events, "counts": {number: summary(found) for number, found in runs.items()}}


def _starter(stage, deployment, names):
    return lambda: run.replicas(stage, deployment, names)
