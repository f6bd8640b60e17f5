"""Who claims an identifier, in values: what of a contact is indexed (C2), who wins (C3), how both are kept."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec.avro import UndecodableError, codec
from processor.contacts.changes import change_of
from processor.contacts.shards import (
    FORMAT,
    NO_PARTITION,
    SHARDS,
    ContactRecord,
    Hashes,
    Mark,
    Position,
    claim_bytes,
    entry_bytes,
    exists,
    read_entry,
    shard_of,
    winner_of,
)
from processor.contacts.writer import ShardState, standing, why_build
from processor.domain.claims import Claim, Standing, identifiers_of
from processor.domain.identifiers import BUILT_IN_FIELDS, identification
from processor.domain.phones import DIGITS
from processor.domain.records import Identifier, Record
from processor.errors import UsageError
from processor.settings import Settings
from tests.support.contact_index import read_claim

SETTINGS = Settings(identifier_key="a secret of the tests")
EMPTY: dict[str, Any] = {
    **dict.fromkeys(("externalCustomerId", "email", "phone", "contactKey")),
    "pushTokens": [],
    "fields": {},
}


def found_by(contact_id="c1", custom_fields=(), **contact):
    """Give the identifiers of a contact with these fields."""
    return identifiers_of(contact_id, EMPTY | contact, identification((field, field) for field in custom_fields))


def test_c2_every_identifying_field_finds_the_contact():
    """The id, the built-in fields and each push token are indexed; e-mail without regard to case."""
    assert set(
        found_by(externalCustomerId="7", email="An@Example.COM", phone="+380", contactKey="k", pushTokens=["t1", "t2"])
    ) == {
        ("contactId", "c1"),
        ("externalCustomerId", "7"),
        ("email", "an@example.com"),
        ("phone", "380"),
        ("contactKey", "k"),
        ("pushToken", "t1"),
        ("pushToken", "t2"),
    }


def test_c1_the_key_is_the_id_whatever_the_value_says():
    """The contactId inside the contact is not looked at."""
    assert found_by("key", contactId="value") == (("contactId", "key"),)


def test_c2_values_are_trimmed_and_blank_or_long_ones_left_out():
    """What could match nothing takes no place; 300 characters are the limit after trimming."""
    assert found_by(email=" \t", phone=" +380 ", contactKey="x" * 301, pushTokens=["", " " + "t" * 300 + " "]) == (
        ("contactId", "c1"),
        ("phone", "380"),
        ("pushToken", "t" * 300),
    )


@pytest.mark.parametrize("contact_id", ["", "  ", "x" * 301])
def test_c2_a_contact_whose_id_matches_nothing_is_found_by_the_rest(contact_id):
    """A blank or overlong id is no identifier, yet the contact is there."""
    assert found_by(contact_id, phone="1") == (("phone", "1"),)


def test_c2_an_identifier_given_twice_counts_once():
    """The same token twice, or twice after trimming, is one claim."""
    assert found_by(pushTokens=["t", " t"]) == (("contactId", "c1"), ("pushToken", "t"))


def test_c2_only_the_custom_fields_that_a_rule_names_are_indexed():
    """D14: other fields find nobody, and one named like a built-in field is never reached (D12)."""
    fields = {"loyaltyToken": " L1 ", "other": "x", "email": "a@b"}
    assert found_by(custom_fields=["loyaltyToken", "email"], fields=fields) == (
        ("contactId", "c1"),
        ("loyaltyToken", "L1"),
    )


def test_c3_the_latest_timestamp_wins_and_then_the_greater_id():
    """Ids compare as text: by code points, not by length or case."""
    assert max(Claim(2, "a"), Claim(1, "z")).contact_id == "a"
    assert max(Claim(1, "B"), Claim(1, "a"), Claim(1, "A")).contact_id == "a"
    assert max(Claim(-5, "z"), Claim(-4, "a")).contact_id == "a"


def test_c1_of_a_contacts_partitions_the_latest_timestamp_is_in_force_then_the_later_offset():
    """Whichever partition is read first."""
    assert max(Standing(2, 1, 0), Standing(1, 9, 5)).partition == 0
    assert max(Standing(1, 9, 0), Standing(1, 8, 5)).partition == 0
    assert max(Standing(1, 9, 0), Standing(1, 9, 5)).partition == 5


CLAIMS = st.lists(
    st.builds(Claim, st.integers(-(1 << 63), (1 << 63) - 1), st.text(st.characters(codec="utf-8"), max_size=40))
)


@given(CLAIMS)
def test_c3_a_claim_is_kept_whole_and_the_greatest_bytes_win(claims):
    """Any timestamp and any id, the empty one and one with zeros too, come back as they were; so does the winner."""
    kept = [claim_bytes(claim.timestamp_ms, claim.contact_id.encode()) for claim in claims]
    assert list(map(read_claim, kept)) == claims
    assert [winner_of(flag + claim) for claim in kept for flag in (b"\0", b"\1")] == [
        claim.contact_id for claim in claims for _ in range(2)
    ]
    assert list(map(read_claim, sorted(kept))) == sorted(claims)


RECORDS = st.lists(
    st.builds(
        ContactRecord,
        st.builds(Standing, st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 63), st.integers(0, 0xFFFF)),
        st.lists(st.binary(min_size=16, max_size=16), max_size=4).map(b"".join),
        st.booleans(),
    ),
    max_size=4,
)


@given(RECORDS)
def test_c1_a_contacts_records_are_kept_whole(records):
    """Of any number of partitions, deletions too."""
    assert list(read_entry(entry_bytes(records))) == records


@pytest.mark.parametrize(
    ("records", "known"),
    [
        ((), False),
        (((Standing(1, 5, 0), b"", False),), False),
        (((Standing(1, 5, 0), b"", True),), True),  # whose id and other identifiers match nothing
        (((Standing(2, 5, 0), b"", True), (Standing(1, 9, 1), b"", False)), True),
        (((Standing(1, 5, 0), b"", True), (Standing(1, 5, 1), b"", False)), False),
        (((Standing(1, 5, 0), b"", True), (Standing(-(1 << 63), 0, NO_PARTITION), b"", False)), None),
    ],
)
def test_d15_a_contact_exists_if_its_record_in_force_is_no_deletion(records, known):
    """Of several partitions the one in force counts; after a crashed batch it is not known until that is repeated."""
    assert exists(entry_bytes(ContactRecord(*record) for record in records)) is known


def test_hashes_tell_fields_and_keys_apart():
    """The same value in another field, in a custom field of an odd name, or as a contact is another hash."""
    hashes = Hashes(SETTINGS)
    fields = [*BUILT_IN_FIELDS, "Email", "custom", "0", "0:", "custom:5:phone:", "a\0b", "a"]
    found = [hashes.identifier(Identifier(field, value)) for field in fields for value in ("v", "b\0v", ":v")]
    found += [hashes.contact(b"v"), hashes.contact(b""), Hashes(Settings(identifier_key="b" * 16)).contact(b"v")]
    assert len(set(found)) == len(found)
    assert {len(digest) for digest in found} == {16}


def test_hashes_are_spread_over_all_shards():
    """No shard holds much more than its part."""
    hashes = Hashes(SETTINGS)
    shards = [shard_of(hashes.identifier(Identifier("phone", str(number)))) for number in range(16_000)]
    assert all(800 < shards.count(shard) < 1_200 for shard in range(SHARDS))


def test_an_identifier_key_is_required():
    """Without a secret the hashes could be undone by trying all phone numbers."""
    with pytest.raises(UsageError, match="identifier_key"):
        Hashes(Settings())


def test_c1_a_record_without_a_value_deletes():
    """A tombstone has no identifiers at all, which is not the same as an empty contact."""
    assert change_of(Record(0, 1, 2, b"c1", None), identification(), codec().decode_contact).identifiers is None
    assert (
        change_of(
            Record(0, 1, 2, b" ", codec().encode_contact({"contactId": ""})), identification(), codec().decode_contact
        ).identifiers
        == ()
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        (None, None, "no key"),
        (None, codec().encode_contact({"contactId": "c"}), "no key"),
        (b"\xff", None, "not UTF-8"),
        (b"x" * 65_536, None, "65536 bytes"),
        (b"c", b"", "the value is empty"),
        (b"c", b"{}", "not Avro"),
        (b"c", b"\xc3\x01" + bytes(8), "unknown schema"),
        (b"c", codec().encode_contact({"contactId": "c"}) + b"!", "left over"),
    ],
)
def test_c1_a_record_that_says_nothing_is_skipped(key, value, problem):
    """Null keys, keys that are no text, values that are no contact: each with its reason."""
    with pytest.raises(UndecodableError, match=problem):
        change_of(Record(0, 1, 2, key, value), identification(), codec().decode_contact)


MARK = Mark(FORMAT, "b", "topic", (5, 5), is_ready=True, phones=DIGITS.name)
HELD = [(0, 9), (0, 9)]
PHONES_DIFFER = "phone numbers are compared in another way"


def shards(mark=MARK, offsets=(5, 5), stage=3, complete_at_ms=100):
    """Give the shards of an index."""
    return [ShardState(mark, Position(offsets, complete_at_ms), stage) for _ in range(SHARDS)]


def changed(state, **fields):
    """Give the index with one shard changed."""
    found = shards()
    for name, value in fields.items():
        setattr(found[state], name, value)
    return found


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (shards(), None),
        (shards(MARK, (0, 9)), None),
        ([ShardState(None, None, 0)] * SHARDS, "none is there"),
        (changed(3, mark=None), "a shard is missing"),
        (changed(3, position=None), "a shard is missing"),
        (changed(3, mark=Mark(FORMAT, "c", "topic", (5, 5), is_ready=True, phones=DIGITS.name)), "a shard is missing"),
        (changed(3, stage=4), None),
        (changed(3, stage=5), "a shard lost writes"),
        (shards(Mark(FORMAT, "b", "other", (5, 5), is_ready=True, phones=DIGITS.name)), "another topic"),
        (
            shards(Mark(FORMAT, "b", "topic", (5,), is_ready=True, phones=DIGITS.name), (5,)),
            "another number of partitions",
        ),
        (shards(MARK, (5, 10)), "the topic lost its offsets"),
        (shards(Mark(FORMAT, "b", "topic", (5, 5), is_ready=True, phones="other")), PHONES_DIFFER),
        (shards(complete_at_ms=49), "too old"),
    ],
)
def test_c4_what_does_not_fit_is_built_anew(found, cause):
    """Each thing that makes an index unfit, alone."""
    assert why_build(found, MARK, HELD, oldest_ms=50) == cause


def test_c4_an_index_is_as_far_as_the_least_of_its_shards():
    """Partition by partition: one shard may be ahead in one, another in another."""
    found = changed(
        0, position=Position((4, 9), 7), mark=Mark(FORMAT, "b", "topic", (5, 5), is_ready=False, phones=DIGITS.name)
    )
    mark, position = standing(found)
    assert not mark.is_ready
    assert position == Position((4, 5), 7)
