"""Proves D15 on real services: an order whose contact is gone goes to whom its next event finds, and to nobody else."""

import json

import pytest

from processor.codec.avro import codec
from tests.support.deployment import deployed
from tests.support.facts import fact_of
from tests.support.traffic import Sent, contacts, created, event

DELETED = {"contactId": "c1", "deleted": True}
LEFT = {"contactId": "c1"}  # without any identifier of its own, and there


def updated(order_id, **params):
    """Give the record of an orderUpdated."""
    return Sent(order_id.encode(), codec().encode_event(event("orderUpdated", order_id, **params)))


def change_contact(deployment, index, contact):
    """Send a contact, and wait until it is in the index."""
    count = len(index.lines("contacts.committed")) + 1
    deployment.command("contacts", "import", "-", stdin=f"{json.dumps(contact)}\n")
    assert index.await_line("contacts.committed", count=count)[-1]["records"] == 1


def owners(deployment):
    """Give each fact's order, revision, contact and how that was found, in the facts' order."""
    facts = [fact_of(record.value) for record in deployment.read(deployment.settings.facts_topic)]
    return sorted((f["externalOrderId"], f["revision"], f["contactId"], f["identifiedBy"]) for f in facts)


def reasons(deployment):
    """Give each rejected record's order and reason."""
    rejected = deployment.read(deployment.settings.rejected_topic)
    return sorted((record.key.decode(), dict(record.headers)["reason"].decode()) for record in rejected)


def test_orders_of_a_merged_contact_go_to_the_one_that_is_left(settings, tmp_path):
    """Two contacts were merged: the old one is deleted, and the new one's e-mail takes its orders over, only those."""
    with deployed(settings, tmp_path) as deployment:
        deployment.send_contacts(contacts())
        index, replica = deployment.index(), deployment.replica("a")
        deployment.send([created(name, phone="+999000001") for name in ("merged", "quiet")])
        deployment.send([created("other", phone="+999000003")])
        deployment.await_accounted()
        change_contact(deployment, index, DELETED)
        deployment.send([updated("merged", Email="buyer.2@shop.example", storeId="s"), updated("quiet", storeId="s")])
        deployment.send([updated("other", Email="buyer.2@shop.example"), updated("merged", phone="+999000003")])
        deployment.await_accounted()
        replica.stop()
        assert owners(deployment) == [
            ("merged", 1, "c1", "phone"),
            ("merged", 2, "c2", "email"),
            ("other", 1, "c3", "phone"),
            ("quiet", 1, "c1", "phone"),
            ("quiet", 2, "c1", "phone"),
        ]
        assert reasons(deployment) == [("merged", "contact_mismatch"), ("other", "contact_mismatch")]
        verified = deployment.command("verify", check=False)
        assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("contact", [DELETED, LEFT], ids=["gone", "there"])
def test_an_index_lost_between_the_two_look_ups_decides_nothing(apart, own_redis, contact):
    """Redis is emptied after an event found another contact: orders wait, then the rebuilt index says who exists."""
    index, first = apart.index(), apart.replica("a")
    apart.send([created("o", phone="+999000001")])
    apart.await_accounted()
    first.stop()
    change_contact(apart, index, contact)
    plan = {"moment": "before owners", "batch": 1, "empty": own_redis.url}
    extra = {"TEST_SABOTAGE": json.dumps(plan)}
    replica = apart.start("run", name="a", module="tests.support.saboteur", extra=extra)
    apart.send([updated("o", Email="buyer.2@shop.example")])
    replica.await_line("test.sabotage", moment="before owners")
    assert "is empty" in replica.await_line("service.waiting", waiting_for="contact_index")[0]["error"]
    apart.await_accounted()
    replica.stop()
    if contact is DELETED:
        assert owners(apart) == [("o", 1, "c1", "phone"), ("o", 2, "c2", "email")]
        assert reasons(apart) == []
    else:
        assert owners(apart) == [("o", 1, "c1", "phone")]
        assert reasons(apart) == [("o", "contact_mismatch")]
