"""Everything a benchmark runs on: a broker, a Redis, topics, contacts and events in them."""

import itertools
import os
import time
from contextlib import suppress
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from msgspec.structs import replace
from redis import Redis

from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from processor.codec.avro import codec
from processor.kafka.clients import plain_producer, reader
from processor.replica import startup
from processor.settings import Settings
from processor.state.mirror import Mirror
from tests.benchmarks import load
from tests.benchmarks.process import cpu_s
from tests.conftest import creator
from tests.support.deployment import Deployment, await_condition
from tests.support.inputs import UNDECODABLE

PARTITIONS = 6
PARTITION_UA = -1  # the producer's partitioner decides
FLUSH_S = 300.0
ANSWER_S = 10.0
INDEX_S = 3_600.0
IDENTIFIERS = "identifiers"  # a topic and a Redis hash: identifier -> contact id, for programs without the index


class Stage:
    """The services, and what is put into them. Close it at the end."""

    def __init__(self, folder, cores):
        self.folder = folder
        self.cores = cores
        self._numbers = itertools.count(1)
        self.kafka = EmbeddedKafka(folder / "kafka", abandoned=folder)
        self.redis = EmbeddedRedis(folder / "redis", abandoned=folder)
        self._redis_servers = [self.redis]
        self.redis.start()
        try:
            self.kafka.start()
        except BaseException:
            self.redis.kill()
            raise
        self.client = Redis.from_url(self.redis.url)
        self.admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers, "log_level": 0})
        self.create_topic = creator(self.admin)
        # One for all readings: a client that is closed right after reading may crash (seen with librdkafka 2.16).
        self.reader = reader(self.settings())

    def close(self):
        """End the services, and what is connected to them."""
        self.reader.close()
        self.client.close()
        self.kafka.kill()
        self.redis.kill()

    def settings(self, **given):
        """Give settings with a group and topics of their own, but for what is given."""
        unique = f"{next(self._numbers):03}"
        settings = Settings(
            bootstrap_servers=self.kafka.bootstrap_servers,
            redis_url=self.redis.url,
            group_id=f"bench-{unique}",
            instance_id="replica",
            events_topic=f"events-{unique}",
            contacts_topic=f"contacts-{unique}",
            facts_topic=f"facts-{unique}",
            rejected_topic=f"rejected-{unique}",
            identifier_key="a secret of the benchmarks",
        )
        return replace(settings, **given)

    def deployment(self, settings):
        """Give the program's commands on these settings, topics made; its outputs tell when they were appended."""
        folder = self.folder / settings.group_id
        folder.mkdir()
        deployment = Deployment(settings, folder)
        deployment.command("topics", "create", partitions=PARTITIONS)
        entry = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
        for topic in (settings.facts_topic, settings.rejected_topic):
            resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
            (done,) = self.admin.incremental_alter_configs([resource]).values()
            done.result()
        return deployment

    def with_contacts(self, count):
        """Make topics of which the contacts' is filled and indexed; give their deployment, its inputs to be shared."""
        deployment = self.deployment(self.settings())
        self.send_contacts(deployment, count)
        self.index(deployment)
        return deployment

    def send_contacts(self, deployment, count):
        """Send contacts."""
        settings = deployment.settings
        producer = plain_producer(settings)
        encode = codec().encode_contact
        for contact in load.contacts(count):
            produce(producer, settings.contacts_topic, encode(contact), contact["contactId"].encode())
        assert producer.flush(FLUSH_S) == 0

    def index(self, deployment):
        """Have the contact index built, and end its writer: it would only take the services' core.

        Gives the index's own line about it.
        """
        process = deployment.start("contacts", "index", name="index")

        def lines_seldom():
            time.sleep(0.2)
            return process.lines("contacts.ready")

        await_condition(lines_seldom, process.log_path, INDEX_S)
        process.stop()
        return process.lines("contacts.ready")[0]

    def load_identifiers(self, count):
        """Put every identifier into a compacted topic and a Redis hash, as the other programs look them up."""
        self.create_topic(IDENTIFIERS, PARTITIONS, cleanup_policy="compact")
        producer = plain_producer(self.settings())
        source = load.contacts(count)
        while batch := list(itertools.islice(source, 1_000)):
            found = {name: contact["contactId"] for contact in batch for name in load.identifiers(contact)}
            self.client.hset(IDENTIFIERS, mapping=found)
            for name, contact_id in found.items():
                produce(producer, IDENTIFIERS, contact_id.encode(), name.encode())
        assert producer.flush(FLUSH_S) == 0

    def send(self, topic, records, partition_of=None):
        """Send events, by the partitioner or to the partitions that a function of the key tells; give how many."""
        producer, count = plain_producer(self.settings()), 0
        for record in records:
            headers = [(UNDECODABLE, b"1")] if record.is_undecodable else None
            partition = PARTITION_UA if partition_of is None else partition_of(record.key)
            produce(producer, topic, record.value, record.key, headers, partition)
            count += 1
        assert producer.flush(FLUSH_S) == 0
        return count

    def ends(self, topic):
        """Give the end of every partition."""
        return await_condition(lambda: self._ends(topic), f"{topic} has leaders")

    def _ends(self, topic):
        asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(PARTITIONS)}
        try:
            return {key.partition: future.result().offset for key, future in self.admin.list_offsets(asked).items()}
        except KafkaException:
            self.admin.list_topics(topic)  # without it the client would believe for minutes that there is no leader
            return None

    def remove(self, deployment):
        """Delete a deployment's outputs, and what topics a program made for itself as its group."""
        settings = deployment.settings
        own = [name for name in self.admin.list_topics().topics if settings.group_id in name]
        for done in self.admin.delete_topics([settings.facts_topic, settings.rejected_topic, *own]).values():
            done.result()

    def services_cpu_s(self):
        """Give the CPU seconds that broker and Redis have used so far; None where the system does not tell."""
        used = [cpu_s(server.pid) for server in self._redis_servers]
        return {"kafka": cpu_s(self.kafka.pid), "redis": None if None in used else sum(used)}

    def also_count(self, redis_servers):
        """Count these servers' CPU time to that of Redis."""
        self._redis_servers += redis_servers

    def forget(self, pattern):
        """Remove what Redis holds under such keys."""
        for key in self.client.scan_iter(match=pattern, count=1_000):
            self.client.unlink(key)

    def redis_bytes(self):
        """Give the memory that Redis uses for data, once what was removed is freed (it does that aside)."""
        await_condition(lambda: self.client.info("memory")["lazyfree_pending_objects"] == 0, "memory is freed")
        return self.client.info("memory")["used_memory"]


