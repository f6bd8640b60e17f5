"""Proves that what cannot work is refused: by one clear line and an exit code, with nothing written."""

import json
import re
import secrets
from contextlib import closing, contextmanager

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType
from msgspec.structs import replace
from redis import Redis

from deploy.local.servers import HOST, free_ports
from deploy.local.services import EmbeddedRedis
from processor.adapters import kafka
from processor.errors import ProducerLostError
from processor.settings import Settings
from tests.support.deployment import Deployment, await_condition, deployed
from tests.support.refusals import (
    REQUEST_S,
    delete_records,
    forget_mirror,
    forget_offsets,
    offsets,
    refusal,
    refused_run,
    set_offset,
    written,
)
from tests.support.traffic import CONTACTS, contacts, created

NOBODY = f"+999{CONTACTS + 1:06}"
NOWHERE = f"{HOST}:{free_ports(1)[0]}"


@pytest.fixture(scope="module")
def indexed_topic(services, tmp_path_factory):
    """Give a contacts topic whose index is complete and kept, for all deployments of this module."""
    unique = secrets.token_hex(4)
    settings = Settings(
        bootstrap_servers=services.bootstrap_servers,
        redis_url=services.redis_url,
        identifier_key="a secret of the tests",
        **{f"{role}_topic": f"{role}-{unique}" for role in ("events", "contacts", "facts", "rejected")},
    )
    with deployed(settings, tmp_path_factory.mktemp("index"), partitions=1) as running:
        running.send_contacts(contacts())
        running.index()
        yield settings.contacts_topic


@pytest.fixture
def deployment(settings, indexed_topic, tmp_path):
    """Give a deployment of one partition with a complete contact index."""
    with deployed(replace(settings, contacts_topic=indexed_topic), tmp_path, partitions=1) as running:
        yield running


@pytest.fixture
def bare(settings, tmp_path, create_topic):
    """Give a deployment whose topics a test makes itself, with `create(role, partitions, **config)`."""
    with closing(Bare(settings, tmp_path, create_topic)) as running:
        yield running


class Bare(Deployment):
    """A deployment without topics."""

    def __init__(self, settings, folder, create_topic):
        super().__init__(settings, folder)
        self._create_topic = create_topic

    def create(self, role, partitions=2, **config):
        """Make the topic of a role, by default as `topics create` would."""
        if role in {"contacts", "facts"}:
            config = {"cleanup_policy": "compact"} | config
        name = getattr(self.settings, f"{role}_topic")
        self._create_topic(name, partitions, **config)
        await_condition(lambda: self._is_led(name, partitions), f"{name} is led")

    def _is_led(self, name, partitions):
        try:
            return self.cluster.ends(name, range(partitions))
        except KafkaException:
            return False

    close = Deployment.end


@contextmanager
def private_redis(folder, **overrides):
    """Give a Redis of the test's own with these settings."""
    redis = EmbeddedRedis(folder, overrides={name.replace("_", "-"): value for name, value in overrides.items()})
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


def process(deployment, records):
    """Have a replica process records, and stop."""
    deployment.send(records)
    replica = deployment.replica("a")
    deployment.await_accounted()
    replica.stop()
    assert offsets(deployment)[0][0] == deployment.sent


def facts(count, first=0):
    """Give records that become facts."""
    return [created(f"f{first + number}") for number in range(count)]


def rejections(count):
    """Give records that nobody is found for."""
    return [created(f"r{number}", phone=NOBODY) for number in range(count)]


def failure(process):
    """Give the line with which a running replica stopped."""
    await_condition(lambda: process.popen.poll() is not None, lambda: process.tail("goes on"), patience_s=30)
    assert process.await_end() == 1, process.tail("exit code")
    failed = process.lines("service.failed", exit_code=1)
    assert len(failed) == 1, process.tail("service.failed")
    (line,) = failed
    assert process.log_path.read_text(encoding="utf-8").splitlines()[-1] == f"order-facts: {line['error']}"
    return line["error"]


