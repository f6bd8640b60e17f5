"""What a world consists of: the topics, Redis and offsets of one deployment, and all that can be done to them."""

from itertools import count
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType
from msgspec.structs import replace
from redis import Redis

from processor.codec.avro import codec
from processor.errors import OrderFactsError
from processor.kafka.clients import plain_producer, reader
from tests.model.books import Books
from tests.support.deployment import Deployment, await_condition, headers_of

ROLES = ("events", "contacts", "facts", "rejected")
REQUEST_S = 30.0
NAMES = ("group_id", *(f"{role}_topic" for role in ROLES))
# A dead member is noticed in 3 s. A transaction that nobody can end is over after 3 s.
QUICK = {"session.timeout.ms": 3_000, "transaction.timeout.ms": 3_000}


class Skipped(Exception):  # noqa: N818 - it is no error
    """A step that cannot be done now."""


class Estate(Deployment):
    """One deployment, as its producers and operators see it. `settings` are the present ones."""

    def __init__(self, settings, folder):
        super().__init__(replace(settings, kafka=QUICK), folder)
        self.books = Books(self)
        self.redis = Redis.from_url(settings.redis_url)
        self.redis.flushdb()
        self.damages = []  # done since the last run that got through
        self.is_quiet = True  # the last run got through, so nothing of it comes later
        self.earlier = []  # settings before each change of names
        self.copy = None  # of all keys in Redis
        self.said = []  # what happened, to be printed
        self._names = count(1)
        self._observers: dict[str, Any] = {}  # by group: who asks for its offsets, and never joins

    def say(self, line):
        """Note what happened."""
        self.said.append(line)

    # --- topics ----------------------------------------------------------------------------------------

    def name_of(self, role):
        """Give the present topic of a role."""
        return getattr(self.settings, f"{role}_topic")

    def topics(self):
        """Give the present topics that exist, by role."""
        found = self.cluster.topics([self.name_of(role) for role in ROLES])
        return {role: found[self.name_of(role)] for role in ROLES if self.name_of(role) in found}

    def fresh_names(self, *fields):
        """Take new names for these settings, and keep the old ones for `back`."""
        self.earlier.append(self.settings)
        number = next(self._names)
        changes = {name: f"{getattr(self.settings, name).split('.')[0]}.{number}" for name in fields}
        self.settings = replace(self.settings, **changes)

    def create_missing_topics(self):
        """Do what a start asks for where topics are missing."""
        self.command("topics", "create", partitions=2)
        await_condition(self._all_led, "all partitions have leaders")

    def _all_led(self):
        topics = self.topics()
        try:
            for topic in topics.values():
                self.cluster.ends(topic.name, range(topic.partitions))
        except OrderFactsError:
            return False
        return len(topics) == len(ROLES)

    def recreate(self, role):
        """Delete a topic, and create it again under its name, with as many partitions."""
        topic, name = self.topic(role), self.name_of(role)
        config = self.cluster.topic_settings(name)
        self.cluster.admin.delete_topics([name])[name].result(REQUEST_S)
        await_condition(lambda: name not in self.cluster.topics([name]), f"{name} is gone")
        kept = {key: config[key] for key in ("cleanup.policy", "max.message.bytes")}
        new = NewTopic(name, topic.partitions, 1, config=kept)
        self.cluster.admin.create_topics([new])[name].result(REQUEST_S)
        await_condition(self._all_led, f"{name} has leaders")

    def grow(self, role):
        """Add a partition to a topic."""
        topic = self.topic(role)
        asked = NewPartitions(topic.name, topic.partitions + 1)
        self.cluster.admin.create_partitions([asked])[topic.name].result(REQUEST_S)
        await_condition(lambda: self.topic(role).partitions > topic.partitions and self._all_led(), "it has grown")

    def topic(self, role):
        """Give a topic that exists; else the step is skipped."""
        topics = self.topics()
        if role not in topics:
            raise Skipped(f"no {role}")
        return topics[role]

    def delete_below(self, role, partition, offset):
        """Delete records as retention does; of a compacted topic, as only somebody can who changes its policy."""
        name = self.name_of(role)
        if role == "facts":
            self._set_policy(name, "delete")
        place = TopicPartition(name, partition, offset)
        self.cluster.admin.delete_records([place])[place].result(REQUEST_S)
        if role == "facts":
            self._set_policy(name, "compact")

    def _set_policy(self, name, policy):
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        self.cluster.admin.incremental_alter_configs([resource])[resource].result(REQUEST_S)
        await_condition(lambda: self.cluster.topic_settings(name)["cleanup.policy"] == policy, f"policy {policy}")

    def _tool(self):
        """Give a producer of others: the settings of the replicas are not theirs."""
        return plain_producer(replace(self.settings, kafka={}))

    def produce(self, role, records):
        """Write records with a producer that learns of the topic only now."""
        self.topic(role)
        producer = self._tool()
        for record in records:
            producer.produce(self.name_of(role), record.value, record.key, headers=headers_of(record))
        assert producer.flush(REQUEST_S) == 0

    def produce_contacts(self, contacts, deleted=()):
        """Write contacts, and deletions, with a producer that learns of the topic only now."""
        self.topic("contacts")
        producer, name = self._tool(), self.name_of("contacts")
        for contact in contacts:
            producer.produce(name, codec().encode_contact(contact), contact["contactId"].encode())
        for contact_id in deleted:
            producer.produce(name, None, contact_id.encode())
        assert producer.flush(REQUEST_S) == 0

    def write_foreign_rejected(self, part, ahead):
        """Write a rejected record of another events topic, `ahead` of the present one's end."""
        topic, events = self.topic("rejected"), self.topic("events")
        partition = int(part * topic.partitions)
        if partition < events.partitions:
            ahead += self.cluster.ends(events.name, [partition])[partition]
        headers = {"reason": "undecodable", "outcome": "invalid", "detail": "", "source.topic": "another-shop"}
        headers |= {"source.partition": f"{partition}", "source.offset": f"{ahead}", "source.timestamp": "1"}
        producer = self._tool()
        producer.produce(topic.name, b"x", b"k", partition, headers=list(headers.items()))
        assert producer.flush(REQUEST_S) == 0
        self.books.look()

    def copy_events(self):
        """Copy all events to a new topic with the present number of partitions, as "Add partitions" says."""
        records = sorted(self.read(self.name_of("events")), key=lambda record: (record.timestamp_ms, record.offset))
        partitions = self.topic("events").partitions
        self.fresh_names("group_id", "events_topic", "facts_topic", "rejected_topic")
        self.command("topics", "create", partitions=partitions)
        await_condition(self._all_led, "all partitions have leaders")
        producer = self._tool()
        for record in records:
            stamp = record.timestamp_ms
            producer.produce(
                self.name_of("events"), record.value, record.key, timestamp=stamp, headers=list(record.headers)
            )
        assert producer.flush(REQUEST_S) == 0

    # --- settings and keys -----------------------------------------------------------------------------

    def change(self, **changes):
        """Change settings for the runs that follow."""
        self.settings = replace(self.settings, **changes)

    def swap_names(self):
        """Go back to the names before; the present ones become those before."""
        before = self.earlier.pop()
        self.earlier.append(self.settings)
        self.change(**{name: getattr(before, name) for name in NAMES})

    def all_keys(self):
        """Give all keys in Redis."""
        return list(self.redis.scan_iter())

    def some_key(self, part):
        """Give one of the keys in Redis."""
        keys = sorted(self.all_keys(), key=lambda key: (b":contacts:" in key, key))
        if not keys:
            raise Skipped("Redis is empty")
        return keys[int(part * len(keys))]

    def some_offset(self, part):
        """Give one of the committed offsets: partition, (offset, metadata)."""
        self.await_no_members()
        offsets = self.offsets()
        if not offsets:
            raise Skipped("the group has no offsets")
        return sorted(offsets.items())[int(part * len(offsets))]

    # --- the group's offsets ---------------------------------------------------------------------------

    def offsets(self):
        """Give the group's committed offsets of the present events topic, by partition; None while not stable."""
        asked = [TopicPartition(self.name_of("events"), p) for p in range(self.topic("events").partitions)]
        return self.committed(asked)

    def committed(self, asked):
        """Give the group's committed offsets of these partitions; None while not stable."""
        group_id = self.settings.group_id
        if group_id not in self._observers:
            self._observers[group_id] = reader(self.settings, **{"group.id": group_id})
        try:
            entries = self._observers[group_id].committed(asked, 2.0)
        except KafkaException:
            return None
        if any(entry.error is not None for entry in entries):
            return None
        return {entry.partition: (entry.offset, entry.metadata) for entry in entries if entry.offset >= 0}

    def await_no_members(self):
        """Wait until a dead member's session is over: Kafka changes no offsets of a group with members."""
        await_condition(lambda: not self.cluster.instances(self.settings.group_id), "the group has no members")

    def set_offset(self, partition, offset, metadata):
        """Set a committed offset, as an operator can with Kafka's tools."""
        entry = TopicPartition(self.name_of("events"), partition, offset, metadata)
        asked = ConsumerGroupTopicPartitions(self.settings.group_id, [entry])
        (future,) = self.cluster.admin.alter_consumer_group_offsets([asked]).values()
        (changed,) = future.result(REQUEST_S).topic_partitions
        assert changed.error is None, changed.error

    def forget_group(self):
        """Delete the group with its offsets, as Kafka does after a week."""
        (future,) = self.cluster.admin.delete_consumer_groups([self.settings.group_id]).values()
        future.result(REQUEST_S)

    def end(self):
        """Leave no process behind."""
        super().end()
        for observer in self._observers.values():
            observer.close()
        self.redis.close()
