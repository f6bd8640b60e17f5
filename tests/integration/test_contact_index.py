"""The contact index on a real Kafka and a real Redis: from records to what the processor finds (C1 to C4)."""

import random

import msgspec
import pytest
from confluent_kafka import Producer

from processor.codec.avro import codec
from processor.contacts.lookup import ContactIndex, IndexNotReadyError
from processor.contacts.shards import FORMAT, HASH_BYTES, MARK, Hashes, Mark, Position, read_as, shard_of, shared_key
from processor.contacts.writer import TOKEN_BYTES, IndexWriter
from processor.domain.claims import Claim, ContactChange
from processor.domain.phones import DIGITS
from processor.domain.records import Identifier
from processor.settings import IdentificationRule
from tests.reference import ContactRecord, Contacts, Rules
from tests.support.deployment import await_condition
from tests.support.shop import WAIT_S


def test_c1_a_contact_is_found_by_its_newest_record_only(shop):
    """A change gives up what it does not name; a deletion all."""
    with shop.writer():
        shop.send("c1", email="An@Example.com", phone="1", pushTokens=["t1", "t2"])
        shop.await_found("email", "an@example.com", "c1")
        for field, value in (("contactId", "c1"), ("phone", "1"), ("pushToken", "t1"), ("pushToken", "t2")):
            assert shop.find(field, value) == "c1"
        shop.send("c1", phone="2", pushTokens=["t2"])
        shop.await_found("phone", "2", "c1")
        assert shop.find("pushToken", "t2") == "c1"
        for field, value in (("email", "an@example.com"), ("phone", "1"), ("pushToken", "t1")):
            assert shop.find(field, value) is None
        shop.delete("c1")
        shop.await_found("phone", "2", None)
        assert shop.find("contactId", "c1") is None


def test_c1_a_record_that_says_nothing_leaves_what_was_known(shop):
    """Undecodable values and keys are skipped and counted, the first place is logged; the broker refuses null keys."""
    with shop.writer():
        shop.send("c1", phone="1", partition=0)
        shop.send_raw(b"c1", b"no contact", partition=0)
        shop.send_raw(b"\xff", None, partition=0)
        shop.send("c2", phone="2", partition=0)
        shop.await_found("phone", "2", "c2")
        assert shop.find("phone", "1") == "c1"
    skipped = shop.logged("contacts.skipped")
    assert (skipped[0]["partition"], skipped[0]["offset"]) == (0, 1)
    assert sum(line["records"] for line in skipped) == 2
    assert sum(line["skipped"] for line in shop.logged("contacts.committed")) == 2


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_c3_of_two_claimants_the_later_timestamp_wins_then_the_other(shop, order):
    """In whichever order the records come; when the winner gives up or goes, the next claimant has it."""
    with shop.writer():
        for name in order:
            shop.send(name, phone="1", timestamp=1_000 if name == "old" else 2_000)
        shop.await_read()
        assert shop.find("phone", "1") == "new"
        shop.send("new", phone="2", timestamp=3_000)
        shop.await_found("phone", "1", "old")
        shop.send("new", phone="1", timestamp=500)
        shop.await_read()
        assert shop.find("phone", "1") == "old", "the record now in force is the older one"
        shop.delete("old")
        shop.await_found("phone", "1", "new")


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_c3_at_equal_timestamps_the_greater_id_wins(shop, order):
    """The order of the records does not matter, nor which partition they are in."""
    with shop.writer():
        for partition, name in enumerate(order):
            shop.send(name, phone="1", timestamp=7, partition=partition)
        shop.await_read()
        assert shop.find("phone", "1") == "b"
        shop.delete("b")
        shop.await_found("phone", "1", "a")


@pytest.mark.parametrize("turn", [1, 2], ids=["to the next partition", "to the one before"])
def test_c1_a_contact_whose_topic_grew_is_what_its_newest_record_says(shop, turn):
    """Deleted contacts stay deleted and given up addresses stay given up, whichever partition a build reads first."""
    for number in range(30):
        shop.send(f"c{number}", phone=f"1{number}", timestamp=1_000, partition=number % 3)
    for number in range(30):
        value = None if number % 2 else codec().encode_contact({"contactId": "", "phone": f"2{number}"})
        shop.send_raw(f"c{number}".encode(), value, 2_000, (number + turn) % 3)
    for _ in range(2):
        with shop.writer():
            shop.await_read()
            assert [shop.find("phone", f"1{number}") for number in range(30)] == [None] * 30
            expected = [None if number % 2 else f"c{number}" for number in range(30)]
            assert [shop.find("phone", f"2{number}") for number in range(30)] == expected
            shop.await_logged("contacts.conflicting")
            assert shop.logged("contacts.conflicting")[0]["contacts"] == 30
        shop.client.delete(*shop.keys)