# --- settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"IDENTIFIER_KEY": ""}, "setting identifier_key: put "),
        ({"IDENTIFIER_KEY": None}, "setting identifier_key: put "),
        ({"GROUP": "x"}, "unknown setting ORDER_FACTS_GROUP; did you mean group_id?"),
        ({"WIRE_FORMAT": "confluent"}, "setting wire_format: confluent is not supported yet"),
        ({"REDIS_URL": "redis+sentinel://a:1,b:2/main"}, "setting redis_url: redis+sentinel:// is not supported yet"),
        ({"REDIS_URL": "redis+cluster://a:1"}, "setting redis_url: redis+cluster:// is not supported yet"),
        ({"KAFKA": '{"isolation.level": "read_uncommitted"}'}, "setting kafka: isolation.level is reserved"),
        ({"KAFKA": '{"no.such.property": 1}'}, "setting kafka: "),
        ({"IDENTIFIER_KEY_FILE": "/dev/null"}, "ORDER_FACTS_IDENTIFIER_KEY_FILE and ORDER_FACTS_IDENTIFIER_KEY contra"),
        ({"FACTS_TOPIC": "same", "REJECTED_TOPIC": "same"}, "setting facts_topic: same is another setting's topic too"),
    ],
)
def test_settings_are_refused_before_anything_is_asked_of_a_service(bare, variables, expected):
    """A missing, unknown, unsupported, reserved or contradicting setting ends `run` with 2 and its name."""
    done = bare.command("run", check=False, extra={f"ORDER_FACTS_{name}": value for name, value in variables.items()})
    assert refusal(done, 2).startswith(expected)


def test_an_option_is_named_as_the_source_of_a_wrong_value(bare):
    """What stands on the command line is refused by its option, and an unknown option by the usage."""
    assert refusal(bare.command("run", "--max-batch", "0", check=False), 2).startswith(
        "setting max_batch, from option --max-batch: "
    )
    unknown = bare.command("run", "--max-bach", "5", check=False)
    assert unknown.returncode == 2
    assert "--max-batch" in unknown.stderr


# --- services ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("run",), ("topics", "create"), ("facts", "show"), ("contacts", "index")])
def test_unreachable_kafka(bare, command):
    """A broker that does not answer in time ends a command with 3, and the line names the address and the setting."""
    done = bare.command(*command, check=False, bootstrap_servers=NOWHERE, startup_timeout_s=0.4)
    line = refusal(done, 3)
    assert line.startswith(f"Kafka at {NOWHERE} did not answer within 0.4 s: ")
    assert line.endswith("check the setting bootstrap_servers")


@pytest.mark.parametrize("command", [("run",), ("contacts", "index"), ("contacts", "find", "email=a@b.example")])
def test_unreachable_redis(bare, command):
    """A Redis that does not answer in time ends a command with 3, and the line names the setting."""
    done = bare.command(*command, check=False, redis_url=f"redis://{NOWHERE}/0", startup_timeout_s=0.4)
    line = refusal(done, 3)
    assert line.startswith("Redis did not answer within 0.4 s: ")
    assert line.endswith("check the setting redis_url")


@pytest.mark.parametrize("password", ["", ":wrong@"])
def test_wrong_redis_password(bare, tmp_path, password):
    """A password that is missing or wrong is no outage to wait for: refused at once, without repeating it."""
    with private_redis(tmp_path / "redis") as redis, Redis.from_url(redis.url) as client:
        client.config_set("requirepass", "right")
        line = refusal(bare.command("run", check=False, redis_url=redis.url.replace("//", f"//{password}")), 1)
    assert line.startswith("Redis: ")
    assert line.endswith("check the setting redis_url and the server's access rules")
    assert "wrong@" not in line


def test_redis_that_may_evict(bare, tmp_path):
    """A policy that would lose orders in silence is named, with the one to set."""
    with private_redis(tmp_path / "redis", maxmemory_policy="allkeys-lru") as redis:
        line = refusal(bare.command("run", check=False, redis_url=redis.url), 1)
    assert line == "Redis may evict state: its maxmemory-policy is allkeys-lru; set it to noeviction"


def test_redis_that_comes_back_with_another_policy_while_running(bare, tmp_path):
    """The policy is looked at again on each connection: a replica stops rather than trust a server that evicts."""
    for role in ("events", "contacts", "facts", "rejected"):
        bare.create(role)
    with private_redis(tmp_path / "redis") as redis:
        bare.settings = replace(bare.settings, redis_url=redis.url)
        replica = bare.replica("a")
        bare.send(facts(1))
        replica.await_line("service.waiting")  # for the contact index: there is none
        redis.kill()
        redis._overrides = {"maxmemory-policy": "volatile-ttl"}
        redis.start()
        line = failure(replica)
        assert line == "Redis may evict state: its maxmemory-policy is volatile-ttl; set it to noeviction"
        ends, *rest = written(bare)
        assert {end for by_partition in ends.values() for end in by_partition.values()} == {0}
        assert rest == [{}, {}]


