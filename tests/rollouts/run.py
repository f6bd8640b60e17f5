"""Rollouts in containers: `python -m tests.rollouts.run`, or `make rollouts`.

Plays each rollout while events flow, a reader of committed records notes for how long a partition stands still, and at
the end all outputs and the mirror are compared with the reference fold. Prints a line for each step, and a table; the
logs of all replicas are in .cache/rollouts/.
Exit codes: 0 nothing lost, doubled or wrong, and each goal met; 1 something is not so; 2 an image is missing.
"""

import argparse
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

from deploy.image.build import IMAGE
from deploy.image.trying import KAFKA, VALKEY
from deploy.local.programs import CACHE
from processor.settings import Settings
from tests.rollouts.fleet import Fleet, lines
from tests.rollouts.plays import AFTER_S, PLAYS, STEADY_S
from tests.rollouts.room import opened

RATE_PER_S = 2_000.0
LOGS = CACHE / "rollouts"


@dataclass(frozen=True)
class Images:
    """The images by what they are for."""

    new: str
    previous: str
    kafka: str
    valkey: str


def played(name, room, rate_per_s, folder):
    """Play a rollout in a room, with topics and a group of its own, and give its row; logs go to the folder."""
    play, images = PLAYS[name], room.images
    stops, events = [], 0
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        rate_per_s /= play.deployments
        names = [name.replace("_", "-") + "-b" * number for number in range(play.deployments)]
        fleets = [Fleet(room, _settings(room, group), folder, play.partitions, rate_per_s) for group in names]
        for fleet in fleets:
            stack.callback(fleet.end)
            fleet.begin(play.replicas, images.previous if play.is_previous else images.new, keeping=play.is_keeping)
        spans = _steps(play, fleets, images)
        drained_s = max(fleet.end_events() for fleet in fleets)
        for step, began_s, ended_s in spans:
            stops.append((step, max(fleet.watcher.stopped(began_s, ended_s) for fleet in fleets), ended_s - began_s))
        for fleet in fleets:
            comparison = fleet.compare()
            print(comparison.told(), end="")
            counts.update(comparison.counts | {"doubled": fleet.watcher.doubled})
            events += fleet.deployment.sent
    for step, stalled_s, took_s in stops:
        print(f"  {step}: longest stall {stalled_s:.2f} s, took {took_s:.1f} s", flush=True)
    fenced = len(lines(folder, "predecessor.fenced"))
    reached_per_s = sum(fleet.reached_per_s for fleet in fleets)
    flow = f"{events:,} events, {reached_per_s:,.0f} a second; all done {drained_s:.1f} s after the last"
    print(f"  {flow}; predecessors fenced: {fenced}")
    steady, *hit = stops
    return {
        "name": name,
        "steady_s": steady[1],
        "stall_s": max(stalled_s for _, stalled_s, _ in hit),
        "goal_s": play.goal_s,
        "rate": reached_per_s,
        "events": events,
        "lost": counts["losses"],
        "doubled": max(counts["duplicates"], counts["doubled"]),
        "wrong": counts["mismatches"],
    }


def _settings(room, group):
    return Settings(
        bootstrap_servers=room.bootstrap_servers,
        redis_url=room.redis_url,
        group_id=group,
        events_topic=f"{group}-events",
        contacts_topic=f"{group}-contacts",
        facts_topic=f"{group}-facts",
        rejected_topic=f"{group}-rejected",
        healed_topic=f"{group}-healed",
        segment_members_topic=f"{group}-members",
        identifier_key="a secret of the rollouts",
        instance_id="rollouts",
    )


def _steps(play, fleets, images):
    """Play the steps; give each one's name and span. The first is how it flows without any."""
    spans = [("steady", time.monotonic())]
    time.sleep(STEADY_S)
    spans.extend((step, time.monotonic()) for step in play.steps(fleets, images))
    time.sleep(AFTER_S)
    ends = [began_s for _, began_s in spans[1:]] + [time.monotonic()]
    return [(step, began_s, ended_s) for (step, began_s), ended_s in zip(spans, ends, strict=True)]


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Play rollouts in containers while events flow, and compare.")
    parser.add_argument("--image", default=IMAGE, help="of the program")
    parser.add_argument("--previous", help="the image that a rolling update begins with; without it none is played")
    parser.add_argument("--kafka", default=KAFKA, help="the broker's image")
    parser.add_argument("--valkey", default=VALKEY, help="Valkey's image")
    parser.add_argument("--rate", type=float, default=RATE_PER_S, help="events a second")
    parser.add_argument("--only", help="plays by name, with commas between them; by default all")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [*PLAYS]
    if unknown := set(names) - PLAYS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(PLAYS)}")
    images = Images(options.image, options.previous, options.kafka, options.valkey)
    for image in filter(None, vars(images).values()):
        if subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False).returncode:
            parser.error(f"there is no image {image}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    rows, rooms = [], {}
    with ExitStack() as stack:
        for name in names:
            play = PLAYS[name]
            if play.is_previous and not images.previous:
                print(f"{name}: not played, it needs --previous")
                continue
            print(f"{name}, at a load of {os.getloadavg()[0]:.1f}", flush=True)
            if play.is_ipv6_only not in rooms:
                room = opened(images, is_ipv6_only=play.is_ipv6_only)
                rooms[play.is_ipv6_only] = stack.enter_context(room)
            folder = LOGS / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            rows.append(played(name, rooms[play.is_ipv6_only], options.rate, folder))
    print("\n".join(_table(rows)))
    sys.exit(any(row["lost"] or row["doubled"] or row["wrong"] or row["stall_s"] > row["goal_s"] for row in rows))


def _table(rows):
    yield "| rollout | longest stall | goal | before it | events/s | events | lost, doubled, wrong |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for row in rows:
        counts = ", ".join(str(row[kind]) for kind in ("lost", "doubled", "wrong"))
        times = " | ".join(
            f"{row[name]:.1f} s" if math.isfinite(row[name]) else "none" for name in ("stall_s", "goal_s", "steady_s")
        )
        yield f"| {row['name']} | {times} | {row['rate']:,.0f} | {row['events']:,} | {counts} |"


if __name__ == "__main__":
    main()
