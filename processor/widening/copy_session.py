"""One session of the copier: from the committed places on, until it ends or fails.

1. open: the committed places, held against what the old topic holds now. What retention or the brokers took stops it.
2. read, merge: see `merged_feed`.
3. commit: copies and places in one transaction, see `copy_ledger`.

Nothing is kept between sessions: whatever fails, the next one finds on the broker how far the copy is.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Final, Self

from confluent_kafka import Consumer

from processor.errors import OrderFactsError, RetryError, StopError, UnreadableError
from processor.kafka.clients import REQUEST_TIMEOUT_S, reader
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.partitioning import KeySample
from processor.kafka.ranges import read_range
from processor.kafka.repeats import Repeats
from processor.kafka.unreadable import first_unreadable
from processor.state.event_copies import Copied, Place
from processor.widening.copy_ledger import CopyLedger, partitions_before
from processor.widening.copy_options import Job
from processor.widening.copy_view import CopyView
from processor.widening.lost_orders import lost_orders
from processor.widening.merged_feed import MergedFeed

_POLL_S: Final = 0.1
_RECORDS: Final = 10_000  # of one transaction, at most
_LEAST_RECORDS: Final = 50
_BYTES: Final = 16 << 20
_ENDS_EVERY_S: Final = 0.2  # how often it asks for new events once it has copied all
_IDLE_S: Final = 5.0  # then places are committed that only moved over markers
_AGAIN_S: Final = 10.0  # and all of them: so an idle copier learns that another took over, and Kafka forgets nothing
_QUEUE: Final = {"queued.max.messages.kbytes": 8 << 10}


class Size:
    """How many records one transaction takes: fewer after a failure, since it may have taken too long."""

    def __init__(self, topic: str) -> None:
        self.records = _RECORDS
        self._repeats = Repeats(topic)

    def failed(self, error: OrderFactsError) -> None:
        """Halve it. Raises StopError if the same failed too often in a row."""
        self._repeats.failed(error)
        self.records = max(_LEAST_RECORDS, self.records // 2)

    def worked(self) -> None:
        """Double it, up to the most."""
        self._repeats.worked()
        self.records = min(_RECORDS, self.records * 2)


class CopySession:
    """A feed from the committed places on, and the ledger that its records go to. Close it."""

    def __init__(
        self, job: Job, cluster: Cluster, ledger: CopyLedger, copied: Copied, view: CopyView, size: Size
    ) -> None:
        self._job, self._cluster, self._ledger, self._view, self._size = job, cluster, ledger, view, size
        self._former: Topic = job.former
        self._consumer: Consumer = reader(job.names.former, **_QUEUE)
        self._feed = MergedFeed(self._consumer, self._former.name, copied.places, copied.partitions_before)
        self._committed = dict(copied.places)
        self._committed_s = time.monotonic()
        self._keys = KeySample(self._former.partitions)

    @classmethod
    def open(cls, job: Job, cluster: Cluster, ledger: CopyLedger, view: CopyView, size: Size) -> Self:
        """Return a session that goes on where the last one ended. Raises RetryError or StopError."""
        copied = ledger.copied() or Copied()
        places = _places(job, cluster, copied)
        before = partitions_before(job, copied)
        if not job.accept_late and (foreign := ledger.foreign()) is not None:
            left = late_events(job, cluster, copied)
            raise StopError(
                f"{foreign} is no copy: producers write to {job.new.name} already, and {left} events of "
                f"{job.former.name} are not copied: they would come behind; to copy them all the same, start again "
                "with --accept-late"
            )
        return cls(job, cluster, ledger, Copied(places, copied.ends, partitions_before=before), view, size)

    def follow(self, stop: threading.Event) -> None:
        """Copy what comes, until a stop."""
        ends, asked_s = self._ends(), time.monotonic()
        while not stop.is_set():
            if self._feed.has_reached(ends) and time.monotonic() - asked_s >= _ENDS_EVERY_S:
                ends, asked_s = self._ends(), time.monotonic()
                if self._feed.has_reached(ends):
                    self._view.caught_up(self._keys.counts)
            self._step(ends)
        self._commit_places()

    def copy_up_to(self, ends: Mapping[int, int], stop: threading.Event) -> bool:
        """Copy everything below these ends; return whether that is done, and not stopped."""
        while not self._feed.has_reached(ends):
            if stop.is_set():
                return False
            self._step(ends)
        return True

    def finish(self) -> None:
        """Commit that the copy is finished."""
        self._ledger.commit([], self._feed.places, is_finished=True)
        self._view.finished(self._keys.counts)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def _ends(self) -> dict[int, int]:
        require_count(self._cluster, self._former)
        return self._cluster.ends(self._former.name, range(self._former.partitions))

    def _step(self, ends: Mapping[int, int]) -> None:
        """Read for a moment, and commit what can be merged."""
        self._feed.read(_POLL_S)
        self._tell_of_headers()
        while records := self._feed.merged(ends, self._size.records, _BYTES):
            self._keys.add(records)
            self._ledger.commit(records, self._feed.places)
            self._note_committed(records=len(records))
        if (error := self._feed.unreadable()) is not None:
            self._step_over(error)
        self._feed.require_life(ends)
        idle_s = time.monotonic() - self._committed_s
        if idle_s > _AGAIN_S or (idle_s > _IDLE_S and self._feed.places != self._committed):
            self._commit_places()
        self._view.turned(sum(max(0, ends[p] - place.offset) for p, place in self._feed.places.items()))

    def _commit_places(self) -> None:
        self._ledger.commit([], self._feed.places)
        self._note_committed(records=0)

    def _note_committed(self, records: int) -> None:
        self._committed, self._committed_s = self._feed.places, time.monotonic()
        self._size.worked()
        self._view.copied(records)

    def _step_over(self, error: UnreadableError) -> None:
        """Step over a batch that cannot be read, if that was asked for; the next session goes on behind it."""
        places = self._feed.places
        at = places[error.partition]
        with closing(reader(self._job.names.former)) as consumer:
            gap = first_unreadable(consumer, self._former.name, error.partition, at.offset)
        if gap is None:
            raise error
        place = f"{error.partition}:{gap.offsets.start}"
        if (error.partition, gap.offsets.start) not in self._job.skips:
            raise StopError(
                f"{self._former.name}[{error.partition}]: offsets {gap.offsets.start} to {gap.offsets.stop - 1} cannot "
                f"be read, and so not copied: {gap.problem}; let the client read more (see receive.message.max.bytes), "
                f"or leave them out of the copy: start again with --skip {place}"
            )
        self._ledger.commit([], places | {error.partition: Place(gap.offsets.stop, at.time_ms)})
        self._view.skipped(error.partition, gap)
        raise RetryError(f"{self._former.name}[{error.partition}]: continuing behind what was skipped")

    def _tell_of_headers(self) -> None:
        if self._feed.hidden_headers:
            self._view.headers_lost(self._feed.hidden_headers)
            self._feed.hidden_headers.clear()


def _places(job: Job, cluster: Cluster, copied: Copied) -> dict[int, Place]:
    """Return where to go on in each partition of the old topic. Raises StopError if what comes next is gone."""
    former = job.former
    held = cluster.ranges(former.name, range(former.partitions))
    places = {partition: copied.places.get(partition, Place(0)) for partition in held}
    gone = {p: range(place.offset, held[p].start) for p, place in places.items() if place.offset < held[p].start}
    if gone and not job.accept_loss:
        where = ", ".join(f"{p} (offsets {offsets.start} to {offsets.stop - 1})" for p, offsets in gone.items())
        orders = lost_orders(job.names.former, cluster, {p: offsets.stop for p, offsets in gone.items()})
        raise StopError(
            f"{former.name}: retention removed events that are not copied, in partitions {where}; {orders} orders of "
            f"{job.names.former.facts_topic} have no creation left, and would be missing in the new facts; to copy "
            "without them, start again with --accept-loss"
        )
    for partition, place in places.items():
        if place.offset > held[partition].stop:
            raise StopError(
                f"{former.name}[{partition}]: copied up to offset {place.offset}, beyond the topic's end "
                f"{held[partition].stop}: the brokers lost events that were copied; begin again with another --suffix"
            )
    return {p: Place(gone[p].stop, place.time_ms) if p in gone else place for p, place in places.items()}


def require_count(cluster: Cluster, former: Topic) -> None:
    """Require that the old topic was given no partitions since the start: they would not be copied.

    Raises RetryError or StopError.
    """
    if (count := cluster.partition_count(former.name, REQUEST_TIMEOUT_S)) > former.partitions:
        raise StopError(
            f"{former.name} has {count} partitions, and had {former.partitions} when this began: an order's events are "
            "in several; stop the producers, then start again with --finish"
        )


def late_events(job: Job, cluster: Cluster, copied: Copied) -> int:
    """Return how many committed events of the old topic are not copied."""
    held = cluster.ranges(job.former.name, range(job.former.partitions))
    starts = {p: max(copied.places.get(p, Place(0)).offset, offsets.start) for p, offsets in held.items()}
    ends = cluster.ends(job.former.name, range(job.former.partitions))
    with closing(reader(job.names.former)) as consumer:
        return sum(1 for _ in read_range(consumer, job.former.name, starts, ends))
