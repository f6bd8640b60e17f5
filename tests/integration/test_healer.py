"""Proves that `rejected replay --follow` sends back what waits for its contact: once each, in order, whatever dies."""

import re
import signal
import time

import pytest
from msgspec.structs import replace
from redis import Redis

from deploy.local.servers import free_ports
from tests.support.deployment import SOON_OVER, await_condition, deployed
from tests.support.healers import Healers, late_traffic, status, updated
from tests.support.health_answers import ask
from tests.support.replays import facts_with_contacts_first
from tests.support.traffic import contacts, created

FOUND = "contact_not_found"
FIRST_MS = int(time.time() * 1000) - 3_600_000  # the same in each test, and with it the world to compare with
WORLDS: dict[str, list] = {}  # by what came into each: the same in most tests, and a run of its own


@pytest.fixture
def deployment(settings, tmp_path):
    """Give a deployment of three partitions, without contacts and without processes."""
    with deployed(settings, tmp_path) as made:
        running = Healers(made.settings, tmp_path)
        yield running
        running.end()


@pytest.fixture
def waiting(deployment):
    """Give the deployment with an index of no contacts, a replica, and the rejected events of forty orders."""
    deployment.index()
    deployment.replica("a")
    deployment.send_own(late_traffic(seed=1, orders=40, contacts_known=40), FIRST_MS)
    deployment.await_accounted()
    assert deployment.facts() == []
    return deployment


def require_facts_of_contacts_first(deployment, folder, more=()):
    """Require fact for fact those of a world in which the contacts came first, each event sent back once."""
    events = deployment.events()
    first = [record for record in events if "replay.round" not in dict(record.headers)]
    known = [*contacts(), *more]
    world = repr(([(record.partition, record.timestamp_ms, record.key, record.value) for record in first], known))
    if world not in WORLDS:
        WORLDS[world] = facts_with_contacts_first(deployment.settings, folder, first, known)
    assert deployment.facts() == WORLDS[world]
    copies = deployment.back()
    assert len({(record.partition, record.key, record.value) for record in copies}) == len(copies)


def test_orders_before_their_contacts_heal_by_themselves(waiting, tmp_path):
    """Contacts come later: the facts are those of a world in which they came first, and the healer then is idle."""
    healer = waiting.healer()
    (ready,) = healer.await_line("healer.ready")
    assert ready["waiting"] == waiting.sent
    assert waiting.back() == []
    waiting.send_contacts(contacts())
    await_condition(lambda: len(waiting.back()) == waiting.sent, waiting.tails)
    waiting.await_accounted(2 * waiting.sent)
    require_facts_of_contacts_first(waiting, tmp_path / "other")
    healer.stop()
    assert waiting.heal_once() == {"replayed": 0, "waiting": 0}


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        *(("before take over", 1), ("after take over", 1), ("after open", 1), ("after see", 20), ("before look", 1)),
        *((f"{when} {step}", 2) for step in ("note", "write", "mark", "end") for when in ("before", "after")),
    ],
)
def test_killed_healer_goes_on_where_it_was(waiting, tmp_path, soon_gone, moment, number):
    """Killed at any of its steps, and started again: each event went back once, in order."""
    waiting.send_contacts(contacts())
    killed = waiting.sabotaged_healer(moment, number, kafka=SOON_OVER | soon_gone)
    assert killed.await_end() == -signal.SIGKILL, killed.tail("exit code")
    assert killed.lines("test.sabotage", moment=moment)
    healer = waiting.healer()
    await_condition(lambda: len(waiting.back()) >= waiting.sent, waiting.tails)
    waiting.await_accounted(2 * waiting.sent)
    healer.stop()
    require_facts_of_contacts_first(waiting, tmp_path / "other")


def with_status(deployment, order_id, wanted):
    """Tell whether an order's latest fact has a status."""
    order = deployment.orders().get(order_id)
    return order is not None and order["status"] == wanted


