"""Proves that what cannot work is refused: by one clear line and an exit code, with nothing written."""

import re
import time
from contextlib import contextmanager

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import NewPartitions
from msgspec.structs import replace
from redis import Redis

from deploy.local.services import EmbeddedRedis
from processor.errors import ProducerLostError
from processor.kafka.failures import classify, fatal_errors
from processor.replica import startup
from tests.support.commands import NOWHERE
from tests.support.deployment import await_condition
from tests.support.refusals import REQUEST_S, facts, in_transaction, refusal, refused_run, set_policy, written
from tests.support.ways import require_row

MOST_TRIES = 100


@contextmanager
def private_redis(folder, **overrides):
    """Give a Redis of the test's own with these settings."""
    redis = EmbeddedRedis(folder, overrides={name.replace("_", "-"): value for name, value in overrides.items()})
    redis.start()
    try:
        yield redis
    finally:
        redis.kill()


def failure(process):
    """Give the line with which a running replica stopped."""
    await_condition(lambda: process.exit_code() is not None, lambda: process.tail("goes on"), patience_s=30)
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
        ({"WIRE_FORMAT": "confluent"}, "setting schema_registry_url: wire_format=confluent needs it: put the schema"),
        ({"REDIS_URL": "redis+sentinel://a:1,b:2"}, "setting redis_url: put the primary's name behind the Sentinels"),
        ({"REDIS_URL": "redis+cluster://a:1/1"}, "setting redis_url: a Redis Cluster is used by its database 0"),
        ({"KAFKA": '{"isolation.level": "read_uncommitted"}'}, "setting kafka: isolation.level is reserved"),
        ({"KAFKA": '{"delivery.report.only.error": true}'}, "setting kafka: delivery.report.only.error is reserved"),
        ({"KAFKA": '{"no.such.property": 1}'}, "setting kafka: no.such.property is not among the properties"),
        ({"KAFKA": '{"socket.timeout.ms": 0}'}, "setting kafka: the Kafka client refuses the property "),
        ({"IDENTIFIER_KEY_FILE": "/dev/null"}, "ORDER_FACTS_IDENTIFIER_KEY_FILE and ORDER_FACTS_IDENTIFIER_KEY contra"),
        ({"FACTS_TOPIC": "same", "REJECTED_TOPIC": "same"}, "setting facts_topic: same is another setting's topic too"),
    ],
)
def test_settings_are_refused_before_anything_is_asked_of_a_service(idle, variables, expected):
    """A missing, unknown, unsupported, reserved or contradicting setting ends `run` with 2 and its name."""
    done = idle.command("run", check=False, extra={f"ORDER_FACTS_{name}": value for name, value in variables.items()})
    assert refusal(done, 2).startswith(expected)


def test_an_option_is_named_as_the_source_of_a_wrong_value(idle):
    """What stands on the command line is refused by its option, and an unknown option by the usage."""
    assert refusal(idle.command("run", "--max-batch", "0", check=False), 2).startswith(
        "setting max_batch, from option --max-batch: "
    )
    unknown = idle.command("run", "--max-bach", "5", check=False)
    assert unknown.returncode == 2
    assert "--max-batch" in unknown.stderr


# --- services ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("run",), ("topics", "create"), ("facts", "show"), ("contacts", "index")])
def test_unreachable_kafka(idle, command):
    """A broker that does not answer in time ends a command with 3, and the line names the address and the setting."""
    done = idle.command(*command, check=False, bootstrap_servers=NOWHERE, startup_timeout_s=0.4)
    line = refusal(done, 3)
    assert line.startswith(f"Kafka at {NOWHERE} did not answer within 0.4 s: ")
    assert line.endswith("check the setting bootstrap_servers")


@pytest.mark.parametrize("command", [("run",), ("contacts", "index"), ("contacts", "find", "email=a@b.example")])
def test_unreachable_redis(idle, command):
    """A Redis that does not answer in time ends a command with 3, and the line names the setting."""
    done = idle.command(*command, check=False, redis_url=f"redis://{NOWHERE}/0", startup_timeout_s=0.4)
    line = refusal(done, 3)
    assert line.startswith("Redis did not answer within 0.4 s: ")
    assert line.endswith("check the setting redis_url")


