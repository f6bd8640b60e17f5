"""Proves that `verify` names each damage that is really done to the facts and rejected records of a good run."""

import itertools

import pytest
from msgspec.structs import replace

from processor.codec.avro import codec
from tests.support.audits import produce, revisions, verified, with_fact, with_headers


@pytest.mark.parametrize("revision", [1, 3, 6])
def test_a_removed_fact_is_missing(copy, revision):
    """Its event has no output, and unless it was the last one the next revision does not follow."""
    del copy.facts[revisions(copy)[revision - 1]]
    copy.write()
    counts, lines = verified(copy, 1)
    assert counts["missing"] == 1
    assert counts.get("revision", 0) == (revision < 6)
    assert any('no fact, no rejected record, order "x"' in line for line in lines)


@pytest.mark.parametrize("late", [False, True])
def test_a_doubled_fact_is_found(copy, late):
    """A copy beside the fact or far behind it is one fact too many, and no other difference."""
    index = revisions(copy)[2]
    copy.facts.insert(len(copy.facts) if late else index, copy.facts[index])
    copy.write()
    assert copy.audit()[0] == {"doubled": 1}


def test_a_fact_written_by_somebody_else_is_found(copy):
    """A copy beyond the committed facts offset counts too; and its header says that another group wrote it."""
    copy.write()
    produce(
        copy.settings,
        copy.settings.facts_topic,
        [replace(copy.facts[revisions(copy)[5]], headers=(("lineage", b"other"),))],
    )
    assert copy.audit()[0] == {"doubled": 1, "misplaced": 1}


def test_facts_out_of_order_are_found(copy):
    """Two facts of different orders that changed places: nothing is missing, one is late."""
    one = next(
        index
        for index, (first, second) in enumerate(itertools.pairwise(copy.facts))
        if first.key != second.key and first.partition == second.partition
    )
    copy.facts[one : one + 2] = reversed(copy.facts[one : one + 2])
    copy.write()
    counts, _ = copy.audit()
    assert counts.pop("out_of_order") == 1
    assert counts.keys() <= {"revision", "altered", "sum", "mirror_altered", "mirror_missing"}