def test_c1_a_late_older_record_in_another_partition_undoes_nothing(shop):
    """A deletion and a change hold against records of an older time that come after them."""
    with shop.writer():
        shop.send("c1", phone="1", timestamp=2_000, partition=0)
        shop.send_raw(b"c2", None, 2_000, 0)
        shop.await_read()
        for name in ("c1", "c2"):
            shop.send(name, phone=f"9{name[1:]}", timestamp=1_000, partition=1)
        shop.await_read()
        assert [shop.find("phone", phone) for phone in ("1", "91", "92")] == ["c1", None, None]
        shop.send_raw(b"c1", None, 1_500, 0)
        shop.await_read()
        assert shop.find("phone", "1") is None
        assert shop.find("phone", "91") is None, "a deletion of the later time, though the earlier offset of its own"


def test_c3_a_look_up_reads_one_claim_however_many_there_are(shop):
    """A phone that 20,000 contacts share costs a look-up as much as any other; the next in turn is found at once."""
    writer = IndexWriter(shop.servers, shop.lineage, Hashes(shop.settings), b"x" * TOKEN_BYTES)
    writer.take()
    topic = shop.topic()
    mark = Mark(FORMAT, "build", topic.topic_id, (20_000, 0, 0), is_ready=True, phones=DIGITS.name)
    writer.build(mark, Position((0, 0, 0), 0))
    phone = Identifier("phone", "1")
    for first in range(0, 20_000, 5_000):
        changes = [ContactChange(b"c%d" % n, 0, n, n % 7, (phone,)) for n in range(first, first + 5_000)]
        writer.write(changes, Position((first + 5_000, 0, 0), 0), mark)
    digest = Hashes(shop.settings).identifier(phone)
    key = shop.keys[shard_of(digest)]
    claims = [Claim(n % 7, f"c{n}") for n in range(20_000)]
    for offset in range(20_000, 20_003):
        winner = max(claims)
        assert shop.find(*phone) == winner.contact_id
        assert shop.client.hstrlen(key, digest) < 30
        writer.write(
            [ContactChange(winner.contact_id.encode(), 0, offset, 9, None)], Position((offset + 1, 0, 0), 0), mark
        )
        claims.remove(winner)
        assert shop.client.zcard(shared_key(key)) == len(claims) + 1, "all claims, and the writer's member"


def test_c3_an_index_built_from_nothing_says_what_the_reference_says(shop):
    """Many contacts that change, go, and claim each other's identifiers, over all partitions."""
    draw = random.Random(3)
    records = []
    offsets = [0] * 3
    for _ in range(400):
        contact_id, timestamp = f"c{draw.randrange(60)}", draw.randrange(20)
        contact = None
        if draw.random() > 0.2:
            contact = {"phone": str(draw.randrange(30)), "email": f"A{draw.randrange(30)}", "pushTokens": ["t", "x"]}
        partition = int(contact_id[1:]) % 3
        value = contact and codec().encode_contact({"contactId": "", **contact})
        shop.producer.produce(
            shop.settings.contacts_topic, value, contact_id, partition=partition, timestamp=timestamp + 1
        )
        records.append(ContactRecord(partition, offsets[partition], timestamp + 1, contact_id, contact))
        offsets[partition] += 1
    assert shop.producer.flush(WAIT_S) == 0
    # the reference orders records by offset; each contact is in one partition only
    expected = Contacts(records, Rules())
    with shop.writer():
        shop.await_read()
        searched = [("phone", str(number)) for number in range(31)]
        searched += [("email", f"a{number}") for number in range(31)]
        searched += [("pushToken", token) for token in "tx"]
        for field, sought in searched:
            assert shop.find(field, sought) == expected.find(field, sought), (field, sought)


