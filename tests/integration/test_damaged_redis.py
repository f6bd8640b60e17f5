"""Proves that whatever cannot be read in Redis goes one way: it is removed, rebuilt, and named in one line."""

import pytest

from processor.codec.avro import codec
from processor.codec.schemas import FRAMING
from processor.contacts.shards import MARK, POSITION, Hashes, shard_of, shared_key
from processor.domain.identifiers import comparable
from processor.domain.phones import DIGITS
from processor.domain.records import Identifier
from processor.replica import startup
from processor.state.mirror import Mirror
from tests.support.audits import verified
from tests.support.deployment import await_condition, deployed
from tests.support.redis_client import raw_client
from tests.support.traffic import Sent, contacts, created, event, traffic

FAR = b"\xff" * 24


def mirrors(deployment):
    """Give a client, and the key of each partition's mirror."""
    found = startup.check(deployment.settings)
    mirror = Mirror(found.redis, found.lineage, codec())
    return raw_client(deployment.settings), [
        mirror.key(partition) for partition in range(found.topics.events.partitions)
    ]


def put_field(name, value):
    """Give the damage that puts other bytes into a hash's field."""
    return lambda client, key: client.hset(key, name, value)


def put_string(client, key):
    """Put a string where the hash was."""
    client.set(key, "another program's")


def put_list(client, key):
    """Put a list where the hash was."""
    client.delete(key)
    client.rpush(key, "another program's")


MARKS = {
    "a string": put_string,
    "a list": put_list,
    "an empty watermark": put_field("", b""),
    "a watermark of one number": put_field("", b"12"),
    "a watermark no write puts there": put_field("", b"01 +2"),
    "a watermark without end": put_field("", b"9" * 400 + b" 1"),
    "a watermark of other bytes": put_field("", b"\xff\xfe \x00"),
}
CLAIMS = {
    "a claim of other bytes": put_field(" ", b"\xff\xfe"),
    "another's claim": put_field(" ", b"another program's"),
}


def test_mirror_that_cannot_be_read_at_the_start_is_rebuilt(settings, tmp_path):
    """Each partition's mirror has another damage: a replica that starts removes and rebuilds each, and goes on."""
    damages = MARKS | CLAIMS
    with deployed(settings, tmp_path, partitions=len(damages)) as deployment:
        deployment.send_contacts(contacts())
        deployment.index()
        deployment.send(traffic(seed=81, count=300))
        replica = deployment.replica("a")
        deployment.await_accounted()
        replica.stop()
        client, keys = mirrors(deployment)
        for key, damage in zip(keys, damages.values(), strict=True):
            damage(client, key)
        counts, _ = verified(deployment, 1)
        assert counts == {"mirror_altered": len(MARKS)}, "an audit names what cannot be read, and repairs nothing"
        again = deployment.replica("a")
        deployment.send(traffic(seed=82, count=300))
        deployment.await_accounted()
        again.stop()
        assert {line["partition"] for line in again.lines("mirror.damaged")} == set(range(len(damages)))
        assert len(again.lines("mirror.damaged")) == len(damages)
        deployment.require_right_outputs()


@pytest.mark.runbook("mirror.damaged")
def test_mirror_that_can_no_longer_be_read_is_rebuilt(single):
    """Under a running replica the mark, or an order, is damaged again and again: each is told, and it goes on."""
    replica = single.replica("a")
    single.send([created("spoilt")])
    single.await_accounted()
    client, (key,) = mirrors(single)
    order = put_field("spoilt", b"\x00")
    fact = put_field("spoilt", FRAMING + b"no fact")
    damages = [MARKS["a string"], MARKS["a watermark no write puts there"], order, order, fact]
    for number, damage in enumerate(damages):
        damage(client, key)
        update = event("orderUpdated", "spoilt", storeId=f"S{number}")
        single.send([Sent(b"spoilt", codec().encode_event(update)), created(f"other{number}")])
        single.await_accounted()
    replica.stop()
    # the same damage again is summed in a line
    assert sum(1 + line.get("repeated", 0) for line in replica.lines("mirror.damaged")) == len(damages)
    assert single.require_right_outputs()["fact"] == single.sent


