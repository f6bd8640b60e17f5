"""The contact index's writer on real services: lost, old and foreign indexes, topics and writers (C4)."""

import functools
import time
from collections import Counter

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from deploy.local.services import EmbeddedKafka, EmbeddedRedis
from processor.contacts.changes import ContactReader
from processor.contacts.lookup import IndexNotReadyError
from processor.contacts.shards import POSITION, Position, lineage_of, shard_keys, shared_key
from processor.domain.records import Identifier
from processor.errors import RetryError, StopError
from processor.logs import EVENTS
from processor.settings import IdentificationRule
from tests.conftest import creator
from tests.support.deployment import await_condition
from tests.support.shop import WAIT_S, Shop, Writer


def test_c4_every_shard_counts(shop):
    """One shard that is lost makes the whole index unready, whichever the identifier is in, until it is built anew."""
    shop.send("c1", phone="1")
    with shop.writer():
        shop.await_found("phone", "1", "c1")
    for key in shop.keys:
        whole = shop.client.dump(key)
        shop.client.delete(key)
        with pytest.raises(IndexNotReadyError, match="shard"):
            shop.index().find(Identifier("phone", "1"))
        shop.client.restore(key, 0, whole)
    assert shop.find("phone", "1") == "c1"
    shop.client.delete(shop.keys[5])
    with shop.writer():
        shop.await_found("phone", "1", "c1")
    assert [line["cause"] for line in shop.logged("contacts.build_started")] == ["a shard is missing"]


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier_key": "another secret of the tests"},
        {"identification": (IdentificationRule("token", "loyalty"), IdentificationRule("tel", "phone"))},
    ],
    ids=["key", "fields"],
)
def test_c4_groups_with_other_settings_have_an_index_each(shop, changes):
    """Two writers on one topic and one Redis, with another key or other fields: neither ends, nor builds twice."""
    shop.send("c1", phone="1", fields={"loyalty": "L"})
    other = msgspec.structs.replace(shop.settings, **changes)
    with shop.writer():
        shop.await_found("phone", "1", "c1")
        running = Writer(other)
        both = (shop.index, functools.partial(shop.index, **changes))
        for phone in "23":
            shop.send(f"c{phone}", phone=phone)
            for index in both:
                shop.await_found("phone", phone, f"c{phone}", index)
        assert both[1]().find(Identifier("loyalty", "L")) == ("c1" if "identification" in changes else None)
        assert running.error is None
        running.stop.set()
        running.await_end()
    assert [line["cause"] for line in shop.logged("contacts.build_started")] == ["none is there"] * 2
    shop.client.delete(*shard_keys(lineage_of(shop.cluster_id, other)))


def test_c4_an_index_with_phones_compared_otherwise_is_not_ready_and_is_rebuilt(shop):
    """A reader with another setting waits and says why; the writer with that setting builds the index again."""
    shop.send("c1", phone="+1 (2)")
    with shop.writer():
        shop.await_found("phone", "12", "c1")
    exact = functools.partial(shop.index, phone_matching="exact")
    told = "was built with phone_matching=digits, these settings say phone_matching=exact: .* start it again"
    with pytest.raises(IndexNotReadyError, match=told):
        exact().find(Identifier("phone", "+1 (2)"))
    before, shop.settings = shop.settings, msgspec.structs.replace(shop.settings, phone_matching="exact")
    with shop.writer():
        shop.await_found("phone", "+1 (2)", "c1")
        assert shop.find("phone", "12") is None
    causes = [line["cause"] for line in shop.logged("contacts.build_started")]
    assert causes == ["phone numbers are compared in another way"]
    shop.settings = before
    with pytest.raises(IndexNotReadyError, match="was built with phone_matching=exact"):
        shop.index().find(Identifier("phone", "12"))


