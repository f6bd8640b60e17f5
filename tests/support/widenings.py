"""A deployment whose events are copied to a topic with more partitions, and what must hold of the copies."""

import json
import time
from collections import defaultdict

from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions
from msgspec.structs import replace

from processor.kafka.clients import reader
from processor.kafka.partitioning import usual_partition
from processor.state.event_copies import copied_of, copier_group
from processor.widening.new_names import Widened
from processor.widening.new_topics import create_topics
from tests.support.deployment import Deployment, await_condition
from tests.support.producing import quick_producer
from tests.support.refusals import PREFIX, REQUEST_S

NOW_MS = int(time.time() * 1000)
MORE = 7
COMMAND = ("topics", "widen", "--partitions", str(MORE))
QUIET = ("--finish", "--quiet", "1s")
RENAMED = ("group_id", "events_topic", "facts_topic", "rejected_topic")


class Widening(Deployment):
    """A deployment of three partitions that is to have seven."""

    @property
    def new_settings(self):
        """The settings that the command prints for the new deployment."""
        return replace(self.settings, **{name: f"{getattr(self.settings, name)}-{MORE}" for name in RENAMED})

    def produce(self, records, topic=None):
        """Write (key, value, partition, timestamp, headers), each to its partition."""
        producer = quick_producer(self.settings)
        for key, value, partition, timestamp_ms, headers in records:
            own = {"headers": headers} if headers else {}
            producer.produce(topic or self.settings.events_topic, value, key, partition, timestamp=timestamp_ms, **own)
        assert producer.flush(30) == 0

    def widen(self, *options, **changes):
        """Start to copy, and follow."""
        return self.start(*COMMAND, *options, name="widen", **changes)

    def sabotaged_widen(self, moment, transaction, signal_name, *options, records=40):
        """Start a copier that signals itself at a moment of its n-th transaction."""
        plan = {"moment": moment, "transaction": transaction, "records": records, "signal": signal_name}
        extra = {"TEST_SABOTAGE": json.dumps(plan)}
        module = "tests.support.widen_saboteur"
        return self.start(*COMMAND, *options, name="widen", module=module, extra=extra)

    def finish(self, *options, check=True):
        """Copy the rest, and give what was printed."""
        return self.command(*COMMAND, *QUIET, *options, check=check)

    def refused(self, *options, code=1):
        """Give the line with which a copier refuses."""
        done = self.command(*COMMAND, *options, check=False)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}{done.stderr}"
        return next(line for line in done.stderr.splitlines() if line.startswith(PREFIX)).removeprefix(PREFIX)

    def create_new_topics(self):
        """Create the new topics as the command does."""
        list(create_topics(Widened.of(self.settings, MORE, None), self.cluster))

    def copies(self):
        """Give the records of the new topic."""
        return self.read(self.new_settings.events_topic)

    def add_partitions(self, count):
        """Give the old events topic more partitions."""
        topic = self.settings.events_topic
        self.cluster.admin.create_partitions([NewPartitions(topic, count)])[topic].result(REQUEST_S)
        await_condition(lambda: self.cluster.topics([topic])[topic].partitions == count, "grown")

    def noted(self):
        """Give what is committed of the copy."""
        names = [self.settings.events_topic, self.new_settings.events_topic]
        former, new = (self.cluster.required(names)[name] for name in names)
        asked = [TopicPartition(topic.name, number) for topic in (former, new) for number in range(topic.partitions)]
        with reader(self.settings, **{"group.id": copier_group(self.new_settings)}) as consumer:
            return copied_of(consumer.committed(asked, timeout=REQUEST_S), former, new)

    def require_copies(self, added=(), before=None):
        """Require that the new topic holds each event once, where murmur2 puts it, in order; and beside these `added`.

        In order: by the latest time up to a record in its partition, then by partition and offset. What is in
        partitions beyond the first `before` comes after all others.
        """
        first = MORE if before is None else before
        expected = defaultdict(list)
        for time_ms, record in timed(self.read(self.settings.events_topic)):
            where = usual_partition(record.key, MORE) if record.key is not None else record.partition
            expected[where, record.key].append(
                (record.partition >= first, time_ms, record.partition, record.offset, content(record))
            )
        wanted = {place: [entry[-1] for entry in sorted(found)] for place, found in expected.items()}
        copies = defaultdict(list)
        for record in self.copies():
            copies[record.partition, record.key].append(content(record))
        for place, found in copies.items():
            copies[place] = [entry for entry in found if entry[0] not in added]
        assert {place: found for place, found in copies.items() if found} == wanted


def numbered(count, partitions=3, begin_ms=NOW_MS - 3_600_000):
    """Give records for `produce`: a dozen orders, each in one partition, a second apart, some times in disorder."""
    for number in range(count):
        key = b"order %d" % (number % 12)
        disorder_ms = 5_000 if number % 7 == 0 else 0
        time_ms = begin_ms + number * 1_000 - disorder_ms
        yield key, b"value %d" % number, number % 12 % partitions, time_ms, [("n", b"%d" % number)]


def timed(records):
    """Give records by partition and offset, each with the latest timestamp up to it in its partition."""
    latest: dict[int, int] = {}
    for record in records:
        latest[record.partition] = max(latest.get(record.partition, record.timestamp_ms), record.timestamp_ms)
        yield latest[record.partition], record


def content(record):
    """Give what a copy must have of its event."""
    return record.value, record.headers, record.timestamp_ms
