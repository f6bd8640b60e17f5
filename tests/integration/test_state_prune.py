"""Proves that `state prune` lists every copy in Redis, removes those of the past, and leaves everybody else's."""

import re
import time
from contextlib import closing

import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.contacts.shards import lineage_of, shard_keys, shared_key
from processor.replica import startup
from processor.state.mirror import CLAIM, TOPICS, Mirror
from tests.support.deployment import await_condition, deployed
from tests.support.redis_client import raw_client
from tests.support.refusals import refusal
from tests.support.traffic import contacts, traffic

LINE = re.compile(r"(?P<lineage>[0-9a-f]{16}) (?P<kind>[a-z ]+), (?P<size>[0-9.]+ MiB): (?P<use>.+?) \((?P<why>.*)\)")
HOURS_S = 2 * 3600


@pytest.fixture
def kept(settings, own_redis, tmp_path):
    """Give a deployment on a Redis of its own that has processed some orders."""
    with deployed(replace(settings, redis_url=own_redis.url), tmp_path) as deployment:
        deployment.send_contacts(contacts())
        deployment.index()
        deployment.send(traffic(seed=61, count=200))
        replica = deployment.replica("a")
        deployment.await_accounted()
        replica.stop()
        yield deployment


def listed(deployment, *options):
    """Give what the command prints of each copy, by kind and lineage; and its last line if it removes."""
    done = deployment.command("state", "prune", *options)
    found = [LINE.fullmatch(line) for line in done.stdout.splitlines()]
    return {(match["kind"], match["lineage"]): match["use"] for match in found if match}, done.stdout.splitlines()[-1]


def left_behind(deployment, lineage, claim=None, topics=None, idle_s=HOURS_S):
    """Leave copies of the present mirrors under another lineage, claimed by another replica, or of other topics."""
    found = startup.check(deployment.settings)
    mirror = Mirror(found.redis, found.lineage, codec())
    with closing(raw_client(deployment.settings)) as client:
        for partition in range(found.topics.events.partitions):
            key, old = mirror.key(partition), f"order-facts:{lineage}:{{{partition}}}"
            client.restore(old, 0, client.dump(key), replace=True)
            if claim is not None:
                client.hset(old, CLAIM, claim)
            if topics is not None:
                client.hset(old, TOPICS, topics)
            client.restore(old, 0, client.dump(old), replace=True, idletime=idle_s)


def orphaned_index(deployment, lineage, idle_s):
    """Leave a copy of the contact index under another lineage."""
    own = lineage_of(deployment.cluster.wait(), deployment.settings)
    with closing(raw_client(deployment.settings)) as client:
        for shard, other in zip(shard_keys(own), shard_keys(lineage), strict=True):
            for key, old in ((shard, other), (shared_key(shard), shared_key(other))):
                client.restore(old, 0, client.dump(key), replace=True, idletime=idle_s)


def keys(deployment):
    """Give how many keys Redis has."""
    with closing(raw_client(deployment.settings)) as client:
        return client.dbsize()


@pytest.mark.follows("copy not there", "copy is ours")
def test_copies_of_the_past_are_removed_and_others_stay(kept):
    """The group's mirror of former topics goes; whatever may be somebody's stays until it is named."""
    own = kept.cluster.wait()
    left_behind(kept, "a" * 16, topics=f"{own} former-events former-facts")
    left_behind(kept, "b" * 16, claim="stranger/x", topics=f"{own} former-events former-facts")
    left_behind(kept, "c" * 16, topics=f"{own} former-events former-facts", idle_s=5)
    left_behind(kept, "d" * 16, topics="other-cluster former-events former-facts")
    left_behind(kept, "e" * 16)  # the present topics: another version of the program may use it
    orphaned_index(kept, "f" * 16, HOURS_S)
    uses, _ = listed(kept, "--idle", "1h")
    (ours,) = (lineage for (kind, lineage), use in uses.items() if kind == "mirror" and use == "this deployment's")
    expected = {"a": "past", "b": "unknown", "c": "in use", "d": "unknown", "e": "in use"}
    assert {("mirror", letter * 16): use for letter, use in expected.items()}.items() <= uses.items()
    # It was kept up to date when the copy was made, so somebody's index is, though nobody reads this one.
    assert uses["contact index", "f" * 16] == "in use"
    assert listed(kept, "--idle", "1h")[0] == uses, "a look is no use"
    before = keys(kept)
    _, line = listed(kept, "--idle", "1h", "--yes")
    assert line.startswith("removed 1 of 8 copies, ")
    assert keys(kept) == before - 3
    _, line = listed(kept, "--yes", "--lineage", "b" * 16, "--lineage", "f" * 16)
    assert line.startswith("removed 2 of 7 copies, ")
    assert keys(kept) == before - 3 - 3 - 32
    refused = [kept.command("state", "prune", "--yes", "--lineage", name, check=False) for name in ("0" * 16, ours)]
    assert [refusal(done, 1) for done in refused] == [
        f"no copy in Redis has the lineage {'0' * 16}",
        f"the lineage {ours} is this deployment's own: it would only be rebuilt",
    ]
    kept.require_right_outputs()


def test_index_that_nobody_keeps_is_of_the_past(kept):
    """Neither read nor written for the time that --idle says."""
    orphaned_index(kept, "d" * 16, 30)
    found = time.monotonic()
    await_condition(lambda: listed(kept, "--idle", "2s")[0]["contact index", "d" * 16] == "past", "it is old enough")
    assert time.monotonic() - found < 30
    assert listed(kept, "--idle", "2s", "--yes")[1].startswith("removed 1 of 3 copies, ")


def test_mirror_of_another_group_is_told_by_its_offsets(kept, tmp_path):
    """Two groups read the same events: each one's mirror is in use, by what the other group committed."""
    names = {name: f"{getattr(kept.settings, name)}-2" for name in ("group_id", "facts_topic", "rejected_topic")}
    (tmp_path / "other").mkdir()
    with deployed(replace(kept.settings, **names), tmp_path / "other") as other:
        other.sent = kept.sent
        replica = other.replica("b")
        other.await_accounted()
        replica.stop()

        def whys():
            done = kept.command("state", "prune", "--idle", "1s")
            return {match["why"] for line in done.stdout.splitlines() if (match := LINE.fullmatch(line))}

        text = f"the group {other.settings.group_id} works with these topics, maybe in another version"
        await_condition(lambda: text in whys(), "the other group's mirror is idle, and in use")


def test_what_redis_does_not_tell_is_never_removed(kept):
    """Under a policy that counts uses, not times, nobody knows how long a copy is idle."""
    left_behind(kept, "a" * 16, topics=f"{kept.cluster.wait()} former-events former-facts")
    with closing(raw_client(kept.settings)) as client:
        client.config_set("maxmemory-policy", "volatile-lfu")
    uses, line = listed(kept, "--yes")
    assert uses["mirror", "a" * 16] == "unknown"
    assert line.startswith("removed 0 of ")
    assert "take" in kept.command("check").stdout, "such a policy evicts none of ours"
