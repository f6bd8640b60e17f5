"""Deployments to audit: the outputs of a good one copied to topics of their own, with the damage a test does."""

import secrets

from confluent_kafka import Producer
from msgspec.structs import replace

from processor.audit.auditing import Audit
from processor.codec.avro import codec
from processor.kafka.cluster import Cluster, Topic
from processor.state.connection import connect
from processor.state.mirror import Mirror
from processor.state.watermark import Lineage, Watermark, metadata_text
from tests.support.deployment import Deployment
from tests.support.producing import quick_producer
from tests.support.redis_client import raw_client
from tests.support.refusals import offsets, set_offset
from tests.support.traffic import Sent, created, event

WAIT_S = 30.0


class Copy(Deployment):
    """A copy of an idle deployment: its events, and its outputs as a test changed them, in a group of its own."""

    def __init__(self, original, folder, create_topic):
        unique = secrets.token_hex(4)
        settings = replace(
            original.settings,
            group_id=f"copy-{unique}",
            facts_topic=f"copy-facts-{unique}",
            rejected_topic=f"copy-rejected-{unique}",
        )
        super().__init__(settings, folder)
        self._original = original
        self._create_topic = create_topic
        self.facts = original.read(original.settings.facts_topic)
        self.rejected = original.read(original.settings.rejected_topic)
        self.partitions = original.cluster.topics([settings.events_topic])[settings.events_topic].partitions

    def write(self, **facts_config):
        """Write the outputs, commit the offsets with what they hold now, and copy the mirror."""
        config = {"cleanup_policy": "compact", "min_compaction_lag_ms": 7 * 24 * 3600 * 1000} | facts_config
        self._create_topic(self.settings.facts_topic, self.partitions, **config)
        self._create_topic(self.settings.rejected_topic, self.partitions)
        self.produce(self.settings.facts_topic, self.facts)
        self.produce(self.settings.rejected_topic, self.rejected)
        self.commit()

    def produce(self, topic, records):
        """Write outputs as the copy's own."""
        own = lineage_of(self.settings).digest().encode()
        produce(self.settings, topic, [with_headers(record, lineage=own) for record in records])

    def commit(self):
        """Commit the original's source offsets with the ends of the facts, and have the mirror say the same."""
        lineage, former = lineage_of(self.settings), lineage_of(self._original.settings)
        ends = self.cluster.ends(self.settings.facts_topic, range(self.partitions))
        servers, client = connect(self.settings), raw_client(self.settings)
        for partition, (source, _) in offsets(self._original).items():
            watermark = Watermark(source, ends[partition])
            set_offset(self, source, metadata_text(watermark, lineage), partition)
            held = client.hgetall(Mirror(servers, former, codec()).key(partition)) | {
                b"": f"{source} {ends[partition]}"
            }
            key = Mirror(servers, lineage, codec()).key(partition)
            client.hset(key, items=[part for pair in held.items() for part in pair])

    def mirror(self):
        """Give a Redis client, and the key of each partition's mirror."""
        servers, client = connect(self.settings), raw_client(self.settings)
        keys = [
            Mirror(servers, lineage_of(self.settings), codec()).key(partition) for partition in range(self.partitions)
        ]
        return client, keys

    def audit(self):
        """Run the audit in this process, and give the number of differences by kind and the examples."""
        _, findings = Audit(self.settings).run(lambda _: None)
        return dict(findings.counts), [example for examples in findings.examples.values() for example in examples]


def verified(deployment, code, *, options=(), **changes):
    """Audit a deployment, require the exit code, and give the number of differences by kind and the lines."""
    done = deployment.command("verify", *options, check=False, **changes)
    lines = done.stdout.splitlines()
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    assert lines, done.stderr
    counts = {}
    for line in lines[:-1]:
        kind, _, count = line.partition(": ")
        if count.isdigit():
            counts[kind] = int(count)
    total = sum(counts.values())
    assert lines[-1] == ("ok" if total == 0 else f"{total} difference{'s' if total > 1 else ''}"), done.stdout
    assert (code == 0) == (total == 0)
    return counts, lines


def lineage_of(settings):
    """Give what makes a deployment's state its own."""
    cluster = Cluster(settings)
    names = (settings.events_topic, settings.facts_topic, settings.rejected_topic)
    found = cluster.topics(names)
    events, facts, rejected = (found.get(name, Topic(name, "", 0)) for name in names)
    return Lineage.of(cluster.wait(), settings.group_id, events, facts, rejected)


def produce(settings, topic, records):
    """Write records as they are, each to its partition, without a transaction."""
    producer = quick_producer(settings)
    for record in records:
        producer.produce(
            topic,
            record.value,
            record.key,
            record.partition,
            headers=list(record.headers),
            timestamp=record.timestamp_ms,
        )
    assert producer.flush(WAIT_S) == 0


def with_headers(record, **changes):
    """Give a record with other headers, named with underscores for points."""
    named = {name.replace("_", "."): value for name, value in changes.items()}
    return replace(record, headers=tuple((name, named.get(name, value)) for name, value in record.headers))


def with_fact(record, **changes):
    """Give a fact's record with other fields."""
    order = replace(codec().decode_fact(record.value), **changes)
    return replace(record, value=codec().encode_fact(order))


def send_in_transaction(settings, records):
    """Send events in a transaction, which leaves an offset without a record in every partition it wrote to."""
    producer = Producer(
        {
            "bootstrap.servers": settings.bootstrap_servers,
            "transactional.id": f"shop-{settings.group_id}",
            "partitioner": "murmur2_random",
        }
    )
    producer.init_transactions(WAIT_S)
    producer.begin_transaction()
    for record in records:
        producer.produce(settings.events_topic, record.value, record.key)
    producer.commit_transaction(WAIT_S)


def chain(order_id, count=6):
    """Give events that each lead to a revision of one order."""
    changes = [
        Sent(order_id.encode(), codec().encode_event(event("orderUpdated", order_id, storeId=f"s{number}")))
        for number in range(count - 1)
    ]
    return [created(order_id), *changes]


def revisions(copy, order_id="x"):
    """Give where an order's facts stand in the list of facts, by revision from 1 on."""
    return [index for index, record in enumerate(copy.facts) if record.key == order_id.encode()]