def test_c4_a_wiped_index_is_built_anew_while_the_writer_runs(shop):
    """The next write finds nothing where the shards were."""
    shop.send("c1", phone="1")
    with shop.writer():
        shop.await_found("phone", "1", "c1")
        shop.client.delete(*shop.keys)
        shop.send("c2", phone="2")
        shop.await_found("phone", "2", "c2")
        assert shop.find("phone", "1") == "c1"
    assert [line["cause"] for line in shop.logged("contacts.build_started")] == ["none is there"] * 2
    assert len(shop.logged("contacts.resumed_after_wait")) == 1


def test_c4_an_older_copy_put_in_place_of_the_index_is_brought_up_to_date(shop):
    """Redis restored from a copy: the writer resumes where the copy stands, also with what was deleted since."""
    with shop.writer():
        shop.send("c1", phone="1")
        shop.send("c2", phone="2")
        shop.await_read()
        keys = [key for one in shop.keys for key in (one, shared_key(one))]
        with shop.client.pipeline(transaction=True) as copied:  # at one moment: the writer moves the position
            for key in keys:
                copied.dump(key)
            copies = copied.execute()
        shop.send("c1", phone="3")
        shop.delete("c2")
        shop.await_read()
        with shop.client.pipeline(transaction=True) as restored:
            for key, copy in zip(keys, copies, strict=True):
                restored.restore(key, 0, copy, replace=True)
            restored.execute()
        shop.send("c4", phone="4")
        shop.await_found("phone", "4", "c4")
        assert [shop.find("phone", number) for number in "123"] == [None, None, "c1"]
    assert len(shop.logged("contacts.build_started")) == 1


def test_c4_a_redis_that_restarts_empty_is_waited_for_and_filled_again(settings, create_topic, tmp_path):
    """No error ends the writer; it says that it waits, and that it goes on."""
    redis = EmbeddedRedis(tmp_path)
    redis.start()
    try:
        shop = Shop(msgspec.structs.replace(settings, redis_url=redis.url), create_topic)
        shop.send("c1", phone="1")
        with shop.writer():
            shop.await_found("phone", "1", "c1")
            redis.stop()
            shop.send("c2", phone="2")
            shop.await_logged("contacts.waiting", 2)
            redis.start()
            shop.await_found("phone", "2", "c2")
            assert shop.find("phone", "1") == "c1"
            shop.await_logged("contacts.resumed_after_wait")
    finally:
        redis.kill()


@pytest.mark.runbook("contacts.waiting")
def test_c4_a_kafka_that_is_away_is_waited_for(settings, tmp_path):
    """A consumer without a broker just reads nothing: the writer asks for the ends, and notices."""
    kafka = EmbeddedKafka(tmp_path)
    kafka.start()
    try:
        shop = Shop(
            msgspec.structs.replace(settings, bootstrap_servers=kafka.bootstrap_servers),
            creator(AdminClient({"bootstrap.servers": kafka.bootstrap_servers})),
        )
        shop.send("c1", phone="1")
        with shop.writer():
            shop.await_found("phone", "1", "c1")
            kafka.stop()
            shop.await_logged("contacts.waiting")
            assert shop.client.exists(*shop.keys) == len(shop.keys), "what is known stays"
            kafka.start()
            shop.await_logged("contacts.resumed_after_wait")
            shop.send("c2", phone="2")
            shop.await_found("phone", "2", "c2")
            assert shop.find("phone", "1") == "c1"
        shop.client.delete(*shop.keys)
    finally:
        kafka.kill()


def test_c4_a_stopped_writer_goes_on_where_it_was(shop):
    """Nothing is read twice."""
    shop.send("c1", phone="1")
    with shop.writer():
        shop.await_found("phone", "1", "c1")
    shop.send("c2", phone="1", timestamp=1)
    shop.delete("c1")
    with shop.writer():
        shop.await_found("phone", "1", "c2")
    assert not shop.logged("contacts.build_started")
    assert sum(line["records"] for line in shop.logged("contacts.committed")) == 2


