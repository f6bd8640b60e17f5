"""A topic is widened under load: `python -m tests.chaos.widen_drill`, or `make widen-drill`.

Producers write to six partitions, two replicas and the contact index work; `topics widen` copies to 24, is killed twice
on the way, and so is a replica of the new deployment. Then the producers switch as the command says. At the end both
deployments are audited, `verify` compares them, and both are held against the reference fold. Prints a summary; exits
with 1 where anything is missing, doubled or wrong.
"""

import argparse
import json
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from processor.kafka.clients import plain_producer
from processor.settings import Settings
from tests.support.deployment import Deployment, await_condition, headers_of
from tests.support.traffic import contacts, traffic

FORMER, MORE = 6, 24
COMMAND = ("topics", "widen", "--partitions", str(MORE))
RENAMED = ("group_id", "events_topic", "facts_topic", "rejected_topic")
NEW = ("n1", "n2")
ORDERS = 20_000
PATIENCE_S = 600.0
MAY_WRITE = "producers may write to"


class Producers(threading.Thread):
    """Writes at a rate until stopped. Those of the new topic are others: they begin when they may."""

    def __init__(self, settings, seed, rate_per_s):
        super().__init__(name=f"producers of {settings.events_topic}", daemon=True)
        self._settings, self._rate = settings, rate_per_s
        self._batches = (traffic(f"{seed} {number}", 5_000, orders=ORDERS) for number in count())
        self._stopping = threading.Event()
        self.sent = 0

    def run(self):
        """Write until the stop, and see that all of it arrived."""
        producer, begun_s = plain_producer(self._settings), time.monotonic()
        records = (record for batch in self._batches for record in batch)
        while not self._stopping.is_set():
            for _ in range(int((time.monotonic() - begun_s) * self._rate) - self.sent):
                record = next(records)
                topic = self._settings.events_topic
                producer.produce(topic, record.value, record.key, headers=headers_of(record))
                self.sent += 1
            producer.poll(0.02)
        assert producer.flush(PATIENCE_S) == 0

    def stop(self):
        """Stop, and return how many records were written."""
        self._stopping.set()
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return self.sent


def drill(folder, seed, seconds, rate_per_s, backlog):
    """Play the drill on services of its own; return the summary."""
    kafka, redis = EmbeddedKafka(folder / "kafka"), EmbeddedRedis(folder / "redis")
    kafka.start()
    redis.start()
    settings = Settings(
        bootstrap_servers=kafka.bootstrap_servers,
        redis_url=redis.url,
        identifier_key="a secret of the drill",
        instance_id="drill",
    )
    names = {name: f"{getattr(settings, name)}-{MORE}" for name in RENAMED}
    old, new = Deployment(settings, folder), Deployment(replace(settings, **names), folder / "new")
    new.folder.mkdir()
    try:
        return Drill(old, new, seed).play(seconds, rate_per_s, backlog)
    finally:
        for deployment in (old, new):
            deployment.end()
        redis.kill()
        kafka.kill()
        for deployment in (old, new):
            deployment.check_log_lines()


