"""Follows stop lines of brokers that go away, are not trusted, or lose records, to a running program.

They have a broker of their own, which is frozen, speaks TLS, has a policy for topics, and compacts soon.
"""

from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from processor.errors import StopError
from processor.kafka import creation
from processor.kafka.clients import group_consumer
from tests.conftest import creator, own_settings
from tests.integration.test_refusals import failure
from tests.support.adverse import adverse, broker_freezes
from tests.support.deployment import await_condition, deployed
from tests.support.managed_kafka import ManagedKafka, self_signed
from tests.support.refusals import delete_topic, facts, rejections
from tests.support.topic_policy import MOST_BYTES
from tests.support.traffic import contacts, created
from tests.support.ways import configure, go_on, require_row, stopped


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    """Give the broker."""
    broker = ManagedKafka(tmp_path_factory.mktemp("own") / "kafka", log_cleaner_backoff_ms="100")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def known(services, kafka, tmp_path_factory):
    """Give a deployment on the broker whose contacts are indexed."""
    settings = replace(own_settings(services), bootstrap_servers=kafka.bootstrap_servers)
    with deployed(settings, tmp_path_factory.mktemp("known"), partitions=1) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


@pytest.fixture
def single(known, settings, tmp_path):
    """Give a deployment of one partition on the broker, with those contacts."""
    shared = {name: getattr(known.settings, name) for name in ("bootstrap_servers", "contacts_topic")}
    with deployed(replace(settings, **shared), tmp_path, partitions=1) as running:
        yield running


@pytest.mark.follows("kafka went away")
def test_a_broker_that_freezes_during_the_start(kafka, single):
    """It answered which cluster it is, and nothing more: once it is back the program starts."""
    single.send([*facts(2), *rejections(1)])
    frozen = adverse(broker_freezes, TEST_BROKER=str(kafka.pid))
    try:
        stopped(single, "kafka went away", code=3, startup_timeout_s=0.5, **frozen)
    finally:
        kafka.resume()
    go_on(single)
    assert single.require_right_outputs() == {"fact": 2, "contact_not_found": 1}


@pytest.mark.follows("kafka away")
def test_a_broker_that_is_not_trusted(kafka, single, tmp_path):
    """A wrong certificate, or one side without TLS: the line says so; with what is right the program starts."""
    single.send([*facts(2), *rejections(1)])
    another, right = kafka.trusting(self_signed(tmp_path / "another.p12")), kafka.trusting(kafka.authority)
    refused = {
        "certificate verify failed": another,
        "SSL": right | {"bootstrap_servers": kafka.bootstrap_servers},
        "as with brokers that ask for TLS": {"bootstrap_servers": kafka.tls_servers},
    }
    for cause, wrong in refused.items():
        line = stopped(single, "kafka away", code=3, startup_timeout_s=1.0, **wrong)
        assert cause in line
        assert line.endswith("check the setting kafka, and bootstrap_servers")
    go_on(single, **right)
    assert single.require_right_outputs() == {"fact": 2, "contact_not_found": 1}


def test_topics_that_a_policy_of_the_brokers_refuses(single):
    """`topics create` takes the records' size down to what they take, and says it; the program runs with that."""
    topic = single.settings.rejected_topic
    delete_topic(single, topic)
    lines = single.command("topics", "create").stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{topic}: created, 1 partition, replication factor 1; ")]
    assert "the brokers refused replication factor 1, max.message.bytes=" in line
    assert "max.message.bytes may be 8388608 at most" in line
    assert single.cluster.topic_settings(topic)["max.message.bytes"] == str(MOST_BYTES)
    single.send([*facts(2), *rejections(1)])
    go_on(single)
    assert single.require_right_outputs() == {"fact": 2, "contact_not_found": 1}


@pytest.mark.follows("topic refused")
def test_a_topic_that_a_policy_refuses_in_every_form(single, monkeypatch):
    """The line has the brokers' reason; created as they allow it, the program runs with it."""
    topic = single.settings.rejected_topic
    delete_topic(single, topic)
    monkeypatch.setattr(creation, "MESSAGE_BYTES", (MOST_BYTES + 1,))
    with pytest.raises(StopError) as caught:
        list(creation.create_missing(single.settings, single.cluster))
    require_row(str(caught.value), "topic refused")
    assert "max.message.bytes may be 8388608 at most" in str(caught.value)
    creator(single.cluster.admin)(topic, 1, max_message_bytes=str(MOST_BYTES))
    single.send(facts(1))
    go_on(single)
    assert single.require_right_outputs().keys() >= {"fact"}


@contextmanager
def joining(settings):
    """Have another member join the group, which leaves the others what they read."""
    consumer = group_consumer(replace(settings, instance_id="joining"))
    consumer.subscribe([settings.events_topic])
    try:
        await_condition(lambda: consumer.poll(0.1) is None and consumer.memberid(), "it has joined")
        yield
    finally:
        consumer.close()


@pytest.mark.follows("records gone")
def test_records_that_are_compacted_while_a_replica_has_them(single):
    """They were read and dropped for a rebalance, and are gone: the replica stops; what is left is processed, once."""
    topic = single.settings.events_topic
    replica = single.start("run", name="a", module="tests.support.lingering")
    replica.await_line("partition.positioned")
    single.send([created("twice"), created("twice", storeId="S1")])
    replica.await_line("test.lingering")
    configure(single, topic, cleanup_policy="compact", segment_ms="1", min_cleanable_dirty_ratio="0.0")
    single.send(facts(1))  # in the next segment: all before it are compacted
    await_condition(lambda: single.read(topic)[0].offset > 0, "the first event is compacted")
    with joining(single.settings):
        require_row(failure(replica), "records gone")
    stopped(single, "policy")
    configure(single, topic, cleanup_policy="delete")
    go_on(single, len(single.read(topic)))
    assert single.require_right_outputs() == {"fact": 2}
