"""What is known of a partition before it is placed, for `placing` to decide on. Pure.

`situations` finds it out.
"""

import msgspec
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from processor.state.history import Outputs
from processor.state.watermark import EarlierLog, Watermark, greatest, rejected_topic_of


class Situation(msgspec.Struct, frozen=True):
    """What is known of a partition; `committed` has a negative offset if there is none.

    `outputs` may be empty if the mirror has the committed offset. `strange` is a facts partition whose last fact is of
    another lineage, if one was seen. `partitions_then` is how many partitions the events topic had when outputs of this
    lineage were written, if that is not the present number. `cut` is where events begin that are not those that were
    processed, if that is below the committed offset. `left_out` is an event without an output before the committed
    offset. `doubt` says why a mark was there that cannot be true; `mark` is None then.
    """

    committed: TopicPartition
    mark: Watermark | None
    outputs: Outputs
    events: range
    facts: range
    strange: int | None = None
    partitions_then: int | None = None
    cut: int | None = None
    left_out: int | None = None
    doubt: str | None = None

    @property
    def whole(self) -> int:
        """Up to where the events topic still is what was processed."""
        return self.events.stop if self.cut is None else min(self.cut, self.events.stop)

    def leaving_out(self, offset: int) -> "Situation":
        """Return it with an event that the committed offset leaves out."""
        return replace(self, left_out=offset)


def between(seen: Situation) -> range:
    """Return the offsets before the committed one that neither mirror nor outputs account for.

    Usually they hold markers of transactions, or nothing. An event among them would be skipped. Without a mirror the
    outputs alone tell: only if it is known that the rejected records were not written to another topic.
    """
    if seen.mark is None and rejected_topic_of(seen.committed) is None:
        return range(0)
    known = processed(seen, facts=True, rejected=True)
    return range(max(known.source if known else 0, seen.events.start), max(0, seen.committed.offset))


def of_this_log(seen: Situation, earlier: EarlierLog | None) -> Situation:
    """Leave out what outputs and mirror say of an earlier log, whose end the brokers lost."""
    offset = seen.committed.offset
    if earlier is None or offset >= earlier.until:
        return seen
    fact, rejected, mark = seen.outputs.fact, seen.outputs.rejected, seen.mark
    fact = fact if fact and fact.offset >= earlier.facts else None
    rejected = rejected if rejected and rejected.offset >= earlier.rejected else None
    is_earlier = mark is not None and mark.source > offset and mark.facts <= earlier.facts
    return replace(seen, outputs=Outputs(fact, rejected), mark=None if is_earlier else mark)


def processed(seen: Situation, *, facts: bool, rejected: bool) -> Watermark | None:
    """Return how far events were processed by what mirror and outputs say; None if they say nothing.

    `facts` and `rejected` say whether unmarked ones count.
    """
    return greatest(seen.mark, seen.outputs.processed(facts=facts, rejected=rejected))
