"""Proves that the comparison with the reference sees what is wrong with outputs, by doing the damage."""

import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from processor.domain.records import Item, Order, PlainItems, Record
from tests.reference import Fact, Rejected
from tests.support.audits import with_fact
from tests.support.comparison import compare_mirror, compare_outputs
from tests.support.facts import fact_of

ITEMS = PlainItems((Item("i", 1.0),))
ORDER = Order("o1", "c1", "email", "INITIALIZED", 0, 10_000, "orderCreated", 1, 1, 1, 1, 0, 0, ITEMS)


def fact(offset, order_id="o1", partition=0):
    """Give the reference's entry and the record of a fact; its offset in the topic is its event's."""
    order = replace(ORDER, external_order_id=order_id, source_partition=partition, source_offset=offset)
    value = codec().encode_fact(order)
    return Fact(partition, offset, fact_of(value)), Record(partition, offset, 0, order_id.encode(), value)


def rejected(offset, reason="no_change", outcome="ignored", partition=0):
    """Give the reference's entry and the record of a rejected event."""
    texts = {"reason": reason, "outcome": outcome, "source.partition": str(partition), "source.offset": str(offset)}
    headers = tuple((name, text.encode()) for name, text in texts.items())
    return Rejected(partition, offset, reason, outcome, ()), Record(partition, offset, 0, b"o", b"", headers)


FACTS = [fact(0), fact(1, "o2"), fact(3), fact(0, "o3", 1)]
REJECTED = [rejected(2), rejected(4, "undecodable", "invalid")]


def compared(facts, rejections):
    """Compare records with what the reference gives for the undamaged ones; give the counts."""
    comparison = compare_outputs([entry for entry, _ in FACTS + REJECTED], facts, rejections)
    assert comparison.is_clean == (comparison.told() == "")
    return comparison.counts


def records(pairs):
    """Give the records of entries with their records."""
    return [record for _, record in pairs]


def test_right_outputs_differ_in_nothing():
    """Nothing is told of what is as it should be, and the reasons are counted."""
    comparison = compare_outputs([entry for entry, _ in FACTS + REJECTED], records(FACTS), records(REJECTED))
    assert comparison.is_clean
    assert comparison.reasons == {"fact": 4, "no_change": 1, "undecodable": 1}


ALTERED = with_fact(FACTS[0][1], contact_id="c2")
DAMAGE = {
    "a fact is missing": (records(FACTS[1:]), records(REJECTED), {"losses": 1}),
    "a rejected record is missing": (records(FACTS), records(REJECTED[:1]), {"losses": 1}),
    "a fact is doubled": (records([FACTS[0], *FACTS]), records(REJECTED), {"duplicates": 1}),
    "a rejected record is doubled": (records(FACTS), records([*REJECTED, REJECTED[1]]), {"duplicates": 1}),
    "an event is in both topics": (records(FACTS), records([rejected(1), *REJECTED]), {"duplicates": 1}),
    "a fact is altered": ([ALTERED, *records(FACTS[1:])], records(REJECTED), {"mismatches": 1}),
    "a key is another": (
        [replace(FACTS[0][1], key=b"o9"), *records(FACTS[1:])],
        records(REJECTED),
        {"mismatches": 1},
    ),
    "a reason is another": (
        records(FACTS),
        records([rejected(2, "order_exists"), REJECTED[1]]),
        {"mismatches": 1},
    ),
    "a rejected record is in another partition": (
        records(FACTS),
        [replace(REJECTED[0][1], partition=1), REJECTED[1][1]],
        {"mismatches": 1},
    ),
    "a fact is in another partition": (
        [replace(FACTS[0][1], partition=2), *records(FACTS[1:])],
        records(REJECTED),
        {"losses": 1, "mismatches": 1},
    ),
    "facts are out of order": (
        records([FACTS[1], FACTS[0], *FACTS[2:]]),
        records(REJECTED),
        {"mismatches": 1},
    ),
    "an output has no event": (records([*FACTS, fact(9)]), records(REJECTED), {"mismatches": 1}),
    "a fact instead of a rejection": (
        records([FACTS[0], FACTS[1], fact(2), *FACTS[2:]]),
        records(REJECTED[1:]),
        {"mismatches": 1},
    ),
}


@pytest.mark.parametrize(("facts", "rejections", "counts"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_counted_by_its_kind(facts, rejections, counts):
    """Each damage to the outputs is told as what it is, and as nothing else."""
    assert compared(facts, rejections) == {"duplicates": 0, "losses": 0, "mismatches": 0} | counts


def test_mirror_that_differs_is_told_by_order():
    """An order that the mirror has not, has besides, or has otherwise is a line each; a right one is none."""
    expected = {"right": ORDER, "missing": ORDER, "altered": ORDER}
    held = {"right": ORDER, "altered": replace(ORDER, revision=2), "besides": ORDER}
    assert sorted(line.partition(":")[0] for line in compare_mirror(held, expected)) == [
        "altered",
        "besides",
        "missing",
    ]