def test_c4_orders_wait_until_the_index_is_whole(shop):
    """An empty Redis and an index that is being built are never an answer; an empty topic's index is one."""
    with pytest.raises(IndexNotReadyError, match="empty"):
        shop.index().find(Identifier("phone", "1"))
    with shop.writer():
        shop.await_found("phone", "1", None)
        shop.await_logged("contacts.ready")
    change_marks(shop, is_ready=False)
    with pytest.raises(IndexNotReadyError, match="is being built"):
        shop.index().find(Identifier("phone", "1"))


def test_c4_an_index_of_another_make_is_not_ready(shop):
    """Another identifier_key or field of D14's rule is another index; another topic id or format is named."""
    with shop.writer():
        shop.await_found("phone", "1", None)
    rule = (IdentificationRule("token", "loyalty"),)
    for changes in ({"identifier_key": "b" * 16}, {"identification": rule}):
        with pytest.raises(IndexNotReadyError, match=r"empty.* the same identifier_key and identification"):
            shop.index(**changes).find(Identifier("phone", "1"))
    other = msgspec.structs.replace(shop.topic(), topic_id="other")
    with pytest.raises(IndexNotReadyError, match="another topic"):
        ContactIndex(shop.servers, shop.settings, shop.lineage, other).find(Identifier("phone", "1"))
    change_marks(shop, format=99)
    with pytest.raises(IndexNotReadyError, match="another format"):
        shop.index().find(Identifier("phone", "1"))


def change_marks(shop, **changes):
    """Write another mark to all shards."""
    mark = read_as(Mark, shop.client.hget(shop.keys[0], MARK))
    assert mark is not None
    for key in shop.keys:
        shop.client.hset(key, MARK, msgspec.msgpack.encode(msgspec.structs.replace(mark, **changes)))


def test_c4_only_committed_records_count_and_markers_do_not_hold_the_build_up(shop):
    """An aborted transaction's contacts are never seen; a partition that ends with its marker is read to the end."""
    producer = Producer(
        {"bootstrap.servers": shop.settings.bootstrap_servers, "transactional.id": shop.settings.contacts_topic}
    )
    producer.init_transactions(WAIT_S)
    for phone, end in (("1", producer.commit_transaction), ("2", producer.abort_transaction)):
        producer.begin_transaction()
        for partition in range(3):
            value = codec().encode_contact({"contactId": "", "phone": f"{phone}{partition}"})
            producer.produce(shop.settings.contacts_topic, value, f"c{partition}", partition=partition)
        producer.flush(WAIT_S)
        end(WAIT_S)
    with shop.writer():
        await_condition(lambda: shop.await_read() == (4, 4, 4), "a record and a marker, twice, are read")
        assert [shop.find("phone", f"1{partition}") for partition in range(3)] == ["c0", "c1", "c2"]
        assert shop.find("phone", "20") is None


def test_memory_per_identifier_is_bounded(shop):
    """No time is asserted here: 20,000 contacts of five identifiers take less than 150 bytes for each of them."""
    for number in range(20_000):
        contact = {
            "contactId": "",
            "externalCustomerId": f"customer-{number}",
            "email": f"user{number}@example.com",
            "phone": f"+38050{number:07d}",
            "pushTokens": [f"token-{number}"],
        }
        shop.producer.produce(shop.settings.contacts_topic, codec().encode_contact(contact), f"contact-{number}")
    assert shop.producer.flush(WAIT_S) == 0
    with shop.writer():
        shop.await_read()
    used = sum(shop.client.memory_usage(key, samples=0) for key in shop.keys)
    identifiers = sum(len(name) == HASH_BYTES for key in shop.keys for name in shop.client.hkeys(key)) - 20_000
    assert identifiers == 5 * 20_000
    assert used / identifiers < 150


def test_nothing_in_redis_names_an_identifier(shop):
    """Only keyed hashes stand there: not an e-mail address, nor a hash that could be found without the key."""
    shop.send("c1", email="an@example.com")
    with shop.writer():
        shop.await_found("email", "an@example.com", "c1")
    kept = b"".join(part for key in shop.keys for pair in shop.client.hgetall(key).items() for part in pair)
    assert b"example" not in kept
    other = Hashes(msgspec.structs.replace(shop.settings, identifier_key="b" * 16))
    assert other.identifier(Identifier("email", "an@example.com")) not in kept