class Drill:
    """Both deployments, and what happens to them in turn."""

    def __init__(self, old, new, seed):
        self.old, self.new, self.seed = old, new, seed
        self.random = random.Random(seed)
        self.kills = {"copier": 0, "new replica": 0}

    def play(self, seconds, rate_per_s, backlog):
        """Play it; return the summary."""
        old, new = self.old, self.new
        old.command("topics", "create", partitions=FORMER)
        old.send_contacts(contacts())
        old.index()
        old.send(traffic(f"{self.seed} backlog", backlog, orders=ORDERS))
        former = [old.replica(name) for name in ("o1", "o2")]
        before = Producers(old.settings, f"{self.seed} before", rate_per_s)
        before.start()
        begun_s = time.monotonic()
        replicas = self.copy(seconds)
        caught_up_s = time.monotonic()
        stopped_s = time.monotonic()
        old.sent += before.stop()
        finishing = old.start(*COMMAND, "--finish", name="finish")
        await_condition(
            lambda: MAY_WRITE in finishing.log_path.read_text(encoding="utf-8"),
            lambda: finishing.tail("does not finish"),
            PATIENCE_S,
        )
        after = Producers(new.settings, f"{self.seed} after", rate_per_s)
        after.start()
        pause_s = time.monotonic() - stopped_s
        assert finishing.await_end() == 0, finishing.tail("failed")
        time.sleep(seconds / 4)
        new.sent = old.sent + after.stop()
        new.await_accounted(patience_s=PATIENCE_S)
        all_s = time.monotonic() - begun_s
        old.await_accounted(patience_s=PATIENCE_S)
        for process in (*former, *replicas.values()):
            process.stop()
        return self.summary(after.sent, pause_s, caught_up_s - begun_s, all_s)

    def copy(self, seconds):
        """Copy under load, with kills, until all is copied; return the new deployment's replicas."""
        old, new = self.old, self.new
        copier = old.start(*COMMAND, name="widen")
        copier.await_line("widen.started")
        replicas = {name: new.replica(name) for name in NEW}
        for pause_s in (self.random.uniform(1.0, 3.0), self.random.uniform(0.1, 0.2) * seconds):
            time.sleep(pause_s)  # the first in the backlog, the second while events come
            copier.signal(signal.SIGKILL)
            assert copier.await_end() == -signal.SIGKILL
            self.kills["copier"] += 1
            copier = old.start(*COMMAND, name="widen")
        time.sleep(self.random.uniform(0.1, 0.2) * seconds)
        name = self.random.choice(NEW)
        replicas[name].signal(signal.SIGKILL)
        assert replicas[name].await_end() == -signal.SIGKILL
        self.kills["new replica"] += 1
        replicas[name] = new.replica(name)
        await_condition(lambda: copier.lines("widen.caught_up"), lambda: copier.tail("not caught up"), PATIENCE_S)
        copier.stop()
        return replicas

    def summary(self, after, pause_s, copy_s, all_s):
        """Audit and compare; return the figures."""
        options = ("--former-events", self.old.settings.events_topic, "--former-facts", self.old.settings.facts_topic)
        begun_s = time.monotonic()
        across, own = audited(self.new, *options), audited(self.old)
        verify_s = time.monotonic() - begun_s
        comparison = self.new.compare() + self.old.compare()
        return {
            "seed": self.seed,
            "partitions": [FORMER, MORE],
            "events": self.new.sent,
            "after_the_switch": after,
            "killed": self.kills,
            "producers_paused_s": round(pause_s, 1),
            "until_all_was_copied_s": round(copy_s, 1),
            "until_all_was_processed_s": round(all_s, 1),
            "both_were_verified_in_s": round(verify_s, 1),
            "verify_across": across[-1],
            "verify_old": own[-1],
            "across": [line for line in across if " -> " in line],
            **comparison.counts,
            "differences": [
                *(line for lines in (across, own) for line in lines[-20:] if lines[-1] != "ok"),
                *comparison.told().splitlines(),
            ],
        }


def audited(deployment, *options):
    """Give the lines that `verify` prints."""
    process = deployment.start("verify", *options, name="verify")
    await_condition(lambda: process.exit_code() is not None, lambda: process.tail("goes on"), PATIENCE_S)
    return process.log_path.read_text(encoding="utf-8").splitlines()


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Widen a topic under load; require that nothing is lost.")
    parser.add_argument("--seconds", type=float, default=120, help="about how long until the switch")
    parser.add_argument("--rate", type=float, default=500, help="events a second")
    parser.add_argument("--backlog", type=int, default=100_000, help="events that are there before")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the clean-up, as Ctrl-C goes
    print(f"seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="order-facts-widen-") as folder:
        summary = drill(Path(folder), seed, options.seconds, options.rate, options.backlog)
    print(json.dumps(summary, indent=2))
    is_right = summary["verify_across"] == summary["verify_old"] == "ok" and not summary["differences"]
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