@pytest.mark.parametrize("password", ["", ":wrong@"])
def test_wrong_redis_password(idle, tmp_path, password):
    """A password that is missing or wrong is no outage to wait for: refused at once, without repeating it."""
    with private_redis(tmp_path / "redis") as redis, Redis.from_url(redis.url) as client:
        client.config_set("requirepass", "right")
        began = time.monotonic()
        line = refusal(idle.command("run", check=False, redis_url=redis.url.replace("//", f"//{password}")), 1)
    assert time.monotonic() - began < idle.settings.startup_timeout_s / 2
    assert line.startswith("Redis: ")
    assert line.endswith("check the setting redis_url and the server's access rules")
    assert "wrong@" not in line


def test_redis_that_may_evict(idle, tmp_path):
    """A policy that would lose orders in silence is named, with the one to set."""
    with private_redis(tmp_path / "redis", maxmemory_policy="allkeys-lru") as redis:
        line = refusal(idle.command("run", check=False, redis_url=redis.url), 1)
    assert line == "Redis may evict state: its maxmemory-policy is allkeys-lru; set it to noeviction"


def test_redis_that_comes_back_with_another_policy_while_running(idle, tmp_path):
    """The policy is looked at again on each connection: a replica stops rather than trust a server that evicts."""
    for role in ("events", "contacts", "facts", "rejected"):
        idle.create(role)
    with private_redis(tmp_path / "redis") as redis:
        idle.settings = replace(idle.settings, redis_url=redis.url)
        replica = idle.replica("a")
        idle.send(facts(1))
        replica.await_line("service.waiting")  # for the contact index: there is none
        redis.kill()
        redis._overrides = {"maxmemory-policy": "allkeys-lfu"}
        redis.start()
        line = failure(replica)
        assert line == "Redis may evict state: its maxmemory-policy is allkeys-lfu; set it to noeviction"
        ends, *rest = written(idle)
        assert {end for by_partition in ends.values() for end in by_partition.values()} == {0}
        assert rest == [{}, {}]


# --- topics --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "missing", [("facts",), ("events", "contacts"), ("events", "contacts", "facts", "rejected")], ids="+".join
)
def test_missing_topics(idle, missing):
    """All that are missing are named at once, with the command that makes them."""
    for role in {"events", "contacts", "facts", "rejected"} - set(missing):
        idle.create(role)
    names = [getattr(idle.settings, f"{role}_topic") for role in missing]
    line = refused_run(idle)
    assert ", ".join(names) in line
    assert line.endswith("order-facts topics create")


