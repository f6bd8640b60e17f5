"""The world that the chaos suite plays in: brokers, Redis, contact index, healer, replicas, producers, a watcher."""

import json
import random
import signal
import threading
import time
from collections import defaultdict
from itertools import pairwise

from confluent_kafka import KafkaException, TopicPartition
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.kafka.clients import plain_producer, reader
from tests.chaos.late import LateOrders
from tests.chaos.redis_setups import OneRedis
from tests.support.deployment import Deployment, Process, headers_of
from tests.support.facts import fact_of
from tests.support.traffic import CONTACTS, contacts, traffic

PARTITIONS = 6
REPLICAS = ("r1", "r2", "r3")


class World:
    """Everything that runs, and the verbs by which faults act on it."""

    def __init__(self, settings, folder, seed, kafka, redis=OneRedis):
        self.random = random.Random(seed)
        self._traffic = random.Random(f"traffic {seed}")  # its own: the schedule must not hang on when events are made
        self.seed = seed
        self.kafka = kafka
        self.redis = redis(folder)
        self.kafka.start()
        self.redis.start()
        addresses = {"bootstrap_servers": self.kafka.bootstrap_servers, "redis_url": self.redis.url}
        self.deployment = self.made(replace(settings, **addresses, **self.redis.settings), folder)
        self.deployment.files.update(self.redis.files)
        self.replicas: dict[str, Process] = {}
        self.index: Process
        self.healer: Process
        self.late = LateOrders(self.deployment)
        self.brought = 0  # events that come from elsewhere than `pace`
        self._stopping = threading.Event()

    def made(self, settings, folder):
        """Give the deployment."""
        return Deployment(settings, folder)

    def prepare(self):
        """Do what must be done before any process starts."""

    def workers(self):
        """Give what runs beside the producers, until it is told to stop."""
        return []

    def value_of(self, record):
        """Give a record's value as its producer writes it."""
        return record.value

    def may_end(self, process, code):
        """Tell whether a process may end so: by a kill, and not by itself, unless Redis refuses it."""
        return code == -signal.SIGKILL or self.redis.may_end(process, code)

    def begin(self):
        """Make topics and contacts, start the index, the replicas."""
        self.deployment.command("topics", "create", partitions=PARTITIONS)
        self.prepare()
        self.deployment.send_contacts(contacts())
        self.start_index()
        self.index.await_line("contacts.ready")
        for name in REPLICAS:
            self.start_replica(name)
        self.start_healer()

    def start_index(self):
        """Start the contact index; a second one would take over."""
        self.index = self.deployment.start("contacts", "index", name="index")

    def start_healer(self, moment=None):
        """Start the healer, which kills itself at a moment of one of its next transactions if one is given."""
        if moment is None:
            self.healer = self.deployment.start("rejected", "replay", "--follow", name="healer")
        else:
            plan = {
                "moment": moment,
                "time": 1 if "over" in moment else self.random.randrange(2, 5),
                "signal": "SIGKILL",
            }
            command = ("rejected", "replay", "--follow")
            extra = {"TEST_SABOTAGE": json.dumps(plan)}
            module = "tests.support.healer_saboteur"
            self.healer = self.deployment.start(*command, name="healer", module=module, extra=extra)

    def start_replica(self, name, moment=None):
        """Start a replica, which kills itself at a moment of one of its next batches if one is given."""
        if moment is None:
            self.replicas[name] = self.deployment.replica(name, max_batch=500)
        else:
            batch = self.random.randrange(3, 12)
            self.replicas[name] = self.deployment.sabotaged(name, moment, batch, "SIGKILL", max_batch=500)

    def keep_up(self):
        """Start again what died, as an orchestrator does; require that nothing died but by a kill."""
        for name, process in list(self.replicas.items()):
            code = process.exit_code()
            if code is not None:
                assert self.may_end(process, code), process.tail(f"replica {name} ended with {code}")
                self.start_replica(name)
        code = self.index.exit_code()
        if code is not None:
            assert World.may_end(self, self.index, code), self.index.tail(f"the index ended with {code}")
            self.start_index()
        code = self.healer.exit_code()
        if code is not None:
            assert World.may_end(self, self.healer, code), self.healer.tail(f"the healer ended with {code}")
            self.start_healer()

    def end(self):
        """Leave nothing behind."""
        self._stopping.set()
        self.deployment.end()
        self.redis.kill()
        self.kafka.kill()
        self.deployment.check_log_lines()

    def pace(self, stop, rate_per_s):
        """Produce traffic at a rate until told to stop, whatever fails meanwhile; give how many records."""
        producer = plain_producer(self.deployment.settings)
        sent = 0
        begun = time.monotonic()
        batch = iter(())
        while not stop.is_set():
            for _ in range(int((time.monotonic() - begun) * rate_per_s) - sent):
                record = next(batch, None)
                if record is None:
                    batch = iter(traffic(self._traffic.randrange(1 << 30), 5_000, orders=4_000))
                    record = next(batch)
                topic = self.deployment.settings.events_topic
                producer.produce(topic, self.value_of(record), record.key, headers=headers_of(record))
                sent += 1
            producer.poll(0.02)
        assert producer.flush(120) == 0
        self.deployment.sent = sent
        return sent

    def change_contacts(self, stop):
        """Change contacts all the while, in ways that change nobody's orders: new tokens, new contacts."""
        producer = plain_producer(self.deployment.settings)
        number = 0
        known = contacts()
        while not stop.wait(0.2):
            number += 1
            contact = dict(known[number % CONTACTS])
            contact["pushTokens"] = [*contact["pushTokens"], f"new-{number}"]
            extra = {"contactId": f"x{number % 50}", "email": f"x{number}@shop.example"}
            for changed in (contact, extra):
                value = self.deployment.framed(codec().encode_contact(changed))
                producer.produce(self.deployment.settings.contacts_topic, value, changed["contactId"].encode())
            producer.poll(0)
        assert producer.flush(120) == 0


