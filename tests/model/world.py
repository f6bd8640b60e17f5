"""The world of one example: a deployment with its topics and services, its operator, and the books beside them."""

import contextlib
import signal
import time
from itertools import count
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, ResourceType
from msgspec.structs import replace
from redis import Redis

from processor.codec.avro import codec
from processor.contacts.lookup import ContactIndex, IndexNotReadyError
from processor.contacts.shards import lineage_of
from processor.errors import OrderFactsError
from processor.kafka.clients import plain_producer, reader
from tests.model.books import Books, Violation
from tests.model.ways import ways_of
from tests.support.deployment import Deployment, await_condition, headers_of
from tests.support.refusals import PREFIX

ROLES = ("events", "contacts", "facts", "rejected")
PATIENCE_S = 45.0  # a dead member's transaction is looked for every 10 s, its session lasts 3 s
POLL_S = 0.1
REQUEST_S = 30.0
MOST_WAYS = 8  # that an operator takes before a run must get through
NAMES = ("group_id", *(f"{role}_topic" for role in ROLES))
# A dead member is noticed in 3 s. A transaction that nobody can end is over after 3 s.
QUICK = {"session.timeout.ms": 3_000, "transaction.timeout.ms": 3_000}


class Skipped(Exception):  # noqa: N818 - it is no error
    """A step that cannot be done now."""


# What makes it right to ask for new outputs; after any other damage the group goes on.
ENDS_A_LIFE = ("recreated", "more partitions", "deleted facts", "other names")


