"""Decides what a replay does with each rejected record. Pure: no Kafka, no clock.

What was replayed is kept by reason, as a few sweeps (see `sweeps`). So a run of one reason hides no record of another,
and a run with `--since` hides none that is older. A sweep begins just after the latest record that its run left out as
too old, not at `--since`: runs that leave no gap between them, such as one each night, add up to one sweep.
"""

from collections import Counter
from collections.abc import Container
from enum import StrEnum
from typing import Final

import msgspec

from processor.codec import rejected
from processor.domain.pipeline import REPLAY_TIMESTAMP, first_timestamp_ms
from processor.domain.records import Record
from processor.domain.rejections import Outcome, Reason
from processor.replay.sweeps import ANY_REASON, EVER, Sweep, Sweeps, with_sweep

REPLAY_ROUND: Final = "replay.round"
_MARKS: Final = frozenset({REPLAY_ROUND, REPLAY_TIMESTAMP})


class Verdict(StrEnum):
    """What a replay does with a selected record: replay it, or skip it for one of these causes."""

    REPLAYED = "replayed"
    ROUNDS = "rounds"  # already replayed replay_max_rounds times, and rejected again each time
    TRUNCATED = "truncated"  # too large to be kept whole, or unreadable
    ALREADY = "already"  # replayed by an earlier run


class Selection(msgspec.Struct, frozen=True):
    """What to replay: records with one of the reasons, rejected at `since_ms` (ms since the epoch) or later."""

    reasons: frozenset[Reason]
    since_ms: int = EVER


ALL_INVALID: Final = frozenset(reason for reason in Reason if reason.outcome is Outcome.INVALID)


class Copy(msgspec.Struct, frozen=True):
    """A rejected record on its way back: its partition and its headers."""

    rejected: Record
    partition: int
    headers: tuple[tuple[str, bytes | None], ...]


class Entry(msgspec.Struct, frozen=True):
    """A parsed record of the rejected topic. `rounds` counts how often it has been replayed."""

    record: Record
    reason: Reason
    partition: int
    timestamp_ms: int
    rounds: int
    is_truncated: bool
    event_offset: int  # of the event in its topic; -1 if the record does not say it

    def copy(self) -> Copy:
        """Return the event unchanged, marked as replayed once more, with its first timestamp (D23)."""
        kept = tuple(header for header in rejected.kept(self.record) if header[0] not in _MARKS)
        marks = ((REPLAY_ROUND, b"%d" % (self.rounds + 1)), (REPLAY_TIMESTAMP, b"%d" % self.timestamp_ms))
        return Copy(self.record, self.partition, (*kept, *marks))


def entry_of(record: Record, events_topic: str, lineage: str) -> Entry | None:
    """Return the parsed record; None if this deployment did not write it.

    Its records name its lineage; those of an older version only its events topic.
    """
    found = rejected.read(record)
    if found.topic != events_topic or found.lineage not in {None, lineage}:
        return None
    if found.known_reason is None or found.partition is None or found.timestamp_ms is None:
        return None
    rounds = dict(reversed(record.headers)).get(REPLAY_ROUND) or b""  # of a repeated name, the first counts
    return Entry(
        record=record,
        reason=found.known_reason,
        partition=found.partition,
        timestamp_ms=first_timestamp_ms(record, found.timestamp_ms),
        rounds=int(rounds) if rounds.isdigit() and len(rounds) < 10 else 0,
        is_truncated=found.is_truncated or found.known_reason is Reason.UNREADABLE,
        event_offset=-1 if found.offset is None else found.offset,
    )


def is_swept(entry: Entry, before: Sweeps) -> bool:
    """Return whether an earlier run dealt with a record."""
    place = (entry.record.offset, entry.record.timestamp_ms, entry.rounds)
    known = (*before.get(ANY_REASON, ()), *before.get(entry.reason, ()))
    return any(sweep.covers(*place) for sweep in known)


class Partition:
    """Judges one partition of the rejected topic for one run; takes its records in order.

    `before` and `healed` are what was sent back before: in sweeps, and by itself (offsets).
    """

    def __init__(
        self, selection: Selection, max_rounds: int, before: Sweeps, healed: Container[int] = frozenset()
    ) -> None:
        self._selection = selection
        self._max_rounds = max_rounds
        self._before = before
        self._healed = healed
        self._left_ms: dict[Reason, int] = {}  # by reason: the latest time of a record left out as too old
        self.end = 0  # the offset after the last record taken

    def judge(self, entry: Entry) -> Verdict | None:
        """Return the verdict on a record; None if it is not selected."""
        if entry.reason not in self._selection.reasons:
            return None
        verdict = self._verdict(entry)
        rejected_ms = entry.record.timestamp_ms
        if rejected_ms >= self._selection.since_ms:
            return verdict
        if verdict is Verdict.REPLAYED:
            self._left_ms[entry.reason] = max(rejected_ms, self._left_ms.get(entry.reason, EVER))
        return None

    def _verdict(self, entry: Entry) -> Verdict:
        if entry.is_truncated:
            return Verdict.TRUNCATED
        if is_swept(entry, self._before) or entry.record.offset in self._healed:
            return Verdict.ALREADY
        return Verdict.ROUNDS if entry.rounds >= self._max_rounds else Verdict.REPLAYED

    def swept(self) -> Sweeps:
        """Return what needs no replay any more after every verdict so far is carried out."""
        after = dict(self._before)
        for reason in sorted(self._selection.reasons):
            since_ms = self._left_ms[reason] + 1 if reason in self._left_ms else EVER
            sweep = Sweep(self.end, since_ms, self._max_rounds)
            after[reason.value] = with_sweep(after.get(reason.value, ()), sweep)
        return after


class Summary(msgspec.Struct):
    """What a run did, or would do; `by_reason` and `by_partition` count what was replayed."""

    verdicts: Counter[Verdict] = msgspec.field(default_factory=Counter)
    by_reason: Counter[str] = msgspec.field(default_factory=Counter)
    by_partition: Counter[int] = msgspec.field(default_factory=Counter)
    foreign: int = 0  # records of the rejected topic that this deployment did not write

    def add(self, entry: Entry, verdict: Verdict) -> None:
        """Count a selected record."""
        self.verdicts[verdict] += 1
        if verdict is Verdict.REPLAYED:
            self.by_reason[entry.reason.value] += 1
            self.by_partition[entry.partition] += 1
