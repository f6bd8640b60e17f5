"""Proves what `verify` finds of a key's copies: in which order they must be, and what retention explains."""

import sqlite3
from contextlib import closing
from functools import partial

import pytest

from processor.audit import copy_match, key_audit
from processor.audit.copy_audit import CopyAudit
from processor.audit.findings import Findings
from processor.audit.key_audit import Cut
from processor.domain.records import Record
from processor.kafka.partitioning import usual_partition

KEY = b"order 1"
NEW = 8
HOME = usual_partition(KEY, NEW)


def value(number):
    """Give an event's value by its number."""
    return b"value %d" % number


def former(*events):
    """Give events as (partition, number, time in ms), with offsets by their place in the partition."""
    counts: dict[int, int] = {}
    for partition, number, time_ms in events:
        offset = counts[partition] = counts.get(partition, -1) + 1
        yield Record(partition, offset, time_ms, KEY, value(number))


def audited(events, copies, *, before=6, partitions=6, starts=None, new_start=0, own_from=1_000):
    """Compare events with copies (number, time in ms); give the counts by kind, and the tally."""
    findings = Findings()
    cut = Cut(
        "old",
        "new",
        dict.fromkeys(range(partitions), 0) | (starts or {}),
        dict.fromkeys(range(NEW), 0) | {HOME: new_start},
        {HOME: own_from},
        before,
    )
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        audit = CopyAudit(database, cut, findings)
        for partition in range(partitions):
            audit.add_former(record for record in former(*events) if record.partition == partition)
        records = (Record(HOME, new_start + i, time, KEY, value(n)) for i, (n, time) in enumerate(copies))
        audit.add_new(records)
        audit.compare()
        late = database.execute("SELECT * FROM late").fetchall()
    return dict(findings.counts), audit.tally, late


def numbered(*numbers):
    """Give copies by the numbers of their events, each at its time."""
    return [(number, number) for number in numbers]


def in_one(*numbers):
    """Give events of one partition, each at the time that its number says."""
    return [(2, number, number) for number in numbers]


GROWN = [(3, 1, 1), (3, 2, 9_999), (3, 3, 3), (9, 4, 4), (9, 5, 5)]  # a clock was wrong
COPIED = {1: 1, 2: 9_999, 3: 3, 4: 4, 5: 5}


def copied(*numbers):
    """Give copies of GROWN by the numbers of their events."""
    return [(number, COPIED[number]) for number in numbers]


def test_added_partitions_come_behind_whatever_the_clocks_say():
    """A time in the future does not excuse updates before their creation; the right order is none by time."""
    counts, *_ = audited(GROWN, copied(1, 2, 3, 4, 5), before=6, partitions=12)
    assert counts == {}
    counts, *_ = audited(GROWN, copied(1, 4, 5, 2, 3), before=6, partitions=12)
    assert counts == {"copy_out_of_order": 1}


def test_order_in_one_partition_counts_where_partitions_were_added():
    """Two of one old partition may not change places."""
    counts, *_ = audited(GROWN, copied(1, 2, 3, 5, 4), before=6, partitions=12)
    assert counts == {"copy_out_of_order": 1}


def test_key_in_several_partitions_that_were_not_added_goes_by_time():
    """As the copier merges."""
    events = [(1, 1, 1), (1, 3, 3), (4, 2, 2)]
    assert audited(events, numbered(1, 2, 3))[0] == {}
    assert audited(events, numbered(1, 3, 2))[0] == {"copy_out_of_order": 1}


@pytest.mark.parametrize(
    ("copies", "kinds"),
    [
        (numbered(1, 3), {"copy_missing": 1}),
        (numbered(1, 2, 2, 3), {"copy_doubled": 1}),
        ([(1, 1), (7, 2), (3, 3)], {"copy_changed": 1}),
        (numbered(1, 2, 8, 3), {"no_copy": 1}),
        (numbered(2, 1, 3), {"copy_out_of_order": 1}),
        ([], {"copy_missing": 3}),
    ],
)
def test_each_difference_by_its_kind(copies, kinds):
    """Nothing has expired: everything that differs is found."""
    assert audited(in_one(1, 2, 3), copies)[0] == kinds


