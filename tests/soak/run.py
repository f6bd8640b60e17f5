"""One run of the soak: `python -m tests.soak.run --seconds 1800 --rate 500`, or `make soak`.

Two replicas and the contact index run at a moderate load while contacts change too; what each of them holds is noted
every few seconds. At the end the topics' whole content is compared with the reference fold, and what the processes
hold must not have grown. Prints a summary as JSON; exits with 1 where anything is wrong or grew.
"""

import argparse
import json
import re
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from deploy.local.services import start_services
from processor.settings import Settings
from tests.soak.growth import Line, grown
from tests.soak.load import ORDERS, Load
from tests.soak.soaked import Soaked
from tests.support.deployment import deployed
from tests.support.measuring import held_by
from tests.support.traffic import contacts, traffic

PARTITIONS = 6
REPLICAS = ("s1", "s2")
FIRST_EVENTS = 500
SAMPLE_S = 5.0
LEAST_SAMPLES = 50  # a short run looks more often
TELL_S = 60.0
SETTLE_S = 180.0


def soak(seconds, rate, seed, folder):
    """Run the soak and give its summary; raises AssertionError where a process ends."""
    with start_services() as services:
        settings = Settings(
            bootstrap_servers=services.bootstrap_servers,
            redis_url=services.redis_url,
            identifier_key="a secret of the soak",
            instance_id="soak",
            **_names(),
        )
        with deployed(settings, folder, PARTITIONS, Soaked) as deployment:
            deployment.send_contacts(contacts())
            processes = {"index": deployment.index()}
            processes |= {name: deployment.replica(name) for name in REPLICAS}
            for name in REPLICAS:
                processes[name].await_line("partition.assigned")
            deployment.send(traffic(seed, FIRST_EVENTS, ORDERS))
            deployment.await_accounted()  # the time begins when everything runs
            load = Load(settings, seed, rate)
            with load.flowing():
                lines = _watch(processes, load, seconds)
            deployment.sent += load.sent
            deployment.await_accounted(patience_s=SETTLE_S)
            for name in REPLICAS:
                processes[name].stop()
            begun = time.monotonic()
            comparison = deployment.compare()
            compared_s = round(time.monotonic() - begun, 1)
    return {
        "seed": seed,
        "seconds": round(load.seconds, 1),
        "events": load.sent,
        "events_per_s": round(load.sent / load.seconds, 1),
        "contacts_changed": load.contacts_changed,
        "outcomes": dict(comparison.reasons),
        **comparison.counts,
        "differences": comparison.told().splitlines(),
        "compared_in_s": compared_s,
        "processes": {name: line.summary() for name, line in lines.items()},
        "grown": [fault for name, line in lines.items() for fault in grown(name, line)],
    }


def _names():
    """Give a group and topics of this run only, since the services may be somebody's."""
    unique = secrets.token_hex(4)
    topics = {f"{role}_topic": f"soak-{role}-{unique}" for role in ("events", "contacts", "facts", "rejected")}
    return {"group_id": f"soak-{unique}", **topics}


def _watch(processes, load, seconds):
    """Note what the processes hold until the time is up; require that each lives and the load flows."""
    lines = {name: Line() for name in processes}
    step_s = min(SAMPLE_S, seconds / LEAST_SAMPLES)
    begun = told = time.monotonic()
    while (age_s := time.monotonic() - begun) < seconds:
        for name, process in processes.items():
            assert process.exit_code() is None, process.tail(f"{name} ended")
            lines[name].note(age_s, held_by(process.pid))
        if time.monotonic() - told >= TELL_S:
            told = time.monotonic()
            levels = ", ".join(f"{name} {line.latest.rss_mib:.1f} MiB" for name, line in lines.items())
            print(f"{age_s:6.0f} s  {load.sent:,} events  {levels}", file=sys.stderr, flush=True)
        load.require_well(step_s)
    return lines


def _written(summary):
    """Write the summary as JSON, each list in one line."""
    return re.sub(
        r"\[\s+([^][]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(summary, indent=2)
    )


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Let events flow for long; require right outputs and flat memory.")
    parser.add_argument("--seconds", type=float, default=1_800)
    parser.add_argument("--rate", type=float, default=500, help="events a second")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    print(f"seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="order-facts-soak-") as folder:
        summary = soak(options.seconds, options.rate, seed, Path(folder))
    print(_written(summary))
    sys.exit(1 if summary["grown"] or summary["differences"] else 0)


if __name__ == "__main__":
    main()
