"""Where a partition starts, over every combination of what can be known of it: `run` and `state recover` agree."""

import itertools

import pytest
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from processor.replica.known import Situation, between
from processor.replica.placing import Behind, Mended, Placing, Start, Stop
from processor.settings import Settings
from processor.state.history import LastOutput, Outputs
from processor.state.watermark import EarlierLog, Lineage, Watermark, log_of, metadata_text

LINEAGE = Lineage("cluster", "group", "events", "facts", "rejected", 1)
ANOTHER = Lineage("cluster", "group", "events", "recreated facts", "rejected", 1)
PLACING = Placing(Settings(instance_id="a"), LINEAGE)
OWN, OTHER, UNMARKED = LINEAGE.digest(), ANOTHER.digest(), None
TOOLS = 5
OFFSETS = {
    "none": (-1001, ""),
    "another tool's": (TOOLS, "by hand"),
    "of other topics": (10, metadata_text(Watermark(10, 21), ANOTHER)),
    "low": (3, metadata_text(Watermark(3, 8), LINEAGE)),
    "as the outputs": (10, metadata_text(Watermark(10, 21), LINEAGE)),
    "with low facts": (10, metadata_text(Watermark(10, 19), LINEAGE)),
    "beyond the outputs": (12, metadata_text(Watermark(12, 21), LINEAGE)),
}
WRITERS = {"ours": OWN, "unmarked": UNMARKED}
FACTS = {"none": None} | {name: LastOutput(20, 7, b"k", who) for name, who in (WRITERS | {"other": OTHER}).items()}
REJECTED = {"none": None} | {name: LastOutput(2, 9, b"k", who) for name, who in WRITERS.items()}
MARKS = {"none": None, "older": Watermark(2, 5), "equal": Watermark(10, 21), "facts only": Watermark(0, 3)}
COMBINATIONS = list(itertools.product(FACTS, REJECTED, MARKS, [False, True]))


def situation(offset, fact, rejected, mark, events=range(20)):
    """Give what is known of a partition."""
    number, metadata = OFFSETS[offset]
    outputs = Outputs(FACTS[fact], REJECTED[rejected])
    strange = PLACING.strange({0: outputs})
    committed = TopicPartition("order-events", 0, number, metadata)
    return Situation(committed, MARKS[mark], outputs, events, range(30), strange)


def committed(after):
    """Give the committed offset that a plan sets."""
    return PLACING.entry(0, after) if after else TopicPartition("order-events", 0, -1001)


@pytest.mark.parametrize("offset", OFFSETS)
def test_after_recover_run_starts_and_skips_and_doubles_nothing(offset):
    """D24: what `state recover` sets is just behind what was processed, and `run` accepts it; else it says why not."""
    for fact, rejected, mark, adopt in COMBINATIONS:
        _require_postcondition(offset, fact, rejected, mark, adopt=adopt)


def _require_postcondition(offset, fact, rejected, mark, *, adopt):
    told = f"{offset=} {fact=} {rejected=} {mark=} {adopt=}"
    seen = situation(offset, fact, rejected, mark)
    outcome = PLACING.mend(seen, adopt_unmarked=adopt, accept_loss=False)
    processed = [found.source_offset + 1 for found in (FACTS[fact], REJECTED[rejected]) if found]
    processed += [found.source for found in (MARKS[mark],) if found]
    if isinstance(outcome, Stop):
        is_unclear = "unmarked" in {fact, rejected} and not adopt
        assert fact == "other" or offset == "of other topics" or is_unclear, told
        return
    after = outcome.after
    assert not isinstance(PLACING.decide(_with(seen, committed(after))), Stop), told
    own = offset in {"low", "as the outputs", "with low facts", "beyond the outputs"}
    expected = max([*processed, OFFSETS[offset][0] if own else 0])
    assert (after.source if after else 0) == expected, told
    assert (after is None) == (offset == "none" and not processed), told
    assert outcome.is_change == (_said(committed(after)) != _said(seen.committed)), told


def _said(entry):
    return (entry.offset, entry.metadata) if entry.offset >= 0 else None


def _with(seen, entry):
    return Situation(entry, seen.mark, seen.outputs, seen.events, seen.facts, seen.strange, seen.partitions_then)


@pytest.mark.parametrize("offset", OFFSETS)
def test_recover_changes_nothing_where_run_starts(offset):
    """Whoever runs it without need loses nothing."""
    for fact, rejected, mark, _ in COMBINATIONS:
        seen = situation(offset, fact, rejected, mark)
        if isinstance(PLACING.decide(seen), Stop):
            continue
        outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=False)
        assert isinstance(outcome, Mended)
        assert not outcome.is_change, f"{offset=} {fact=} {rejected=} {mark=}"


