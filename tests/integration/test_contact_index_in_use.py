"""The contact index as running replicas and operators see it, on real processes."""

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
