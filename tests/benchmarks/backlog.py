"""Item 9: whether memory is bounded: the most that a replica holds with a backlog, and with one ten times as long."""

from tests.benchmarks import load, run
from tests.benchmarks.stage import mirror_of, remove_mirror

BACKLOGS = (100_000, 1_000_000)
LARGE = (500_000, 5_000_000)


def measure(stage, options, say):
    """Give the peak memory by the length of the backlog, and the ratio."""
    contacts = stage.with_contacts(options.contacts).settings.contacts_topic
    sizes = (
        (LARGE if options.large else BACKLOGS) if options.backlog is None else (options.backlog, options.backlog * 10)
    )
    found = {}
    for size in sizes:
        deployment = stage.deployment(stage.settings(contacts_topic=contacts))
        settings = deployment.settings
        events = stage.send(settings.events_topic, load.Traffic(contact_count=options.contacts).events(size))
        done = run.measure(stage, _starter(stage, deployment), settings, events)
        found[str(size)] = done.figures
        remove_mirror(mirror_of(settings))
        stage.remove(deployment)
        say(f"backlog of {size:,}: {done.figures['peak_rss_mib']:.0f} MiB")
    small, large = (found[str(size)]["peak_rss_mib"] for size in sizes)
    return {"sizes": found, "ratio": large / small}


def _starter(stage, deployment):
    return lambda: [run.replica(stage, deployment)]