class Watcher(threading.Thread):
    """Reads committed outputs all the while: when each partition's came, and whether any came twice."""

    def __init__(self, deployment, stop, partitions=PARTITIONS):
        super().__init__(name="watcher", daemon=True)
        self._partitions = partitions
        self._settings = deployment.settings
        self._plain = deployment.plain
        self._stop_event = stop
        self.arrivals = defaultdict(list)
        self.seen = set()
        self.doubled = 0

    def run(self):
        """Read until told to stop."""
        consumer = reader(self._settings)
        facts, rejected = self._settings.facts_topic, self._settings.rejected_topic
        consumer.assign([TopicPartition(t, p, 0) for t in (facts, rejected) for p in range(self._partitions)])
        while not self._stop_event.is_set():
            try:
                messages = consumer.consume(2_000, 0.1)
            except KafkaException:
                continue  # a broker that is down is one of the faults
            now = time.monotonic()
            for message in messages:
                if message.error() is None:
                    self._note(message, now, is_fact=message.topic() == facts)
        consumer.close()

    def _note(self, message, now, *, is_fact):
        times = self.arrivals[message.partition()]
        if not times or now - times[-1] > 0.01:
            times.append(now)
        place = (message.topic(), message.partition(), message.offset())
        headers = dict(message.headers() or ())
        source = fact_of(self._plain(message.value()))["sourceOffset"] if is_fact else int(headers["source.offset"])
        entry = (message.partition(), source)
        if entry in self.seen:
            self.doubled += 1
            print("doubled:", place, entry)
        self.seen.add(entry)

    def flowed_again(self, since):
        """Give the seconds until every partition had an output again after a moment, None where one had none."""
        waits = []
        for partition in range(self._partitions):
            after = next((moment for moment in self.arrivals[partition] if moment > since), None)
            if after is None:
                return None
            waits.append(after - since)
        return max(waits)

    def stopped(self, begin, end):
        """Give the longest time without an output of some partition that lay in a span, or began there."""
        return max(
            (
                later - max(earlier, begin)
                for times in self.arrivals.values()
                for earlier, later in pairwise((begin, *times))
                if earlier < end and later > begin
            ),
            default=0.0,
        )

    def longest_stall(self):
        """Give the longest time in which a partition had no output, in seconds."""
        return max(
            (later - earlier for times in self.arrivals.values() for earlier, later in pairwise(times)),
            default=0.0,
        )
