"""One Redis server and a cluster of three nodes, the same events worked off in turns."""

from tests.benchmarks import load, run
from tests.benchmarks.audit import Expected
from tests.benchmarks.figures import spread, spreads
from tests.benchmarks.programs import PROGRAMS, Job
from tests.benchmarks.stage import mirror_of, remove_mirror
from tests.support.redis_cluster import RedisCluster

KINDS = ("one server", "cluster of three")
PROGRAMS_TRIED = ("order-facts", "compiled")
RATIOS = ("cpu_us", "cpu_us_running", "events_per_s")


def measure(stage, options, say):
    """Run order-facts on both, in turns; give figures by program and kind, and the ratios run by run."""
    cluster = RedisCluster(stage.folder / "cluster", replicas=0, abandoned=stage.folder)
    cluster.start()
    try:
        stage.also_count(cluster.nodes)
        return _measured(stage, options, say, {KINDS[0]: stage.redis.url, KINDS[1]: cluster.url})
    finally:
        cluster.kill()


def _measured(stage, options, say, urls):
    inputs, count = _prepared(stage, options, urls)
    expected = Expected(stage, stage.settings(**inputs))
    found = {}
    for program in PROGRAMS_TRIED:
        if program not in options.programs:
            continue
        runs: dict[str, list[dict]] = {name: [] for name in KINDS}
        for repetition in range(options.repeat):
            for name in KINDS[:: 1 if repetition % 2 == 0 else -1]:
                figures = _run(
                    stage, PROGRAMS[program], stage.settings(**inputs, redis_url=urls[name]), count, expected
                )
                runs[name].append(figures)
                say(f"{program}, {name}: {figures['events_per_s'] or 0:,.0f} events/s, {figures['cpu_us']:.1f} us")
        found[program] = {
            "kinds": {name: spreads(some) for name, some in runs.items()},
            "ratios": {figure: spread(_ratios(runs, figure)) for figure in RATIOS},
            "ratios_of_medians": {figure: _ratio_of_medians(runs, figure) for figure in RATIOS},
        }
    return {"events": count, **expected.counts, "programs": found}


def _prepared(stage, options, urls):
    """Send contacts and events once, and have each Redis hold the index; give the topics, and how many events."""
    first = stage.with_contacts(options.contacts).settings
    inputs = {"events_topic": first.events_topic, "contacts_topic": first.contacts_topic}
    stage.index(stage.deployment(stage.settings(**inputs, redis_url=urls[KINDS[1]])))
    traffic = load.Traffic(contact_count=options.contacts)
    return inputs, stage.send(first.events_topic, traffic.events(options.events))


def _run(stage, program, settings, count, expected):
    deployment = stage.deployment(settings)
    job = Job(deployment, deployment.folder)
    done = run.measure(stage, lambda: [run.start(stage, program, job)], settings, count)
    expected.check(stage, settings)
    remove_mirror(mirror_of(settings))
    stage.remove(deployment)
    return done.figures


def _ratios(runs, figure):
    """Give the figure in a cluster by that on one server, run by run."""
    pairs = zip(*(runs[name] for name in KINDS), strict=True)
    return [
        in_cluster[figure] / on_one[figure] for on_one, in_cluster in pairs if on_one[figure] and in_cluster[figure]
    ]


def _ratio_of_medians(runs, figure):
    on_one, in_cluster = (spread([one[figure] for one in runs[name]]) for name in KINDS)
    return in_cluster["median"] / on_one["median"] if on_one and in_cluster else None
