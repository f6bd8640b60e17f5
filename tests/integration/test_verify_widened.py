"""Proves that `verify` compares a widened deployment with the one before: copies, and what was made of them."""

import pytest
from msgspec.structs import replace

from tests.conftest import own_settings
from tests.support.audits import verified
from tests.support.careless_copier import CARELESS
from tests.support.deployment import deployed
from tests.support.traffic import contacts, created, traffic
from tests.support.widenings import MORE, QUIET, RENAMED, Widening

KINDS = {
    "dropped": {"copy_missing": 1},
    "doubled": {"copy_doubled": 1},
    "changed": {"copy_changed": 1},
    "later": {"copy_changed": 1},
    "swapped": {"copy_out_of_order": 1},
}


@pytest.fixture(scope="module")
def former(services, tmp_path_factory):
    """Give a deployment that has processed its events; nobody changes it."""
    with deployed(own_settings(services), tmp_path_factory.mktemp("former"), kind=Widening) as running:
        running.send_contacts(contacts())
        running.index()
        running.send(traffic(seed=70, count=600, orders=40))
        replica = running.replica("a")
        running.await_accounted()
        replica.stop()
        yield running


def options_of(former, *more):
    """Give the options that name the deployment before."""
    return ("--former-events", former.settings.events_topic, "--former-facts", former.settings.facts_topic, *more)


def compared(former, new, code, *more):
    """Verify a new deployment beside the one before; give the counts by kind and the lines."""
    return verified(new, code, options=options_of(former, *more))


def renamed(former, suffix):
    """Give the settings of the new deployment."""
    return replace(former.settings, **{name: f"{getattr(former.settings, name)}{suffix}" for name in RENAMED})


def processed(new, count):
    """Have the new deployment process everything."""
    replica = new.replica("new")
    new.await_accounted(count)
    replica.stop()


def test_good_copy_passes_also_after_the_switch(former, tmp_path):
    """Events of producers behind the copies are no difference, nor are the facts made of them."""
    former.command("topics", "widen", "--partitions", str(MORE), *QUIET, "--suffix", "-good")
    with deployed(renamed(former, "-good"), tmp_path, partitions=MORE) as new:
        unprocessed = new.command("verify", *options_of(former), check=False)
        assert unprocessed.returncode == 1
        assert "has not processed all copies, " in unprocessed.stderr
        processed(new, 600)
        counts, lines = compared(former, new, 0)
        assert counts == {}
        copied = f"{former.settings.events_topic} -> {new.settings.events_topic}: 600 events compared with their copies"
        assert copied in lines
        new.send(traffic(seed=71, count=200, orders=60))
        processed(new, 800)
        _, lines = compared(former, new, 0)
        assert f"{new.settings.events_topic}: 200 events behind the copies, of producers" in lines


@pytest.mark.parametrize("act", CARELESS, ids=[act.__name__ for act in CARELESS])
def test_careless_copy_is_noticed(former, tmp_path, act):
    """A missing, a doubled, a changed copy, one with another time, and two in another order: each by its kind."""
    suffix, name = f"-{act.__name__}", act.__name__
    command = ("topics", "widen", "--partitions", str(MORE), *QUIET, "--suffix", suffix)
    former.command(*command, module="tests.support.careless_copier", extra={"TEST_CARELESS": name})
    with deployed(renamed(former, suffix), tmp_path, partitions=MORE) as new:
        processed(new, {"dropped": 599, "doubled": 601}.get(name, 600))
        counts, lines = compared(former, new, 1)
        assert {kind: count for kind, count in counts.items() if kind.startswith("copy")} == KINDS[name]
        if name == "later":
            assert any("has another timestamp than" in line for line in lines)


def test_orders_that_differ(settings, tmp_path):
    """A contact that came meanwhile makes other facts: a difference, unless the rejected records explain it."""
    with deployed(settings, tmp_path, kind=Widening) as former:
        former.send_contacts(contacts())
        index = former.index()
        former.send([created("known"), created("late", phone="+999777")])
        replica = former.replica("a")
        former.await_accounted()
        replica.stop()
        before = len(index.lines("contacts.committed"))
        former.send_contacts([{"contactId": "new", "phone": "+999777"}])
        index.await_line("contacts.committed", count=before + 1)
        former.finish()
        (tmp_path / "new").mkdir()
        with deployed(former.new_settings, tmp_path / "new", partitions=MORE) as new:
            processed(new, 2)
            counts, _ = compared(former, new, 1)
            assert counts == {"order_extra": 1}
            rejected = ("--former-rejected", former.settings.rejected_topic)
            counts, lines = compared(former, new, 0, *rejected)
            assert any(
                "1 orders not compared: some of their events lacked a contact in one of both" in line for line in lines
            )
            former.send([created("after the finish")])
            counts, _ = compared(former, new, 1, *rejected)
            assert counts == {"not_copied": 1}


def test_wrong_options(former):
    """Both topics are needed; and settings of no copy are refused."""
    done = former.command("verify", "--former-events", "x", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("order-facts: --former-events and --former-facts: give both")
    done = former.command("verify", *options_of(former), check=False)
    assert done.returncode == 1
    assert "no copy of" in done.stderr
