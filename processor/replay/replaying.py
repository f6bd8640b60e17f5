"""`rejected replay`: sends rejected records back to the events topic, each of them once.

Takes the committed records of the rejected topic up to its end at the start. Copies the selected ones, in order within
each partition, to the partition that their event came from. A chunk of copies is one Kafka transaction that also notes
what was replayed: a second run, or one after a crash, finds on the broker what is done. Two runs at once cannot replay
the same record: the later one first fences the earlier one, and only then reads what was replayed.

What was replayed is kept as sweeps (see `judging`). For this, each run reads the topic from its beginning.

Kafka forgets an unused group's offsets after some days. Records older than that, in a partition without an offset, may
have been replayed by a forgotten run. They are never replayed, and the operator must confirm that: by `--since`, or by
setting an offset by hand (which says: replay nothing below, everything above).
"""

import time
from collections.abc import Collection, Iterator
from typing import Final, Self

from processor.domain.instants import instant_text
from processor.domain.records import Record
from processor.errors import StopError
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.replay.judging import Copy, Entry, Partition, Selection, Summary, Verdict, entry_of
from processor.replay.replay_ledger import PARTITIONS_AT_ONCE, ReplayLedger
from processor.replay.sweeps import Sweeps, all_below
from processor.settings import Settings
from processor.state.watermark import Lineage

CHUNK_RECORDS: Final = 1_000  # at most, in one transaction
CHUNK_BYTES: Final = 16 << 20  # a chunk ends with the record that reaches this
_HOUR_MS: Final = 3_600_000


class Replay:
    """One run of the command. Enter it, exhaust `steps`, read `summary`.

    Raises StopError if topics do not fit, an earlier run's transaction is open, or records may have been replayed by a
    run that Kafka has forgotten; then nothing is written.
    """

    def __init__(self, settings: Settings, selection: Selection, *, is_dry: bool) -> None:
        self._settings = settings
        self._selection = selection
        self._is_dry = is_dry
        self._cluster = Cluster(settings)
        cluster_id = self._cluster.wait()
        names = (settings.events_topic, settings.rejected_topic, settings.facts_topic)
        topics = self._cluster.required(names)
        self._events, self._rejected, facts = (topics[name] for name in names)
        self._lineage = Lineage.of(cluster_id, settings.group_id, self._events, facts, self._rejected).digest()
        healed = self._cluster.topics([settings.healed_topic]).get(settings.healed_topic)
        self._ledger = ReplayLedger(settings, self._cluster, self._rejected, healed)
        self.summary = Summary()

    def __enter__(self) -> Self:
        swept = self._ledger.swept()
        if not self._is_dry:
            self._ledger.take_over()
            swept = self._ledger.swept()
        name, numbers = self._rejected.name, range(self._rejected.partitions)
        self._ends = self._cluster.ends(name, numbers)
        self._starts = self._cluster.starts(name, numbers)
        before = swept | self._forgotten([p for p in numbers if p not in swept and self._starts[p] < self._ends[p]])
        rounds = self._settings.replay_max_rounds
        healed = self._ledger.healed()
        self._partitions = {
            number: Partition(self._selection, rounds, before.get(number, {}), healed.get(number, {}))
            for number in numbers
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._ledger.close()

    @property
    def offsets(self) -> int:
        """How many offsets there are to read."""
        return sum(self._ends.values()) - sum(self._starts.values())

    def steps(self) -> Iterator[None]:
        """Read, judge and replay; yield after each record read. Raises StopError, RetryError, ProducerLostError."""
        chunk: list[Copy] = []
        touched: set[int] = set()
        size_bytes = 0
        for message in read_range(self._ledger.consumer, self._rejected.name, self._starts, self._ends):
            record = record_of(message)
            copy = self._take(record)
            if copy is not None:
                chunk.append(copy)
                touched.add(record.partition)
                size_bytes += record.size_bytes
            if len(chunk) >= CHUNK_RECORDS or size_bytes >= CHUNK_BYTES or len(touched) >= PARTITIONS_AT_ONCE:
                self._commit(chunk, touched)
                chunk, touched, size_bytes = [], set(), 0
            yield
        self._commit(chunk, touched)
        self._finish()

    def _take(self, record: Record) -> Copy | None:
        """Judge one record; return the copy to write, if any."""
        partition = self._partitions[record.partition]
        partition.end = record.offset + 1
        entry = entry_of(record, self._events.name, self._lineage)
        if entry is None:
            self.summary.foreign += 1
            return None
        verdict = partition.judge(entry)
        if verdict is not None:
            self.summary.add(entry, verdict)
        if verdict is not Verdict.REPLAYED:
            return None
        return copy_of(entry, self._rejected, self._events)

    def _commit(self, chunk: Collection[Copy], touched: Collection[int]) -> None:
        """Commit one chunk in one transaction."""
        if touched and not self._is_dry:
            self._ledger.commit(chunk, {number: self._partitions[number].swept() for number in sorted(touched)})

    def _finish(self) -> None:
        """Note for every partition that it was read to its end; this also keeps Kafka from forgetting its offset."""
        if self._is_dry:
            return
        for number, partition in self._partitions.items():
            partition.end = self._ends[number]
        numbers = range(self._rejected.partitions)
        for first in range(0, len(numbers), PARTITIONS_AT_ONCE):
            self._commit((), numbers[first : first + PARTITIONS_AT_ONCE])
        self._ledger.settle()

    def _forgotten(self, unknown: Collection[int]) -> dict[int, Sweeps]:
        """Return, for partitions without an offset of the replay's group, what a forgotten run may have replayed.

        Those are the records rejected longer ago than Kafka keeps offsets. Raises StopError if the selection holds any.
        """
        if not unknown:
            return {}
        told_ms = self._ledger.kept_ms()
        kept_ms = 0 if told_ms is None else told_ms - _HOUR_MS  # an hour, for clocks that differ
        horizon_ms = int(time.time() * 1000) - kept_ms
        first = self._ledger.first_since(unknown, horizon_ms)
        below = {number: first.get(number, self._ends[number]) for number in unknown}
        old = [number for number in unknown if below[number] > self._starts[number]]
        if old and self._selection.since_ms < horizon_ms:
            name = self._rejected.name
            forgets = f"Kafka forgets one after {kept_ms // _HOUR_MS + 1} h"
            if told_ms is None:
                forgets = (
                    "the brokers do not say when Kafka forgets one (offsets.retention.minutes): grant DescribeConfigs "
                    "on the cluster, then run it again"
                )
            later_ms = (horizon_ms // _HOUR_MS + 2) * _HOUR_MS
            raise StopError(
                f"{name}{old} hold records from before {instant_text(horizon_ms)} that may have been replayed: no "
                f"replay is on record, but {forgets}. To leave them out for "
                f"good, use --since {instant_text(later_ms)}. If none was ever replayed, confirm it with Kafka's "
                f"kafka-consumer-groups: --group {self._ledger.group_id} --topic {name} --reset-offsets --to-earliest "
                "--execute"
            )
        return {number: all_below(below[number]) for number in old}


def copy_of(entry: Entry, rejected: Topic, events: Topic) -> Copy:
    """Return the copy of an event for its own partition. Raises StopError if that is no more."""
    if not 0 <= entry.partition < events.partitions:
        raise StopError(
            f"{rejected.name}[{entry.record.partition}], offset {entry.record.offset}, came from partition "
            f"{entry.partition}, and {events.name} has {events.partitions} now: an event can only go back to its own; "
            f"add partitions to {events.name}"
        )
    return entry.copy()
