"""The replica's loop: one batch, one transaction, in six steps; and its one recovery path.

    1 poll     wait for a record, take what is there, note the group's generation
    2 decode   Avro -> event -> command or rejection; a bad record becomes a value
    3 look up  every order's state, every identifier and the marks they are as of, in one round trip; seldom, in a
               second one, whether contacts still exist
    4 fold     (order, command, owner) -> fact or rejection; later events see what earlier ones did
    5 commit   facts, rejected records and source offsets in one Kafka transaction
    6 mirror   the changed orders and the new watermark to Redis, one atomic step a partition, not waited for

A failure in 1 to 5 aborts the transaction, forgets everything and starts over from the committed offsets. A failure in
6 leaves the mirror behind: the next step 3 finds that, and a catch-up from the facts follows.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from processor.codec.avro import codec
from processor.codec.order_state import state_of
from processor.codec.packed_items import with_packed_items
from processor.contacts.lookup import IndexNotReadyError
from processor.domain.batch import Folded, Parsed
from processor.domain.pipeline import fold, read
from processor.domain.records import Record, UndecodableError
from processor.errors import FactsMovedError, ProducerLostError, RedisError, RetryError
from processor.kafka.clients import transactional_producer
from processor.kafka.repeats import Repeats
from processor.kafka.transactions import TRANSACTION_TIMEOUT_S, Transactions
from processor.logs import get_logger
from processor.monitoring.waits import backoff_s
from processor.replica import startup
from processor.replica.batch_size import BatchSize
from processor.replica.breaker import Breaker
from processor.replica.freshness import Freshness
from processor.replica.group import Group, Intake
from processor.replica.lag import Lag
from processor.replica.ledger import Ledger
from processor.replica.looking_up import Known, LookUp
from processor.replica.partitions import Partitions
from processor.replica.positions import Positions
from processor.replica.telemetry import Telemetry
from processor.replica.timing import Step, Timing
from processor.replica.withholding import Withholding
from processor.settings import Settings
from processor.settings.rules import rules_of
from processor.state.line import Line
from processor.state.mirror import Mirror, MirrorWrite
from processor.state.watermark import Notes, Watermark

POLL_S: Final = 0.1
PROBE_EVERY_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 2.0
INPUT_BYTES: Final = 16 << 20
BATCH_BYTES: Final = 48 << 20  # of input plus twice the output: the limit of one transaction
BACKOFF_S: Final = (0.05, 2.0)
log = get_logger()


class Batch(msgspec.Struct, frozen=True):
    """The result of steps 1 and 2: records, what each asks for, the group's generation, and the time it took."""

    records: list[Record]
    parsed: list[Parsed]
    generation: Any
    timing: Timing


