"""Proves that an events topic whose end the brokers lost is noticed, also if it was filled again, and is gone on from.

An unclean election does it, and a disk that is restored from an older copy; here it is the disk of a single broker.
"""

import json
import shutil

import pytest
from msgspec.structs import replace

from deploy.local.services import EmbeddedKafka
from processor.codec.avro import codec
from processor.errors import RetryError
from tests.support.deployment import Deployment, await_condition
from tests.support.refusals import facts, offsets, refused_run, rejections, remove_mirror
from tests.support.traffic import contacts

KEPT, LOST = 4, 6
SHOPS = ("shorter", "refilled")


@pytest.fixture
def kafka(tmp_path):
    """Give a broker whose disk a test may restore."""
    broker = EmbeddedKafka(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def shops(settings, tmp_path, kafka):
    """Give deployments of one partition on that broker, which share contacts; each has events, processed."""
    own = replace(settings, bootstrap_servers=kafka.bootstrap_servers)
    names = ("group_id", "events_topic", "facts_topic", "rejected_topic")
    shops = {
        shop: Deployment(replace(own, **{name: f"{getattr(own, name)}-{shop}" for name in names}), tmp_path)
        for shop in SHOPS
    }
    try:
        for shop in shops.values():
            shop.command("topics", "create", partitions=1)
        shops["shorter"].send_contacts(contacts())
        shops["shorter"].index()
        yield shops
    finally:
        for shop in shops.values():
            shop.end()


def process(shop, records):
    """Have a replica process records, and stop."""
    shop.send(records)
    replica = shop.replica("a")
    await_condition(lambda: offsets(shop).get(0, (0,))[0] == end(shop), lambda: replica.tail("not processed"))
    replica.stop()


def end(shop):
    """Give the end of the events topic, None while the broker that came back does not say it."""
    try:
        return shop.cluster.ends(shop.settings.events_topic, [0])[0]
    except RetryError:
        return None


def restore_disk(kafka, shops, folder, meanwhile):
    """Stop the broker, copy the events, do something with the broker at work, and put the older copy back."""
    logs = [kafka.folder / "data" / f"{shop.settings.events_topic}-0" for shop in shops.values()]
    kafka.stop()
    for log in logs:
        shutil.copytree(log, folder / log.name)
    kafka.start()
    meanwhile()
    kafka.stop()
    for log in logs:
        shutil.rmtree(log)
        shutil.copytree(folder / log.name, log)
    kafka.start()
    for shop in shops.values():
        await_condition(lambda shop=shop: end(shop) == KEPT, "the end is lost")
        shop.renew_producer()


def order_ids(shop):
    """Give the ids of all facts, in the order of the topic."""
    return [codec().decode_fact(record.value).external_order_id for record in shop.read(shop.settings.facts_topic)]


def ids(count, first=0):
    """Give the order ids that `facts` makes."""
    return [f"f{number}" for number in range(first, first + count)]


@pytest.mark.follows("log end")
def test_an_events_topic_that_lost_its_end(kafka, shops, tmp_path):
    """Shorter under a replica at work, or filled again beyond the committed offset: a stop, and a way on."""
    for shop in shops.values():
        process(shop, facts(KEPT))
    running = []

    def process_more():
        for shop in shops.values():
            process(shop, [*facts(LOST - 1, first=KEPT), *rejections(1)])
        running.append(shops["shorter"].replica("b"))
        running[0].await_line("partition.positioned")

    restore_disk(kafka, shops, tmp_path / "older", process_more)
    _require_way_on_from_a_shorter_topic(shops["shorter"], *running)
    _require_way_on_from_a_refilled_topic(shops["refilled"])


def _require_way_on_from_a_shorter_topic(shop, replica):
    await_condition(lambda: replica.exit_code() is not None, lambda: replica.tail("goes on"))
    (failed,) = replica.lines("service.failed")
    assert f"the committed offset {KEPT + LOST} is beyond the topic's end {KEPT}" in failed["error"]
    recover(shop, failed["error"])
    process(shop, facts(2, first=100))
    assert "earlier" in json.loads(offsets(shop)[0][1])
    assert remove_mirror(shop)  # it is rebuilt from the facts of both logs
    process(shop, [*facts(1, first=0), *facts(5, first=102)])
    assert "earlier" not in json.loads(offsets(shop)[0][1])
    assert order_ids(shop) == [*ids(KEPT + LOST - 1), *ids(7, first=100)]


def _require_way_on_from_a_refilled_topic(shop):
    shop.send(facts(LOST + 2, first=100))
    assert end(shop) > KEPT + LOST
    line = refused_run(shop)
    assert f"the committed offset {KEPT + LOST} is beyond the end of what was processed, {KEPT}" in line
    recover(shop, line)
    process(shop, facts(1, first=0))  # a known order
    assert order_ids(shop) == [*ids(KEPT + LOST - 1), *ids(LOST + 2, first=100)]
    audit = shop.command("verify", check=False)
    assert audit.returncode == 1, "the facts of the lost events have no events any more"
    assert audit.stdout.splitlines()[-1].endswith("differences")


def recover(shop, line):
    """Go on as a refusal says; without the flag that it names, the command refuses too."""
    assert line.endswith("order-facts state recover --accept-loss")
    refused = shop.command("state", "recover", check=False)
    assert refused.returncode == 1
    assert line in refused.stderr
    done = shop.command("state", "recover", "--accept-loss")
    assert f"{KEPT + LOST} -> {KEPT}: the brokers lost processed events" in done.stdout