def test_c4_an_index_older_than_tombstones_are_kept_is_built_anew(shop):
    """What was complete longer ago than delete.retention.ms, less a margin, may have missed a deletion."""
    shop.send("c1", phone="1")
    with shop.writer():
        shop.await_found("phone", "1", "c1")
        position = shop.await_read()
    day_ms = 24 * 3_600_000
    for age_ms, causes in ((int(day_ms * 0.89), []), (int(day_ms * 0.91), ["too old"])):
        old = msgspec.msgpack.encode(Position(position, time.time_ns() // 1_000_000 - age_ms))
        for key in shop.keys:
            shop.client.hset(key, POSITION, old)
        with shop.writer():
            await_condition(lambda: shop.logged("contacts.resumed") or shop.logged("contacts.ready"), "a session")
            shop.await_found("phone", "1", "c1")
        assert [line["cause"] for line in shop.logged("contacts.build_started")] == causes


def test_c4_the_time_of_completeness_moves_while_nothing_happens(shop):
    """An idle topic does not make its index old: being at the ends is written down again and again."""
    shop.send("c1", phone="1")
    with shop.writer():
        shop.await_found("phone", "1", "c1")
        seen = set()

        def has_moved():
            seen.add(shop.client.hget(shop.keys[0], POSITION))
            return len(seen) > 2

        await_condition(has_moved, "the time moves")
    assert len(shop.logged("contacts.build_started")) == 1


@pytest.mark.follows("contacts recreated")
def test_c4_a_topic_made_anew_is_refused_until_it_is_accepted(shop, admin):
    """Another topic of the same name is noticed while the writer runs and at its start, and by the processor."""
    shop.send("c1", phone="1")
    index = shop.index()

    def make_anew():
        admin.delete_topics([shop.settings.contacts_topic])[shop.settings.contacts_topic].result(WAIT_S)
        await_condition(lambda: shop.topic() is None, "the topic is gone")
        shop.create()

    running = Writer(shop.settings)
    shop.await_found("phone", "1", "c1")
    make_anew()
    shop.send("c2", phone="2")
    assert "--accept-new-topic" in str(running.await_end())
    with pytest.raises(StopError, match="--accept-new-topic"), shop.writer() as writer:
        writer.await_end()
    assert index.find(Identifier("phone", "1")) == "c1"
    with pytest.raises(IndexNotReadyError, match="another topic"):
        shop.index().find(Identifier("phone", "1"))
    with shop.writer(accept_new_topic=True):
        shop.await_found("phone", "2", "c2")
        assert shop.find("phone", "1") is None
    with shop.writer():
        shop.await_logged("contacts.resumed")


@pytest.mark.follows("two indexes")
def test_c4_a_second_writer_takes_over_and_the_first_stops(shop):
    """The newer one goes on from where the index stands; the older one says why it ends."""
    shop.send("c1", phone="1")
    first = Writer(shop.settings)
    shop.await_found("phone", "1", "c1")
    with shop.writer():
        shop.await_logged("contacts.resumed")
        shop.send("c2", phone="2")
        assert isinstance(first.await_end(), StopError)
        assert "another contacts index took over" in str(first.error)
        shop.await_found("phone", "2", "c2")
        shop.send("c3", phone="3")
        shop.await_found("phone", "3", "c3")
    assert not shop.logged("contacts.build_started")


def test_c4_more_partitions_are_a_new_build(shop, admin):
    """A contact may be in another partition now: the index is made from all of them."""
    shop.send("c1", phone="1", partition=0)
    with shop.writer():
        shop.await_found("phone", "1", "c1")
        name = shop.settings.contacts_topic
        admin.create_partitions([NewPartitions(name, 5)])[name].result(WAIT_S)
        await_condition(lambda: len(shop.ends() or ()) == 5, "five partitions")
    shop.producer = Producer({"bootstrap.servers": shop.settings.bootstrap_servers})  # the other knows only three
    shop.send("c2", phone="2", partition=4)
    with shop.writer():
        shop.await_found("phone", "2", "c2")
        assert shop.find("phone", "1") == "c1"
    assert [line["cause"] for line in shop.logged("contacts.build_started")] == ["another number of partitions"]


def alter(admin, topic, name, value):
    """Change a setting of a topic."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(WAIT_S)


def test_a_topic_that_is_not_compacted_is_refused(shop, admin):
    """Its retention would delete contacts without a word."""
    alter(admin, shop.settings.contacts_topic, "cleanup.policy", "delete")
    with pytest.raises(StopError, match="set it to compact"), shop.writer() as writer:
        writer.await_end()


def test_a_topic_that_forgets_deletions_at_once_is_refused_until_it_is_altered(settings, create_topic, admin):
    """Every index would be too old before it is built. The line names what to set; then the index is built once."""
    shop = Shop(settings, create_topic, delete_retention_ms="100")
    shop.send("c1", phone="1")
    with pytest.raises(StopError, match=r"=100 only.* set it to 3600000 or more"), shop.writer() as writer:
        writer.await_end()
    assert not shop.logged("contacts.build_started")
    alter(admin, settings.contacts_topic, "delete.retention.ms", "3600000")
    with shop.writer():
        shop.await_found("phone", "1", "c1")
    assert len(shop.logged("contacts.build_started")) == 1
    shop.client.delete(*shop.keys)


def test_a_missing_topic_is_said_at_the_start(settings):
    """One line that names the command that makes it."""
    assert "topics create" in str(Writer(settings).await_end())


def test_what_is_logged_is_published_and_names_no_person(shop):
    """Every line has just the fields that EVENTS lists, and no identifier's value."""
    with shop.writer():
        shop.send("contact-of-the-test", contactKey="key-of-the-test")
        shop.await_found("contactKey", "key-of-the-test", "contact-of-the-test")
        shop.client.delete(*shop.keys)
        shop.send("contact-of-the-test", contactKey="another-of-the-test")
        shop.await_found("contactKey", "another-of-the-test", "contact-of-the-test")
        shop.send_raw(b"contact-of-the-test", b"value-of-the-test")
        shop.await_logged("contacts.skipped")
    for line in shop.lines:
        assert set(line) - {"event", "log_level"} == set(EVENTS[line["event"]]), line
        assert "of-the-test" not in str(line)
    assert {"contacts.started", "contacts.ready", "contacts.waiting", "contacts.stopped"} <= {
        line["event"] for line in shop.lines
    }


def test_reading_that_fails_again_and_again_leaves_nothing_open(shop, monkeypatch):
    """A batch is being written while the next one is read: if that fails, it is settled, counted and left."""
    reads, read = Counter[ContactReader](), ContactReader.read

    def failing(self, *found):
        reads[self] += 1
        if reads[self] == 2:
            raise RetryError("reading fails")
        return read(self, *found)

    monkeypatch.setattr(ContactReader, "read", failing)
    monkeypatch.setattr("processor.contacts.keeper._MAX_BACKOFF_S", 0.0)
    name = f"order-facts-{shop.settings.instance_id}"

    def connections():
        return sum(client["name"] == name for client in shop.client.client_list())

    with shop.writer():
        shop.await_logged("contacts.ready")
        for number in range(20):
            shop.send(f"c{number}", phone=str(number))
            shop.await_found("phone", str(number), f"c{number}")
        assert len(reads) >= 20
        await_condition(lambda: connections() <= 4, lambda: f"{connections()} connections are open")
        await_condition(
            lambda: sum(line["records"] for line in shop.logged("contacts.committed")) == 20,
            lambda: f"{shop.logged('contacts.committed')} were counted",
        )
    assert all(shop.client.hget(key, "intent") is None for key in shop.keys)