def test_a_typo_mended_by_an_update_does_not_lose_the_order(deployment, tmp_path):
    """Whether the mending update came before the contacts or after them: the facts are those of contacts first.

    The event with the typo goes back first and is rejected again; the update behind it creates the order.
    """
    deployment.index()
    deployment.replica("a")
    healer = deployment.healer()
    healer.await_line("healer.ready")
    whole = {"totalCost": "7", "status": "IN_PROGRESS", "date": "2026-05-14T10:11:00"}
    typo, right = {"phone": None, "email": "bayer.1@shop.example"}, {"email": "buyer.1@shop.example"}
    deployment.send_own([created("t1", **typo), updated("t1", **whole, **right), status("t1"), created("t2", **typo)])
    deployment.await_accounted()
    deployment.send_contacts(contacts())
    await_condition(lambda: with_status(deployment, "t1", "DELIVERED"), deployment.tails)
    deployment.send_own([updated("t2", **whole, **right), updated("t2", storeId="s")])
    await_condition(lambda: deployment.orders().get("t2", {}).get("storeId") == "s", deployment.tails)
    deployment.await_accounted(len(deployment.events()))
    assert [(record.key, dict(record.headers)["replay.round"]) for record in deployment.back()] == [(b"t1", b"1")] * 3
    first = [record for record in deployment.events() if "replay.round" not in dict(record.headers)]
    assert deployment.facts() == facts_with_contacts_first(deployment.settings, tmp_path / "other", first, contacts())
    deployment.send_contacts([{"contactId": "c99", "email": "bayer.1@shop.example"}])
    await_condition(lambda: len(deployment.back()) == 5, deployment.tails)
    deployment.await_accounted(len(deployment.events()))
    assert {fact["revision"] for _, fact in deployment.facts()} == {1, 2}, "what came too late changes nothing"


def test_what_was_rejected_just_before_the_copy_follows_it(deployment):
    """An event that was sent before the copy and rejected after it goes back behind it, once."""
    deployment.index()
    replica = deployment.replica("a")
    deployment.send_own([created("o1")])
    deployment.await_accounted()
    replica.stop()
    deployment.send_own([status("o1")])
    deployment.send_contacts(contacts())
    healer = deployment.healer()
    await_condition(lambda: len(deployment.back()) == 1, deployment.tails)
    deployment.replica("a")
    await_condition(lambda: with_status(deployment, "o1", "DELIVERED"), deployment.tails)
    deployment.await_accounted(4)
    healer.stop()
    assert [record.key for record in deployment.back()] == [b"o1"] * 2


def test_delivered_before_created_heals_for_those_who_want_it(deployment):
    """With --reason order_unknown it goes back once the order is there; without it, it stays."""
    deployment.send_contacts(contacts())
    deployment.index()
    deployment.replica("a")
    deployment.send_own([status("o1"), status("nobody's")])
    deployment.await_accounted()
    healer = deployment.healer("--reason", "order_unknown")
    assert healer.await_line("healer.ready")[0]["waiting"] == 2
    assert deployment.back() == []
    deployment.send_own([created("o1")])
    await_condition(lambda: with_status(deployment, "o1", "DELIVERED"), deployment.tails)
    healer.stop()
    assert [record.key for record in deployment.back()] == [b"o1"]
    assert deployment.heal_once() == {"replayed": 0, "waiting": 0}
    assert deployment.heal_once("--reason", "order_unknown") == {"replayed": 0, "waiting": 1}


def test_second_healer_waits_and_takes_over(waiting, tmp_path, soon_gone):
    """While one heals, another says that it waits; when the first is killed it heals, and when that ends, the third."""
    first = waiting.healer(kafka=soon_gone)
    first.await_line("healer.ready")
    second = waiting.healer(name="standby")
    second.await_line("healer.standby")
    first.signal(signal.SIGKILL)
    second.await_line("healer.ready")
    third = waiting.healer(name="another")
    third.await_line("healer.standby")
    second.stop()
    waiting.send_contacts(contacts())
    await_condition(lambda: len(waiting.back()) == waiting.sent, waiting.tails)
    waiting.await_accounted(2 * waiting.sent)
    require_facts_of_contacts_first(waiting, tmp_path / "other")


@pytest.mark.parametrize("moment", ["before note", "before mark"])
@pytest.mark.runbook("healer.overtaken")
def test_replay_by_hand_takes_over_and_the_healer_goes_on_afterwards(waiting, tmp_path, moment):
    """The healer stands still in a transaction: a run by hand fences it, and each event still goes back once."""
    waiting.send_contacts(contacts())
    healer = waiting.sabotaged_healer(moment, 2, "SIGSTOP")
    healer.await_line("test.sabotage")
    options = [f"--reason={reason}" for reason in (FOUND, "no_identifier", "missing_parameter", "order_unknown")]
    line, _ = waiting.replay(*options)
    assert line["skipped"]["already"] == waiting.sent - line["replayed"] > 0
    healer.signal(signal.SIGCONT)
    healer.await_line("healer.overtaken")
    waiting.await_accounted(2 * waiting.sent)
    waiting.send_own([created("late", phone="+999777777")])
    waiting.await_accounted(2 * waiting.sent - 1)  # it is rejected before its contact comes
    another = {"contactId": "c77", "phone": "+999777777"}
    waiting.send_contacts([another])
    await_condition(lambda: "late" in waiting.orders(), waiting.tails)
    healer.stop()
    assert len(waiting.back()) == waiting.sent
    require_facts_of_contacts_first(waiting, tmp_path / "other", [another])


