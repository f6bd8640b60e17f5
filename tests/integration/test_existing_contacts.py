"""Proves what the contact index says of a contact's existence (D15), on a real Kafka and a real Redis."""

import pytest

from processor.contacts.lookup import IndexNotReadyError
from processor.contacts.shards import FORMAT, Hashes, Mark, Position
from processor.contacts.writer import TOKEN_BYTES, IndexWriter
from processor.domain.claims import ContactChange
from processor.domain.phones import DIGITS
from processor.domain.records import Identifier
from tests.support.contact_index import Crash

FOUND = Identifier("email", "b@x")
OLD = ContactChange(b"old", 0, 0, 1, (Identifier("email", "a@x"),))
MERGE = (ContactChange(b"old", 0, 1, 2, None), ContactChange(b"new", 0, 2, 2, (FOUND,)))


class Watched(IndexWriter):
    """Does something before its last phase, when claims are written and entries are not."""

    def __init__(self, client, lineage, hashes, before_settling):
        super().__init__(client, lineage, hashes, b"x" * TOKEN_BYTES)
        self.before_settling = before_settling

    def _send(self, script, calls, *, stage=None):
        if script == "settle":
            self._answers()  # of the claims
            self.before_settling()
        super()._send(script, calls, stage=stage)


@pytest.fixture
def writer(shop):
    """Give a function that makes a writer of the shop's index; the index has one contact, `old`."""

    def make(before_settling=lambda: None):
        made = Watched(shop.servers, shop.lineage, Hashes(shop.settings), before_settling)
        made.take()
        return made

    first = make()
    first.build(mark(shop), Position((0, 0, 0), 0))
    first.write([OLD], Position((1, 0, 0), 0), mark(shop))
    return make


def mark(shop):
    """Give a ready index's mark."""
    return Mark(FORMAT, "build", shop.topic().topic_id, (1, 0, 0), is_ready=True, phones=DIGITS.name)


def write_merge(shop, writer):
    """Write the batch that deletes one contact and brings another."""
    writer.write(MERGE, Position((3, 0, 0), 0), mark(shop))


def test_a_contact_exists_if_its_record_in_force_is_no_deletion(shop):
    """By exactly its key, whether anything finds it or not, and whichever partition has the record in force."""
    long_id = "x" * 301
    with shop.writer():
        shop.send("c1", email="a@x", timestamp=5, partition=0)
        shop.send("c2", timestamp=5, partition=0)
        shop.send(" ", timestamp=5, partition=0)
        shop.send(long_id, timestamp=5, partition=0)
        shop.send("moved", timestamp=5, partition=0)
        shop.send("older", timestamp=5, partition=0)
        shop.send_raw(b"never", None, 5, 0)
        shop.send_raw(b"c1", None, 6, 0)
        shop.send_raw(b"moved", None, 6, 1)
        shop.send_raw(b"older", None, 4, 1)
        shop.send_raw(b"c2", b"no contact", 7, 0)
        shop.await_read()
        asked = ["c1", "c2", "C2", "c2 ", " ", "", long_id, "moved", "older", "never", "unheard"]
        existing, position = shop.index().existing(asked)
        assert existing == {"c2", " ", long_id, "older"}
        assert position.offsets == shop.ends()
        shop.send_raw(b" ", None, 6, 0)
        shop.send("c1", timestamp=7, partition=0)
        shop.await_read()
        assert shop.index().existing(asked)[0] == {"c1", "c2", long_id, "older"}


def test_a_contact_that_is_being_changed_is_waited_for(shop, writer):
    """A batch's claims can be found before its entries say that another contact is gone: until then nobody knows."""
    index = shop.index()

    def look():
        assert index.find(FOUND) == "new"
        with pytest.raises(IndexNotReadyError, match="just changing a contact"):
            index.existing(["old"])
        with pytest.raises(IndexNotReadyError, match="just changing a contact"):
            index.existing(["new", "unheard"])
        assert index.existing(["unheard"])[0] == set()

    write_merge(shop, writer(look))
    assert index.existing(["old", "new"])[0] == {"new"}


def test_a_contact_that_a_crashed_batch_was_changing_is_waited_for(shop, writer):
    """Also after the next writer took over, until that has written the batch again."""

    def crash():
        raise Crash

    with pytest.raises(Crash):
        write_merge(shop, writer(crash))
    index = shop.index()
    for _ in range(2):
        with pytest.raises(IndexNotReadyError, match="just changing a contact"):
            index.existing(["old"])
        after = writer()
    write_merge(shop, after)
    assert index.find(FOUND) == "new"
    assert index.existing(["old", "new"])[0] == {"new"}


def test_an_index_older_than_what_was_found_does_not_say_who_exists(shop, writer):
    """Between the two look-ups Redis came back with an older copy: it is not asked (C4)."""
    copies = [shop.client.dump(key) for key in shop.keys]
    write_merge(shop, writer())
    index = shop.index()
    assert index.find(FOUND) == "new"
    for key, copy in zip(shop.keys, copies, strict=True):
        shop.client.restore(key, 0, copy, replace=True)
    with pytest.raises(IndexNotReadyError, match="older than one that events were decided with"):
        index.existing(["old"])


def test_an_entry_that_cannot_be_read_takes_its_shard_with_it(shop, writer):
    """The index is rebuilt then, and nobody counts as gone."""
    writer()
    digest = Hashes(shop.settings).contact(b"old")
    (key,) = (key for key in shop.keys if shop.client.hexists(key, digest))
    shop.client.hset(key, digest, b"no entry")
    with pytest.raises(IndexNotReadyError, match="a contact's entry cannot be read"):
        shop.index().existing(["old"])
    assert not shop.client.exists(key)