@pytest.mark.parametrize(
    "changes",
    [
        {"total_cost": 1},
        {"contact_id": "c2"},
        {"identified_by": "email"},
        {"created_at_ms": 1},
        {"updated_at_ms": 1},
        {"status_changed_at_ms": 1},
        {"event_type": "orderDelivered"},
        {"custom": {"giftWrap": True}},
        {"store_id": "another"},
        {"currency": "EUR"},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("revision", [2, 4])
def test_an_altered_fact_is_found(copy, changes, revision):
    """Whatever its field: the event makes another order of the one before; the facts after it are not blamed."""
    index = revisions(copy)[revision - 1]
    copy.facts[index] = with_fact(copy.facts[index], **changes)
    copy.write()
    counts, examples = copy.audit()
    assert counts == {"altered": 1}
    assert f"[{copy.facts[index].partition}] offset {offset_of(copy, index)} " in examples[0]


def offset_of(copy, index):
    """Give the offset that a fact of the list has in the copy."""
    partition = copy.facts[index].partition
    return sum(record.partition == partition for record in copy.facts[:index])


def test_an_altered_latest_fact_differs_from_the_mirror_too(copy):
    """The mirror was written from the right order."""
    index = revisions(copy)[5]
    copy.facts[index] = with_fact(copy.facts[index], total_cost=1)
    copy.write()
    assert copy.audit()[0] == {"altered": 1, "mirror_altered": 1}


def test_a_number_of_another_type_is_altered(copy):
    """2 and 2.0 differ (D22), though Python holds them equal."""
    with_points = [
        (index, record)
        for index, record in enumerate(copy.facts)
        if 2 in codec().decode_fact(record.value).custom.values()
    ]
    index, record = with_points[0]
    custom = codec().decode_fact(record.value).custom
    copy.facts[index] = with_fact(record, custom={name: 2.0 if value == 2 else value for name, value in custom.items()})
    copy.write()
    assert copy.audit()[0]["altered"] == 1


def test_a_fact_under_another_key_is_misplaced(copy):
    """Compaction would take it for another order's."""
    index = revisions(copy)[3]
    copy.facts[index] = replace(copy.facts[index], key=b"another")
    copy.write()
    assert copy.audit()[0] == {"misplaced": 1}


def test_a_fact_that_is_none_is_altered(copy):
    """A deletion mark, or bytes that are no fact."""
    first, second = revisions(copy)[1:3]
    copy.facts[first] = replace(copy.facts[first], value=None)
    copy.facts[second] = replace(copy.facts[second], value=b"\xc3\x01")
    copy.write()
    counts, _ = copy.audit()
    assert (counts["altered"], counts["missing"], counts["revision"]) == (2, 2, 1)


def test_a_removed_rejected_record_is_missing(copy):
    """Its event has no output, and the sums of its partition say the same."""
    del copy.rejected[len(copy.rejected) // 2]
    copy.write()
    assert copy.audit()[0] == {"missing": 1, "sum": 1}


@pytest.mark.parametrize("late", [False, True])
def test_a_doubled_rejected_record_is_found(copy, late):
    """A copy beside it or at the end is one too many."""
    index = len(copy.rejected) // 3
    copy.rejected.insert(len(copy.rejected) if late else index, copy.rejected[index])
    copy.write()
    assert copy.audit()[0] == {"doubled": 1}


def test_a_fact_and_a_rejected_record_of_one_event_are_found(copy, good_run):
    """An event is accepted or it is not (D24)."""
    fact = copy.facts[revisions(copy)[2]]
    source = codec().decode_fact(fact.value).source_offset
    events = good_run.read(good_run.settings.events_topic)
    one = next(record for record in events if (record.partition, record.offset) == (fact.partition, source))
    texts = {"reason": "no_change", "outcome": "ignored", "source.topic": good_run.settings.events_topic,
             "source.partition": str(fact.partition), "source.offset": str(source),
             "source.timestamp": str(one.timestamp_ms)}  # fmt: skip
    headers = tuple((name, text.encode()) for name, text in texts.items())
    copy.rejected.append(replace(one, headers=headers, timestamp_ms=copy.rejected[-1].timestamp_ms))
    copy.rejected.sort(key=lambda record: (record.partition, int(dict(record.headers)["source.offset"])))
    copy.write()
    assert copy.audit()[0] == {"doubled": 1, "sum": 1}


@pytest.mark.parametrize(
    "header", ["reason", "outcome", "source.offset", "source.timestamp", "source.partition", "value", "another"]
)
def test_an_altered_rejected_record_is_found(copy, header):
    """Another reason than its event can have led to, another event's offset, other bytes, or a header of nobody."""
    index = next(i for i, r in enumerate(copy.rejected) if dict(r.headers)["reason"] == b"order_unknown")
    record = copy.rejected[index]
    changed = {
        "reason": b"no_change",
        "outcome": b"invalid",
        "source.offset": b"?",
        "source.timestamp": b"1",
        "source.partition": b"7",
    }
    if header == "value":
        copy.rejected[index] = replace(record, value=b"else")
    elif header == "another":
        copy.rejected[index] = replace(record, headers=(("trace", b"7"), *record.headers))
    else:
        headers = tuple((n, changed[n] if n == header else v) for n, v in record.headers)
        copy.rejected[index] = replace(record, headers=headers)
    copy.write()
    expected = {"misplaced": 1} if header == "source.partition" else {"altered": 1}
    if header == "source.offset":
        expected |= {"missing": 1, "sum": 1}
    assert copy.audit()[0] == expected


def test_an_output_for_no_event_is_unfounded(copy, good_run):
    """An offset below the committed one that holds no event, such as a transaction's mark, leads to nothing."""
    events = good_run.read(good_run.settings.events_topic)
    present = {record.offset for record in events if record.partition == 0}
    hole = next(offset for offset in range(max(present)) if offset not in present)
    after = next(i for i, r in enumerate(copy.rejected) if int(dict(r.headers)["source.offset"]) > hole)
    copy.rejected.insert(after, with_headers(copy.rejected[after], source_offset=str(hole).encode()))
    assert copy.rejected[after].partition == 0
    copy.write()
    assert copy.audit()[0] == {"unfounded": 1, "sum": 1}
