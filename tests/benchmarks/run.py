"""One measured run: a program works off the events that wait in a topic, watched from outside.

How far it is, is the same for every program: the offsets that its group has committed, which count only once their
transaction is. When the last output came is the broker's own time of appending it. So:

- events a second: the events after the first commit seen, by the time from that to the last output appended;
- the same for the second half: from the first commit seen beyond half of the events;
- CPU time of an event: user and system time of the whole process, from start to end, by all events;
- the same for the second half, from outside: up to the last commit seen;
- the same between 25% and 60% of the events, while all of several replicas are at work: before, some still start and
  join; after, those with fewer partitions run out of events.
"""

import time
from dataclasses import dataclass

from processor.kafka.ranges import read_range
from tests.benchmarks.process import EndedError, Measured, cpu_s
from tests.benchmarks.programs import PROGRAMS, Job
from tests.benchmarks.stage import Progress

WATCH_S = 0.05
LEAST_RATE = 200  # events a second: slower is taken for a failure
PATIENCE_S = 180.0
TOGETHER = (0.25, 0.6)  # shares of the events
TAIL_RECORDS = 20  # transaction markers stand behind the last record


@dataclass(frozen=True)
class Sample:
    """How far a group was at a time, and what its processes had used by then (None: the system does not tell)."""

    at_s: float
    committed: int
    cpu_s: float | None


@dataclass(frozen=True)
class Run:
    """What one run was like."""

    figures: dict
    processes: list

    @property
    def logs(self):
        """The processes' log files."""
        return [process.log for process in self.processes]


def start(stage, program, job, name="program", core=0):
    """Start a program on the program's core, or on another one."""
    how = program.start(job)
    job.folder.mkdir(parents=True, exist_ok=True)
    return Measured(how.command, how.environment, how.folder, job.folder / f"{name}.log", stage.cores.on(core))


def replica(stage, deployment, name="replica"):
    """Start a replica of order-facts."""
    return start(stage, PROGRAMS["order-facts"], Job(deployment, deployment.folder, instance_id=name), name)


def as_they_come(processes, done):
    """Leave turns to the system's scheduler."""


def measure(stage, start_all, settings, count, before=0, turns=as_they_come):
    """Start processes and let them work off `count` events, of which `before` are committed already.

    `turns` is called with the processes and the share of the events that is done, at each look.
    """
    services = stage.services_cpu_s()
    began_s = time.time()
    progress = Progress(settings)
    processes = start_all()
    try:
        samples = _watch(progress, processes, count, before, turns)
        last_s = last_append_s(stage, settings)
        used = {name: _less(after, services[name]) for name, after in stage.services_cpu_s().items()}
        usages = [process.stop() for process in processes]
    finally:
        progress.close()
        for process in processes:
            process.kill()
    return Run(_figures(samples, last_s, usages, used, count, before) | {"from_start_s": last_s - began_s}, processes)


def _figures(samples, last_s, usages, used, count, before):
    events = count - before
    return {
        **_rates(samples, last_s, count, before),
        "cpu_us": sum(usage.cpu_s for usage in usages) / events * 1e6,
        "peak_rss_mib": max(usage.peak_rss_bytes for usage in usages) / (1 << 20),
        **{f"{name}_cpu_us": None if spent is None else spent / events * 1e6 for name, spent in used.items()},
    }


def last_append_s(stage, settings):
    """Give when the broker appended the last of the outputs, in seconds since the epoch."""
    latest_ms = 0
    for topic in (settings.facts_topic, settings.rejected_topic):
        ends = stage.ends(topic)
        starts = {partition: max(0, end - TAIL_RECORDS) for partition, end in ends.items()}
        for message in read_range(stage.reader, topic, starts, ends):
            latest_ms = max(latest_ms, message.timestamp()[1])
    assert latest_ms, "no output at all"
    return latest_ms / 1000


def _watch(progress, processes, count, before, turns):
    """Sample until everything is committed."""
    samples: list[Sample] = []
    deadline = time.monotonic() + PATIENCE_S + (count - before) / LEAST_RATE
    while not samples or samples[-1].committed < count:
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            raise EndedError(f"{samples[-1].committed} of {count} events after {PATIENCE_S:g} s and more")
        committed = progress.committed()
        if committed > before:
            cpu = [cpu_s(process.pid) for process in processes]
            samples.append(Sample(time.time(), committed, None if None in cpu else sum(cpu)))
        else:
            samples = [Sample(time.time(), before, None)]  # nothing yet
        turns(processes, (committed - before) / (count - before))
        time.sleep(WATCH_S)
    return [sample for sample in samples if sample.committed > before]


def _rates(samples, last_s, count, before):
    """Give events a second and CPU time of an event, after the first commit and of the second half."""
    figures = {}
    half = next(sample for sample in samples if sample.committed >= before + (count - before) / 2)
    for name, since in (("", samples[0]), ("_warm", half)):
        events, elapsed_s = count - since.committed, last_s - since.at_s
        is_known = events > 0 and elapsed_s > 0
        figures[f"events_per_s{name}"] = events / elapsed_s if is_known else None
        cpu = _less(samples[-1].cpu_s, since.cpu_s)
        figures[f"cpu_us{name or '_running'}"] = cpu / events * 1e6 if is_known and cpu is not None else None
    return figures | {"cpu_us_together": together(samples, count, before)}


def together(samples, count, before):
    """Give CPU time of an event while all replicas are at work; None where too few commits were seen."""
    least, most = (before + (count - before) * share for share in TOGETHER)
    within = [sample for sample in samples if least <= sample.committed <= most]
    if not within or within[0].committed == within[-1].committed or within[0].cpu_s is None:
        return None
    return (within[-1].cpu_s - within[0].cpu_s) / (within[-1].committed - within[0].committed) * 1e6


def _less(after, before):
    return None if after is None or before is None else after - before