class Progress:
    """How far a group is; asked from outside, by a consumer that never joins.

    (The administrator's way to ask crashes the client while the group's coordinator is not known: librdkafka 2.16.)
    """

    def __init__(self, settings):
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.bootstrap_servers,
                "group.id": settings.group_id,
                "isolation.level": "read_uncommitted",  # else an open transaction would be waited for
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._asked = [TopicPartition(settings.events_topic, partition) for partition in range(PARTITIONS)]
        self._last = 0

    def committed(self):
        """Give how many events the group has committed; what it was before while nobody answers."""
        with suppress(KafkaException):
            found = self._consumer.committed(self._asked, timeout=ANSWER_S)
            self._last = sum(max(0, entry.offset) for entry in found)
        return self._last

    def close(self):
        """Close the consumer."""
        self._consumer.close()


def mirror_of(settings):
    """Give the mirror that a deployment's replicas use."""
    found = startup.check(settings)
    return Mirror(found.redis, found.lineage, codec())


def remove_mirror(mirror):
    """Remove all that a mirror holds."""
    for partition in range(PARTITIONS):
        mirror.remove(partition)


def project_environment():
    """Give this process's environment without settings of the program, from which other programs start."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ORDER_FACTS_")}
    return own | {"PYTHONPATH": str(Path(__file__).parents[2])}


def produce(producer, topic, value, key, headers=None, partition=PARTITION_UA):
    """Produce a record, waiting while the producer is full."""
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            producer.poll(0.1)
        else:
            return
