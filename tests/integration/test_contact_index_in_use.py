"""The contact index as running replicas and operators see it, on real processes."""

from msgspec.structs import replace

from tests.support.deployment import await_condition, deployed
from tests.support.traffic import contacts, created

REQUEST_S = 30.0
NEW = {"contactId": "new", "phone": "+380990000001"}


def recreate_contacts(deployment):
    """Delete the contacts topic and create it again, empty."""
    name = deployment.settings.contacts_topic
    deployment.cluster.admin.delete_topics([name])[name].result(REQUEST_S)
    await_condition(lambda: not deployment.cluster.topics([name]), "the topic is gone")
    deployment.command("topics", "create")


def test_running_replicas_go_on_with_an_accepted_topic(settings, tmp_path):
    """After the command that the index's stop line names, a replica that ran all the time finds the new contacts."""
    with deployed(settings, tmp_path) as deployment:
        deployment.send_contacts(contacts())
        index = deployment.index()
        replica = deployment.replica("a")
        deployment.send([created("before")])
        deployment.await_accounted()
        recreate_contacts(deployment)
        assert index.await_end() == 1
        assert "order-facts contacts index --accept-new-topic" in index.lines("service.failed")[0]["error"]
        deployment.send_contacts([NEW])
        deployment.start("contacts", "index", "--accept-new-topic", name="index2").await_line("contacts.ready")
        deployment.send([created("after", phone=NEW["phone"])])
        deployment.await_accounted()
        replica.await_line("batch.committed", facts=1, count=2)
        replica.stop()
        assert not deployment.command("check").stdout.count("problem")


def test_orders_wait_for_an_index_that_compares_phones_as_they_do(settings, tmp_path):
    """After a change of the setting no order is refused: a replica waits and says why until the index is rebuilt."""
    with deployed(settings, tmp_path) as deployment:
        deployment.send_contacts([*contacts(), {"contactId": "near", "phone": "(067) 765 43 21"}])
        first = deployment.index()
        deployment.settings = replace(settings, phone_region="UA")
        replica = deployment.replica("a")
        deployment.send([created("there", phone="+380 67 765-43-21"), created("here", phone="0677654321")])
        line = replica.await_line("service.waiting", waiting_for="contact_index")[0]
        assert "was built with phone_matching=digits, these settings say phone_region=UA, phonenumbers" in line["error"]
        index = deployment.start("contacts", "index", name="index2")
        assert first.await_end() == 1, "the later one took over"
        deployment.await_accounted()
        replica.stop()
        index.stop()
        assert deployment.require_right_outputs() == {"fact": 2}
        assert index.lines("contacts.build_started", cause="phone numbers are compared in another way")
