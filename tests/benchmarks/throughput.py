"""Items 1 to 4: the same input worked off by each program, repeated, the programs taking turns."""

import json

from deploy.demo import steps
from tests.benchmarks import load, run
from tests.benchmarks.audit import Expected
from tests.benchmarks.figures import spread, spreads
from tests.benchmarks.programs import PROGRAMS, THROUGHPUT_COMMIT_MS, Job


def measure(stage, options, say):
    """Run all chosen programs; give figures by program."""
    inputs, count = prepare(stage, options)
    expected = Expected(stage, stage.settings(**inputs))
    say(f"{count:,} events: {expected.counts['facts']:,} facts, {expected.counts['rejected']:,} rejected")
    runs: dict[str, list[dict]] = {name: [] for name in options.programs}
    for name in turns(options):
        figures = _run(stage, PROGRAMS[name], stage.settings(**inputs), count, expected)
        runs[name].append(figures)
        say(f"{name}: {figures['events_per_s'] or 0:,.0f} events/s, {figures['cpu_us']:.1f} us an event")
    return {
        "events": count,
        **expected.counts,
        "programs": {name: summary(found) for name, found in runs.items()},
    }


def turns(options):
    """Give the names of the programs in the order of their runs: no program always comes first."""
    names = options.programs
    for repetition in range(options.repeat):
        shift = repetition % len(names)
        yield from names[shift:] + names[:shift]


def prepare(stage, options):
    """Send contacts and events once for all programs; give the topics of these inputs, and how many events."""
    settings = stage.with_contacts(options.contacts).settings
    stage.load_identifiers(options.contacts)
    traffic = load.Traffic(contact_count=options.contacts)
    count = stage.send(settings.events_topic, traffic.events(options.events))
    return {"events_topic": settings.events_topic, "contacts_topic": settings.contacts_topic}, count


def _run(stage, program, settings, count, expected):
    deployment = stage.deployment(settings)
    job = Job(deployment, deployment.folder, THROUGHPUT_COMMIT_MS.get(program.name, 0))
    done = run.measure(stage, lambda: [run.start(stage, program, job)], settings, count)
    if program.is_audited:
        expected.check(stage, settings)
    shares = step_shares(done.logs) if program.name in {"order-facts", "compiled"} else {}
    stage.remove(deployment)
    return done.figures | shares


def step_shares(logs):
    """Give the share of each of the six steps in the time of all batches, and totals, as order-facts logged them."""
    lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    totals = steps.total(lines)
    all_ms = sum(totals.time_ms.values())
    shares = {name: totals.time_ms[name] / all_ms for _, name in steps.STEPS}
    batches = [json.loads(line) for line in lines if f'"{steps.COMMITTED}"' in line]
    return {"steps": shares, "batches": totals.batches, "facts": sum(batch["facts"] for batch in batches)}


def summary(runs):
    """Give the spread of all figures, and the runs themselves."""
    plain = [{name: value for name, value in figures.items() if name != "steps"} for figures in runs]
    summary = {"runs": runs, **spreads(plain)}
    if "steps" in runs[0]:
        summary["steps"] = {name: spread([figures["steps"][name] for figures in runs]) for name in runs[0]["steps"]}
    return summary