def test_waiting_ends_after_within_and_a_replay_by_hand_still_sends_it_back(deployment):
    """An event that waited long enough stays where it is, whoever heals; by hand it goes back."""
    deployment.index()
    deployment.replica("a")
    healer = deployment.healer("--within", "3s")
    healer.await_line("healer.ready")
    deployment.send_own([created("o1")])
    (line,) = healer.await_line("healer.expired")
    assert line["records"] == 1
    deployment.send_contacts(contacts())
    deployment.send_own([created("o2", phone="+999000002")])
    await_condition(lambda: "o2" in deployment.orders(), deployment.tails)
    healer.stop()
    assert deployment.heal_once("--within", "2s") == {"replayed": 0, "waiting": 0}
    assert "o1" not in deployment.orders()
    assert deployment.replay(f"--reason={FOUND}")[0]["replayed"] == 1
    await_condition(lambda: "o1" in deployment.orders(), deployment.tails)


@pytest.mark.runbook("healer.waiting")
def test_index_that_is_not_ready_is_waited_for(settings, tmp_path, own_redis):
    """Without an index nothing is found and nothing expires in error: it says what it waits for, and goes on (C4)."""
    with deployed(replace(settings, redis_url=own_redis.url), tmp_path, kind=Healers) as apart:
        index = apart.index()
        apart.replica("a")
        apart.send_own([created("o1")])
        apart.await_accounted()
        index.stop()
        with Redis.from_url(own_redis.url) as client:
            client.flushall()
        healer = apart.impatient_healer()
        healer.await_line("healer.waiting", waiting_for="contact_index", attempt=3)  # one wait, which has not ended
        assert not healer.lines("healer.resumed")
        refused = apart.command("rejected", "replay", "--follow", "--once", check=False)
        assert refused.returncode == 3
        apart.send_contacts(contacts())
        apart.index()
        healer.await_line("healer.resumed")
        await_condition(lambda: "o1" in apart.orders(), apart.tails)
        healer.stop()


def test_once_sends_back_what_is_found_now_and_ends(waiting, tmp_path):
    """For a cron job: a line that says how many went back and how many still wait."""
    assert waiting.heal_once() == {"replayed": 0, "waiting": waiting.sent}
    waiting.send_contacts(contacts())
    healed = 0

    def tried():
        nonlocal healed
        healed += waiting.heal_once()["replayed"]
        return healed == waiting.sent

    await_condition(tried, waiting.tails)
    waiting.await_accounted(2 * waiting.sent)
    require_facts_of_contacts_first(waiting, tmp_path / "other")
    assert waiting.replay()[0]["replayed"] == 0


def test_health_and_metrics_say_what_waits(waiting):
    """A healer and its standby are ready; the metrics tell them apart and count what waits and what went back."""
    ports, began = free_ports(2), time.time()
    healers = [waiting.healer(name=f"healer-{port}", http_port=port) for port in ports]
    await_condition(lambda: {ask(port, "/readyz") for port in ports} == {(200, "ok\n")}, waiting.tails)
    await_condition(lambda: sorted(value(port, "healer_active") for port in ports) == [0.0, 1.0], waiting.tails)
    (active,) = (port for port in ports if value(port, "healer_active"))
    await_condition(lambda: value(active, "healer_waiting_events") == waiting.sent, waiting.tails)
    waiting.send_contacts(contacts())
    await_condition(lambda: value(active, "healer_sent_events_total") == waiting.sent, waiting.tails)
    await_condition(lambda: value(active, "healer_waiting_events") == 0, waiting.tails)
    await_condition(lambda: [value(port, "healer_lag_records") for port in ports] == [0, 0], waiting.tails)
    await_condition(lambda: value(active, "healer_complete_timestamp_seconds") > began, waiting.tails)
    for healer in healers:
        healer.stop()


def value(port, name):
    """Give a metric's value."""
    (found,) = re.findall(rf"^order_facts_{name} (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
    return float(found)
