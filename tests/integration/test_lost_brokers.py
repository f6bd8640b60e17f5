"""Proves that processes go on whose Kafka client lost all brokers for ever, as one may when brokers restart."""

from contextlib import closing

import pytest
from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka
from tests.support.deployment import await_condition, deployed
from tests.support.hiding_brokers import HidingBrokers
from tests.support.traffic import contacts, created, traffic

MOST_RESTARTS = 20


@pytest.fixture
def brokers(tmp_path):
    """Give the way to a broker that can hide it."""
    with closing(HidingBrokers()) as way:
        kafka = EmbeddedKafka(tmp_path / "kafka", overrides=way.advertised)
        kafka.start()
        way.port = int(kafka.bootstrap_servers.rpartition(":")[2])
        yield way
        kafka.kill()


@pytest.fixture
def shop(settings, tmp_path, brokers):
    """Give a deployment on that broker, its index complete and kept."""
    with deployed(replace(settings, bootstrap_servers=brokers.address), tmp_path) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


def hide_and_show(brokers, replica):
    """Be away, then hide the brokers from whoever asks, then be there; wait until the replica goes on."""
    waited, resumed = len(replica.lines("service.waiting")), len(replica.lines("service.resumed"))
    brokers.is_open = False
    brokers.drop()
    await_condition(lambda: len(replica.lines("service.waiting")) > waited, lambda: replica.tail("it does not wait"))
    brokers.hidden, brokers.is_hiding, brokers.is_open = 0, True, True
    await_condition(lambda: brokers.hidden >= 4, "clients ask")
    brokers.is_hiding = False
    await_condition(lambda: len(replica.lines("service.resumed")) > resumed, lambda: replica.tail("it waits on"))


def test_consumer_that_lost_its_brokers_is_replaced(shop, brokers):
    """The broker hides until the replica's consumer has lost it: a new one joins, and all events have outputs.

    The keeper of the index had lost it as well, or not: it goes on, too. One restart in seven loses it; should all of
    them spare it, everything must go on all the same.
    """
    replica = shop.replica("a")
    replica.await_line("partition.positioned")
    restarts = 0
    while not replica.lines("group.rejoined") and restarts < MOST_RESTARTS:
        hide_and_show(brokers, replica)
        restarts += 1
    shop.renew_producer()
    shop.send(traffic(seed=5301, count=100))
    shop.await_accounted()
    shop.send_contacts([{"contactId": "late", "phone": "+998777"}])
    find = ("contacts", "find", "phone=+998777")
    await_condition(lambda: shop.command(*find, check=False).returncode == 0, "the index is kept")
    shop.send([created("late", phone="+998777")])
    shop.await_accounted()
    assert b"late" in {record.key for record in shop.read(shop.settings.facts_topic)}


@pytest.mark.parametrize("shown", [0, 1, 2])
def test_a_start_while_brokers_hide_waits(settings, tmp_path, brokers, shown):
    """A broker that starts may name itself to a client at first, and then not: the client's process goes on."""
    with deployed(replace(settings, bootstrap_servers=brokers.address), tmp_path) as deployment:
        brokers.still_shown, brokers.is_hiding = shown, True
        index = deployment.start("contacts", "index", name="index")
        await_condition(lambda: brokers.hidden >= 2 or index.exit_code() is not None, lambda: index.tail("it asks"))
        brokers.is_hiding = False
        index.await_line("contacts.started")