@pytest.mark.parametrize("rejected", ["none", "ours"])
@pytest.mark.parametrize("offset", OFFSETS)
def test_the_facts_topic_of_another_group_is_never_written_to(offset, rejected):
    """Whatever the offsets say: the line names the topic, and says to take another."""
    decision = PLACING.decide(situation(offset, "other", rejected, "equal"))
    assert isinstance(decision, Stop)
    assert "the facts topic order-facts belongs to another group" in decision.line
    assert "take a new group_id with a new facts_topic and rejected_topic" in decision.line


@pytest.mark.parametrize(
    ("offset", "mark", "expected"),
    [
        ("none", "none", Start(Watermark(0, 0), None)),
        ("as the outputs", "equal", Start(Watermark(10, 21), Watermark(10, 21))),
        ("as the outputs", "older", Behind(Watermark(10, 21), Watermark(2, 5))),
        ("as the outputs", "none", Behind(Watermark(10, 21), None)),
    ],
)
def test_a_start_without_contradiction(offset, mark, expected):
    """The usual cases: a new partition, a rebalance, a mirror left behind, a flushed Redis."""
    assert PLACING.decide(situation(offset, "none", "none", mark)) == expected


@pytest.mark.parametrize("offset", ["none", "another tool's"])
def test_a_facts_topic_that_lost_all_facts_is_no_new_one(offset):
    """The orders that it had are unknown, and would get a second life."""
    seen = replace(situation(offset, "none", "none", "none"), facts=range(2, 3))
    outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=True)
    assert isinstance(outcome, Stop)
    assert "order-facts[0]: facts below offset 2 were deleted, so that the orders' state cannot" in outcome.line
    if offset != "another tool's":
        assert PLACING.decide(seen) == outcome


def test_an_offset_moved_forward_is_refused_and_set_back():
    """Events between what was processed and the committed offset, without an output: named, and never skipped."""
    seen = situation("beyond the outputs", "ours", "ours", "equal").leaving_out(11)
    decision = PLACING.decide(seen)
    assert isinstance(decision, Stop)
    assert "the committed offset 12 leaves out events from 11 on" in decision.line
    assert decision.line.endswith("set it to 11 again with `order-facts state recover`")
    outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=False)
    assert isinstance(outcome, Mended)
    assert outcome.is_change
    assert outcome.after == Watermark(11, 21)


def test_another_tools_offset_beyond_events_is_set_back():
    """Moved forward without its metadata: what it leaves out is no reason to refuse the offset that is set instead."""
    seen = situation("another tool's", "none", "none", "older").leaving_out(2)
    outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=False)
    assert isinstance(outcome, Mended)
    assert outcome.after == Watermark(2, 5)


@pytest.mark.parametrize("mark", ["older", "equal", "none"])
def test_what_lies_between_the_outputs_and_the_offset_is_looked_at(mark):
    """The offsets that neither mirror nor outputs account for, also where the mirror is lost."""
    seen = situation("beyond the outputs", "ours", "ours", mark)
    assert between(seen) == range(10, 12)
    silent = TopicPartition("order-events", 0, 12, _silent(seen.committed.metadata))
    expected = range(0) if mark == "none" else range(10, 12)
    assert between(replace(seen, committed=silent)) == expected, "rejected records may be in another topic"


def _silent(metadata):
    """Give metadata as a version before wrote it: they do not say where rejected records are."""
    silent = metadata.replace(',"rejected":"rejected"', "")
    assert silent != metadata
    return silent


def test_lost_events_are_skipped_only_when_accepted():
    """Without the flag the line names it."""
    seen = situation("low", "none", "none", "none", events=range(6, 20))
    refused = PLACING.mend(seen, adopt_unmarked=False, accept_loss=False)
    assert isinstance(refused, Stop)
    assert "up to 3 events were lost to retention" in refused.line
    assert refused.line.endswith("order-facts state recover --accept-loss")
    outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=True)
    assert isinstance(outcome, Mended)
    assert outcome.after == Watermark(6, 8)


