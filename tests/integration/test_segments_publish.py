"""Proves `segments publish` on a real broker: it writes entries and leaves, whatever is killed or runs beside it."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from deploy.local.servers import free_ports
from deploy.local.services import EmbeddedKafka
from processor.domain.records import Record
from processor.errors import StopError
from processor.kafka.clients import transactional_producer
from processor.membership.publisher import Publisher
from processor.membership.publishing import segments_of
from processor.segments.queries import query_of
from processor.settings import Settings
from processor.snapshots.snapshot import FolderInUseError, work_folder
from tests.conftest import creator, own_settings
from tests.support.commands import Idle
from tests.support.deployment import PROJECT, await_condition
from tests.support.exports import send
from tests.support.health_answers import ask
from tests.support.page_programs import lines_until, program_of, started
from tests.support.publish_saboteur import MOMENTS
from tests.support.publishing import PARTITIONS, Shop

LAMP, CHAIR = "FROM bought('lamp')", "FROM bought('chair')"
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST_S = 30.0
PAGE = PROJECT / "processor" / "membership" / "README.md"


@pytest.fixture(scope="module")
def snapshots(services, admin, tmp_path_factory):
    """Give the folder of a shop's snapshot; nobody changes it."""
    folder = tmp_path_factory.mktemp("stock")
    return Shop(Idle(own_settings(services), folder, creator(admin)), folder).stock().folder


@pytest.fixture
def shop(idle, tmp_path, snapshots):
    """Give a shop with that snapshot, and a topic of members."""
    return Shop(idle, tmp_path, snapshots)


def sabotaged(shop, moment, signal_name, *segments):
    """Start a publisher that signals itself."""
    extra = {"TEST_SABOTAGE": json.dumps({"moment": moment, "signal": signal_name})}
    return shop.idle.start(
        *shop.arguments(*segments), name="publisher", module="tests.support.publish_saboteur", extra=extra
    )


def test_the_command(shop):
    """It prints a line a segment; values have the contract's fields; one segment alone may have parameters."""
    segments = shop.segment("lamp", LAMP), shop.segment("chair it's", CHAIR)
    began_ms = int(time.time() * 1000)
    done = shop.command(*segments, "--as-of", AS_OF.isoformat())
    assert done.stdout == "lamp: 3 members, 3 entered, 0 left\nchair it's: 1 members, 1 entered, 0 left\n"
    assert done.stderr == ""
    found = shop.values()
    assert sorted(found) == ["chair it's/d", "lamp/a", "lamp/b", "lamp/c"]
    for key, value in found.items():
        segment, _, contact = key.partition("/")
        assert (value["segment"], value["contactId"]) == (segment, contact)
        assert value["asOf"] == AS_OF.timestamp() * 1000
        assert began_ms <= value["since"] <= time.time() * 1000
    again = shop.command("bought_lately", "item=lamp", "days=10000")
    assert again.stdout == "bought_lately: 3 members, 3 entered, 0 left\n"


def test_only_entries_and_leaves_are_written(idle, tmp_path):
    """Also of a deleted contact and a reassigned order; a rerun and a later as-of write nothing, not even a marker."""
    shop = Shop(idle, tmp_path).stock()
    segments = shop.segment("lamp", LAMP), shop.segment("chair", CHAIR)
    assert shop.publish(*segments, as_of=AS_OF) == {"lamp": (3, 0), "chair": (1, 0)}
    first, ends = shop.values(), shop.ends()
    for as_of in (AS_OF, None):
        assert shop.publish(*segments, as_of=as_of) == {"lamp": (0, 0), "chair": (0, 0)}
    assert shop.ends() == ends
    shop.contacts("a", exist=False)
    shop.buys("d", "lamp", "lamp-b")  # b's order is d's now
    shop.buys("e", "chair", "chair-d")
    shop.export()
    assert shop.publish(segments[0]) == {"lamp": (1, 2)}
    assert shop.members() == {"lamp": {"c", "d"}, "chair": {"d"}}, "a segment that is not named is left alone"
    assert shop.values()["lamp/c"] == first["lamp/c"]
    assert shop.values()["lamp/a"] is None
    assert shop.publish(segments[1]) == {"chair": (1, 1)}
    assert shop.members() == {"lamp": {"c", "d"}, "chair": {"e"}}


def test_killed_at_any_point(shop):
    """The topic is as before or as after, for all segments at once; another run, at once, makes it as after."""
    turns = [(LAMP, CHAIR, set("abc"), {"d"}), (CHAIR, LAMP, {"d"}, set("abc"))]
    before: dict = {}
    for number, moment in enumerate(MOMENTS):
        first, second, *members = turns[number % 2]
        segments = shop.segment("one", first), shop.segment("two", second)
        after = dict(zip(("one", "two"), members, strict=True))
        assert sabotaged(shop, moment, "SIGKILL", *segments).await_end() == -signal.SIGKILL, moment
        if moment == "after commit":
            await_condition(lambda now=after: shop.members() == now, moment)
        else:
            assert shop.members() == before, moment
        shop.publish(*segments)
        assert shop.members() == after, moment
        before = after
    ends = shop.ends()
    assert shop.publish(*segments) == {"one": (0, 0), "two": (0, 0)}
    assert shop.ends() == ends


