"""The processor: one batch, one transaction, in six steps; and the one path on which it recovers.

    1 poll     wait for a record, take what is there, note the group's generation
    2 decode   Avro -> event -> command or rejection; a bad record becomes a value
    3 look up  every order's state, every identifier and the marks they are as of, in one round trip
    4 fold     (order, command, owner) -> fact or rejection, later events seeing what earlier ones did
    5 commit   facts, rejected records and source offsets in one Kafka transaction
    6 mirror   the changed orders and the new watermark to Redis, one atomic step a partition, not waited for

Kafka is the ledger, Redis a mirror with a watermark: whatever goes wrong in 1 to 5 aborts the transaction
and starts over from the committed offsets with nothing remembered; what goes wrong in 6 leaves a mirror
that the next step 3 finds behind, and catches up from the facts. See processor/README.md.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

from processor.codec.avro import codec
from processor.contacts.lookup import ContactIndex, IndexNotReadyError
from processor.domain.batch import Folded, OrderKey, Parsed
from processor.domain.pipeline import fold, needs, read
from processor.domain.records import Identifier, Order, Record, UndecodableError
from processor.errors import MirrorMovedError, OrderFactsError, ProducerLostError, RedisError, RetryError
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S
from processor.logs import get_logger
from processor.replica import startup
from processor.replica.breaker import Breaker
from processor.replica.group import Group
from processor.replica.ledger import Ledger
from processor.replica.positions import Positions
from processor.replica.telemetry import Telemetry
from processor.settings import Settings
from processor.settings.rules import rules_of
from processor.state import connection as redis
from processor.state.mirror import Mirror, MirrorWrite, refused
from processor.state.watermark import Watermark

POLL_S: Final = 0.1
PROBE_EVERY_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 2.0
INPUT_BYTES: Final = 16 << 20
BATCH_BYTES: Final = 48 << 20  # of input, and twice the output: what one transaction may hold
BACKOFF_S: Final = (0.05, 2.0)
T = TypeVar("T")
log = get_logger()


class Known(msgspec.Struct, frozen=True):
    """What step 3 found: the mirror's watermarks, the known orders, and the contacts by identifier."""

    marks: dict[int, Watermark | None]
    orders: dict[OrderKey, Order]
    contacts: dict[Identifier, str]


class Batch(msgspec.Struct, frozen=True):
    """What steps 1 and 2 gave, and how long they took."""

    records: list[Record]
    parsed: list[Parsed]
    times_ms: dict[str, float]


