"""What one copy is asked for."""

import msgspec

from processor.kafka.cluster import Topic
from processor.widening.new_names import Widened


class Job(msgspec.Struct, frozen=True):
    """The names and both events topics.

    `skips` are places (partition, offset) to step over if they cannot be read. `accept_loss` copies without what
    retention removed, `accept_late` behind what producers wrote to the new topic. `quiet_s` is for how long no event
    may have come before the copy can be finished. `partitions_before` is how many partitions the old topic had when its
    events were processed; None if nothing says so.
    """

    names: Widened
    former: Topic
    new: Topic
    skips: frozenset[tuple[int, int]] = frozenset()
    accept_loss: bool = False
    accept_late: bool = False
    quiet_s: float = 5.0
    partitions_before: int | None = None
