"""Follows stop lines of versions and installations that do not fit, to a running program and right outputs."""

import shutil

import pytest

from tests.support.adverse import adverse, newer_version, no_cluster_id, no_topic_ids
from tests.support.deployment import PROJECT, await_condition, deployed
from tests.support.healers import Healers
from tests.support.refusals import facts, rejections
from tests.support.schemas import SCHEMAS
from tests.support.traffic import contacts
from tests.support.ways import go_on, stopped


def process_newer(deployment):
    """Have a replica of the program's next version process all events."""
    replica = deployment.start("run", name="newer", **adverse(newer_version))
    deployment.await_accounted()
    replica.stop()


@pytest.mark.follows("another version")
def test_offsets_of_a_newer_version(single):
    """This one neither reads nor overwrites them; the version that wrote them goes on."""
    single.send(facts(2))
    process_newer(single)
    single.send([*facts(2, first=1), *rejections(1)])
    stopped(single, "another version")
    stopped(single, "another version", "state", "recover")
    process_newer(single)
    assert single.require_right_outputs() == {"fact": 3, "order_exists": 1, "contact_not_found": 1}


@pytest.mark.follows("healed version")
def test_what_a_newer_version_sent_back(settings, tmp_path):
    """This one would send it back again, and does not; the version that sent it back goes on, and each went once."""
    newer = adverse(newer_version)
    with deployed(settings, tmp_path, partitions=1, kind=Healers) as shop:
        shop.index()
        shop.send(facts(2))
        replica = shop.replica("a")
        shop.await_accounted()
        shop.send_contacts(contacts())
        healer = shop.healer(**newer)
        await_condition(lambda: len(shop.facts()) == 2, shop.tails)
        healer.stop()
        stopped(shop, "healed version", "rejected", "replay")
        stopped(shop, "healed version", "rejected", "replay", "--follow", "--once")
        assert shop.heal_once(**newer) == {"replayed": 0, "waiting": 0}
        replica.stop()
        assert len(shop.facts()) == len(shop.back()) == 2


@pytest.mark.follows("old kafka")
def test_brokers_that_give_no_ids(single):
    """Neither of the cluster nor of topics: nothing is processed; upgraded brokers are worked with."""
    single.send(facts(2))
    stopped(single, "old kafka", **adverse(no_cluster_id))
    stopped(single, "old kafka", **adverse(no_topic_ids))
    go_on(single)
    assert single.require_right_outputs() == {"fact": 2}


@pytest.fixture
def installation(tmp_path):
    """Give a folder with the program installed in it, as a wheel does that."""
    folder = tmp_path / "site"
    shutil.copytree(PROJECT / "processor", folder / "processor", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SCHEMAS, folder / "processor" / "schemas")
    return folder


def lose(schemas):
    """Lose all versions of a schema."""
    for file in schemas.glob("order-fact.*.avsc"):
        file.unlink()


def cut(schemas):
    """Cut a schema off in the middle."""
    file = schemas / "order-event.1.avsc"
    file.write_bytes(file.read_bytes()[:99])


def misname(schemas):
    """Have a file of which nobody can say what version it is."""
    shutil.copy(SCHEMAS / "contact.1.avsc", schemas / "contact.avsc")


@pytest.mark.follows("schema files")
def test_an_installation_that_is_damaged(single, installation):
    """A schema is missing, cut, or of an unknown subject: the folder is named; installed again, the program runs."""
    single.send(facts(2))
    schemas = installation / "processor" / "schemas"
    installed = {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(installation)}
    for damage in (lose, cut, misname):
        damage(schemas)
        assert stopped(single, "schema files", extra=installed).startswith(str(schemas))
        shutil.rmtree(schemas)
        shutil.copytree(SCHEMAS, schemas)
    go_on(single, extra=installed)
    assert single.require_right_outputs() == {"fact": 2}
