"""What the drill breaks: a broker, Redis, two replicas, contact index, healer, and producers that always go on."""

import subprocess
import threading
import time
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace
from redis import Redis

from deploy.local.programs import java, kafka_libraries
from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from processor.settings import Settings
from tests.observability.seen_world import SeenDeployment
from tests.support.deployment import await_condition
from tests.support.traffic import CONTACTS, contacts, created

PARTITIONS = 4
REPLICAS = ("replica-1", "replica-2")
EVENTS_PER_S = 50
BATCH = 10  # a replica is so slow that an order with many events is too much for it, on any machine
ADMIN_S = 30.0


class DrillWorld:
    """Everything that runs; faults act on it."""

    def __init__(self, folder, prometheus):
        self.kafka = EmbeddedKafka(folder / "kafka")
        self.redis = EmbeddedRedis(folder / "redis")
        self.kafka.start()
        self.redis.start()
        settings = Settings(
            identifier_key="a secret of the drill",
            bootstrap_servers=self.kafka.bootstrap_servers,
            redis_url=self.redis.url,
            startup_timeout_s=120.0,
            max_batch=BATCH,
        )
        (folder / "logs").mkdir()
        self.deployment = SeenDeployment(prometheus, settings, folder / "logs")
        self.client = Redis.from_url(self.redis.url, socket_timeout=5)
        self.processes = {}
        self._stop = threading.Event()
        self._flows = []

    def begin(self):
        """Start all of it, and wait until events become facts."""
        self.deployment.command("topics", "create", partitions=PARTITIONS)
        self.deployment.send_contacts(contacts())
        self.start("index")
        self.processes["index"].await_line("contacts.ready")
        self.start("healer")
        for name in REPLICAS:
            self.start(name)
        self._flow(EVENTS_PER_S, self.deployment.settings.events_topic, good)
        for name in REPLICAS:
            self.processes[name].await_line("batch.committed")

    def start(self, name, **changes):
        """Start a process by its name; it has an earlier one's port."""
        command = {"index": ("contacts", "index"), "healer": ("rejected", "replay", "--follow")}.get(name, ("run",))
        self.processes[name] = self.deployment.start(*command, name=name, **changes)

    def restart(self, *names, **changes):
        """Stop processes as an operator does, and start them again."""
        self.stop(*names)
        for name in names:
            self.start(name, **changes)

    def stop(self, *names):
        """Stop processes as an operator does."""
        for name in names:
            self.processes[name].stop()

    @contextmanager
    def producing(self, rate_per_s, topic, make):
        """Have one more producer for the length of a block; `make` gives the n-th record (key, value)."""
        stop = self._flow(rate_per_s, topic, make)
        try:
            yield
        finally:
            stop.set()

    def _flow(self, rate_per_s, topic, make):
        stop = threading.Event()
        flow = threading.Thread(target=self._produce, args=(stop, rate_per_s, topic, make), daemon=True)
        self._flows.append((flow, stop))
        flow.start()
        return stop

    def _produce(self, stop, rate_per_s, topic, make):
        """Produce at a rate whatever fails meanwhile. It is no idempotent producer: a topic may be deleted under it."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers, "partitioner": "murmur2_random"})
        begun, sent = time.monotonic(), 0
        while not stop.is_set():
            with suppress(BufferError, KafkaException):
                while sent < (time.monotonic() - begun) * rate_per_s and not stop.is_set():
                    key, value = make(sent)
                    producer.produce(topic, value, key)
                    sent += 1
            producer.poll(0.02)
        producer.flush(5)

    def limit_reading(self, name, bytes_per_s):
        """Have the broker give a process so many bytes a second; None: as many as it can."""
        what = (
            ("--add-config", f"consumer_byte_rate={bytes_per_s}")
            if bytes_per_s
            else ("--delete-config", "consumer_byte_rate")
        )
        command = (
            *(java(), "-cp", f"{kafka_libraries()}/*", "kafka.admin.ConfigCommand"),
            *("--bootstrap-server", self.kafka.bootstrap_servers, "--alter", *what),
            *("--entity-type", "clients", "--entity-name", f"order-facts-{name}"),
        )
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    def recreate_events(self):
        """Delete the events topic and create it again."""
        topic = self.deployment.settings.events_topic
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        admin.delete_topics([topic], operation_timeout=ADMIN_S)[topic].result(ADMIN_S)
        await_condition(lambda: not self.deployment.cluster.topics([topic]), "the topic is gone")
        self.deployment.create_topics(PARTITIONS)

    def begin_anew(self):
        """Go on as a new group with new outputs."""
        settings = self.deployment.settings
        self.deployment.settings = replace(
            settings,
            group_id=f"{settings.group_id}-2",
            facts_topic=f"{settings.facts_topic}-2",
            rejected_topic=f"{settings.rejected_topic}-2",
            healed_topic=f"{settings.healed_topic}-2",
        )
        self.deployment.command("topics", "create", partitions=PARTITIONS)
        for name in ("healer", *REPLICAS):
            if self.processes[name].exit_code() is None:
                self.stop(name)
            self.start(name)

    def watched(self):
        """Give what `order-facts watch --once` prints of all log lines so far."""
        logs = sorted(str(log) for log in self.deployment.folder.glob("*.log"))
        return self.deployment.command("watch", "--once", *logs).stdout

    def end(self):
        """Leave nothing behind; require that all log lines are as the published schema has them."""
        for _, stop in self._flows:
            stop.set()
        for flow, _ in self._flows:
            flow.join(30)
        self.deployment.end()
        self.client.close()
        self.redis.kill()
        self.kafka.kill()
        self.deployment.check_log_lines()


def good(number):
    """Give the n-th valid event: of an order and one of the contacts."""
    record = created(f"d{number}", phone=f"+999{number % CONTACTS:06}")
    return record.key, record.value