# --- topics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing", [("facts",), ("events", "contacts"), ("events", "contacts", "facts", "rejected")], ids="+".join
)
def test_missing_topics(bare, missing):
    """All that are missing are named at once, with the command that makes them."""
    for role in {"events", "contacts", "facts", "rejected"} - set(missing):
        bare.create(role)
    names = [getattr(bare.settings, f"{role}_topic") for role in missing]
    line = refused_run(bare)
    assert ", ".join(names) in line
    assert line.endswith("order-facts topics create")


@pytest.mark.parametrize("role", ["facts", "rejected"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_partition_counts_that_differ(bare, role, partitions):
    """A record could not stand on its event's partition number: both counts are named, and the topic to extend."""
    for other in {"events", "contacts", "facts", "rejected"} - {role}:
        bare.create(other, 2)
    bare.create(role, partitions)
    events, output = bare.settings.events_topic, getattr(bare.settings, f"{role}_topic")
    line = refused_run(bare)
    assert line.startswith(f"{events} has 2 partitions, {output} has {partitions}: ")
    assert line.endswith(f"add partitions to {output if partitions == 1 else events}")


def test_partitions_added_to_the_events_topic_while_running(deployment):
    """A replica that is given a partition without outputs stops and says what to extend; what it did stays right."""
    replica = deployment.replica("a", kafka={"topic.metadata.refresh.interval.ms": 300})
    deployment.send(facts(3))
    deployment.await_accounted()
    events = deployment.settings.events_topic
    deployment.cluster.admin.create_partitions([NewPartitions(events, 2)])[events].result(REQUEST_S)
    line = failure(replica)
    assert line.startswith(f"{events} has 2 partitions, {deployment.settings.facts_topic} has 1: ")
    assert line.endswith(f"add partitions to {deployment.settings.facts_topic}")
    assert len(deployment.read(deployment.settings.facts_topic)) == 3
    for topic in (deployment.settings.facts_topic, deployment.settings.rejected_topic):
        deployment.cluster.admin.create_partitions([NewPartitions(topic, 2)])[topic].result(REQUEST_S)
    again = deployment.replica("a")
    deployment.send(facts(20, first=3))
    deployment.await_accounted()
    again.stop()
    assert deployment.require_right_outputs() == {"fact": 23}


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_facts_topic_that_is_not_exactly_compact(bare, policy):
    """A facts topic that forgets facts forgets orders: refused with the policy found and the one to set."""
    for role in ("events", "contacts", "rejected"):
        bare.create(role)
    bare.create("facts", cleanup_policy=policy)
    line = refused_run(bare)
    assert line.startswith(f"the topic {bare.settings.facts_topic} has cleanup.policy=")
    assert set(re.search(r"policy=(\S+);", line)[1].split(",")) == set(policy.split(","))
    assert line.endswith("set it to compact, and nothing else")


def test_facts_topic_that_takes_too_little(bare):
    """A fact that the topic refuses would stop its partition for ever: refused before, with both ways out."""
    for role in ("events", "contacts", "rejected"):
        bare.create(role)
    bare.create("facts", max_message_bytes="800000")
    line = refused_run(bare)
    assert line.startswith(f"the topic {bare.settings.facts_topic} takes 800000 bytes at most")
    assert "max.message.bytes to 901000 or more" in line
    assert line.endswith("lower the setting max_fact_bytes")
    assert refused_run(bare, max_fact_bytes=799_001).startswith(f"the topic {bare.settings.facts_topic}")
    assert "ok       topics" in bare.command("check", check=False, max_fact_bytes=799_000).stdout


# --- offsets -------------------------------------------------------------------------------------------


def test_lost_offsets_with_facts(deployment):
    """Where only facts tell of the past, the offset to restore is one above the last fact's source."""
    process(deployment, facts(5))
    forget_mirror(deployment)
    forget_offsets(deployment)
    line = refused_run(deployment)
    assert line.startswith(
        f"the group {deployment.settings.group_id} has no committed offset for {deployment.settings.events_topic}[0]"
    )
    assert line.endswith("the offsets are lost; the offset to restore is 5")


def test_lost_offsets_with_rejected_records(deployment):
    """Where only rejected records tell of the past, the offset to restore is one above the last one's source."""
    process(deployment, rejections(4))
    forget_mirror(deployment)
    forget_offsets(deployment)
    assert refused_run(deployment).endswith("the offset to restore is 4")


def test_lost_offsets_with_the_mirror_only(deployment):
    """Where retention took the rejected records, the mirror still knows, and its watermark is named."""
    process(deployment, rejections(3))
    rejected = deployment.settings.rejected_topic
    delete_records(deployment, rejected, deployment.cluster.ends(rejected, [0])[0])
    forget_offsets(deployment)
    assert refused_run(deployment).endswith("the offset to restore is 3")


@pytest.mark.parametrize("last", [facts, rejections], ids=["fact last", "rejected last"])
def test_lost_offsets_name_the_highest_source(deployment, last):
    """Facts and rejected records together: the later of the two decides, over many transactions and their markers."""
    deployment.send([*facts(40, first=10), *rejections(40), *last(1)])
    replica = deployment.replica("a", max_batch=1)
    deployment.await_accounted()
    replica.stop()
    forget_mirror(deployment)
    forget_offsets(deployment)
    assert refused_run(deployment).endswith("the offset to restore is 81")


def test_events_lost_to_retention(deployment):
    """A committed offset that the topic no longer holds: how many events were lost, and between which offsets."""
    process(deployment, facts(3))
    deployment.send(facts(4, first=3))
    delete_records(deployment, deployment.settings.events_topic, 5)
    line = refused_run(deployment)
    assert line.startswith(
        f"{deployment.settings.events_topic}[0]: up to 2 events were lost to retention, from offset 3, "
        "which is committed, to 5, where the topic begins"
    )
    _, metadata = offsets(deployment)[0]
    set_offset(deployment, 5, metadata)
    replica = deployment.replica("b")
    deployment.await_accounted(5)
    replica.stop()


def test_offsets_moved_back(deployment):
    """Moved back by an operator: both offsets are named, and set again as told the replica goes on."""
    process(deployment, facts(3))
    offset, metadata = offsets(deployment)[0]
    set_offset(deployment, 1, metadata)
    line = refused_run(deployment)
    assert "the committed offset 1 is below 3, up to which events were processed" in line
    assert "set it to 3 again" in line
    set_offset(deployment, offset, metadata)
    process(deployment, facts(2, first=3))
    assert deployment.require_right_outputs() == {"fact": 5}


def test_offsets_moved_forward_beyond_the_end(deployment):
    """Records that a broker lost, or another cluster's offsets: the committed offset and the end are named."""
    process(deployment, facts(3))
    set_offset(deployment, 7, offsets(deployment)[0][1])
    assert "the committed offset 7 is beyond the topic's end 3" in refused_run(deployment)


@pytest.mark.parametrize("metadata", ["", "by hand", "{}"])
def test_offsets_with_unreadable_metadata(deployment, metadata):
    """An offset that another tool committed does not say where the facts end: refused, never guessed."""
    process(deployment, facts(2))
    set_offset(deployment, 2, metadata)
    line = refused_run(deployment)
    assert line.startswith(f"the committed offset of {deployment.settings.events_topic}[0] in group ")
    assert "was not written by this program (its metadata is unreadable)" in line


def test_offsets_of_another_version_of_this_program(deployment):
    """A format of the metadata that is not known is named, not misread."""
    process(deployment, facts(1))
    offset, metadata = offsets(deployment)[0]
    set_offset(deployment, offset, json.dumps(json.loads(metadata) | {"v": 2}))
    assert "written by another version of this program (format 2)" in refused_run(deployment)


def test_facts_beyond_the_end_of_their_topic(deployment):
    """Facts that a broker lost: what was committed and where the topic ends are named."""
    process(deployment, facts(2))
    offset, metadata = offsets(deployment)[0]
    end = deployment.cluster.ends(deployment.settings.facts_topic, [0], committed=False)[0]
    set_offset(deployment, offset, json.dumps(json.loads(metadata) | {"facts": end + 1}))
    line = refused_run(deployment)
    assert f"facts were committed up to offset {end + 1}, but the topic ends at {end}" in line


def test_deleted_facts_cannot_rebuild_a_mirror(deployment):
    """Where facts were deleted, a lost mirror cannot be rebuilt: refused. With the mirror there, work goes on."""
    process(deployment, facts(4))
    _delete_facts(deployment, before=2)
    replica = deployment.replica("a")
    deployment.send(facts(1, first=4))
    replica.await_line("batch.committed")
    replica.stop()
    forget_mirror(deployment)
    line = refused_run(deployment)
    assert "facts below offset 2 were deleted, so that the orders' state cannot be rebuilt" in line


@pytest.mark.parametrize("role", ["facts", "events"])
def test_topic_made_anew(deployment, create_topic, role):
    """A topic deleted and made anew under its name is another one: the group's past does not fit it."""
    process(deployment, facts(3))
    name = getattr(deployment.settings, f"{role}_topic")
    _remake(deployment, name, create_topic, **({"cleanup_policy": "compact"} if role == "facts" else {}))
    line = refused_run(deployment)
    if role == "facts":
        assert "belongs to another events or facts topic (a topic was deleted and made anew)" in line
        assert line.endswith("take a new group_id with a new facts_topic and rejected_topic")
    else:  # Kafka forgets a deleted topic's offsets
        assert line.endswith("the offset to restore is 3")


def test_aborted_transactions_are_no_past(deployment):
    """A fresh partition whose output topics hold aborted transactions only starts at its first event."""
    topics = (deployment.settings.facts_topic, deployment.settings.rejected_topic)
    _abort_transactions(replace(deployment.settings, instance_id="other"), topics, count=20)
    assert all(deployment.cluster.ends(topic, [0])[0] == 40 for topic in topics)
    process(deployment, facts(2))
    assert deployment.require_right_outputs() == {"fact": 2}


# --- instances -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_two_replicas_with_one_instance_id(deployment, is_busy):
    """The earlier of two replicas under one name is fenced and stops, naming the setting; the later does the work."""
    earlier = deployment.replica("a", max_batch=5)
    earlier.await_line("partition.positioned")
    if is_busy:
        deployment.send(facts(700))
        earlier.await_line("batch.committed")
    later = deployment.replica("a", max_batch=5)
    line = failure(earlier)
    assert "another process runs with this instance_id" in line
    deployment.send(facts(5, first=700))
    deployment.await_accounted()
    later.stop()
    assert later.lines("batch.committed"), later.tail("the later one did nothing")
    assert deployment.require_right_outputs() == {"fact": deployment.sent}


def test_fencing_met_by_a_delivery_callback_is_still_fencing(settings, create_topic):
    """The client's fatal error may surface while it calls back, as Python's SystemError: its cause decides."""
    create_topic(settings.facts_topic, 1)
    for _ in range(8):  # it does about every third time
        producer = _in_transaction(settings)
        producer.produce(settings.facts_topic, b"first")
        producer.flush(REQUEST_S)
        _in_transaction(settings)
        producer.produce(settings.facts_topic, b"late", on_delivery=lambda _error, message: message.offset())
        with pytest.raises(KafkaException) as error, kafka.fatal_errors():
            producer.flush(REQUEST_S)
        assert isinstance(kafka.classify(error.value.args[0], "writing"), ProducerLostError)


# --- helpers -------------------------------------------------------------------------------------------


def _delete_facts(deployment, before):
    """Delete facts as only somebody can who changes the topic's policy: Kafka refuses it for a compacted one."""
    topic = deployment.settings.facts_topic

    def set_policy(policy):
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        (future,) = deployment.cluster.admin.incremental_alter_configs([resource]).values()
        future.result(REQUEST_S)
        await_condition(
            lambda: deployment.cluster.topic_settings(topic)["cleanup.policy"] == policy, f"policy {policy}"
        )

    set_policy("delete")
    delete_records(deployment, topic, before)
    set_policy("compact")


def _remake(deployment, name, create_topic, **config):
    """Delete a topic and make it anew."""
    deployment.cluster.admin.delete_topics([name])[name].result(REQUEST_S)
    await_condition(lambda: name not in deployment.cluster.topics([name]), f"{name} is gone")
    create_topic(name, 1, **config)


def _abort_transactions(settings, topics, count):
    """Write one record to each topic and abort, so many times."""
    for _ in range(count):
        producer = _in_transaction(settings)
        for topic in topics:
            producer.produce(topic, b"aborted", b"key", 0)
        producer.flush(REQUEST_S)
        producer.abort_transaction(REQUEST_S)


def _in_transaction(settings):
    """Give a producer that has a transaction open, and so fences those before it."""
    producer = kafka.transactional_producer(settings, 1 << 20)
    producer.init_transactions(REQUEST_S)
    producer.begin_transaction()
    return producer
