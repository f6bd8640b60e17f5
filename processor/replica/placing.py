"""Decides where a partition starts. Pure: `run` places by it, and `state recover` sets only what it accepts.

It compares the committed offset and its metadata, the mirror's mark, the last outputs, and what the topics hold:

    committed offset   mirror, outputs                    then
    none               nothing                            start at the earliest event
    none               something was processed            stop: the offsets are lost
    none               nothing, and facts were deleted    stop: known orders would be unknown
    not our metadata   anything                           stop: another tool set it
    W                  the mirror is at W                 continue; no fact is read
    W                  the mirror is older or missing     catch up from the facts, then continue
    W                  something goes beyond W            stop: offsets were moved back, restored or lost
    W                  the mirror is older, and events    stop: offsets were moved forward
                       before W have no output
    W                  anything, and its rejected         stop: they are not in this rejected topic
                       records went to another topic
    W                  anything, and the events topic     stop: the brokers lost events that were processed
                       ends below W, or holds others
    any                the last fact is of another        stop: the facts topic belongs to another group
                       lineage
    any                outputs of this lineage, when      stop: orders would get a second life
                       events had other partitions
    any                outputs that do not say whose      stop: ask
                       they are would decide

An unmarked fact (of a version before the header `lineage`) is ours if the committed offset's metadata name the facts
topic. Any other unmarked output counts only if the operator says that it is ours.
"""

from typing import Final

import msgspec
from confluent_kafka import TopicPartition
from msgspec.structs import replace

from processor.errors import StopError
from processor.kafka.topics import repartitioned
from processor.replica.known import Situation, of_this_log, processed
from processor.settings import Settings
from processor.state.history import LastOutput, Outputs
from processor.state.watermark import (
    ContactsPosition,
    EarlierLog,
    Lineage,
    UnreadableMetadataError,
    Watermark,
    greatest,
    has_other_rejected,
    is_below,
    log_of,
    metadata_text,
    watermark_of,
)

_START_ANEW: Final = "take a new group_id with a new facts_topic and rejected_topic"


class Start(msgspec.Struct, frozen=True):
    """Read from the watermark on; the mirror must hold `mark`."""

    watermark: Watermark
    mark: Watermark | None


class Behind(msgspec.Struct, frozen=True):
    """Bring the mirror from `mark` (None: it is missing) to the watermark first."""

    watermark: Watermark
    mark: Watermark | None


class Stop(msgspec.Struct, frozen=True):
    """Going on would lose or double something; the line says what, where and what to do."""

    line: str


class Mended(msgspec.Struct, frozen=True):
    """What `state recover` makes of a committed offset: the watermark, None to leave it missing; and why.

    `adopted` is the last unmarked output that counted because the operator said so.
    """

    after: Watermark | None
    why: str
    is_change: bool = False
    adopted: LastOutput | None = None
    earlier: EarlierLog | None = None


class _Held(msgspec.Struct, frozen=True):
    """What a committed offset holds, and why another may be set."""

    why: str
    watermark: Watermark | None = None
    earlier: EarlierLog | None = None
    has_other_rejected: bool = False


Decision = Start | Behind | Stop


