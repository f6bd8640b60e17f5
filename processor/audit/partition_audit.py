"""The audit of one partition: compares its events with its facts and rejected records, each read once, in order.

Outputs are written in the order of their events. So one pass over the three, by source offset, finds outputs that are
missing, doubled or without an event (D24), checks each order's revisions, and derives every fact again from its event
and the order before it. An output that is out of order is set aside and judged at the end.

An event without an output is missing, unless its fact may have been compacted away (then a later fact of its order
must count it in its revision) or its rejected record may have expired.
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import attrgetter
from typing import Final

import msgspec
from msgspec.structs import replace

from processor.audit.derivation import derived, differing_fields, fits, may_be_rejected, same_order
from processor.audit.findings import Findings, Kind, order_name
from processor.audit.known_orders import Known, Orders
from processor.codec import rejected
from processor.codec.avro import codec
from processor.codec.lineage import lineage_of
from processor.domain.batch import Parsed, Rules
from processor.domain.pipeline import read
from processor.domain.records import Order, Record, UndecodableError
from processor.domain.rejections import Reason, Rejection
from processor.errors import RegistryError
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.state.watermark import Watermark

_SOURCE: Final = attrgetter("source")


class Standards(msgspec.Struct, frozen=True):
    """What every partition is compared with. A record written since `kept_since_ms` cannot be compacted away yet.

    `lineage` is the hash that the deployment's outputs name; others may write to the same rejected topic.
    """

    settings: Settings
    wire: Wire
    lineage: str
    rules: Rules
    now_ms: int
    kept_since_ms: int


class Window(msgspec.Struct, frozen=True):
    """The audited part of a partition: from the first offsets that are left up to the committed watermark."""

    partition: int
    cut: Watermark
    events_start: int
    facts_start: int
    rejected_start: int


class Tally(msgspec.Struct):
    """What was counted in a partition.

    `facts_made` is the sum of the orders' latest revisions. `from_rejected` is the first source offset whose rejected
    records are left; `unaudited` counts events below it that have no output. `last_source` is the greatest source
    offset of any output, even beyond the cut.
    """

    events: int = 0
    facts: int = 0
    facts_made: int = 0
    facts_bytes: int = 0
    rejected: int = 0
    from_rejected: int = 0
    unaudited: int = 0
    orders: int = 0
    orders_begun_before: int = 0
    last_source: int = -1


class Found(msgspec.Struct, frozen=True):
    """An event (no content), a fact or a rejected record (its reason), with the source offset that it names."""

    source: int
    record: Record
    content: Order | Reason | None = None


class PartitionAudit:
    """Audits one partition; adds differences to `findings` and the orders' latest facts to `orders`."""

    def __init__(self, standards: Standards, window: Window, orders: Orders, findings: Findings) -> None:
        self._standards = standards
        settings = standards.settings
        self._events, self._facts, self._rejected = settings.events_topic, settings.facts_topic, settings.rejected_topic
        self._here = f"{self._events}[{window.partition}]"
        self._window = window
        self._orders = orders
        self._findings = findings
        self._written_ms = 0  # the latest time of writing so far; no later output was written before it
        self.tally = Tally()

    def run(self, events: Iterable[Record], facts: Iterable[Record], rejected: Iterable[Record]) -> Tally:
        """Return what was counted. The facts and rejected records may extend beyond the cut."""
        self._orders.begin(self._window.partition)
        rejections = self._in_order(self._read_rejected(rejected), self._rejected)
        if self._window.rejected_start > 0:
            first = next(rejections, None)
            self.tally.from_rejected = self._window.cut.source if first is None else first.source
            rejections = chain(() if first is None else (first,), rejections)
        sources = (Found(event.offset, event) for event in events)
        outputs = self._in_order(self._read_facts(facts), self._facts)
        for _, found in groupby(heapq.merge(sources, outputs, rejections, key=_SOURCE), key=_SOURCE):
            self._compare(found)
        self._orders.flush()
        self._judge_rest()
        return self.tally

    def _in_order(self, outputs: Iterator[Found], topic: str) -> Iterator[Found]:
        """Yield the outputs below the cut whose sources ascend; set those out of order aside."""
        cut, last = self._window.cut, -1
        for output in outputs:
            source, record = output.source, output.record
            self.tally.last_source = max(self.tally.last_source, source)
            is_below = source < cut.source
            if is_below and source <= last:
                self._orders.add_stray(source, _place(topic, record))
                continue
            if topic == self._facts and is_below != (record.offset < cut.facts):
                committed = f"the committed offsets, {cut.source} with facts up to {cut.facts}"
                self._add(Kind.WATERMARK, topic, record, f"of source offset {source} contradicts {committed}")
            if is_below:
                last = source
                yield output

    def _read_facts(self, records: Iterable[Record]) -> Iterator[Found]:
        for record in records:
            try:
                value = self._standards.wire.plain_fact(record.value or b"")
                fact = codec().decode_fact(value)
            except UndecodableError as error:
                self._add(Kind.ALTERED, self._facts, record, f"is not a valid fact: {error}")
                continue
            if record.key != fact.external_order_id.encode():
                self._add(Kind.MISPLACED, self._facts, record, "has another key than its externalOrderId")
            if fact.source_partition != record.partition:
                self._add(Kind.MISPLACED, self._facts, record, f"names sourcePartition {fact.source_partition}")
            if lineage_of(record) not in {None, self._standards.lineage}:
                self._add(Kind.MISPLACED, self._facts, record, "was written by another group")
            yield Found(fact.source_offset, replace(record, value=value), fact)

    def _read_rejected(self, records: Iterable[Record]) -> Iterator[Found]:
        for record in records:
            said = rejected.read(record)
            own = self._standards.lineage
            if said.lineage != own and (said.lineage is not None or said.topic != self._events):
                continue  # another group's
            if said.offset is None or said.known_reason is None:
                self._add(Kind.ALTERED, self._rejected, record, "has no readable header source.offset or reason")
                continue
            if (said.topic, said.partition) != (self._events, record.partition):
                self._add(Kind.MISPLACED, self._rejected, record, "names another source topic or partition")
            yield Found(said.offset, record, said.known_reason)

    def _compare(self, found: Iterable[Found]) -> None:
        """Compare what has one source offset: an event (it comes first) and its outputs, as far as they are left."""
        parsed = fact = rejection = None
        for entry in found:
            record, content = entry.record, entry.content
            if content is None:
                self.tally.events += 1
                parsed = read([record], self._standards.wire.read_event, self._standards.rules)[0]
                continue
            self._written_ms = max(self._written_ms, record.timestamp_ms)
            if parsed is None and content is Reason.UNREADABLE:
                self.tally.events += 1  # the event could not be read, so it is not known whether there was one
            elif parsed is None and entry.source >= self._window.events_start:
                text = f"is of source offset {entry.source}, which holds no event"
                self._add(Kind.UNFOUNDED, self._facts if isinstance(content, Order) else self._rejected, record, text)
            if isinstance(content, Order):
                fact = record, content
                self.tally.facts += 1
                self.tally.facts_bytes += len(record.value or b"")
            else:
                rejection = record, content
                self.tally.rejected += 1
        if parsed is not None and fact is not None and rejection is not None:
            event = parsed.record
            self._add(Kind.DOUBLED, self._events, event, f"has a fact and is rejected, {order_name(event.key)}")
        if fact is not None:
            self._accept(*fact, parsed)
        elif parsed is not None and rejection is not None:
            self._check_rejection(parsed, *rejection)
        elif parsed is not None:
            self._without_output(parsed.record)

    def _without_output(self, event: Record) -> None:
        """Note that an event is missing, or what may explain it."""
        known = self._orders.get(event.key or b"")
        known.doubtful = True
        if known.first < 0:
            known.first = event.offset
        written_ms = max(self._written_ms, event.timestamp_ms if event.timestamp_ms <= self._standards.now_ms else 0)
        may_be_compacted = written_ms < self._standards.kept_since_ms
        if event.offset < self.tally.from_rejected:  # its rejected record may have expired
            self.tally.unaudited += 1
            known.expired += may_be_compacted
        elif may_be_compacted:
            known.compacted += 1
        else:
            self._orders.add_missing(event.offset, event.key)

    def _accept(self, record: Record, fact: Order, parsed: Parsed | None) -> None:
        """Check a fact against its order's last one, and against its event if that is left; then remember it."""
        known = self._orders.get(fact.external_order_id.encode())
        self._check_revision(record, fact, known)
        right = None if parsed is None else self._check_fact(record, parsed, fact, known)
        if known.revision == 0:
            self.tally.orders += 1
            self.tally.orders_begun_before += fact.revision > 1
        self.tally.facts_made += fact.revision - known.revision
        known.revision, known.source, known.written_ms = fact.revision, fact.source_offset, record.timestamp_ms
        known.derived = None if right is None else codec().encode_fact(right)
        # The events without an output so far are explained by this fact, or were reported.
        known.compacted, known.expired, known.first, known.doubtful = 0, 0, -1, False
        self._orders.note(known, record.value or b"", fact)

    def _check_revision(self, record: Record, fact: Order, known: Known) -> None:
        """Require revision + 1, or a gap that compaction explains."""
        gap = fact.revision - known.revision - 1
        explained = known.compacted + known.expired
        events_expired = known.source + 1 < self._window.events_start
        if events_expired and known.written_ms < self._standards.kept_since_ms:
            explained = gap  # the missing facts' events have expired
        if gap < 0 or gap > explained:
            text = f"has revision {fact.revision} after {known.revision or 'none'}, {order_name(record.key)}"
            self._add(Kind.REVISION, self._facts, record, text)
        elif known.compacted > gap:
            self._add_waiting(record.key, known, known.compacted - gap)

    def _check_fact(self, record: Record, parsed: Parsed, fact: Order, known: Known) -> Order | None:
        """Compare a fact with what its event leads to; if they differ, return what it should be."""
        right, rules, result = None, self._standards.rules, parsed.result
        if isinstance(result, Rejection) and self._standards.wire.may_have_been_unknown(parsed.record, result.detail):
            raise RegistryError(f"{result.detail}, and its event has a fact: restore the registry's schemas")
        if fact.revision != known.revision + 1:  # the fact before it is gone
            if fits(parsed, fact, rules):
                return None
            text = "is not what its event leads to"
        else:
            outcomes = [derived(parsed, order, fact, rules) for order in known.orders()]
            if any(same_order(fact, outcome) for outcome in outcomes):
                return None
            expected = outcomes[0]
            if isinstance(expected, Rejection):
                text = f"has an event that must be rejected: {expected.reason.value}"
            else:
                text, right = f"has another {differing_fields(expected, fact)}", expected
        self._add(Kind.ALTERED, self._facts, record, f"{text}, {order_name(record.key)}")
        return right

    def _check_rejection(self, parsed: Parsed, record: Record, reason: Reason) -> None:
        """Require the event's own bytes, and a reason that its event can lead to."""
        event, command, standards = parsed.record, parsed.result, self._standards
        if reason is Reason.UNREADABLE:  # a stand-in, even if the event can be read by now
            if record.key is not None or record.value is not None:
                self._add(Kind.ALTERED, self._rejected, record, "is unreadable, and yet has a key or a value")
            return
        if not rejected.is_copy(record, event):
            self._add(Kind.ALTERED, self._rejected, record, "is not a copy of its event")
            return
        if standards.wire.may_have_been_unknown(event, rejected.read(record).detail or ""):
            return  # the registry may know its schema by now
        known = Known()
        if not isinstance(command, Rejection):
            known = self._orders.get(command.order_id.encode())
            if known.doubtful or self._written_ms < standards.kept_since_ms or self._window.facts_start:
                return  # the order before the event is not known for certain
        if not any(may_be_rejected(parsed, order, reason, standards.rules) for order in known.orders()):
            text = f"is rejected as {reason.value}, which its event cannot lead to, {order_name(event.key)}"
            self._add(Kind.ALTERED, self._rejected, record, text)

    def _add_waiting(self, key: bytes | None, known: Known, count: int) -> None:
        text = f"{self._here} offset {known.first} or later: no output and no later revision, {order_name(key)}"
        for _ in range(count):
            self._findings.add(Kind.MISSING, text)

    def _judge_rest(self) -> None:
        """Judge what waited for the partition's end: events without an output, stray outputs, and the sum (D24)."""
        window, tally = self._window, self.tally
        for key, known in self._orders.waiting():
            self._add_waiting(key, known, known.compacted)
        for source, name in self._orders.missing():
            text = f"{self._here} offset {source}: no fact, no rejected record, {order_name(name)}"
            self._findings.add(Kind.MISSING, text)
        for source, where, is_only_one in self._orders.strays():
            kind, which = (Kind.OUT_OF_ORDER, "a late") if is_only_one else (Kind.DOUBLED, "another")
            self._findings.add(kind, f"{where} is {which} output of source offset {source}")
        nothing_expired = not (window.events_start or window.facts_start or window.rejected_start)
        if nothing_expired and tally.events != tally.facts_made + tally.rejected:
            text = f"{tally.events} events, {tally.facts_made} facts written and {tally.rejected} rejected records"
            self._findings.add(Kind.SUM, f"{self._here} has {text}")

    def _add(self, kind: Kind, topic: str, record: Record, text: str) -> None:
        self._findings.add(kind, f"{_place(topic, record)} {text}")


def _place(topic: str, record: Record) -> str:
    return f"{topic}[{record.partition}] offset {record.offset}"
