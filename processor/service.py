"""The processor: one batch, one transaction, in six steps; and the one path on which it recovers.

    1 poll     wait for a record, take what is there, note the group's generation
    2 decode   Avro -> event -> command or rejection; a bad record becomes a value
    3 look up  every order's state, every identifier and the marks they are as of, in one round trip
    4 fold     (order, command, owner) -> fact or rejection, later events seeing what earlier ones did
    5 commit   facts, rejected records and source offsets in one Kafka transaction
    6 mirror   the changed orders and the new watermark to Redis, one atomic step a partition

Kafka is the ledger, Redis a mirror with a watermark: whatever goes wrong in 1 to 5 aborts the transaction
and starts over from the committed offsets with nothing remembered; what goes wrong in 6 leaves a mirror
that the next step 3 finds behind, and catches up from the facts. See processor/README.md.
"""

import random
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec
import redis as redis_client

from processor import startup
from processor.adapters import redis
from processor.adapters.avro import codec
from processor.adapters.contact_index import ContactIndex
from processor.adapters.group import Group
from processor.adapters.ledger import TRANSACTION_TIMEOUT_S, Ledger, Watermark
from processor.adapters.mirror import Mirror, MirrorWrite
from processor.domain.identifiers import Identifier
from processor.domain.orders import Order
from processor.domain.records import Record
from processor.domain.rejections import Outcome
from processor.errors import MirrorMovedError, OrderFactsError, ProducerLostError, RedisError, RetryError
from processor.logs import get_logger
from processor.pipeline import Folded, OrderKey, Parsed, fold, needs, read
from processor.positions import Positions
from processor.settings import Settings

POLL_S: Final = 0.1
BATCH_BYTES: Final = 32 << 20  # of input, and twice the output: what one transaction may hold
STATS_EVERY_S: Final = 10.0
BACKOFF_S: Final = (0.05, 2.0)
T = TypeVar("T")
log = get_logger()


class Known(msgspec.Struct, frozen=True):
    """What step 3 found: the mirror's watermarks, the known orders, and the contacts by identifier."""

    marks: dict[int, Watermark | None]
    orders: dict[OrderKey, Order]
    contacts: dict[Identifier, str]


