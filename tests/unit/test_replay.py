"""Holds what a replay decides without any service: who is replayed, as what, and what is remembered of it."""

from collections.abc import Mapping

import pytest
from confluent_kafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from processor.domain import pipeline
from processor.domain.records import Record
from processor.domain.rejections import Reason
from processor.errors import StopError
from processor.kafka.cluster import Topic
from processor.replay.judging import ALL_INVALID, Partition, Selection, Verdict, entry_of
from processor.replay.sweeps import ANY_REASON, EVER, Sweep, offset_of, sweeps_of, with_sweep

TOPIC = Topic("rejected", "id-of-rejected", 3)
FOUND, PARAMETER = Reason.CONTACT_NOT_FOUND, Reason.INVALID_PARAMETER
EVENT = Record(0, 7, 1_700_000_000_000, b"o1", b"event", ())


def rejected_record(offset=0, reason=FOUND, rejected_ms=1_000, extra=(), partition=2):
    """Give a record as the processor rejects it; `extra` are the event's own headers."""
    own = {
        "reason": reason.value,
        "outcome": reason.outcome.value,
        "detail": "why",
        "source.topic": "events",
        "source.partition": str(partition),
        "source.offset": "17",
        "source.timestamp": "1700000000000",
    }
    headers = (*extra, *((name, text.encode()) for name, text in own.items()))
    return Record(partition, offset, rejected_ms, b"o1", b"value", headers)


def entry(record):
    """Give what the replay makes of such a record."""
    found = entry_of(record, "events", "own")
    assert found is not None
    return found


# --- the copy ------------------------------------------------------------------------------------------


def test_copy_has_the_events_own_headers_and_the_two_marks():
    """Key, value and foreign headers stay as they were, in order; ours are gone; round 1, first timestamp."""
    record = rejected_record(extra=(("trace", b"7"), ("empty", None), ("lineage", b"own"), ("trace", b"8")))
    copy = entry(record).copy()
    assert copy.rejected is record
    assert copy.partition == 2
    assert copy.headers == (
        *(("trace", b"7"), ("empty", None), ("trace", b"8")),
        *(("replay.round", b"1"), ("replay.timestamp", b"1700000000000")),
    )


def test_copy_of_a_replayed_record_counts_on_and_keeps_the_first_timestamp():
    """The marks of the round before are replaced, each once; source.timestamp is the replay's and does not count."""
    record = rejected_record(extra=(("replay.round", b"1"), ("replay.timestamp", b"1600000000000"), ("trace", b"7")))
    copy = entry(record).copy()
    assert copy.headers == (("trace", b"7"), ("replay.round", b"2"), ("replay.timestamp", b"1600000000000"))


@pytest.mark.parametrize("marks", [(), (b"",), (b"seven",), (b"7",), (b"7", b"8"), (b"x", b"8"), (None,), (b"9" * 16,)])
def test_timestamp_is_the_one_that_the_pipeline_took(marks):
    """Whatever a producer wrote as replay.timestamp, the replayed event counts as of the time it counted before."""
    extra = tuple(("replay.timestamp", mark) for mark in marks)
    rejected = rejected_record(extra=extra)
    original = Record(2, 17, 1_700_000_000_000, b"o1", b"value", extra)
    replayed = Record(2, 99, 1_800_000_000_000, b"o1", b"value", entry(rejected).copy().headers)
    assert pipeline._source(replayed).timestamp_ms == pipeline._source(original).timestamp_ms


@pytest.mark.parametrize("name", ["reason", "source.partition", "source.timestamp"])
@pytest.mark.parametrize("value", [b"no such", b"", b"\xff", None, "missing"])
def test_record_of_another_writer_is_no_rejected_record(name, value):
    """A record whose headers say nothing usable is recognised as foreign, whatever stands there."""
    record = rejected_record()
    headers = [header for header in record.headers if header[0] != name]
    headers += [] if value == "missing" else [(name, value)]
    assert entry_of(Record(2, 0, 0, None, None, tuple(headers)), "events", "own") is None


@pytest.mark.parametrize(
    ("headers", "topic", "is_own"),
    [
        ({}, "events", True),
        ({"lineage": b"own"}, "events", True),
        ({"lineage": b"another"}, "events", False),
        ({}, "another", False),
    ],
)
def test_records_of_another_group_in_a_shared_rejected_topic_are_left(headers, topic, is_own):
    """Another shop's, or another group's of the same events: neither goes back to our events."""
    record = rejected_record()
    record = Record(2, 0, 0, None, None, (*record.headers, *headers.items()))
    assert (entry_of(record, topic, "own") is not None) == is_own


# --- who is replayed -----------------------------------------------------------------------------------


def test_no_reason_means_every_invalid_one():
    """What the rules merely passed over is replayed only where it is named."""
    assert {reason for reason in Reason if reason.outcome == "invalid"} == ALL_INVALID
    assert Reason.NO_CHANGE not in ALL_INVALID


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ((), Verdict.REPLAYED),
        ((("replay.round", b"2"),), Verdict.REPLAYED),
        ((("replay.round", b"3"),), Verdict.ROUNDS),
        ((("replay.round", b"4"),), Verdict.ROUNDS),
        ((("replay.round", b"x"),), Verdict.REPLAYED),
        ((("truncated", b"300000"),), Verdict.TRUNCATED),
    ],
)
def test_verdict_by_headers(extra, expected):
    """The round stops at the limit; what is not whole never goes back."""
    partition = Partition(Selection(frozenset({FOUND})), 3, {})
    assert partition.judge(entry(rejected_record(extra=extra))) == expected


