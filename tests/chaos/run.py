"""One run of the chaos suite: `python -m tests.chaos.run --seconds 600 --seed 7`, or `make chaos`.

A seeded schedule of faults hits three replicas, the contact index, the healer, Redis and Kafka while events
flow, some of them before their contacts, and a reader watches. With `--brokers 3`, or `make chaos-brokers`,
Kafka is three brokers, hit one at a time. At the end the topics' whole content is compared with the reference
fold, and the mirror with the facts. Prints a summary; exits with 1 where anything is missing, doubled or
wrong.
"""

import argparse
import json
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from deploy.local.kafka_cluster import KafkaCluster
from deploy.local.services import EmbeddedKafka
from processor.settings import Settings
from tests.chaos import faults, registry_faults
from tests.chaos.late import is_late
from tests.chaos.redis_faults import SETUPS
from tests.chaos.registry_world import RegistryWorld
from tests.chaos.world import PARTITIONS, Watcher, World
from tests.support.deployment import await_condition

SETTLE_S = 180.0
WRONG = ("duplicates", "losses", "mismatches")
# by the number of brokers: the faults, and what makes them
KAFKA = {1: (faults.LONG, EmbeddedKafka), 3: (faults.CLUSTER, KafkaCluster)}


def has_registry(seed):
    """Tell whether a seed's world has a schema registry: every other one has."""
    return bool(seed % 2)


def chaos(seconds, seed, folder, least_events, kinds, *, kafka=EmbeddedKafka, world=World, **more):
    """Run the suite and give its summary; raises AssertionError where a process ends by itself, or all stands still."""
    settings = Settings(identifier_key="a secret of the chaos suite", instance_id="chaos", startup_timeout_s=120.0)
    world = world(settings, folder, seed, kafka(folder / "kafka"), **more)
    stop, watch = threading.Event(), threading.Event()
    try:
        world.begin()
        watcher = Watcher(world.deployment, watch)
        watcher.start()
        rate = max(200.0, least_events / seconds)
        workers = [
            threading.Thread(target=world.pace, args=(stop, rate), daemon=True),
            threading.Thread(target=world.change_contacts, args=(stop,), daemon=True),
            threading.Thread(target=world.late.send, args=(stop,), daemon=True),
            *(threading.Thread(target=work, args=(stop,), daemon=True) for work in world.workers()),
        ]
        for worker in workers:
            worker.start()
        await_condition(lambda: len(watcher.arrivals) == PARTITIONS, "outputs flow on every partition")
        hits = _hit(world, seconds, kinds)
        stop.set()
        for worker in workers:
            worker.join(SETTLE_S)
            assert not worker.is_alive(), "the producer could not finish"
        await_condition(lambda: _all_healed(world), world.late.missing, SETTLE_S)
        world.deployment.await_accounted(len(world.deployment.read(world.deployment.settings.events_topic)), SETTLE_S)
        comparison = _stop_and_compare(world)
        watch.set()
        watcher.join(30)
        return _summary(world, hits, comparison, watcher)
    finally:
        stop.set()
        watch.set()
        world.end()


def _all_healed(world):
    """Whether all late orders are whole; a process that was to kill itself may do so only now."""
    world.keep_up()
    return not world.late.missing()


def _hit(world, seconds, kinds):
    """Play the schedule: every kind at least once if time allows, in seeded order, then again."""
    begun, hits = time.monotonic(), []
    queue: list[Callable[[World], None]] = []
    while time.monotonic() - begun < seconds:
        if not queue:
            queue = list(kinds)
            world.random.shuffle(queue)
        fault = queue.pop()
        moment = time.monotonic()
        print(f"{moment - begun:7.1f} s  {fault.__name__}", file=sys.stderr, flush=True)
        fault(world)
        _recover(world, world.random.uniform(1.0, 6.0))
        hits.append((fault.__name__, moment, time.monotonic()))
    return hits


def _recover(world, pause_s):
    """Let the world run on for a while, and start again what died, as an orchestrator does."""
    until = time.monotonic() + pause_s
    while time.monotonic() < until:
        faults.settle(world)
        time.sleep(0.1)