class Service:
    """One replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = startup.rules_of(settings)
        found = startup.check(settings)
        self._codec = codec()
        self._redis = found.redis
        self._group = Group(settings)
        self._ledger = Ledger(settings, found.lineage, found.batch_bytes)
        self._mirror = Mirror(found.redis, found.lineage, self._codec)
        self._index: ContactIndex = found.index
        self._positions = Positions(settings, self._group, self._mirror, found.cluster, found.topics, found.lineage)
        self._partitions = found.topics.events.partitions
        self._left_over: list[Record] = []
        self._most = settings.max_batch
        self._times_ms: dict[str, float] = {}
        self._waiting: _Waiting | None = None
        self._stats = _Stats()

    def run(self, stop: threading.Event) -> None:
        """Process order events until `stop` is set: the batch in hand is finished or aborted, the group left."""
        log.info("service.started", topics=self._settings.events_topic, group_id=self._settings.group_id,
                 partitions=self._partitions)  # fmt: skip
        self._group.join()
        try:
            while not stop.is_set():
                try:
                    self._ledger.ready()
                    self._positions.settle()
                    self.process_batch()
                    self._resumed()
                except (RetryError, ProducerLostError) as error:
                    self._recover(error, stop)
                self._tell()
            log.info("service.stopping")
        finally:
            self._positions.drop()
            self._group.leave()
            log.info("service.stopped", **self._stats.totals())

    def process_batch(self) -> None:
        """One batch. A step that fails raises, and `run` recovers; nothing is remembered between the steps."""
        self._times_ms = {}
        records = self._timed("poll_ms", self.poll)  # 1
        if not records:
            return
        parsed = self._timed("decode_ms", lambda: self.decode(records))  # 2
        known = self._timed("lookup_ms", lambda: self.look_up(parsed))  # 3
        folded = self._timed("fold_ms", lambda: self.fold(parsed, known))  # 4
        watermarks = self._timed("commit_ms", lambda: self.commit(folded))  # 5
        self._timed("mirror_ms", lambda: self.mirror(folded, known, watermarks))  # 6
        self._left_over = records[len(folded.outputs) :]
        self._report(folded)

    def poll(self) -> list[Record]:
        """Step 1. What the last batch's byte budget left over comes first, unless a rebalance took it away."""
        if not self._left_over:
            return self._group.take(self._most, POLL_S)
        records, self._left_over = self._left_over, []
        if self._group.serve(0.0):
            self._group.rewind(records)
            log.info("batch.dropped", cause="rebalance", records=len(records))
            return []
        return records

    def decode(self, records: list[Record]) -> list[Parsed]:
        """Step 2. Pure."""
        return read(records, self._codec.decode_event, self._rules)

    def look_up(self, parsed: list[Parsed]) -> Known:
        """Step 3. One round trip; within it a partition, and an index shard, is read by one atomic command."""
        wanted = needs(parsed)
        order_ids = {partition: list(names) for partition, names in wanted.order_ids.items()}
        pipeline = self._redis.pipeline(transaction=False)
        self._mirror.add_lookups(pipeline, order_ids)
        plan = self._index.add_lookups(pipeline, wanted.identifiers)
        try:
            replies = pipeline.execute()
        except redis_client.RedisError as error:
            raise redis.classify(error) from error
        marks, orders = self._mirror.read(order_ids, replies[: len(order_ids)])
        moved = [partition for partition, mark in marks.items() if mark != self._group.placed[partition].mark]
        if moved:
            raise MirrorMovedError(f"the mirror of partitions {moved} is not where this member left it")
        return Known(marks, orders, self._index.read(plan, replies[len(order_ids) :]).contacts)

    def fold(self, parsed: list[Parsed], known: Known) -> Folded:
        """Step 4. Pure."""
        return fold(parsed, known.orders, known.contacts, self._codec.encode_fact, self._rules, BATCH_BYTES)

    def commit(self, folded: Folded) -> dict[int, Watermark]:
        """Step 5. On return the batch is in Kafka for good, and nothing of it will be done again."""
        before = {partition: self._group.placed[partition].watermark for partition in folded.next_offsets}
        after = self._ledger.commit(folded.outputs, before, folded.next_offsets, self._group.generation)
        self._group.advance(after)
        return after

    def mirror(self, folded: Folded, known: Known, watermarks: dict[int, Watermark]) -> None:
        """Step 6. Not retried: where it fails, the next step 3 finds the mirror behind."""
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
            moved = self._mirror.write(writes)
        except RedisError as error:
            log.warning("mirror.not_written", error=str(error), partitions=sorted(watermarks))
        else:
            if moved:
                log.warning("mirror.not_written", error="another watermark stands there", partitions=moved)

    def _recover(self, error: OrderFactsError, stop: threading.Event) -> None:
        """Abort, rewind, forget, wait, start over: the one recovery path. A StopError never comes here."""
        step = list(self._times_ms)[-1:] or [""]
        if self._times_ms.get("commit_ms", 0) >= TRANSACTION_TIMEOUT_S * 1000:
            self._most = max(1, self._most // 2)
        try:
            self._ledger.abort()
        except ProducerLostError as lost:
            error = lost
        if isinstance(error, ProducerLostError):
            self._ledger.forget_producer()
            log.warning("producer.replaced", error=str(error))
        recovery = "producer_lost" if isinstance(error, ProducerLostError) else "retry"
        log.warning("batch.aborted", recovery=recovery, error=str(error), step=step[0], records=len(self._left_over))
        self._left_over = []
        self._positions.drop()
        self._group.rewind(everything=True)
        self._wait(error, stop)

    def _wait(self, error: OrderFactsError, stop: threading.Event) -> None:
        """Wait with backoff, polling all the while with every partition paused, so as to stay in the group."""
        waiting_for = getattr(error, "waiting_for", "kafka")
        if self._waiting is None:
            self._waiting = _Waiting(waiting_for)
        self._waiting.attempt += 1
        least, most = BACKOFF_S
        backoff_s = min(most, least * 2 ** min(self._waiting.attempt, 10)) * random.uniform(0.5, 1)  # noqa: S311
        log.warning("service.waiting", waiting_for=waiting_for, error=str(error), attempt=self._waiting.attempt,
                    backoff_ms=round(backoff_s * 1000))  # fmt: skip
        until = time.monotonic() + backoff_s
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            with suppress(RetryError, ProducerLostError):  # what is wrong is known: this is the wait for its end
                self._group.serve(min(left, 0.1))
            self._tell()

    def _resumed(self) -> None:
        """End a wait: a round went through and no partition is owed a place."""
        if self._waiting is not None and not self._group.owed:
            waited_ms = round((time.monotonic() - self._waiting.since) * 1000)
            log.info("service.resumed", waiting_for=self._waiting.waiting_for, waited_ms=waited_ms)
            self._waiting = None

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        self._times_ms[name] = 0.0
        started = time.perf_counter()
        try:
            return step()
        finally:
            self._times_ms[name] = round((time.perf_counter() - started) * 1000, 3)

    def _report(self, folded: Folded) -> None:
        outcomes = folded.outcomes
        self._most = min(self._settings.max_batch, self._most * 2)
        self._stats.count(folded)
        log.info(
            "batch.committed",
            records=len(folded.outputs),
            facts=folded.facts,
            ignored=outcomes[Outcome.IGNORED],
            invalid=outcomes[Outcome.INVALID],
            reasons={reason.value: count for reason, count in sorted(folded.reasons.items())},
            partitions=sorted(folded.next_offsets),
            input_bytes=folded.input_bytes,
            output_bytes=folded.output_bytes,
            **self._times_ms,
        )

    def _tell(self) -> None:
        """Log the figures of the last ten seconds, if they are over."""
        figures = self._stats.due()
        if figures is not None:
            log.info(
                "service.stats",
                **figures,
                lag_records=self._group.lag_records(),
                partitions=sorted(self._group.assigned),
                waiting_for=self._waiting.waiting_for if self._waiting else None,
                rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            )


class _Waiting:
    """What the service waits for since when."""

    def __init__(self, waiting_for: str) -> None:
        self.waiting_for = waiting_for
        self.since = time.monotonic()
        self.attempt = 0


class _Stats:
    """Counts since the start, and the rate since the last line."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter(events=0, facts=0, ignored=0, invalid=0)
        self._since = time.monotonic()
        self._events_then = 0

    def count(self, folded: Folded) -> None:
        outcomes = folded.outcomes
        self._counts.update(
            events=len(folded.outputs),
            facts=folded.facts,
            ignored=outcomes[Outcome.IGNORED],
            invalid=outcomes[Outcome.INVALID],
        )

    def totals(self) -> dict[str, int]:
        return {
            "events": self._counts["events"],
            "facts": self._counts["facts"],
            "rejected": self._counts["ignored"] + self._counts["invalid"],
        }

    def due(self) -> dict[str, float] | None:
        now = time.monotonic()
        if now - self._since < STATS_EVERY_S:
            return None
        rate = (self._counts["events"] - self._events_then) / (now - self._since)
        self._since, self._events_then = now, self._counts["events"]
        return {**self._counts, "events_per_s": round(rate, 1)}