records = st.lists(
    st.tuples(st.sampled_from([FOUND, PARAMETER]), st.integers(0, 6), st.sampled_from([0, 0, 1, 2])), max_size=12
)
runs = st.lists(
    st.tuples(
        st.sampled_from([{FOUND}, {PARAMETER}, {FOUND, PARAMETER}]),
        st.just(EVER) | st.integers(0, 7),
        st.integers(1, 3),
        st.integers(0, 12),
        st.none() | st.integers(0, 12),
    ),
    max_size=8,
)


@given(records, runs)
def test_each_record_is_replayed_once_by_the_first_run_that_selects_it(rows, plan):
    """For any runs, by reason, time and rounds, over a growing topic with times in disorder, also cut off anywhere."""
    topic = [
        entry(rejected_record(offset, reason, rejected_ms, (("replay.round", str(rounds).encode()),)))
        for offset, (reason, rejected_ms, rounds) in enumerate(rows)
    ]
    done: set[int] = set()
    swept: Mapping[str, tuple[Sweep, ...]] = {}
    for reasons, since_ms, max_rounds, end, crash in plan:
        partition = Partition(Selection(frozenset(reasons), since_ms), max_rounds, swept)
        for rejected in topic[: end if crash is None else min(end, crash)]:
            record = rejected.record
            partition.end = record.offset + 1
            selected = rejected.reason in reasons and record.timestamp_ms >= since_ms
            verdict = partition.judge(rejected)
            assert (verdict is not None) == selected
            if selected:
                assert (verdict is Verdict.ALREADY) == (record.offset in done)
                assert (verdict is Verdict.REPLAYED) == (record.offset not in done and rejected.rounds < max_rounds)
            done |= {record.offset} if verdict is Verdict.REPLAYED else set()
        swept = sweeps_of(offset_of(2, partition.swept(), TOPIC), TOPIC)


def test_nightly_runs_that_leave_nothing_out_add_up_to_one_sweep():
    """What is remembered stays short: a run whose --since reaches back to the one before replaces its sweep."""
    swept: Mapping[str, tuple[Sweep, ...]] = {}
    rows = [entry(rejected_record(n, FOUND, 1_000 + n)) for n in range(600)]
    for night in range(1, 60):
        partition = Partition(Selection(ALL_INVALID, since_ms=1_000 + 10 * night - 5), 3, swept)
        for rejected in rows[: 10 * night + 5]:
            partition.end = rejected.record.offset + 1
            partition.judge(rejected)
        swept = partition.swept()
        assert {reason: len(sweeps) for reason, sweeps in swept.items()} == dict.fromkeys(ALL_INVALID, 1)
    assert swept[FOUND] == (Sweep(595, 1_005, 3),), "the five before the first night are the only ones left"


# --- what is remembered --------------------------------------------------------------------------------


def test_sweep_that_another_includes_is_dropped():
    """Only sweeps that say something of their own are kept."""
    first, wider, other = Sweep(10, 500, 3), Sweep(20, 500, 3), Sweep(5, EVER, 3)
    assert with_sweep((first,), wider) == (wider,)
    assert with_sweep((wider,), first) == (wider,)
    assert with_sweep((wider,), other) == (wider, other)


def test_offset_set_by_hand_means_all_below_and_nothing_above():
    """An operator's offset without metadata is obeyed, for every reason and round."""
    swept = sweeps_of(TopicPartition("rejected", 2, 5, ""), TOPIC)
    assert swept.keys() == {ANY_REASON}
    partition = Partition(Selection(frozenset({FOUND})), 3, swept)
    assert partition.judge(entry(rejected_record(4))) is Verdict.ALREADY
    assert partition.judge(entry(rejected_record(5))) is Verdict.REPLAYED


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("{}", "was not written by this program"),
        ('{"v":2,"topic":"id-of-rejected","swept":{}}', "written by a newer version"),
        ('{"v":1,"topic":"another","swept":{}}', "belongs to another topic"),
    ],
)
def test_metadata_that_is_not_this_topics_is_refused(metadata, expected):
    """Nothing is replayed on the strength of offsets that mean something else."""
    with pytest.raises(StopError, match=expected):
        sweeps_of(TopicPartition("rejected", 2, 5, metadata), TOPIC)


def test_too_many_sweeps_are_refused_with_the_remedy():
    """What would not fit an offset's metadata stops the run before anything is written."""
    many = {FOUND.value: tuple(Sweep(1_000_000 + n, 1_700_000_000_000 + n, 3) for n in range(200))}
    with pytest.raises(StopError, match="with an earlier --since, or with none"):
        offset_of(2, many, TOPIC)


def test_an_event_without_a_timestamp_has_none_after_its_replay():
    """Kafka's -1 counts as its first timestamp (D23), not the time of the replay; any other text is none."""
    assert pipeline.first_timestamp_ms(replace(EVENT, headers=(("replay.timestamp", b"-1"),)), 5) == -1
    assert pipeline.first_timestamp_ms(replace(EVENT, headers=(("replay.timestamp", b"-2"),)), 5) == 5
    assert pipeline.first_timestamp_ms(EVENT, 5) == 5
