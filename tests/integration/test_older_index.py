"""Proves C4's second half: an index older than one already used is no index, in this process and after a restart."""

import pytest

from processor.contacts.shards import lineage_of, shard_keys
from processor.replica import startup
from tests.support.deployment import deployed
from tests.support.traffic import contacts, created, traffic


@pytest.mark.parametrize("restarts", [False, True], ids=["running", "restarted"])
def test_index_put_back_to_an_older_copy_makes_orders_wait(settings, tmp_path, redis_client, restarts):
    """A deleted contact in an older copy of the index is not found again: orders wait until the index is up to date."""
    with deployed(settings, tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.index().stop()
        found = startup.check(settings)
        keys = shard_keys(lineage_of(found.lineage.cluster_id, settings))
        copies = {key: redis_client.dump(key) for key in keys}
        deployment.command("contacts", "import", "-", stdin='{"contactId": "c1", "deleted": true}\n')
        index = deployment.start("contacts", "index", name="index")
        index.await_line("contacts.committed", deleted=1)
        replica = deployment.replica("a")
        deployment.send([*traffic(seed=80, count=50), created("gone")])  # its phone was c1's
        deployment.await_accounted()
        index.stop()
        if restarts:
            replica.stop()
        for key, copy in copies.items():
            redis_client.restore(key, 0, copy, replace=True)
        if restarts:
            replica = deployment.replica("a")
        deployment.send([created("gone too")])
        replica.await_line("service.waiting", waiting_for="contact_index")
        assert "older" in replica.lines("service.waiting", waiting_for="contact_index")[-1]["error"]
        deployment.start("contacts", "index", name="index2")
        deployment.await_accounted()
        replica.stop()
        assert deployment.require_right_outputs()["contact_not_found"] >= 2
