"""Proves what is made of delivery reports: why a transaction failed, and where its facts end, or that nobody said."""

import random
from contextlib import closing

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from msgspec.structs import replace

from processor.domain.batch import Fact, Output
from processor.domain.records import Record
from processor.errors import RetryError
from processor.kafka.clients import reader, transactional_producer
from processor.kafka.cluster import Cluster
from processor.kafka.deliveries import Deliveries
from processor.kafka.ranges import read_range
from processor.kafka.transactions import Transactions
from processor.replica.ledger import Ledger
from processor.state.watermark import Notes, Watermark
from tests.support.audits import lineage_of
from tests.support.group_offsets import committed_offsets

PARTITIONS = 3
MOST = 10_000_000  # records, long before which the refusal is there
TIMEOUT_S = 30.0


@pytest.fixture
def topic(settings, create_topic):
    """Give a topic that takes small records only."""
    create_topic(settings.facts_topic, PARTITIONS, max_message_bytes="20000")
    return settings.facts_topic


@pytest.fixture
def producer(settings):
    """Give a producer in a transaction, which is aborted at the end."""
    producer = transactional_producer(settings, 19_000)
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    yield producer
    producer.abort_transaction(TIMEOUT_S)


def write_until_refused(producer, topic, deliveries, reports, big_report):
    """Write a record that is too large, and then small ones until the client takes no more."""

    def report(error, _message):
        reports.append(error)
        if error is not None:
            deliveries.failed(error)

    def big(error, message):
        big_report(error)
        report(error, message)

    with deliveries.producing():
        value = random.Random(1).randbytes(50_000)
        producer.produce(topic, value, partition=0, on_delivery=big if big_report else None)
        for number in range(MOST):
            while True:
                try:
                    producer.produce(topic, b"small", partition=number % PARTITIONS, on_delivery=report)
                except BufferError:
                    producer.poll(0.1)
                else:
                    break


def test_reason_is_found_whatever_is_reported_before_it(producer, topic):
    """The client takes no more, and drops what waits; the one refusal is the reason, and soon told."""
    deliveries, reports, refusals = Deliveries(), list[KafkaError | None](), list[KafkaError]()
    write_until_refused(producer, topic, deliveries, reports, refusals.append)
    assert deliveries.is_given_up
    deliveries.await_reports(producer, TIMEOUT_S)
    assert deliveries.reason is not None
    assert deliveries.reason.code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert [error.code() for error in refusals] == [KafkaError.MSG_SIZE_TOO_LARGE]
    assert KafkaError._PURGE_QUEUE in {error.code() for error in reports if error is not None}


def test_reason_that_no_report_tells_is_what_the_next_call_fails_with(settings, producer, topic):
    """Nobody asked for the refused record's report: the transaction knows why it was given up."""
    deliveries = Deliveries()
    write_until_refused(producer, topic, deliveries, [], None)
    deliveries.await_reports(producer, TIMEOUT_S)
    assert deliveries.reason is None
    metadata = reader(settings).consumer_group_metadata()
    with pytest.raises(KafkaException, match=f"ProduceRequest for {topic}") as raised:
        deliveries.require_open(
            lambda: producer.send_offsets_to_transaction([TopicPartition(topic, 0, 0)], metadata, TIMEOUT_S)
        )
    assert raised.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_good_transaction_is_open_and_reported_whole(producer, topic):
    """Nothing failed: all is reported, and no call is made."""
    deliveries = Deliveries()
    with deliveries.producing():
        for number in range(5_000):
            producer.produce(topic, b"small", partition=number % PARTITIONS)
    assert deliveries.await_reports(producer, TIMEOUT_S) == 0
    deliveries.require_open(lambda: pytest.fail("there is nothing to ask"))


def test_other_failures_of_writing_are_raised(producer, topic):
    """Only what follows from an earlier failure is left to the reports: not that nothing can be written like this."""
    deliveries = Deliveries()
    producer.produce(topic, b"small", partition=0)
    assert producer.flush(TIMEOUT_S) == 0, "the topic is known now"
    with pytest.raises(KafkaException, match="Unknown partition"), deliveries.producing():
        producer.produce(topic, b"small", partition=PARTITIONS)
    assert not deliveries.is_given_up


FACTS = [Output(Record(0, offset, 0, b"k", b"event"), Fact(b"k", b"fact")) for offset in range(3)]


@pytest.fixture
def commit(settings, create_topic):
    """Give the function that commits three facts by a ledger whose producer has these properties."""
    create_topic(settings.events_topic, 1)
    create_topic(settings.facts_topic, 1)

    def commit(watermark, **properties):
        own = replace(settings, kafka={name.replace("_", "."): value for name, value in properties.items()})
        transactions = Transactions(lambda: transactional_producer(own, 1 << 20))
        transactions.ready("starting")
        ledger = Ledger(own, lineage_of(own), transactions)
        group_metadata = reader(own).consumer_group_metadata()
        try:
            return ledger.commit(FACTS, {0: watermark}, {0: 3}, Notes(), group_metadata)
        finally:
            transactions.abort("aborting")

    return commit


def test_a_partition_whose_fact_is_not_reported_is_not_committed(settings, commit):
    """A client that keeps a fact's report to itself would leave the facts offset behind for ever."""
    with pytest.raises(RetryError, match="partition 0: facts ended at 0, and the last new one was reported at None"):
        commit(Watermark(0, 0), delivery_report_only_error=True)
    assert_nothing_is_committed(settings)


def test_a_fact_that_is_reported_below_the_end_of_the_facts_is_not_committed(settings, commit):
    """A topic that lost its end takes facts where others were: that is not where the next ones may count from."""
    with pytest.raises(RetryError, match="partition 0: facts ended at 7, and the last new one was reported at 2"):
        commit(Watermark(0, 7))
    assert_nothing_is_committed(settings)


def assert_nothing_is_committed(settings):
    """Require that the facts topic holds no committed fact, and the group no offset."""
    with closing(reader(settings)) as consumer:
        ends = Cluster(settings).ends(settings.facts_topic, [0])
        assert list(read_range(consumer, settings.facts_topic, {0: 0}, ends)) == []
    assert committed_offsets(settings, settings.group_id, settings.events_topic, [0]) == {}