@pytest.mark.parametrize("role", ["facts", "rejected"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_partition_counts_that_differ(idle, role, partitions):
    """A record could not stand on its event's partition number: both topics and counts are named, and what to do."""
    for other in {"events", "contacts", "facts", "rejected"} - {role}:
        idle.create(other, 2)
    idle.create(role, partitions)
    events, output = idle.settings.events_topic, getattr(idle.settings, f"{role}_topic")
    line = refused_run(idle)
    assert line.startswith(f"{events} has 2 partitions, {output} has {partitions}: ")
    assert "before the first event, delete the outputs and recreate them with `topics create`" in line


def test_partitions_added_to_the_events_topic_while_running(single):
    """A replica that is given a partition without outputs stops and says so; what it did stays as it was."""
    replica = single.replica("a", kafka={"topic.metadata.refresh.interval.ms": 300})
    single.send(facts(3))
    single.await_accounted()
    events = single.settings.events_topic
    single.cluster.admin.create_partitions([NewPartitions(events, 2)])[events].result(REQUEST_S)
    line = failure(replica)
    assert line.startswith(f"{events} has 2 partitions, {single.settings.facts_topic} has 1: ")
    assert "other partitions would give orders two lives" in line
    assert len(single.read(single.settings.facts_topic)) == 3
    assert refused_run(single) == line


@pytest.mark.parametrize(
    ("role", "policy", "right"),
    [
        *[("facts", policy, "compact") for policy in ("delete", "compact,delete")],
        *[("contacts", policy, "compact") for policy in ("delete", "compact,delete")],
        *[(role, policy, "delete") for role in ("events", "rejected") for policy in ("compact", "compact,delete")],
    ],
)
def test_topic_whose_cleanup_policy_would_lose_records(idle, role, policy, right):
    """A topic that forgets what must stay, or refuses records without a key: the line has both policies.

    With the right one the same topic passes.
    """
    for other in {"events", "contacts", "facts", "rejected"} - {role}:
        idle.create(other)
    idle.create(role, cleanup_policy=policy)
    name = getattr(idle.settings, f"{role}_topic")
    line = refused_run(idle)
    assert line.startswith(f"the topic {name} has cleanup.policy=")
    (found,) = re.findall(r"policy=(\S+);", line)
    assert set(found.split(",")) == set(policy.split(","))
    assert line.endswith(f"set it to {right}, and nothing else")
    set_policy(idle, name, right)
    assert startup.check(idle.settings).topics.events.partitions == 2


def test_facts_topic_that_takes_too_little(idle):
    """A fact that the topic refuses would stop its partition for ever: refused before, with both ways out."""
    for role in ("events", "contacts", "rejected"):
        idle.create(role)
    idle.create("facts", max_message_bytes="800000")
    line = refused_run(idle)
    assert line.startswith(f"the topic {idle.settings.facts_topic} takes 800000 bytes at most")
    assert "max.message.bytes to 901000 or more" in line
    assert line.endswith("lower the setting max_fact_bytes")
    assert refused_run(idle, max_fact_bytes=799_001).startswith(f"the topic {idle.settings.facts_topic}")
    assert "ok       topics" in idle.command("check", check=False, max_fact_bytes=799_000).stdout


# --- instances -----------------------------------------------------------------------------------------


@pytest.mark.follows("two instances")
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_two_replicas_with_one_instance_id(single, soon_gone, is_busy):
    """The earlier of two under one name is fenced and stops, naming the setting; under its own it takes over."""
    earlier = single.replica("a", max_batch=5, kafka=soon_gone)
    earlier.await_line("partition.positioned")
    if is_busy:
        single.send(facts(700))
        earlier.await_line("batch.committed")
    later = single.replica("a", max_batch=5, kafka=soon_gone)
    require_row(failure(earlier), "two instances")
    single.send(facts(5, first=700))
    single.await_accounted()
    assert later.lines("batch.committed"), later.tail("the later one did nothing")
    renamed = single.replica("b", max_batch=5, kafka=soon_gone)  # a name of its own: both run
    renamed.await_line("service.started")
    later.stop()
    renamed.await_line("partition.positioned")
    single.send(facts(5, first=705))
    single.await_accounted()
    renamed.stop()
    assert single.require_right_outputs() == {"fact": single.sent}


def test_fencing_met_by_a_delivery_callback_is_still_fencing(settings, create_topic):
    """The client's fatal error may surface while it calls back, as Python's SystemError: its cause decides."""
    create_topic(settings.facts_topic, 1)
    surfaced: list[type[Exception]] = []
    while SystemError not in surfaced:  # it is one in four
        assert len(surfaced) < MOST_TRIES, f"never met in {len(surfaced)} tries"
        own = replace(settings, instance_id=f"i{len(surfaced)}")
        producer = in_transaction(own)
        producer.produce(settings.facts_topic, b"first")
        producer.flush(REQUEST_S)
        in_transaction(own)
        producer.produce(settings.facts_topic, b"late", on_delivery=lambda _error, message: message.offset())
        with pytest.raises(KafkaException) as error, fatal_errors(), noting(surfaced):
            producer.flush(REQUEST_S)
        assert isinstance(classify(error.value.args[0], "writing"), ProducerLostError)


@contextmanager
def noting(surfaced):
    """Note as what an error surfaces."""
    try:
        yield
    except Exception as error:
        surfaced.append(type(error))
        raise