def _stop_and_compare(world):
    for process in list(world.replicas.values()):
        if process.exit_code() is None:
            faults.retire(process)
    faults.retire(world.healer)
    events = world.deployment.read(world.deployment.settings.events_topic)
    comparison = world.deployment.compare_with(events, is_late)
    comparison.mismatches += world.late.differences()
    return comparison


def _summary(world, hits, comparison, watcher):
    waits, stops = defaultdict(list), defaultdict(list)
    for name, moment, end in hits:
        stops[name].append(watcher.stopped(moment, end))
        flowed = watcher.flowed_again(moment)
        if flowed is not None:
            waits[name].append(flowed)
    reasons = comparison.reasons
    counts = comparison.counts
    return {
        "seed": world.seed,
        "redis": world.redis.name,
        "schema_registry": isinstance(world, RegistryWorld),
        "events": world.deployment.sent + world.brought,
        "healed_orders": world.late.orders,
        "facts": reasons["fact"],
        "rejected": sum(reasons.values()) - reasons["fact"],
        "faults": dict(sorted(Counter(name for name, *_ in hits).items())),
        "named_moments_hit": _moments(world),
        **counts,
        "duplicates": max(watcher.doubled, counts["duplicates"]),  # for the reader beside, and in the topics
        "differences": comparison.told().splitlines(),
        "longest_stall_s": round(watcher.longest_stall(), 1),
        "flowed_again_s": _longest(waits),
        "flow_stopped_s": _longest(stops),
    }


def _longest(times):
    return {name: round(max(found), 1) for name, found in sorted(times.items())}


def _moments(world):
    found: Counter[str] = Counter()
    for log in world.deployment.folder.glob("*.log"):
        for text in log.read_text(encoding="utf-8").splitlines():
            if '"test.sabotage"' in text:
                found[json.loads(text)["moment"]] += 1
    return dict(found)


def _keep_logs(folder, kept):
    """Write the lines of all logs to one file, by time, with which each begins; and the servers' logs beside it."""
    for log in folder.rglob("server.log"):
        name = "-".join(log.relative_to(folder).parts[:-1])
        kept.with_name(f"{kept.name}.{name}").write_bytes(log.read_bytes())
    lines = [line for log in folder.glob("*.log") for line in log.read_text(encoding="utf-8").splitlines(keepends=True)]
    kept.write_text("".join(sorted(lines)), encoding="utf-8")


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Break everything while events flow; require that nothing is lost.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--events", type=int, default=100_000, help="how many at least")
    parser.add_argument("--brokers", type=int, choices=sorted(KAFKA), default=1)
    parser.add_argument(
        "--registry", action=argparse.BooleanOptionalAction, help="with a schema registry; by default as the seed says"
    )
    parser.add_argument(
        "--redis",
        choices=tuple(SETUPS),
        default="one",
        help="what Redis is: one server, behind an address that moves, "
        "with a user that has few rights, a Sentinel group, a cluster",
    )
    parser.add_argument("--only", help="faults by name, with commas between them; by default all")
    parser.add_argument(
        "--logs",
        type=Path,
        help="write the log lines of all processes to this file, by time, and beside it those of the servers",
    )
    options = parser.parse_args()
    kinds, kafka = KAFKA[options.brokers]
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    with_registry = has_registry(seed) if options.registry is None else options.registry
    redis, of_redis = SETUPS[options.redis]
    kinds += of_redis + (registry_faults.LONG if with_registry else ())
    if options.only:
        known = {kind.__name__: kind for kind in kinds}
        if unknown := set(options.only.split(",")) - known.keys():
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        kinds = tuple(known[name] for name in options.only.split(","))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    print(
        f"seed {seed}, Redis: {options.redis}, {'with' if with_registry else 'without'} a schema registry",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory(prefix="order-facts-chaos-") as folder:
        world = RegistryWorld if with_registry else World
        try:
            made = {"kafka": kafka, "world": world, "redis": redis}
            summary = chaos(options.seconds, seed, Path(folder), options.events, kinds, **made)
        finally:
            if options.logs is not None:
                _keep_logs(Path(folder), options.logs)
    print(json.dumps(summary, indent=2))
    sys.exit(1 if any(summary[kind] for kind in WRONG) else 0)


if __name__ == "__main__":
    main()