class Service:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = with_packed_items(rules_of(settings))
        self._require_registry = startup.ask_registry(settings)
        found = startup.check(settings)
        self._require_registry()
        self._wire, self._encode_fact = found.wire, startup.fact_encoder(settings, found.wire)
        self._wire.know_events()
        self._cluster = found.cluster
        self._partitions = Partitions()
        self._group = Group(settings, self._partitions)
        self._transactions = Transactions(lambda: transactional_producer(settings, found.batch_bytes))
        self._ledger = Ledger(settings, found.lineage, self._transactions)
        self._line = Line(found.redis)
        self._mirror = Mirror(found.redis, found.lineage, codec())
        self._lookup = LookUp(self._line, self._mirror, found.index, self._partitions, self._rules)
        self._positions = Positions(settings, self._partitions, self._group, self._mirror, found)
        self._withholding = Withholding(found.wire, self._partitions, self._group, settings.max_event_bytes)
        self._freshness = Freshness()
        self._lag = Lag(found.cluster, settings.events_topic, self._partitions, self._group, self._freshness)
        self._breaker = Breaker(settings.breaker_window, settings.breaker_max_invalid_ratio)
        self._telemetry = Telemetry(settings, found.topics.events.partitions)
        self._size = BatchSize(settings.max_batch)
        self._timing = Timing()
        self._in_hand: list[Record] = []  # the current batch's
        self._repeats = Repeats(settings.events_topic)
        self._ahead: Batch | None = None  # the next batch, if it was read during the last commit
        self._probe_due_s = 0.0
        self.go_on = threading.Event()  # set from outside to end a breaker's pause

    def run(self, stop: threading.Event) -> None:
        """Process order events until `stop` is set; then finish or abort the current batch and leave the group."""
        log.info("service.started", topic=self._settings.events_topic, group_id=self._settings.group_id)
        try:
            self._group.join()
            while not stop.is_set():
                self._timing, self._in_hand = Timing(), []
                self._require_registry()  # its answer may come after the start
                try:
                    self._group.replace_if_unusable(self._cluster)
                    self._transactions.ready("starting transactions")
                    if self._partitions.owed:
                        self._line.answers()  # finish this replica's writes before it reads the mirror's marks
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
        """Process one batch; a step that fails raises, and `run` recovers. A call leaves only what it read ahead."""
        batch = self._ahead or self.read(self._positions.events_wait_s, self._timing)  # 1, 2; or they were done ahead
        self._ahead = None
        self._timing = timing = batch.timing
        self._in_hand = batch.records
        if not batch.records:
            self._probe(batch)
            return
        self._lag.met(batch.records)
        with timing.of(Step.LOOK_UP):
            known = self.look_up(batch.parsed)  # 3
        with timing.of(Step.FOLD):
            folded = self.fold(batch.parsed, known)  # 4
        if folded.has_mismatch:
            with timing.of(Step.LOOK_UP):
                known = self._lookup.owners(known, batch.parsed)  # 3, once more: which owners exist (D15)
            if known.gone:
                with timing.of(Step.FOLD):
                    folded = self.fold(batch.parsed, known)
        self._group.give_back(batch.records[len(folded.outputs) :])
        with timing.of(Step.COMMIT):
            watermarks = self.commit(batch, folded, known, beside=self._beside_commit(batch))  # 5; 1, 2 ahead
        with timing.of(Step.MIRROR):
            self.mirror(folded, known, watermarks)  # 6
        self._committed(batch, folded)

    def read(self, wait_s: float, timing: Timing) -> Batch:
        """Take a batch and decode it: steps 1 and 2, without partitions whose next event's schema is not known yet."""
        with timing.of(Step.POLL):
            intake = self.poll(wait_s)
        with timing.of(Step.DECODE):
            records, parsed = self._withholding.decoded(intake.records, self.decode)
        return Batch(records, parsed, intake.generation, timing)

    def poll(self, wait_s: float) -> Intake:
        """Step 1. Records left over by the last batch's byte budget come first."""
        return self._group.take(self._size.records, INPUT_BYTES, wait_s)

    def decode(self, records: list[Record]) -> list[Parsed]:
        """Step 2. Pure."""
        return read(records, self._wire.read_event, self._rules)

    def look_up(self, parsed: list[Parsed]) -> Known:
        """Step 3."""
        known = self._lookup.known(parsed, self._group.ends())
        self._telemetry.index_read(known.indexed_at_ms)
        return known

    def fold(self, parsed: list[Parsed], known: Known) -> Folded:
        """Step 4. Pure."""
        try:
            encode, rules = self._encode_fact, self._rules
            return fold(parsed, known.orders, known.contacts, encode, rules, BATCH_BYTES, gone=known.gone)
        except UndecodableError:
            self._mirror.check_items(known.orders)
            raise

    def commit(
        self, batch: Batch, folded: Folded, known: Known, beside: Callable[[], None] | None = None
    ) -> dict[int, Watermark]:
        """Step 5. On return the batch is committed. `beside` runs meanwhile; its time counts for the next batch."""
        self._positions.look_at_partition_count()
        read, ends = folded.next_offsets, self._group.ends()
        next_offsets = read | {partition: max(end, read.get(partition, 0)) for partition, end in ends.items()}
        before = {partition: self._partitions.placed[partition].watermark for partition in next_offsets}
        notes = Notes(known.index, self._partitions.logs(self._group.positions(next_offsets)))
        after = self._ledger.commit(folded.outputs, before, next_offsets, notes, batch.generation, beside)
        self._partitions.advance(after)
        return after

    def mirror(self, folded: Folded, known: Known, watermarks: dict[int, Watermark]) -> None:
        """Step 6. Sends and does not wait: the next step 3, on the same connection, sees whether it was written."""
        writes = [
            MirrorWrite(
                partition,
                known.marks[partition],
                watermark,
                {name: state_of(order) for name, order in folded.changed.get(partition, {}).items()},
            )
            for partition, watermark in watermarks.items()
        ]
        self._mirror.write(self._line, writes)

    def _beside_commit(self, batch: Batch) -> Callable[[], None] | None:
        """Return what runs while the brokers take a batch: steps 1 and 2 of the next one, if as many records wait.

        If fewer wait, do not read ahead: a batch taken early ends early, and records that come during the commit would
        wait for one more batch. At 1,000 events a second this lowered p50 from 22 ms to 15.
        """
        backlog = self._group.backlog_records()
        has_backlog = backlog is not None and backlog >= 2 * len(batch.records)
        return self._read_ahead if has_backlog else None

    def _read_ahead(self) -> None:
        """Take and decode the next batch during this one's commit; if that fails, both are dropped."""
        batch = self.read(0.0, Timing())
        self._ahead = batch if batch.records else None

    def _recover(self, error: RetryError | ProducerLostError, stop: threading.Event) -> None:
        """Abort, rewind, forget, wait, start over: the one recovery path. A StopError never gets here."""
        step = self._timing.step
        is_slow = self._timing.times_ms.get(Step.COMMIT, 0) >= TRANSACTION_TIMEOUT_S * 1000
        if is_slow or error.lasting or (step is Step.LOOK_UP and isinstance(error, RedisError)):
            self._size.too_much(len(self._in_hand))
        self._repeats.failed(error, self._in_hand)
        try:
            if not isinstance(error, ProducerLostError):  # a lost producer's successor settles its transaction
                self._transactions.abort("aborting a batch")
        except ProducerLostError as lost:
            error = lost
        if isinstance(error, ProducerLostError):
            self._transactions.forget()
            log.warning("producer.replaced", error=str(error))
        self._freshness.dropped(self._in_hand, time.time() * 1000)
        recovery = "producer_lost" if isinstance(error, ProducerLostError) else "retry"
        why, text = error.waiting_for, str(error)
        self._telemetry.aborted(recovery, text, step, len(self._in_hand))
        self._forget(
            catch_ups=not isinstance(error, IndexNotReadyError), is_suspicious=isinstance(error, FactsMovedError)
        )
        attempt = self._telemetry.waiting(why, text)
        pause_s = backoff_s(attempt, *BACKOFF_S)
        backoff_ms = round(pause_s * 1000)
        log.warning("service.waiting", waiting_for=why, error=text, attempt=attempt, backoff_ms=backoff_ms)
        self._stay(time.monotonic() + pause_s, stop)

    def _forget(self, *, catch_ups: bool = True, is_suspicious: bool = False) -> None:
        """Rewind everything: drop all records, owe a place to every partition."""
        self._line.renew()
        self._ahead = None
        self._positions.drop(catch_ups=catch_ups, is_suspicious=is_suspicious)
        self._group.rewind_everything()
        self._probe_due_s = 0.0  # so that a wait ends only when the service it waits for answers

    def _pause(self, tripped: "BreakerOpen", stop: threading.Event) -> None:
        """Stop consuming but stay in the group, for the configured time or until `go_on`."""
        pause_s = self._settings.breaker_pause_s
        log.error("breaker.paused", cause=str(tripped), pause_s=pause_s or None)
        self._forget()
        self._telemetry.waiting("breaker", str(tripped))
        self._stay(time.monotonic() + (pause_s or float("inf")), stop)
        self._breaker.reset()
        self._telemetry.resumed()

    def _stay(self, until_s: float, stop: threading.Event) -> None:
        """Stay in the group: keep polling with every partition owed, until a time, a stop, or `go_on`.

        Catch-ups continue meanwhile: the wait may be for the contact index, which was lost with the mirror.
        """
        self.go_on.clear()
        while not stop.is_set() and not self.go_on.is_set() and (left_s := until_s - time.monotonic()) > 0:
            with suppress(RetryError):  # the error is known: this is the wait for its end
                self._group.stay(0.0 if self._partitions.catching_up else min(left_s, POLL_S))
            try:
                self._positions.catch_up()
            except RetryError as error:
                log.warning("mirror.not_written", error=str(error), partitions=sorted(self._partitions.catching_up))
                self._positions.drop()
            self._turned(has_settled=False)

    def _turned(self, *, has_settled: bool = True) -> None:
        """Report a turn of the loop; one that settled all partitions ends a wait."""
        self._lag.look(self._ahead.records if self._ahead else ())
        self._withholding.look()
        owed, catching_up = self._partitions.owed, self._partitions.catching_up
        if has_settled and not owed:
            self._telemetry.resumed()
        unread = {number: unread.error for number, unread in self._partitions.unread.items()}
        counts = len(self._partitions.readable), len(catching_up), len(owed - catching_up)
        self._telemetry.withheld(self._withholding.problems())
        self._telemetry.turned(*counts, unread, stalled=len(self._lag.stalled), has_joined=self._group.has_joined)
        if self._telemetry.is_due():
            self._telemetry.log_totals(self._lag.records(), self._lag.freshness_s(), sorted(self._partitions.assigned))

    def _probe(self, nothing: Batch) -> None:
        """While no events come, check every few seconds that Redis and Kafka answer, and commit idle ends."""
        if time.monotonic() < self._probe_due_s:
            return
        self._probe_due_s = time.monotonic() + PROBE_EVERY_S
        known = self.look_up([])
        self._group.ping(PROBE_TIMEOUT_S)
        self._positions.look_at_partition_count()
        if self._group.ends():
            folded = self.fold([], known)
            self.mirror(folded, known, self.commit(nothing, folded, known))

    def _committed(self, batch: Batch, folded: Folded) -> None:
        """Report a committed batch, set the next one's size, and let the breaker judge this one."""
        times_ms = self._timing.times_ms
        if self._ahead is not None:  # its steps ran during this commit, and count as the next batch's
            times_ms[Step.COMMIT] = round(times_ms[Step.COMMIT] - sum(self._ahead.timing.times_ms.values()), 3)
        self._size.committed(len(folded.outputs), is_whole=len(folded.outputs) == len(batch.records))
        self._probe_due_s = time.monotonic() + PROBE_EVERY_S
        self._repeats.worked()
        self._freshness.committed(folded.last, time.time() * 1000)
        self._telemetry.committed(folded, times_ms, self._lag.freshness_s())
        cause = self._breaker.trips(output.is_invalid for output in folded.outputs)
        if cause is not None and self._settings.breaker_action == "pause":
            raise BreakerOpen(cause)
        if cause is not None:
            log.warning("breaker.tripped", cause=cause)
            self._breaker.reset()

    def _end(self) -> None:
        """Leave nothing open: an open transaction would hold readers back until it times out."""
        with suppress(ProducerLostError):  # the next start under this name, or the timeout, ends it then
            self._transactions.abort("aborting a batch")
        with suppress(RedisError):
            self._line.answers()
        self._positions.drop()
        self._lag.close()
        self._wire.close()
        self._group.leave()
        self._telemetry.stopped()


class BreakerOpen(Exception):  # noqa: N818 - a state, not an error
    """Too many events are invalid, and the settings say to stop consuming then; the text says how many."""