class Placing:
    """The decisions of one deployment."""

    def __init__(self, settings: Settings, lineage: Lineage) -> None:
        self._settings = settings
        self._lineage = lineage
        self._digest = lineage.digest()

    def strange(self, outputs: dict[int, Outputs]) -> int | None:
        """Return a facts partition whose last fact is of another lineage, None if there is none."""
        others = (p for p, last in outputs.items() if last.fact and last.fact.lineage not in {None, self._digest})
        return min(others, default=None)

    def partitions_then(self, outputs: dict[int, Outputs]) -> int | None:
        """Return how many partitions the events topic had by outputs of this lineage, None if as many as now."""
        now = self._lineage.partitions
        own = (o for last in outputs.values() for o in (last.fact, last.rejected) if o and o.lineage == self._digest)
        return next((output.partitions for output in own if output.partitions not in {None, now}), None)

    def decide(self, seen: Situation) -> Decision:
        """Return where the partition starts, or why it cannot."""
        if seen.strange is not None:
            return Stop(self._belongs_to_another(seen.strange))
        if seen.partitions_then is not None:
            return Stop(str(repartitioned(self._settings.events_topic, seen.partitions_then, self._lineage.partitions)))
        if seen.committed.offset < 0:
            return self._without_offset(seen)
        try:
            watermark = watermark_of(seen.committed, self._lineage)
        except StopError as error:
            return Stop(str(error))
        if has_other_rejected(seen.committed, self._lineage):
            return Stop(self._other_rejected(seen))
        return self._with_offset(of_this_log(seen, log_of(seen.committed).earlier), watermark)

    def mend(self, seen: Situation, *, adopt_unmarked: bool, accept_loss: bool) -> Mended | Stop:
        """Return the watermark to commit with which `decide` does not stop, or why there is none.

        With `adopt_unmarked` outputs that do not say whose they are count as ours. With `accept_loss` an offset that
        the events topic no longer holds is moved up to its start, or down to where the topic lost its end; and another
        rejected topic than so far is taken.
        """
        held = self._held(seen)
        if isinstance(held, Stop):
            return held
        if held.has_other_rejected and not accept_loss:
            return Stop(self._other_rejected(seen))
        was, why, earlier = held.watermark, held.why, held.earlier
        seen = of_this_log(seen, earlier)
        before = was
        if was is not None and seen.left_out is not None:
            before, why = Watermark(seen.left_out, was.facts), "it was moved forward"
        known = processed(seen, facts=adopt_unmarked or before is not None, rejected=adopt_unmarked)
        after = greatest(before, known)
        if seen.strange is None and is_below(after, processed(seen, facts=True, rejected=True)):
            return Stop(self._unmarked(seen, is_our_topic=before is not None))
        if after is None and seen.committed.offset >= 0:
            after, why = Watermark(seen.events.start, 0), f"{why}, and nothing was ever processed: the earliest event"
        elif after is None:
            why = "nothing was ever processed: it starts at the earliest event"
        else:
            why = "as it was" if after == was else f"{why}; {_by_what(seen, before, after)}"
        lost = max(0, seen.events.start - after.source) if after else 0
        if after and lost and accept_loss:
            after, why = Watermark(seen.events.start, after.facts), f"{why}; {lost} lost events skipped"
        if after and accept_loss and after.source > seen.whole:
            after, why, earlier = _behind_the_cut(seen, after, known)
        if held.has_other_rejected:
            why = f"{why}; the rejected records so far are left out"
        adopted = _adopted(seen, before) if adopt_unmarked else None
        return self._accepted(seen, Mended(after, why, after != was or held.has_other_rejected, adopted, earlier))

    def _held(self, seen: Situation) -> _Held | Stop:
        """Return what the committed offset holds; one of another tool holds nothing."""
        if seen.committed.offset < 0:
            return _Held("there was no offset")
        try:
            watermark = watermark_of(seen.committed, self._lineage)
        except UnreadableMetadataError:
            return _Held(f"{seen.committed.offset} was set by another tool")
        except StopError as error:
            return Stop(str(error))
        earlier, is_other = log_of(seen.committed).earlier, has_other_rejected(seen.committed, self._lineage)
        if earlier is not None and is_other:
            earlier = replace(earlier, rejected=0)
        return _Held("it was too low", watermark, earlier, is_other)

    def _accepted(self, seen: Situation, mended: Mended) -> Mended | Stop:
        """Return what is to be committed if `decide` does not stop there, else why it does."""
        if mended.after is not None:
            seen = replace(seen, committed=self.entry(seen.committed.partition, mended.after, None, mended.earlier))
        decision = self.decide(seen)
        return decision if isinstance(decision, Stop) else mended

    def entry(
        self,
        partition: int,
        watermark: Watermark,
        contacts: ContactsPosition | None = None,
        earlier: EarlierLog | None = None,
    ) -> TopicPartition:
        """Return a committed offset that holds a watermark."""
        version = self._settings.fact_version
        text = metadata_text(watermark, self._lineage, contacts, earlier, fact_version=version)
        return TopicPartition(self._settings.events_topic, partition, watermark.source, text)

    def _without_offset(self, seen: Situation) -> Decision:
        known = processed(seen, facts=False, rejected=False)
        if is_below(known, processed(seen, facts=True, rejected=True)):
            return Stop(self._unmarked(seen, is_our_topic=False))
        if known is None and seen.facts.start > 0:
            return Stop(self._facts_deleted(seen))
        if known is None:
            return Start(Watermark(seen.events.start, 0), None)
        return Stop(
            f"the group {self._settings.group_id} has no committed offset for {self._place(seen)}, yet its "
            f"outputs or its mirror are at source offset {known.source}: the offsets are lost; the offset to restore "
            f"is {known.source}, which `order-facts state recover` sets"
        )

    def _with_offset(self, seen: Situation, watermark: Watermark) -> Decision:
        known = processed(seen, facts=True, rejected=False)
        if known is not None and is_below(watermark, known):
            return Stop(self._moved_back(seen, watermark, known))
        if is_below(watermark, processed(seen, facts=True, rejected=True)):
            return Stop(self._unmarked(seen, is_our_topic=True))
        if (line := self._not_held(seen, watermark)) is not None:
            return Stop(line)
        if seen.left_out is not None and seen.left_out < watermark.source:
            return Stop(
                f"{self._place(seen)}: the committed offset {watermark.source} leaves out events from {seen.left_out} "
                f"on, which have no fact and no rejected record: the group's offsets were moved forward; set it to "
                f"{seen.left_out} again with `order-facts state recover`"
            )
        if seen.mark == watermark:
            return Start(watermark, watermark)
        if (seen.mark.facts if seen.mark else 0) < seen.facts.start:
            return Stop(self._facts_deleted(seen))
        return Behind(watermark, seen.mark)

    def _not_held(self, seen: Situation, watermark: Watermark) -> str | None:
        """Return what is wrong if the topics do not hold the committed offsets."""
        source, place = watermark.source, self._place(seen)
        if source < seen.events.start:
            return (
                f"{place}: up to {seen.events.start - source} events were lost to retention, from offset {source}, the "
                f"next to process, to {seen.events.start}, where the topic begins; to continue without them: "
                "order-facts state recover --accept-loss"
            )
        if source > seen.whole:
            ends = "the topic's end" if seen.whole == seen.events.stop else "the end of what was processed,"
            return (
                f"{place}: the committed offset {source} is beyond {ends} {seen.whole}: the brokers lost events that "
                "were processed (an unclean election, a restored disk), and others get their offsets; to continue with "
                "those: order-facts state recover --accept-loss"
            )
        if watermark.facts > seen.facts.stop:
            return (
                f"{self._settings.facts_topic}[{seen.committed.partition}]: facts were committed up to offset "
                f"{watermark.facts}, but the topic ends at {seen.facts.stop}: facts were lost on the brokers; "
                f"{_START_ANEW} to write all facts again"
            )
        return None

    def _facts_deleted(self, seen: Situation) -> str:
        return (
            f"{self._settings.facts_topic}[{seen.committed.partition}]: facts below offset {seen.facts.start} were "
            f"deleted, so that the orders' state cannot be rebuilt; {_START_ANEW} to write all facts again"
        )

    def _other_rejected(self, seen: Situation) -> str:
        return (
            f"{self._place(seen)}: the rejected records so far are in another topic than "
            f"{self._settings.rejected_topic} (it was deleted and recreated, or the setting rejected_topic was "
            "changed); to continue without them: order-facts state recover --accept-loss"
        )

    def _place(self, seen: Situation) -> str:
        return f"{self._settings.events_topic}[{seen.committed.partition}]"

    def _moved_back(self, seen: Situation, watermark: Watermark, known: Watermark) -> str:
        if watermark.source >= known.source:
            what = f"the offset's metadata say that the facts end at {watermark.facts}, and they end at {known.facts}"
        else:
            what = f"the committed offset {watermark.source} is below {known.source}, up to which events were processed"
        return (
            f"{self._place(seen)}: {what}: the group's offsets were moved back or restored; set it to "
            f"{max(known.source, watermark.source)} again with `order-facts state recover`, or to reprocess "
            f"{_START_ANEW}"
        )

    def _unmarked(self, seen: Situation, *, is_our_topic: bool) -> str:
        """Ask whose outputs are that do not say it; `is_our_topic`: the facts topic is known to be ours."""
        fact, rejection = seen.outputs.fact, seen.outputs.rejected
        is_fact = fact is not None and fact.lineage is None and not is_our_topic
        last = max(found.source_offset for found in (fact, rejection) if found is not None)
        return (
            f"{self._place(seen)}: {'facts or rejected records' if is_fact else 'rejected records'} up to source "
            f"offset {last} do not say which group wrote them (an older version of this program did); if it was this "
            "group: order-facts state recover --adopt-unmarked; if not, take a new "
            f"{'facts_topic and rejected_topic' if is_fact else 'rejected_topic'}"
        )

    def _belongs_to_another(self, partition: int) -> str:
        return (
            f"the facts topic {self._settings.facts_topic} belongs to another group, or to an events topic that was "
            f"deleted and recreated: the last fact of partition {partition} says so; set group_id to that group, or "
            f"{_START_ANEW}"
        )