@pytest.mark.follows("publisher overtaken")
@pytest.mark.parametrize("moment", ["after read", "after flush"])
def test_a_later_publisher_ends_an_earlier_one(shop, moment):
    """It wrote nothing, and says why; what the later one wrote stands, whatever group it names."""
    segments = [shop.segment("lamp", LAMP)]
    earlier = sabotaged(shop, moment, "SIGSTOP", *segments)
    await_condition(lambda: _is_stopped(earlier.pid), "it stops")
    shop.segment("lamp", CHAIR)
    assert shop.publish(*segments, group_id="another", instance_id="another") == {"lamp": (1, 0)}
    ends = shop.ends()
    earlier.signal(signal.SIGCONT)
    assert earlier.await_end() == 1, earlier.tail("goes on")
    assert f"another `segments publish` writes to {shop.settings.segment_members_topic}, or this" in earlier.tail("")
    assert shop.ends() == ends
    assert shop.members() == {"lamp": {"d"}}
    shop.segment("lamp", LAMP)
    assert shop.publish(*segments) == {"lamp": (3, 1)}, "start it again"


def _is_stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].startswith("T")


def test_both_wire_formats(shop, registry):
    """A deployment changes its form: members of the other form are read, and stay; new ones have the form set."""
    segments = [shop.segment("lamp", LAMP)]
    shop.publish(*segments)
    confluent = {"wire_format": "confluent", "schema_registry_url": registry.url}
    refused = shop.command(*segments, shop.segment("chair", CHAIR), check=False, **confluent)
    assert refused.returncode == 1
    subject = f"{shop.settings.segment_members_topic}-value"
    assert f"has no segment-member.1 under the subject {subject}; register it with" in refused.stderr
    shop.idle.command("schemas", "register", **confluent)
    assert shop.publish(*segments, shop.segment("chair", CHAIR), **confluent) == {"lamp": (0, 0), "chair": (1, 0)}
    assert {record.value[:1] for record in shop.records()} == {b"\0", b"\xc3"}
    assert shop.values()["chair/d"]["contactId"] == "d"
    ends = shop.ends()
    for form in (confluent, {"schema_registry_url": registry.url}):
        assert shop.publish(*segments, str(shop.queries / "chair.sql"), **form) == {"lamp": (0, 0), "chair": (0, 0)}
    assert shop.ends() == ends


def test_records_of_others(shop):
    """Other keys and segments stay; of a segment that is named, what is no member is written again, or removed.

    What an unknown schema wrote stays: it may be a newer version's, and nobody is to enter twice for that.
    """
    spoiled = {b"lamp/a": b"none", b"lamp/b": b"\xc3\x01", b"lamp/x": b"none", b"lamp/y/z": b"none"}
    others = {b"lamp": b"none", b"\xff/a": b"none", b"lamp/\xff": b"none", b"lamps/a": b"none", b"/a": b"none"}
    unknown = {b"lamp/c": b"\xc3\x01of another", b"chair/d": b"\0\0\0\0\7of a registry"}
    placed = enumerate([*spoiled.items(), *others.items(), *unknown.items()])
    records = [Record(number % PARTITIONS, 0, 0, *one) for number, one in placed]
    send(shop.settings, shop.settings.segment_members_topic, records)
    done = shop.command(shop.segment("lamp", LAMP), shop.segment("chair", CHAIR))
    assert done.stdout == "lamp: 3 members, 2 entered, 2 left\nchair: 1 members, 0 entered, 0 left\n"
    assert "order-facts: 3 records of " in done.stderr
    last = {record.key: record.value for record in shop.records()}
    assert {key: last[key] for key in others | unknown} == others | unknown
    assert [key for key in spoiled if last[key] is None] == [b"lamp/x", b"lamp/y/z"]
    assert shop.publish(shop.segment("lamp", "SELECT contactId FROM contacts LIMIT 0")) == {"lamp": (0, 3)}


def test_a_topic_that_is_missing_or_forgets(shop, create_topic):
    """It stops with a line that says what to do."""
    segments = [shop.segment("lamp", LAMP)]
    name = f"{shop.settings.segment_members_topic}-2"
    with pytest.raises(StopError, match=f"the topic {name} is missing; create it with: order-facts topics create"):
        shop.publish(*segments, segment_members_topic=name)
    create_topic(name, 1, cleanup_policy="delete")
    with pytest.raises(StopError, match=r"cleanup.policy=delete; it says who is in which segment: set it to compact"):
        shop.publish(*segments, segment_members_topic=name)


class StopsWithin(threading.Event):
    """A stop that is requested within the first round."""

    asked = 0

    def is_set(self):
        """Tell whether it was requested: not when the round begins."""
        self.asked += 1
        return self.asked > 1


