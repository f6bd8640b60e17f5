"""One hold of the replay's ledger by the healer: reads what waits, looks it up and sends it back.

1. open: what earlier replays sent back is read from the ledger, and the rejected topic from the first record that may
   still wait. Nothing of it is kept elsewhere: after a crash this finds the same again.
2. read: new records of the rejected topic join what waits (`waiting`). A partition whose next event's schema the
   registry is still asked for waits alone, unread.
3. look up: the identifiers of what has just come, at once; those of all, when the contact index has moved.
4. send back: the records are read again by their places, and their copies committed in one transaction together with a
   record of each in the healed topic. So each goes back once, whatever dies.

Looking everything up takes at most a tenth of the time, however many wait; while nothing waits, nothing is asked.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import nsmallest
from itertools import islice
from typing import Final

import msgspec

from processor.codec.avro import codec
from processor.codec.healed import Place
from processor.contacts.lookup import ContactIndex
from processor.contacts.shards import Hashes
from processor.domain.pipeline import read
from processor.domain.records import Record
from processor.domain.rejections import Reason, Rejection
from processor.errors import AwaitedSchemaError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.holds import Holds
from processor.registry.wire import Wire
from processor.replay.healer_view import HealerView
from processor.replay.judging import Copy, Entry, entry_of, is_swept
from processor.replay.rejected_feed import RejectedFeed, read_again
from processor.replay.replay_ledger import SMALL_QUEUE, ReplayLedger
from processor.replay.replaying import copy_of
from processor.replay.searching import ORDERS_AT_ONCE, Search
from processor.replay.sweeps import Sweeps
from processor.replay.waiting import OrderHash, Sighting, Waiting, order_hash
from processor.settings import Settings
from processor.settings.rules import rules_of
from processor.state.mirror import Mirror
from processor.state.servers import Servers
from processor.state.watermark import ContactsPosition, Lineage

MOST_WAITING: Final = 200_000  # records: some 70 MiB for each 100,000
HEALED: Final = frozenset(
    {Reason.CONTACT_NOT_FOUND, Reason.MISSING_PARAMETER, Reason.NO_IDENTIFIER, Reason.ORDER_UNKNOWN}
)
_MARGIN_MS: Final = 600_000  # rejected records' times are those of several machines
_SWEEP_PAUSE_S: Final = 1.0
_SWEEP_SHARE: Final = 10  # of the time one part goes into looking everything up
_EXPIRE_EVERY_S: Final = 5.0
_ASK_EVERY_S: Final = 5.0
_FORGET_AT_ONCE: Final = 10_000
_SEND_AT_ONCE: Final = 10_000
# What is rejected again although its contact was found was judged by another index: for some ten seconds after a
# fail-over both the old and the new Redis take writes. Without a pause all rounds would be spent within a second.
_AGAIN_MS: Final = 15_000


class Deployment(msgspec.Struct, frozen=True):
    """What the healer works on."""

    cluster: Cluster
    redis: Servers
    events: Topic
    rejected: Topic
    healed: Topic
    lineage: Lineage
    index: ContactIndex
    wire: Wire


class Plan(msgspec.Struct, frozen=True):
    """What is healed: events at most `within_ms` old; with `unknown_orders` also `order_unknown` without a head."""

    within_ms: int
    unknown_orders: bool = False


class Healing:
    """From a take-over to the next failure. Raises OvertakenError, RetryError, ProducerLostError or StopError."""

    def __init__(
        self, settings: Settings, deployment: Deployment, plan: Plan, ledger: ReplayLedger, view: HealerView
    ) -> None:
        self._settings, self._at, self._plan, self._ledger, self._view = settings, deployment, plan, ledger, view
        self._rules = rules_of(settings)
        self._hashes = Hashes(settings)
        self._search = Search(deployment.index, Mirror(deployment.redis, deployment.lineage, codec()))
        self._lineage = deployment.lineage.digest()
        self.waiting = Waiting(MOST_WAITING)
        self._todo: Iterator[OrderHash] | None = None  # what is left of the present sweep
        self._sweep_s = self._next_sweep_s = self._next_expiry_s = self._next_ask_s = 0.0
        self._swept_to: ContactsPosition | None = None
        self._sweeping_to: ContactsPosition | None = None
        self._opened_s = time.monotonic()
        self._is_ready = False
        self._holds = Holds(deployment.wire, until_known=True)
        self._held: dict[int, int] = {}  # of each partition that waits: its next offset in the rejected topic
        self._open()

    def _open(self) -> None:
        """Step 1, except for reading what waits."""
        self._swept = self._ledger.swept()
        self._healed = self._ledger.healed()
        self._healed_records = sum(map(len, self._healed.values()))
        name, partitions = self._at.rejected.name, range(self._at.rejected.partitions)
        starts, ends = self._at.cluster.starts(name, partitions), self._at.cluster.ends(name, partitions)
        self._forget(starts)
        first = self._ledger.first_since(partitions, _now_ms() - self._plan.within_ms - _MARGIN_MS)
        froms = {partition: max(starts[partition], first.get(partition, ends[partition])) for partition in partitions}
        self._consumer = reader(self._settings, **SMALL_QUEUE)
        self.feed = RejectedFeed(self._consumer, name, froms, ends)

    def close(self) -> None:
        """Close what it reads with."""
        self._consumer.close()

    def read(self, timeout_s: float) -> int:
        """Step 2; return how many records came. Waits `timeout_s` at most, for the first."""
        if released := self._holds.released():
            self.feed.read_on({partition: self._held.pop(partition) for partition in released})
        records = self.feed.poll(0.0 if self._todo is not None else timeout_s)
        if let_go := self._see_all(records):
            self._view.let_go(let_go, MOST_WAITING)
        if not self._is_ready and self.feed.is_caught_up and not self._held:
            self._is_ready = True
            self._healed = {}  # what comes now was never sent back
            self.waiting.fresh(_now_ms())
            self._sweep_anew()
            self._view.ready(self.waiting.records, self._healed_records, time.monotonic() - self._opened_s)
        return len(records)

    def look_at_lag(self) -> None:
        """Ask the brokers now and then how much of the rejected topic is not read."""
        now_s = time.monotonic()
        if now_s >= self._next_ask_s:
            self._next_ask_s, asked_s = now_s + _ASK_EVERY_S, time.time()
            ends = self._at.cluster.ends(self._at.rejected.name, range(self._at.rejected.partitions))
            self._view.behind(self.feed.lag_records(ends), asked_s)

    def look_up(self) -> None:
        """Step 3, a part of it. Raises IndexNotReadyError if the index is not ready (C4), RedisError or StopError.

        After an error everything is looked up again.
        """
        self._expire()
        if not self.waiting.records:
            return
        with ExitStack() as failed:
            failed.callback(self._sweep_anew)
            self._look(self.waiting.fresh(_now_ms()))
            self._sweep()
            failed.pop_all()

    def look_all_up(self) -> None:
        """Step 3 for all that waits. Raises as `look_up`."""
        self._expire()
        orders = iter(self.waiting.all())
        while some := list(islice(orders, ORDERS_AT_ONCE)):
            self._look(some)

    def send_back(self) -> Iterator[int]:
        """Step 4; yield after each transaction how many records it sent back."""
        while leaving := set(nsmallest(_SEND_AT_ONCE, self.waiting.leaving)):  # in order, partition by partition
            yield from self._send(leaving)

    def _send(self, leaving: set[Place]) -> Iterator[int]:
        name = self._at.rejected.name
        starts = self._at.cluster.starts(name, range(self._at.rejected.partitions))
        there = {place for place in leaving if place.offset >= starts[place.partition]}
        for records in read_again(self._ledger.consumer, name, there):
            began_s = time.monotonic()
            copies = [self._copy(record) for record in records]
            touched = {record.partition for record in records}
            swept = {partition: self._swept[partition] for partition in touched if partition in self._swept}
            offsets = self._ledger.send_back(copies, swept)
            places = [Place(record.partition, record.offset) for record in records]
            self.waiting.sent(dict(zip(places, offsets, strict=True)))
            self._view.sent(len(copies), sorted(touched), time.monotonic() - began_s)
            leaving.difference_update(places)
            yield len(copies)
        if leaving:  # retention was faster
            self.waiting.lost(leaving)
            self._view.expired(len(leaving))

    def _see_all(self, records: list[Record]) -> int:
        """Take records; return how many others were let go for them.

        Of a partition nothing is taken from the first record on whose schema is not known yet: it is read again then.
        """
        let_go = 0
        awaited: dict[int, tuple[int, bytes]] = {}
        behind: list[Record] = []
        for record in records:
            if record.partition not in awaited:
                try:
                    let_go += self._see(record)
                    continue
                except AwaitedSchemaError as error:
                    if self._at.wire.is_patient:  # a command has waited, and ends
                        raise
                    awaited[record.partition] = record.offset, error.prefix
            behind.append(record)
        if awaited:
            offsets = {partition: offset for partition, (offset, _) in awaited.items()}
            self.feed.give_up(offsets)
            self._held |= offsets
            prefixes = map(self._at.wire.prefix_of, behind)
            self._holds.add(awaited, (prefix for prefix in prefixes if prefix is not None))
        return let_go

    def _see(self, record: Record) -> int:
        """Take one record of the rejected topic; return how many others were let go for it."""
        entry = entry_of(record, self._at.events.name, self._lineage)
        if entry is None or entry.partition != record.partition:
            return 0
        self.waiting.passed(entry.partition, entry.event_offset)
        if entry.reason not in HEALED or entry.is_truncated:
            return 0
        seen = self._sighting(entry)
        copy_offset = self._healed.get(record.partition, {}).get(record.offset)
        if copy_offset is not None:
            self.waiting.copied(seen, copy_offset)
            return 0
        is_done = entry.rounds >= self._settings.replay_max_rounds or seen.expires_ms <= _now_ms()
        if is_done or is_swept(entry, self._swept.get(record.partition, {})):
            return 0
        if entry.reason is Reason.CONTACT_NOT_FOUND:
            seen = msgspec.structs.replace(seen, digests=self._digests(record))
        elif entry.reason is Reason.ORDER_UNKNOWN and self._plan.unknown_orders:
            seen = msgspec.structs.replace(seen, order_key=record.key)
        return self.waiting.add(seen)

    def _sighting(self, entry: Entry) -> Sighting:
        record = entry.record
        times_ms = [known for known in (entry.timestamp_ms, record.timestamp_ms) if known >= 0]
        return Sighting(
            order=order_hash(entry.partition, record.key),
            place=Place(record.partition, record.offset),
            event_offset=entry.event_offset,
            rounds=entry.rounds,
            expires_ms=min(times_ms, default=0) + self._plan.within_ms,
            from_ms=min(record.timestamp_ms, _now_ms()) + entry.rounds * _AGAIN_MS if entry.rounds else 0,
        )

    def _digests(self, record: Record) -> bytes:
        """Return the joined hashes of the identifiers that may find the event's contact, as the rules read it now.

        The registry knew the schema when the event was rejected for its contact: if it does not now, it lost that, and
        AwaitedSchemaError is raised.
        """
        wire = self._at.wire
        (parsed,) = read([record], wire.read_event, self._rules)
        if isinstance(parsed.result, Rejection):
            prefix, detail = wire.prefix_of(record), parsed.result.detail
            if prefix is not None and wire.may_have_been_unknown(record, detail) and not wire.is_patient:
                raise AwaitedSchemaError(detail, prefix)
            return b""
        tried = dict.fromkeys(candidate.identifier for candidate in parsed.result.candidates)
        return b"".join(self._hashes.identifier(identifier) for identifier in tried if identifier is not None)

    def _look(self, orders: list[OrderHash]) -> None:
        if orders:
            self.waiting.found(self._search.found(self.waiting, orders))

    def _sweep(self) -> None:
        """Look up the next part of all that waits, if it is time to."""
        began_s = time.monotonic()
        if self._todo is None:
            if began_s < self._next_sweep_s:
                return
            self._next_sweep_s = began_s + _SWEEP_PAUSE_S
            position = self._search.position()
            if position == self._swept_to and not self._plan.unknown_orders:
                return
            self._todo, self._sweep_s, self._sweeping_to = iter(self.waiting.all(_now_ms())), 0.0, position
        some = list(islice(self._todo, ORDERS_AT_ONCE))
        self._look(some)
        now_s = time.monotonic()
        self._sweep_s += now_s - began_s
        if len(some) < ORDERS_AT_ONCE:
            self._todo, self._swept_to = None, self._sweeping_to
            self._next_sweep_s = now_s + max(_SWEEP_PAUSE_S, _SWEEP_SHARE * self._sweep_s)

    def _sweep_anew(self) -> None:
        """Look all up again, and at once: a turn that asks nothing must not pass for one that was answered."""
        self._todo = self._swept_to = None
        self._next_sweep_s = 0.0

    def _expire(self) -> None:
        now_s = time.monotonic()
        if now_s < self._next_expiry_s:
            return
        self._next_expiry_s = now_s + _EXPIRE_EVERY_S
        starts = {}
        if self.waiting.records:
            starts = self._at.cluster.starts(self._at.rejected.name, range(self._at.rejected.partitions))
        if expired := self.waiting.expire(_now_ms(), starts):
            self._view.expired(expired)

    def _copy(self, record: Record) -> Copy:
        entry = entry_of(record, self._at.events.name, self._lineage)
        assert entry is not None  # it was one before
        return copy_of(entry, self._at.rejected, self._at.events)

    def _forget(self, starts: dict[int, int]) -> None:
        """Forget what was sent back of records that the rejected topic no longer holds."""
        gone = (
            Place(partition, offset)
            for partition, offsets in self._healed.items()
            for offset in offsets
            if offset < starts.get(partition, 0)
        )
        while some := list(islice(gone, _FORGET_AT_ONCE)):
            self._ledger.forget(some, self._swept_of(some))

    def _swept_of(self, places: Iterable[Place]) -> dict[int, Sweeps]:
        touched = {place.partition for place in places}
        return {partition: self._swept[partition] for partition in sorted(touched) if partition in self._swept}


def _now_ms() -> int:
    return int(time.time() * 1000)
