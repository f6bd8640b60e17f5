"""Proves the difference between a topic of segments' members and what queries find, and what cannot be published."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from processor.cli import cli
from processor.domain.records import Record
from processor.errors import UsageError
from processor.membership.membership import ANY_PARTITION, Held, key_of
from processor.membership.publishing import segments_of
from processor.segments.queries import Query
from tests.support.hostile import examples

PARTITIONS = 3
NAMES, CONTACTS = ("vip", "a b", "ім'я"), ("1", "2", "x/y", "", "é")
KEYS = st.sampled_from([key_of(name, contact) for name in NAMES for contact in CONTACTS] + [b"other", b"\xff/1"])
VALUES = st.sampled_from((None, b"good", b"spoiled"))
RECORDS = st.lists(st.tuples(KEYS, st.integers(0, PARTITIONS - 1), VALUES), max_size=40)
MEMBERS = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(CONTACTS)), max_size=len(NAMES))


def is_good(_key, value):
    """Tell whether a value is that of a member."""
    return value == b"good"


def changes_of(records, members):
    """Give what has to be written after these records, each (key, partition, value)."""
    held = Held(members, is_good)
    for number, (key, partition, value) in enumerate(records):
        held.note(Record(partition, number, 0, key, value))
    return [
        (change.key, sum(change.key) % PARTITIONS if change.partition == ANY_PARTITION else change.partition, value)
        for change in held.changes({name: sorted(contacts) for name, contacts in members.items()})
        for value in [None if change.contact_id is None else b"good"]
    ]


def standing(records):
    """Give the last value of each key in each partition, where it is none of one that left."""
    last = {(key, partition): value for key, partition, value in records}
    return {place: value for place, value in last.items() if value is not None}


def is_of(key, names):
    """Tell whether a key is one of some segments."""
    return any(key == key_of(name, contact) for name in names for contact in CONTACTS)


@examples(300)
@given(before=RECORDS, members=MEMBERS)
def test_what_is_written_makes_the_topic_say_what_was_found(before, members):
    """Whoever was in, whatever stands there: after the changes exactly the members are in, and all can be read."""
    written = changes_of(before, members)
    after = standing([*before, *written])
    wanted = {key_of(name, contact) for name, contacts in members.items() for contact in contacts}
    assert {key for key, _ in after if is_of(key, members)} == wanted
    assert all(value == b"good" for (key, _), value in after.items() if is_of(key, members))
    others = {place: value for place, value in after.items() if not is_of(place[0], members)}
    assert others == {place: value for place, value in standing(before).items() if not is_of(place[0], members)}
    assert changes_of([*before, *written], members) == [], "a second run writes nothing"
    assert len({(key, partition) for key, partition, _ in written}) == len(written)


@examples(200)
@given(members=MEMBERS, then=MEMBERS)
def test_only_who_enters_or_leaves_is_written(members, then):
    """Nothing is written of a contact that stays, nor of a segment that is not named the second time."""
    first = changes_of([], members)
    changed = {key for key, _, _ in changes_of(first, then)}
    before, after = (
        {key_of(name, contact) for name in then for contact in found.get(name, ())} for found in (members, then)
    )
    assert changed == before ^ after


def test_one_who_comes_back_is_written_where_the_leave_stands():
    """In a topic that got more partitions: a consumer that reads both would not know which of the two is the last."""
    there = [(b"vip/1", 2, b"good"), (b"vip/1", 2, None)]
    assert changes_of(there, {"vip": {"1"}}) == [(b"vip/1", 2, b"good")]
    assert changes_of([(b"vip/1", 2, b"good")], {"vip": {"1"}}) == []
    assert changes_of([(b"vip/1", 2, b"good")], {"vip": set()}) == [(b"vip/1", 2, None)]


def test_records_of_another_form_are_counted():
    """A key without a slash, none at all, bytes that are no text."""
    held = Held(("vip",), is_good)
    for key in (None, b"vip", b"\xff/1", b"vip/\xff", b"vip/1", b"another/1", b"/"):
        held.note(Record(0, 0, 0, key, b"good"))
    assert held.foreign == 4


@pytest.mark.parametrize("name", ["", "-", ".sql", "a/b", "a\nb", "\udcff"])
def test_a_name_that_no_key_can_have_is_refused(name):
    """The name is what consumers find a segment by."""
    with pytest.raises(UsageError, match="no segment can be called"):
        segments_of([Query(name, "")], {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-"], "-: standard input has no name"),
        (["vip", "a/vip.sql"], "a/vip.sql cannot be read"),
        (["vip", "vip", "min=1"], "min=... with several segments: name one segment"),
        (["gone_quiet", "gone_quiet"], "two segments are called gone_quiet; give each file its own name"),
        (["vip"], "vip needs min=...: "),
        (["vip", "min=1", "x=2"], "vip has no parameter x"),
        (["min=1"], "name a segment before its parameters"),
        (["vips"], "did you mean vip?"),
        (["gone_quiet", "--as-of", "2026-01-01", "--every", "5m"], "--as-of with --every: each round asks as of now"),
        (["gone_quiet", "--every", "often"], "--every often: put a number and a unit there (s, m, h or d), such as 5m"),
        (["gone_quiet", "--as-of", "yesterday"], "yesterday is no moment"),
        (["gone_quiet"], "none holds no snapshot; make one with: order-facts facts export"),
    ],
)
def test_what_cannot_be_published_is_refused(arguments, words):
    """Before any service is asked, in one line that says what to do."""
    asked = ["segments", "publish", *arguments, "--data", "none"]
    refused = CliRunner().invoke(cli, asked, standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert words in str(refused.exception)