def test_a_stop_within_a_round(idle, tmp_path):
    """It does not wait for the end of an export: what was begun is dropped, and nothing is left of it."""
    shop = Shop(idle, tmp_path).stock()
    before = sorted(shop.folder.rglob("*"))
    segments = segments_of([query_of(shop.segment("lamp", LAMP))], {})
    Publisher(shop.settings, shop.folder, segments, 3600).run(StopsWithin())
    assert sorted(shop.folder.rglob("*")) == before
    assert shop.members() == {}


def test_an_open_transaction_of_another_program_is_waited_for(shop):
    """It holds back what an earlier publisher committed: nothing is written from half a view."""
    topic, segments = shop.settings.segment_members_topic, [shop.segment("lamp", LAMP)]
    other = transactional_producer(shop.settings, 1 << 20)
    other.init_transactions(REQUEST_S)
    other.begin_transaction()
    for partition in range(PARTITIONS):
        other.produce(topic, b"none", b"of another", partition)
    assert other.flush(REQUEST_S) == 0
    earlier = [Record(partition, 0, 0, f"lamp/{name}".encode(), b"none") for partition, name in enumerate("abc")]
    send(shop.settings, topic, earlier)
    shop.segment("lamp", CHAIR)
    reads = threading.Event()
    with ThreadPoolExecutor() as pool:
        running = pool.submit(shop.publish, *segments, tell=lambda *_: reads.set())
        assert reads.wait(REQUEST_S)
        other.abort_transaction(REQUEST_S)
        assert running.result(REQUEST_S) == {"lamp": (1, 3)}
    assert shop.members() == {"lamp": {"d"}}


def test_the_consumer_of_the_page(shop, tmp_path):
    """A mailing system learns of each entry and each leave, once."""
    shop.publish(shop.segment("lamp", LAMP), as_of=AS_OF)
    shop.publish(shop.segment("lamp", CHAIR), as_of=AS_OF)
    program = program_of("A consumer in Python", "python", tmp_path, PAGE)
    printed = lines_until(started(program, shop.idle.environment(), shop.idle), 7)
    entered = [f"{contact} entered lamp, as of 2026-01-01" for contact in "abcd"]
    assert sorted(printed) == sorted([*entered, *(f"{contact} left lamp" for contact in "abc")])


@pytest.fixture
def own_broker(tmp_path):
    """Give a broker that a test may kill."""
    broker = EmbeddedKafka(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


def _entered(stack, folder):
    """Be an export that works in a folder, if none does."""
    with suppress(FolderInUseError):
        return stack.enter_context(work_folder(folder))
    return None


@pytest.mark.services
@pytest.mark.runbook("OrderFactsSegmentsLate", "segments.waiting")
def test_every(own_broker, tmp_path):
    """Each round exports and publishes what is new; it waits while Kafka is away, and says so; a stop ends it well."""
    own = AdminClient({"bootstrap.servers": own_broker.bootstrap_servers})
    (port,) = free_ports(1)
    settings = Settings(bootstrap_servers=own_broker.bootstrap_servers, instance_id="test")
    idle = Idle(settings, tmp_path, creator(own))
    shop = Shop(idle, tmp_path)
    shop.contacts(*"abc")
    shop.buys("a", "lamp", "1")
    running = idle.start(
        *(*shop.arguments(shop.segment("lamp", LAMP)), "--every", "1s"), name="publisher", http_port=port
    )
    (first, *_) = running.await_line("segments.published", members={"lamp": 1}, entered={"lamp": 1}, left={})
    assert 0 < first["freshness_s"] < 60
    await_condition(lambda: ask(port, "/readyz") == (200, "ok\n"), "it is ready")
    shop.buys("b", "lamp", "2")
    running.await_line("segments.published", members={"lamp": 2}, entered={"lamp": 1})
    told = ask(port, "/metrics")[1]
    assert 'order_facts_segments_entered_total{segment="lamp"} 2.0' in told
    assert "order_facts_segments_every_seconds 1.0" in told
    with ExitStack() as stack:
        await_condition(lambda: _entered(stack, shop.folder), "no round exports")
        running.await_line("segments.waiting", waiting_for="folder")
    running.await_line("segments.resumed", waiting_for="folder")
    own_broker.kill()
    waits = running.await_line("segments.waiting", 3, waiting_for="kafka")
    assert 0 < waits[0]["freshness_s"] < waits[2]["freshness_s"], "what is published grows old"
    assert ask(port, "/readyz")[0] == 503
    own_broker.start()
    running.await_line("segments.resumed", waiting_for="kafka")
    idle.renew_producer()
    shop.contacts("a", exist=False)
    running.await_line("segments.published", members={"lamp": 1}, left={"lamp": 1})
    running.stop()
    assert running.lines("segments.stopped")
    assert shop.members() == {"lamp": {"b"}}
    assert not (shop.folder / ".export").exists()
    idle.end()