def _behind_the_cut(
    seen: Situation, after: Watermark, known: Watermark | None
) -> tuple[Watermark, str, EarlierLog | None]:
    """Return where to continue if the events topic lost what is below an offset, why, and what the topic was before."""
    if known is not None and known.source <= seen.whole:
        return Watermark(known.source, after.facts), "it was beyond the end; just behind the last output", None
    rejected = seen.outputs.rejected.offset + 1 if seen.outputs.rejected else 0
    why = f"the brokers lost processed events, from {seen.whole} to {after.source}; those that are there now are new"
    return Watermark(seen.whole, after.facts), why, EarlierLog(after.source, after.facts, rejected)


def _by_what(seen: Situation, before: Watermark | None, after: Watermark) -> str:
    """Say what an offset was set by."""
    is_by_outputs = greatest(before, seen.outputs.processed()) == after
    by = "one above the last event with an output" if is_by_outputs else "by the mirror, since outputs were removed"
    return by if seen.doubt is None else f"{by}; the mirror is not believed: {seen.doubt}"


def _adopted(seen: Situation, before: Watermark | None) -> LastOutput | None:
    """Return the last unmarked output that counts only because the operator says so."""
    outputs = [seen.outputs.rejected, None if before else seen.outputs.fact]
    unmarked = [output for output in outputs if output is not None and output.lineage is None]
    return max(unmarked, key=lambda output: output.source_offset, default=None)
