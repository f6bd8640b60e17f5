"""Proves that versions work side by side: the one before `fact_version`, the present one with 1, and with 2."""

import re
import threading

import pytest
from msgspec.structs import replace

from tests.support.deployment import deployed
from tests.support.facts import versions_of_facts
from tests.support.former import as_version_1, former_index, former_replica, program_before, program_without
from tests.support.refusals import forget_mirror
from tests.support.traffic import contacts, traffic

SECOND = "schemas/order-fact.2.avsc"
CHUNK = 150
# What the version before says: of the last fact that it looks at, or of the committed offset.
FORMER_LINES = (
    r"is not a valid fact \(unknown schema fingerprint\)"
    r"|was written by another version of this program \(format 3\); run that one"
)


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """Give the program of the commit before facts of version 2."""
    return program_before("order-fact-2", tmp_path_factory.mktemp("former"))


@pytest.fixture
def shop(settings, tmp_path):
    """Give a deployment of four partitions with rules that both versions have, its contact index complete."""
    same_rules = replace(settings, item_profile="strict", phone_matching="exact")
    with deployed(same_rules, tmp_path, partitions=4) as running:
        running.send_contacts(contacts())
        running.index()
        yield running


class Load:
    """Events without a pause between two of them, until it is left; every event counts as sent."""

    def __init__(self, deployment):
        self._deployment = deployment
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self):
        seed = 0
        while not self._is_over.wait(0.1):
            seed += 1
            self._deployment.send(map(as_version_1, traffic(seed, CHUNK, orders=400)))

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()


def progress(replica):
    """Wait until a replica that has partitions commits batches of its own."""
    replica.await_line("batch.committed", count=len(replica.lines("batch.committed")) + 2)


def rebuilt(*replicas):
    """Give how often each partition's mirror was rebuilt from nothing."""
    return [line["partition"] for one in replicas for line in one.lines("mirror.behind", missing=True)]


def test_old_replicas_and_new_ones_lose_double_and_misjudge_nothing(shop, former):
    """Replica by replica under load: first to the new program with version 1, then to version 2.

    One replica of each state is killed, and its successor takes its name. The mirrors stay: none is rebuilt.
    """
    former_index(shop, former)  # the present one stays beside it: each has its own
    old_a, old_b = (former_replica(shop, former, name) for name in "ab")
    with Load(shop):
        progress(old_a)
        progress(old_b)
        old_a.stop()
        first_a = shop.replica("a", fact_version=1)
        progress(first_a)
        progress(old_b)
        old_b.end()  # a crash in whatever it does
        first_b = shop.replica("b", fact_version=1)
        progress(first_b)
        progress(first_a)
    shop.await_accounted()
    before = versions_of_facts(shop.read(shop.settings.facts_topic))
    with Load(shop):
        progress(first_b)
        first_a.end()
        second_a = shop.replica("a")
        progress(second_a)
        progress(first_b)
        first_b.stop()
        second_b = shop.replica("b")
        progress(second_b)
        progress(second_a)
    shop.await_accounted()
    second_a.stop()
    second_b.stop()
    shop.require_right_outputs()
    assert set(before) == {1}
    after = versions_of_facts(shop.read(shop.settings.facts_topic))
    assert set(after) == {1, 2}
    assert rebuilt(first_a, first_b, second_a, second_b) == []
    assert shop.command("verify").returncode == 0


@pytest.mark.follows("newer facts")
def test_a_program_that_lacks_the_facts_schema_says_so(shop, tmp_path):
    """As the present program will when it meets a later version of facts; the one that wrote them goes on."""
    second = shop.replica("b")
    shop.send(traffic(1, CHUNK))
    shop.await_accounted()
    second.stop()
    for partition in range(4):
        forget_mirror(shop, partition)  # so that the last facts are looked at
    lacking = program_without(SECOND, tmp_path / "lacking")
    line = last_line(former_replica(shop, lacking, "a", fact_version=1))
    assert "is a fact of a schema version that this program does not know; run the newer version" in line
    second = shop.replica("b")
    shop.send(traffic(2, CHUNK))
    shop.await_accounted()
    second.stop()
    shop.require_right_outputs()


def last_line(process):
    """Wait until a replica has stopped for good, and give its last line."""
    assert process.await_end() == 1, process.tail("another exit code")
    return process.log_path.read_text(encoding="utf-8").splitlines()[-1]


def test_a_replica_that_cannot_read_facts_of_version_2_stops_with_a_line(shop, former):
    """It says what to do, has touched nothing, and those that can read them go on; so does one with version 1 again."""
    second = shop.replica("b")
    shop.send(map(as_version_1, traffic(1, CHUNK)))
    shop.await_accounted()
    assert re.search(FORMER_LINES, last_line(former_replica(shop, former, "a")))
    shop.send(traffic(2, CHUNK))
    shop.await_accounted()
    second.stop()
    first = shop.replica("b", fact_version=1)
    shop.send(traffic(3, CHUNK))
    shop.await_accounted()
    first.stop()
    shop.require_right_outputs()
    assert rebuilt(second, first) == []
    assert set(versions_of_facts(shop.read(shop.settings.facts_topic))) == {1, 2}