class World(Deployment):
    """One deployment, as its producers and operators see it. `settings` are the present ones."""

    def __init__(self, settings, folder):
        super().__init__(replace(settings, kafka=QUICK), folder)
        self.books = Books(self)
        self.redis = Redis.from_url(settings.redis_url)
        self.redis.flushdb()
        self.events_sent = 0
        self.damages = []  # done since the last run that got through
        self.is_quiet = True  # the last run got through, so nothing of it comes later
        self.earlier = []  # settings before each change of names
        self.copy = None  # of all keys in Redis
        self.said = []  # what happened, to be printed
        self._cluster_id = self.cluster.wait()
        self._names = count(1)
        self._observers: dict[str, Any] = {}  # by group: who asks for its offsets, and never joins
        self._index: Any = None
        self._index_settings = self.settings

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

    def produce(self, role, records):
        """Write records with a producer that learns of the topic only now."""
        self.topic(role)
        producer = plain_producer(self.settings)
        for record in records:
            producer.produce(self.name_of(role), record.value, record.key, headers=headers_of(record))
        assert producer.flush(REQUEST_S) == 0

    def produce_contacts(self, contacts, deleted=()):
        """Write contacts, and deletions, with a producer that learns of the topic only now."""
        self.topic("contacts")
        producer, name = plain_producer(self.settings), self.name_of("contacts")
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
        producer = plain_producer(self.settings)
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
        producer = plain_producer(self.settings)
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

    def plain_properties(self):
        """Take back the Kafka properties that an operator set."""
        self.change(kafka=QUICK)

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
        return self._committed(asked)

    def _committed(self, asked):
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

    # --- runs ------------------------------------------------------------------------------------------

    def run(self, start):
        """Run until all events are processed; follow what each stop says. Raises Violation if that leads nowhere.

        `start` starts the replicas of an attempt. Afterwards the books must be right, and the mirror equal the facts.
        """
        taken: list[tuple[str, str]] = []
        for _ in range(MOST_WAYS):
            self.books.begin()
            line = self._attempt(start)
            self.books.account(is_drained=line is None)
            if line is None:
                self._require_mirror()
                self.damages.clear()
                self.is_quiet = True
                return
            self.say(f"stopped: {line}")
            self._take_way(line, taken)
        raise Violation("no way on", f"after {taken}")

    def crash(self, start):
        """Run replicas that are to die; the run after it accounts for what they did."""
        self.is_quiet = False
        self.books.begin()
        with contextlib.suppress(Skipped):
            self._await_index()
            process, due = start(), self._due()
            await_condition(
                lambda: process.exit_code() is not None or self._is_drained([process], due),
                lambda: process.tail("neither killed nor done"),
            )
            self.say(f"crashed: {process.lines('test.sabotage') != []}")
            process.end()
        self.books.account(is_drained=False)

    def verify(self):
        """Require that the audit agrees, where it can judge."""
        life, facts = self.books.life(), self.topics().get("facts")
        if life is None or not life.is_judged_by_one_rule:
            return
        if any(self.cluster.starts(facts.name, range(facts.partitions)).values()):
            return  # somebody deleted facts, which it finds
        done = self.command("verify", check=False)
        if done.returncode != 0:
            raise Violation("verify disagrees", f"exit {done.returncode}\n{done.stdout}{done.stderr}")

    def _attempt(self, start):
        """Give None if all was processed, or the line with which a program stopped."""
        line = self._await_index()
        if line is not None:
            return line
        processes, due = start(), self._due()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while all(process.exit_code() is None for process in processes) and not self._is_drained(processes, due):
                if time.monotonic() > deadline:
                    raise Violation("stuck", "\n".join(_last_lines(process) for process in processes))
                time.sleep(POLL_S)
            for process in processes:
                process.signal(signal.SIGTERM)
            codes = {process: process.await_end() for process in processes}
            failed = [process for process, code in codes.items() if code not in {0, -signal.SIGTERM}]
            return self._line_of(failed[0]) if failed else None
        finally:
            for process in processes:
                process.end()

    def _line_of(self, process):
        """Give the one line with which a process stopped."""
        code = process.exit_code()
        lines = [line for line in process.log_path.read_text(encoding="utf-8").splitlines() if line[:1] != "{"]
        if code not in {1, 2, 3} or len(lines) != 1 or not lines[0].startswith(PREFIX) or "defect" in lines[0]:
            raise Violation("no stop with one line", process.tail(f"exit code {code}"))
        return lines[0].removeprefix(PREFIX)

    def _due(self):
        """Give what a run has to process: the next offset of each partition, at least."""
        topic = self.topics().get("events")
        pending = self.books.pending() if topic else {}
        partitions = range(topic.partitions if topic else 0)
        return {number: pending[number][-1] + 1 if pending[number] else -1 for number in partitions}

    def _is_drained(self, processes, due):
        """Whether all partitions are placed, and all events processed."""
        placed = {line["partition"] for process in processes for line in process.lines("partition.positioned")}
        if not due or placed != due.keys():
            return False
        committed = self._committed([TopicPartition(self.name_of("events"), partition) for partition in due])
        return committed is not None and all(committed.get(p, (-1,))[0] >= offset for p, offset in due.items())

    def _require_mirror(self):
        differences = self.mirror_differences(self.books.facts())
        if differences:
            raise Violation("the mirror is not the facts", "\n".join(differences))

    # --- the contact index -----------------------------------------------------------------------------

    def start_index(self, *options):
        """Start `contacts index` with the present settings."""
        if self._index is not None:
            self._index.end()
        self._index_settings = self.settings
        self._index = self.start("contacts", "index", *options, name="index")

    def _await_index(self):
        """Wait until the index has all contacts; give the line if it stops."""
        if self._index is None or self._index.exit_code() is not None or self._needs_other_index():
            self.start_index()
        topic = self.topics().get("contacts")
        if topic is None:
            return None  # the replica says so
        index = ContactIndex(self.redis, self.settings, lineage_of(self._cluster_id, topic.name), topic)
        ends = self.cluster.ends(topic.name, range(topic.partitions))
        deadline = time.monotonic() + PATIENCE_S
        while not self._has_all_contacts(index, ends):
            if self._index.exit_code() is not None:
                return self._line_of(self._index)
            if time.monotonic() > deadline:
                raise Violation("stuck", _last_lines(self._index))
            time.sleep(POLL_S)
        return None

    def _needs_other_index(self):
        names = ("contacts_topic", "identifier_key", "identification", "kafka")
        return any(getattr(self.settings, name) != getattr(self._index_settings, name) for name in names)

    def _has_all_contacts(self, index, ends):
        pipeline = self.redis.pipeline(transaction=False)
        plan = index.add_lookups(pipeline, [])
        try:
            found = index.read(plan, pipeline.execute(raise_on_error=False)).position.offsets
        except (IndexNotReadyError, TypeError):  # or a reply is an error: a shard's key was damaged
            return False
        return found == tuple(end for _, end in sorted(ends.items()))

    # --- the operator ----------------------------------------------------------------------------------

    def _take_way(self, line, taken):
        """Do what a line says: its first way on that was not taken for this line."""
        if not self.damages:
            raise Violation("stopped without a cause", line)
        if not any(name in line for name in self._nameable()):
            raise Violation("a line that names nothing", line)
        for way in ways_of(line):
            if (way.name, line) not in taken or way.is_patient:
                taken.append((way.name, line))
                if way.is_new_life and not any(damage.startswith(ENDS_A_LIFE) for damage in self.damages):
                    raise Violation("new outputs for nothing", line)
                self.say(f"  operator: {way.name}")
                further = way.take(self)
                if further is not None:
                    self.say(f"  refused: {further}")
                    self._take_way(further, taken)
                return
        raise Violation("no way on", line)

    def _nameable(self):
        yield from (self.name_of(role) for role in ROLES)
        yield from self.settings.__struct_fields__
        yield self.settings.group_id
        yield "partition"

    def recover(self, *options):
        """Run `state recover`; give its line if it refuses."""
        self.say("state recover " + " ".join(options))
        self.books.begin()
        done = self.command("state", "recover", *options, check=False)
        if done.returncode == 0:
            if "--accept-loss" in options:
                self.books.accept_loss()
            return None
        lines = [line for line in done.stderr.splitlines() if line[:1] != "{"]
        if len(lines) != 1 or not lines[0].startswith(PREFIX):
            raise Violation("no stop with one line", done.stderr)
        return lines[0].removeprefix(PREFIX)

    def end(self):
        """Leave no process behind."""
        super().end()
        for observer in self._observers.values():
            observer.close()
        self.redis.close()


def _last_lines(process):
    """Give the end of a log that goes on and on."""
    return "\n".join(process.log_path.read_text(encoding="utf-8").splitlines()[-3:])