def test_expired_events_make_their_copies_no_strangers():
    """Copies before all that have events are not compared where their partition lost its beginning; others are."""
    counts, tally, _ = audited(in_one(3, 4), numbered(1, 2, 3, 4), starts={2: 2})
    assert (counts, tally.expired_copies) == ({}, 2)
    counts, tally, _ = audited([], numbered(1, 2), starts={2: 2})
    assert (counts, tally.expired_copies) == ({}, 2)
    counts, *_ = audited(in_one(3, 4), numbered(3, 1, 4), starts={2: 2})
    assert counts == {"no_copy": 1}, "behind one whose event is there"
    counts, *_ = audited(in_one(3, 4), numbered(1, 3, 4), starts={5: 2})
    assert counts == {"no_copy": 1}, "another partition lost its beginning"
    counts, *_ = audited(in_one(3, 4), numbered(0, 1, 2, 3, 4), starts={2: 2})
    assert counts == {"no_copy": 1}, "more than were removed"


def test_equal_events_of_which_one_expired():
    """Two events that are the same, to the millisecond: the one that is left is the last, so nothing is doubled."""
    twice = [(2, 2, 2), (2, 3, 3), (2, 2, 2)]
    counts, tally, _ = audited(twice[1:], numbered(2, 3, 2), starts={2: 1})
    assert (counts, tally.expired_copies) == ({}, 1)
    counts, tally, _ = audited(twice, numbered(3, 2), new_start=1)
    assert (counts, tally.expired_events) == ({}, 1)


def test_expired_events_of_two_partitions():
    """Where the count was raised, each partition's first events may be gone, and so stand between copies."""
    events = [(3, 2, 2), (9, 4, 4)]
    grown = {"before": 6, "partitions": 12, "starts": {3: 1, 9: 1}}
    counts, tally, _ = audited(events, numbered(1, 2, 3, 4), **grown)
    assert (counts, tally.expired_copies) == ({}, 2)


def test_expired_copies_leave_events_that_are_not_missing():
    """Events before all that have copies are not compared where the new partition lost its beginning."""
    counts, tally, _ = audited(in_one(1, 2, 3), numbered(3), new_start=2)
    assert (counts, tally.expired_events) == ({}, 2)
    counts, tally, _ = audited(in_one(1, 2, 3), [], new_start=3)
    assert (counts, tally.expired_events) == ({}, 3)
    counts, *_ = audited(in_one(1, 2, 3), numbered(1, 3), new_start=2)
    assert counts == {"copy_missing": 1}


def test_late_copies_are_known_beside_events_of_producers():
    """They count as copies, and the order is named, with whether producers wrote events of it."""
    counts, tally, late = audited(in_one(1, 2, 3), numbered(1, 2, 3), own_from=2)
    assert (counts, tally.late, tally.own, late) == ({}, 1, 0, [(KEY, 0)])
    counts, tally, late = audited(in_one(1, 2, 3), numbered(1, 2, 7, 3), own_from=2)
    assert (counts, tally.late, tally.own, late) == ({}, 1, 1, [(KEY, 1)])
    counts, tally, late = audited(in_one(1, 2), numbered(1, 2, 7), own_from=2)
    assert (counts, tally.late, tally.own, late) == ({}, 0, 1, [])


def test_key_with_many_events_costs_no_memory(monkeypatch):
    """Only so many rows wait for their other; what is farther away is found as missing, and as none."""
    monkeypatch.setattr(key_audit, "_LEFT", 5)
    monkeypatch.setattr(key_audit, "pairs", partial(copy_match.pairs, window=100))
    most = 0
    added = copy_match._Side.add

    def watched(side, matched):
        nonlocal most
        added(side, matched)
        most = max(most, len(side.queue))

    monkeypatch.setattr(copy_match._Side, "add", watched)
    numbers = range(5_000)
    assert audited(in_one(*numbers), numbered(*numbers[1:]))[0] == {"copy_missing": 1}
    assert most <= 102
    assert audited(in_one(*numbers), numbered(*numbers, *range(6_000, 9_000)), own_from=5_000)[0] == {}


def test_window_bounds_what_waits():
    """A copy behind more rows than that is not waited for."""
    rows = [(b"k", 0, number, b"%d" % number, 0, 0) for number in range(100)]
    found = list(copy_match.pairs(rows, [*rows[1:], rows[0]], window=10))
    alone = [matched.row[3] for matched in found if matched.other is None]
    assert alone == [b"0", b"0"]
    assert len(found) == 200
    found = list(copy_match.pairs(rows, [*rows[1:], rows[0]], window=100))
    assert all(matched.other is not None for matched in found)
