"""One deployment whose processes are containers of the image, and the verbs of a rollout.

A container gets what the manifest of `deploy/kubernetes` gives a pod: a read-only root, no rights, a memory limit, a
name that stays, and fifteen seconds to stop. A replica is replaced as a StatefulSet replaces a pod: it is stopped and
removed, then a new container starts under its name; it counts as back when `/readyz` says so.
"""

import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

from processor.kafka.clients import plain_producer
from tests.chaos.world import Watcher
from tests.rollouts.room import PYTHON, START_S, docker
from tests.support.deployment import Deployment, await_condition, headers_of
from tests.support.traffic import contacts, traffic

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=64m")
GRACE_S = 15
PORT = 8080
ORDERS = 4_000
CHUNK = 100  # events made at once: a producer that makes thousands stands still for so long
KEEPING = Path(__file__).with_name("keeping.py")


class Fleet:
    """A deployment of containers, its producer and its watcher."""

    def __init__(self, room, settings, folder, partitions, rate_per_s):
        self.room = room
        self.deployment = Deployment(settings, folder)
        self.partitions = partitions
        self.rate_per_s = rate_per_s
        self.reached_per_s = 0.0  # known at the end: a busy machine may not keep up with the rate
        self._began_s = 0.0
        self.replicas = []  # by number, as a StatefulSet's; None for one that is lost
        self._addresses = {}
        self._name = settings.group_id
        self._is_over = threading.Event()
        self._is_watched = threading.Event()
        self.watcher = Watcher(self.deployment, self._is_watched, partitions)
        self._producer = threading.Thread(target=self._produce, name=f"producer {self._name}", daemon=True)

    def begin(self, replicas, image, *, keeping=False):
        """Make topics and contacts, start the index and the replicas, wait until all are ready; let events flow."""
        self.deployment.create_topics(self.partitions)
        self.deployment.send_contacts(contacts())
        self._start("index", image, ("contacts", "index"))
        self.await_ready("index")
        self.scale_out(replicas, image, keeping=keeping)
        self.watcher.start()
        self._producer.start()
        await_condition(lambda: len(self.watcher.arrivals) == self.partitions, "outputs flow on every partition")

    def scale_out(self, count, image, *, keeping=False):
        """Start replicas, all at once, until there are so many; wait until all are ready."""
        fresh = [self.name_of(number) for number in range(len(self.replicas), count)]
        self.replicas += fresh
        with ThreadPoolExecutor(len(fresh)) as pool:
            list(pool.map(lambda name: self.start_replica(name, image, keeping=keeping), fresh))
        for name in fresh:
            self.await_ready(name)

    def scale_in(self, count):
        """Stop the replicas with the highest numbers, all at once, until so many are left."""
        leaving, self.replicas = self.replicas[count:], self.replicas[:count]
        with ThreadPoolExecutor(len(leaving)) as pool:
            list(pool.map(self.stop, leaving))

    def replace(self, name, image, *, keeping=False):
        """Stop a replica and start it again under its name; give the seconds until it was ready."""
        began_s = time.monotonic()
        self.stop(name)
        self.start_replica(name, image, keeping=keeping)
        self.await_ready(name)
        return time.monotonic() - began_s

    def lose(self, name):
        """Kill a replica, as a node's loss does: its name never comes back."""
        self.replicas[self.replicas.index(name)] = None
        docker("kill", self.room.container(self._called(name)))
        self._keep_log(name)
        self.room.remove(self._called(name))

    def stop(self, name):
        """Stop a replica as a kubelet does, and require a clean end."""
        container = self.room.container(self._called(name))
        docker("stop", "--time", str(GRACE_S), container)
        code = docker("inspect", "--format", "{{.State.ExitCode}}", container).strip()
        log = self._keep_log(name)
        assert code == "0", f"{name} ended with {code}\n{log[-3000:]}"
        assert "service.stop_forced" not in log, f"{name} did not end by itself\n{log[-3000:]}"
        self.room.remove(self._called(name))

    def start_replica(self, name, image, *, keeping=False):
        """Start a replica; one that keeps its place does not leave the group when it stops."""
        if keeping:
            options = ("--entrypoint", PYTHON, "--volume", f"{KEEPING}:/opt/keeping.py:ro")
            self._start(name, image, ("/opt/keeping.py", "run"), options)
        else:
            self._start(name, image, ("run",))

    def name_of(self, number):
        """Give the name of a replica: the same in every deployment, as in every namespace."""
        return f"order-facts-{number}"

    def await_ready(self, name):
        """Wait until `/readyz` says that a process is ready."""
        what = lambda: f"{name} is ready\n{self._log(name)[-3000:]}"  # noqa: E731 - asked only if it fails
        await_condition(lambda: self._answers_ready(name), what, START_S)

    def end_events(self):
        """Stop the producer; give the seconds until each event had its output, at most."""
        self._is_over.set()
        self._producer.join()
        began_s = time.monotonic()
        self.reached_per_s = self.deployment.sent / (began_s - self._began_s)
        self.deployment.await_accounted(patience_s=180.0)
        return time.monotonic() - began_s

    def compare(self):
        """Stop all processes, then compare all outputs and the mirror with the reference."""
        for name in (*filter(None, self.replicas), "index"):
            self.stop(name)
        comparison = self.deployment.compare()
        self._is_watched.set()
        self.watcher.join()
        return comparison

    def end(self):
        """Let no thread go on."""
        self._is_over.set()
        self._is_watched.set()

    def _produce(self):
        """Send events at the rate until told to stop."""
        producer = plain_producer(self.deployment.settings)
        topic, sent, seed, chunk = self.deployment.settings.events_topic, 0, 0, iter(())
        self._began_s = time.monotonic()
        while not self._is_over.is_set():
            for _ in range(int((time.monotonic() - self._began_s) * self.rate_per_s) - sent):
                record = next(chunk, None)
                if record is None:
                    seed += 1
                    chunk = iter(traffic(seed, CHUNK, ORDERS))
                    record = next(chunk)
                producer.produce(topic, record.value, record.key, headers=headers_of(record))
                sent += 1
            producer.poll(0.005)
        assert producer.flush(120) == 0
        self.deployment.sent = sent

    def _start(self, name, image, arguments, options=()):
        environment = self.deployment.environment(instance_id=name, http_port=PORT)
        own = [f"{key}={value}" for key, value in environment.items() if key.startswith("ORDER_FACTS_")]
        variables = [part for variable in own for part in ("--env", variable)]
        limits = ("--memory", "1g", "--stop-timeout", str(GRACE_S))
        self.room.start(self._called(name), image, arguments, (*HARDENED, *limits, *variables, *options))
        self._addresses[name] = self.room.address(self._called(name))

    def _called(self, name):
        return f"{self._name}-{name}"

    def _answers_ready(self, name):
        connection = HTTPConnection(self._addresses[name], PORT, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _log(self, name):
        command = ("docker", "logs", self.room.container(self._called(name)))
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout

    def _keep_log(self, name):
        log = self._log(name)
        with (self.deployment.folder / f"{self._called(name)}.log").open("a", encoding="utf-8") as file:
            file.write(log)
        return log


def lines(folder, event):
    """Give the log lines of an event in all logs that were kept in a folder."""
    found = []
    for log in sorted(folder.glob("*.log")):
        texts = (text for text in log.read_text(encoding="utf-8").splitlines() if f'"{event}"' in text)
        found += [json.loads(text) for text in texts]
    return found
