"""Proves that `rejected replay --follow` sends back what waits for its contact: once each, in order, whatever dies."""

import signal

import pytest

from tests.support.deployment import SOON_OVER, await_condition, deployed
from tests.support.healers import Healers, facts_with_contacts_first, late_traffic
from tests.support.traffic import contacts

FOUND = "contact_not_found"


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
    deployment.send_own(late_traffic(seed=1, orders=40, contacts_known=40))
    deployment.await_accounted()
    assert deployment.facts() == []
    return deployment


def require_facts_of_contacts_first(deployment, folder):
    """Require fact for fact those of a world in which the contacts came first, each event sent back once."""
    events = deployment.events()
    first = [record for record in events if "replay.round" not in dict(record.headers)]
    wanted = facts_with_contacts_first(deployment.settings, folder, first, contacts())
    assert deployment.facts() == wanted
    copies = deployment.back()
    assert len({(record.partition, record.key, record.value) for record in copies}) == len(copies)


def expected_facts(events):
    """Give how many facts these events make, where their contacts are known."""
    return sum(b"nobody" not in record.key for record in events)


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
def test_killed_healer_goes_on_where_it_was(waiting, tmp_path, moment, number):
    """Killed at any of its steps, and started again: each event went back once, in order."""
    waiting.send_contacts(contacts())
    killed = waiting.sabotaged_healer(moment, number, kafka=SOON_OVER)
    assert killed.await_end() == -signal.SIGKILL, killed.tail("exit code")
    assert killed.lines("test.sabotage", moment=moment)
    healer = waiting.healer()
    await_condition(lambda: len(waiting.back()) >= waiting.sent, waiting.tails)
    waiting.await_accounted(2 * waiting.sent)
    healer.stop()
    require_facts_of_contacts_first(waiting, tmp_path / "other")