class Service:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = rules_of(settings)
        found = startup.check(settings)
        self._codec = codec()
        self._cluster = found.cluster
        self._group = Group(settings)
        self._ledger = Ledger(settings, found.lineage, found.batch_bytes)
        self._line = redis.Line(found.redis)
        self._mirror = Mirror(found.redis, found.lineage, self._codec)
        self._index: ContactIndex = found.index
        self._positions = Positions(settings, self._group, self._mirror, found)
        self._breaker = Breaker(settings.breaker_window, settings.breaker_max_invalid_ratio)
        self._telemetry = Telemetry(settings.http_port)
        self._in_hand = 0
        self._most = settings.max_batch
        self._times_ms: dict[str, float] = {}
        self._ahead: Batch | None = None  # read beside the last commit, and next in turn
        self._probe_due_s = 0.0
        self.go_on = threading.Event()  # set from outside to end a breaker's pause

    def run(self, stop: threading.Event) -> None:
        """Process order events until `stop` is set: the batch in hand is finished or aborted, the group left."""
        log.info("service.started", topics=self._settings.events_topic, group_id=self._settings.group_id)
        try:
            self._group.join()
            while not stop.is_set():
                self._times_ms.clear()
                self._in_hand = 0
                try:
                    self._group.mend(self._cluster)
                    self._ledger.ready()
                    if self._group.owed:
                        self._line.answers()  # what this member wrote stands before it looks where the mirror is
                    self._positions.settle()
                    self.process_batch()
                    self._turned()
                except BreakerOpen as tripped:
                    self._pause(tripped, stop)
                except (RetryError, ProducerLostError) as error:
                    self._recover(error, stop)
            log.info("service.stopping")
        finally:
            self._end()

    def process_batch(self) -> None:
        """One batch. A step that fails raises, and `run` recovers; nothing is remembered but what was read ahead."""
        batch, self._ahead = self._ahead or self.read(self._positions.events_wait_s, self._times_ms), None  # 1, 2
        records, parsed = batch.records, batch.parsed
        self._times_ms |= batch.times_ms
        self._in_hand = len(records)
        if not records:
            self._probe()
            return
        known = _timed(self._times_ms, "lookup_ms", lambda: self.look_up(parsed))  # 3
        folded = _timed(self._times_ms, "fold_ms", lambda: self.fold(parsed, known))  # 4
        self._group.give_back(records[len(folded.outputs) :])
        beside = self.read_ahead if self._as_much_waits(len(records)) else None
        watermarks = _timed(self._times_ms, "commit_ms", lambda: self.commit(folded, beside))  # 5; and 1, 2 of the next
        if self._ahead is not None:
            ahead_ms = sum(self._ahead.times_ms.values())
            self._times_ms["commit_ms"] = round(self._times_ms["commit_ms"] - ahead_ms, 3)
        _timed(self._times_ms, "mirror_ms", lambda: self.mirror(folded, known, watermarks))  # 6
        self._committed(folded, is_whole=len(folded.outputs) == len(records))

    def read(self, wait_s: float, times_ms: dict[str, float]) -> Batch:
        """Take a batch and decode it: steps 1 and 2, whose times are noted."""
        records = _timed(times_ms, "poll_ms", lambda: self.poll(wait_s))
        parsed = _timed(times_ms, "decode_ms", lambda: self.decode(records))
        return Batch(records, parsed, times_ms)

    def read_ahead(self) -> None:
        """Take the next batch and decode it beside the commit of this one, with whose failure it is dropped.

        What was read beside counts as the next batch's time: `commit_ms` is the rest.
        """
        batch = self.read(0.0, {})
        self._ahead = batch if batch.records else None

    def _as_much_waits(self, count: int) -> bool:
        """Tell whether behind a batch of so many records, not yet committed, there are as many again.

        Where there are not, the next batch is not read ahead: taken early it is closed early, and what comes during
        the commit would wait for one more. At 1,000 events a second p50 was 22 ms so, and is 15.
        """
        lag = self._group.lag_records()
        return lag is not None and lag >= 2 * count

    def poll(self, wait_s: float) -> list[Record]:
        """Step 1. What the last batch's byte budget left over comes first."""
        return self._group.take(self._most, INPUT_BYTES, wait_s)

    def decode(self, records: list[Record]) -> list[Parsed]:
        """Step 2. Pure."""
        return read(records, self._codec.read_event, self._rules, packing=self._codec.packing)

    def look_up(self, parsed: list[Parsed]) -> Known:
        """Step 3. One round trip, as nothing is waited for in between.

        Within it a partition, and an index shard, is read by one atomic command.
        """
        wanted = needs(parsed)
        order_ids: dict[int, list[str]] = {partition: [] for partition in self._group.ends()}
        order_ids |= {partition: list(names) for partition, names in wanted.order_ids.items()}
        self._mirror.add_lookups(self._line, order_ids)
        self._line.send()  # Redis looks for the orders while the identifiers are hashed
        plan = self._index.add_lookups(self._line, wanted.identifiers)
        self._line.send()
        replies = self._line.answers()
        marks, orders = self._mirror.read(order_ids, replies[: len(order_ids)])
        moved = [partition for partition, mark in marks.items() if mark != self._group.placed[partition].mark]
        if moved:
            raise MirrorMovedError(f"the mirror of partitions {moved} is not where this member left it")
        return Known(marks, orders, self._index.read(plan, replies[len(order_ids) :]).contacts)

    def fold(self, parsed: list[Parsed], known: Known) -> Folded:
        """Step 4. Pure."""
        encode, rules, packing = self._codec.encode_fact, self._rules, self._codec.packing
        try:
            return fold(parsed, known.orders, known.contacts, encode, rules, BATCH_BYTES, packing=packing)
        except UndecodableError:
            self._mirror.check_items(known.orders)
            raise

    def commit(self, folded: Folded, beside: Callable[[], None] | None = None) -> dict[int, Watermark]:
        """Step 5. On return the batch is in Kafka for good, and nothing of it will be done again.

        `beside` is done while the brokers work: the time goes to the next batch, not to this one's commit.
        """
        next_offsets = folded.next_offsets | {
            partition: max(end, folded.next_offsets.get(partition, 0)) for partition, end in self._group.ends().items()
        }
        before = {partition: self._group.placed[partition].watermark for partition in next_offsets}
        contacts, generation = self._index.used, self._group.generation  # as they are now, whatever is read beside
        after = self._ledger.commit(folded.outputs, before, next_offsets, contacts, generation, beside)
        self._group.advance(after)
        return after

    def mirror(self, folded: Folded, known: Known, watermarks: dict[int, Watermark]) -> None:
        """Step 6. Sent, not waited for: what Redis said is read with the next step 3.

        Not retried: where it fails, that step 3, which comes after it on the same connection, finds the mirror behind.
        """
        writes = [
            MirrorWrite(
                partition,
                known.marks[partition],
                watermark,
                {name: self._mirror.state(order) for name, order in folded.changed.get(partition, {}).items()},
            )
            for partition, watermark in watermarks.items()
        ]
        try:
            self._mirror.send(self._line, writes, lambda answers: _tell_refused(refused(writes, answers)))
        except RedisError as error:
            _tell_refused(dict.fromkeys(watermarks, str(error)))

    def _recover(self, error: OrderFactsError, stop: threading.Event) -> None:
        """Abort, rewind, forget, wait, start over: the one recovery path. A StopError never comes here."""
        step = next(reversed(self._times_ms), "positioning").removesuffix("_ms")
        is_slow = self._times_ms.get("commit_ms", 0) >= TRANSACTION_TIMEOUT_S * 1000
        if is_slow or (step == "lookup" and isinstance(error, RedisError)):
            self._most = max(1, self._in_hand // 2)
        try:
            if not isinstance(error, ProducerLostError):  # a lost one's transaction is for its successor to settle
                self._ledger.abort()
        except ProducerLostError as lost:
            error = lost
        if isinstance(error, ProducerLostError):
            self._ledger.forget_producer()
            log.warning("producer.replaced", error=str(error))
        recovery = "producer_lost" if isinstance(error, ProducerLostError) else "retry"
        self._telemetry.aborted(recovery, str(error), step, self._in_hand)
        self._forget(catch_ups=not isinstance(error, IndexNotReadyError))
        waiting_for = getattr(error, "waiting_for", "kafka")
        attempt = self._telemetry.waiting(waiting_for, str(error))
        least, most = BACKOFF_S
        backoff_s = min(most, least * 2 ** min(attempt, 10)) * random.uniform(0.5, 1)  # noqa: S311
        backoff_ms = round(backoff_s * 1000)
        log.warning(
            "service.waiting", waiting_for=waiting_for, error=str(error), attempt=attempt, backoff_ms=backoff_ms
        )
        self._stay(time.monotonic() + backoff_s, stop)

    def _forget(self, *, catch_ups: bool = True) -> None:
        """Rewind everything: nothing is in hand any more, every partition is owed a place."""
        with suppress(RedisError):
            self._line.answers()
        self._ahead = None
        self._positions.drop(catch_ups=catch_ups)
        self._group.rewind(everything=True)
        self._probe_due_s = 0.0  # a wait ends only when what it was for answers

    def _pause(self, tripped: "BreakerOpen", stop: threading.Event) -> None:
        """Stop consuming, in the group, for as long as is configured or until told to go on."""
        pause_s = self._settings.breaker_pause_s
        log.error("breaker.paused", cause=str(tripped), pause_s=pause_s or None)
        self._forget()
        self._telemetry.waiting("breaker", str(tripped))
        self.go_on.clear()
        self._stay(time.monotonic() + (pause_s or float("inf")), stop)
        self._breaker.reset()
        self._telemetry.resumed()

    def _stay(self, until_s: float, stop: threading.Event) -> None:
        """Stay in the group: go on polling with every partition paused, until a time, a stop, or `go_on`.

        Catch-ups go on meanwhile: what is waited for may be the contact index, which was lost with the mirror.
        """
        self.go_on.clear()
        while not stop.is_set() and not self.go_on.is_set() and (left_s := until_s - time.monotonic()) > 0:
            with suppress(RetryError):  # what is wrong is known: this is the wait for its end
                self._group.stay(0.0 if self._positions.catching_up else min(left_s, POLL_S))
            try:
                self._positions.catch_up()
            except RetryError as error:
                log.warning("mirror.not_written", error=str(error), partitions=sorted(self._positions.catching_up))
                self._positions.drop()
            self._turned(has_settled=False)

    def _turned(self, *, has_settled: bool = True) -> None:
        """Tell of a turn of the loop; one that settled everything ends a wait."""
        owed, catching_up = self._group.owed, self._positions.catching_up
        if has_settled and not owed:
            self._telemetry.resumed()
        self._telemetry.turned(len(self._group.placed), len(catching_up), len(owed - catching_up))
        if self._telemetry.is_due():
            self._telemetry.tell(self._group.lag_records(), sorted(self._group.assigned))

    def _probe(self) -> None:
        """While no events come, ask every few seconds whether what a batch needs is there, and commit idle ends."""
        now_s = time.monotonic()
        if now_s < self._probe_due_s:
            return
        self._probe_due_s = now_s + PROBE_EVERY_S
        known = self.look_up([])
        self._group.ping(PROBE_TIMEOUT_S)
        if self._group.ends():
            nothing = self.fold([], known)
            self.mirror(nothing, known, self.commit(nothing))

    def _committed(self, folded: Folded, *, is_whole: bool) -> None:
        """Tell of a committed batch, and have the breaker judge it; what its budget left over comes next."""
        self._most = min(self._settings.max_batch, self._most * 2) if is_whole else len(folded.outputs)
        self._probe_due_s = time.monotonic() + PROBE_EVERY_S
        self._telemetry.committed(folded, self._times_ms)
        cause = self._breaker.trips(output.is_invalid for output in folded.outputs)
        if cause is not None and self._settings.breaker_action == "pause":
            raise BreakerOpen(cause)
        if cause is not None:
            log.warning("breaker.tripped", cause=cause)
            self._breaker.reset()

    def _end(self) -> None:
        """Leave nothing open: an open transaction would hold readers back until it times out."""
        with suppress(ProducerLostError):  # then the next start under this name, or the timeout, ends it
            self._ledger.abort()
        with suppress(RedisError):
            self._line.answers()
        self._positions.drop()
        self._group.leave()
        self._telemetry.stopped()


def _timed(times_ms: dict[str, float], name: str, step: Callable[[], T]) -> T:
    times_ms[name] = 0.0
    started = time.perf_counter()
    try:
        return step()
    finally:
        times_ms[name] = round((time.perf_counter() - started) * 1000, 3)


def _tell_refused(refusals: dict[int, str]) -> None:
    for error in sorted(set(refusals.values())):
        partitions = sorted(partition for partition, told in refusals.items() if told == error)
        log.warning("mirror.not_written", error=error, partitions=partitions)


class BreakerOpen(Exception):  # noqa: N818 - a state, no error
    """Too many events are invalid, and the settings say to stop consuming then; the text says how many."""