@pytest.mark.runbook("contacts.damaged")
def test_index_shard_that_can_no_longer_be_read_is_rebuilt(deployment):
    """Replica and index run while shards and claims are damaged: orders wait for the index, and go on."""
    replica = deployment.replica("a")
    found = startup.check(deployment.settings)
    keys = found.index.keys
    compared = comparable("phone", contacts()[1]["phone"], DIGITS)
    assert compared is not None
    phone = Hashes(deployment.settings).identifier(compared)
    damages = [put_string, *(put_field(phone, claims) for claims in BROKEN_CLAIMS)]

    def lines():
        """Give how often damage was found: by the replica, or by the index, which writes every two seconds."""
        return sum(len(process.lines("contacts.damaged")) for process in deployment._processes)

    for number, damage in enumerate(damages):
        before = lines()
        damage(raw_client(deployment.settings), keys[shard_of(phone)])
        deployment.send([created(f"o{number}", phone=contacts()[1]["phone"])])
        await_condition(lambda before=before: lines() > before, "the damage is found")
        deployment.send_contacts(contacts()[:1])  # an idle index notices only after seconds
        deployment.await_accounted()
    replica.stop()
    assert deployment.require_right_outputs() == {"fact": len(damages)}


def of_shared(damage):
    """Give the damage of the claims on a shard's shared identifiers."""
    return lambda client, key: damage(client, shared_key(key))


BROKEN_CLAIMS = [b"x", b"\0\x80" + bytes(7) + b"\xff\xff\xff\xff", b"\2\x80" + bytes(7) + b"c1"]


@pytest.mark.parametrize("is_running", [True, False], ids=["while it runs", "before it starts"])
@pytest.mark.parametrize(
    "damage",
    [
        put_string,
        put_list,
        put_field(MARK, b"no mark"),
        put_field(POSITION, b"no position"),
        put_field(POSITION, b"\x92\x91\x01\x00"),
        put_field("writer", b"nobody"),
        put_field("writer", b""),
        put_field("writer", FAR),
        put_field("intent", b"no batch"),
        of_shared(put_string),
        of_shared(put_list),
        of_shared(lambda client, key: client.delete(key)),
        of_shared(lambda client, key: client.zpopmax(key)),
        of_shared(lambda client, key: client.zadd(key, {b"writer" + bytes(24): 0})),
    ],
    ids=[
        *("string", "list", "mark", "position", "shorter position", "writer", "empty writer", "far writer", "intent"),
        *("shared: string", "shared: list", "shared: none", "shared: a member less", "shared: a member more"),
    ],
)
def test_keeper_rebuilds_a_shard_that_it_cannot_read(shop, damage, is_running):
    """Whatever is damaged in a shard, the keeper ends with an index that is exact, and needs no hand."""
    with shop.writer():
        shop.send("c0", phone="1")
        shop.send("c1", phone="1")
        shop.await_found("phone", "1", "c1")
        if is_running:
            damage(shop.client, shop.keys[shard_of(digest(shop, "2"))])
            shop.send("c2", phone="2")
            shop.await_found("phone", "2", "c2")
    if not is_running:
        damage(shop.client, shop.keys[shard_of(digest(shop, "2"))])
        with shop.writer():
            shop.send("c2", phone="2")
            shop.await_found("phone", "2", "c2")
    assert shop.find("phone", "1") == "c1"


@pytest.mark.parametrize("field", ["claims", "entry"])
def test_keeper_rebuilds_a_shard_whose_contact_cannot_be_read(shop, field):
    """A contact's next record meets its damaged claims or entry: the index is rebuilt, and exact."""
    with shop.writer():
        shop.send("c1", phone="1")
        shop.await_found("phone", "1", "c1")
        name = digest(shop, "1") if field == "claims" else Hashes(shop.settings).contact(b"c1")
        shop.client.hset(shop.keys[shard_of(name)], name, b"not whole")
        shop.send("c1", phone="2")
        shop.await_found("phone", "2", "c1")
        shop.await_found("phone", "1", None)
    assert len(shop.logged("contacts.damaged")) == 1


def digest(shop, phone):
    """Give the hash of a phone."""
    return Hashes(shop.settings).identifier(Identifier("phone", phone))