@pytest.mark.parametrize("cut", [None, 8], ids=["ends there", "holds others"])
def test_a_topic_that_lost_its_end_is_continued_only_when_accepted(cut):
    """What outputs and mirror say of the lost events counts no more, until as many new ones were processed."""
    seen = situation("as the outputs", "ours", "ours", "equal", events=range(20 if cut else 8))
    seen = replace(seen, cut=cut)
    refused = PLACING.mend(seen, adopt_unmarked=False, accept_loss=False)
    assert refused == PLACING.decide(seen)
    assert isinstance(refused, Stop)
    assert "the committed offset 10 is beyond the " in refused.line
    assert " 8: the brokers lost events that were processed " in refused.line
    assert refused.line.endswith("order-facts state recover --accept-loss")
    outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=True)
    assert isinstance(outcome, Mended)
    assert (outcome.after, outcome.earlier) == (Watermark(8, 21), EarlierLog(10, 21, 3))
    for source, is_over in ((8, False), (9, False), (10, True)):
        entry = PLACING.entry(0, Watermark(source, 21), None, outcome.earlier)
        assert (log_of(entry).earlier is None) == is_over
        decision = PLACING.decide(replace(seen, committed=entry, cut=None, events=range(20)))
        mark = Watermark(10, 21)
        assert decision == (Start(mark, mark) if is_over else Behind(Watermark(source, 21), None))


def test_an_offset_beyond_the_end_that_nothing_was_processed_up_to_goes_back_to_the_outputs():
    """Set by hand, and not the brokers' doing: nothing is skipped, and no event is taken for another."""
    seen = situation("beyond the outputs", "ours", "none", "none", events=range(9))
    outcome = PLACING.mend(seen, adopt_unmarked=False, accept_loss=True)
    assert isinstance(outcome, Mended)
    assert (outcome.after, outcome.earlier) == (Watermark(8, 21), None)


@pytest.mark.parametrize("earlier", [None, EarlierLog(12, 15, 40)])
def test_another_rejected_topic_is_taken_only_when_accepted(earlier):
    """It has none of the records that were rejected so far; nothing else is lost with it."""
    elsewhere = Placing(Settings(instance_id="a"), replace(LINEAGE, rejected_topic_id="deleted"))
    seen = situation("as the outputs", "ours", "none", "equal")
    before = replace(seen, committed=elsewhere.entry(0, Watermark(10, 21), None, earlier))
    refused = PLACING.mend(before, adopt_unmarked=False, accept_loss=False)
    assert refused == PLACING.decide(before)
    assert isinstance(refused, Stop)
    assert "order-events[0]: the rejected records so far are in another topic than order-events-rej" in refused.line
    assert refused.line.endswith("order-facts state recover --accept-loss")
    outcome = PLACING.mend(before, adopt_unmarked=False, accept_loss=True)
    assert isinstance(outcome, Mended)
    assert outcome.is_change
    watermark = Watermark(10, 21)
    assert (outcome.after, outcome.earlier) == (watermark, earlier and replace(earlier, rejected=0))
    after = replace(before, committed=PLACING.entry(0, watermark, None, outcome.earlier))
    assert PLACING.decide(after) == Start(watermark, watermark)


def test_an_offset_that_does_not_say_where_rejected_records_are_is_taken():
    """A version before that wrote it; the next commit says it."""
    number, metadata = OFFSETS["as the outputs"]
    seen = situation("as the outputs", "ours", "ours", "equal")
    seen = replace(seen, committed=TopicPartition("order-events", 0, number, _silent(metadata)))
    assert PLACING.decide(seen) == Start(Watermark(10, 21), Watermark(10, 21))


@pytest.mark.parametrize("offset", ["none", "another tool's"])
def test_outputs_of_a_topic_with_other_partitions_stop_it(offset):
    """Also where the offsets, which know the number, are lost: no order gets a second life."""
    six = LastOutput(20, 7, b"k", OWN, 6)
    assert PLACING.partitions_then({0: Outputs(None, six), 1: Outputs()}) == 6
    assert PLACING.partitions_then({0: Outputs(replace(six, partitions=1), replace(six, lineage=OTHER))}) is None
    seen = replace(situation(offset, "ours", "ours", "none"), partitions_then=6)
    decision = PLACING.decide(seen)
    assert isinstance(decision, Stop)
    assert decision.line.startswith("order-events has 1 partitions, and had 6 when its events were processed: ")
    assert PLACING.mend(seen, adopt_unmarked=True, accept_loss=True) == decision


def test_outputs_of_the_new_log_count():
    """Offsets moved back after the loss are noticed as ever."""
    earlier = EarlierLog(10, 15, 0)
    seen = situation("low", "ours", "none", "none")
    seen = replace(seen, committed=PLACING.entry(0, Watermark(5, 15), None, earlier))
    decision = PLACING.decide(seen)
    assert isinstance(decision, Stop)
    assert "the committed offset 5 is below 8" in decision.line
