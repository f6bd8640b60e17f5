"""The audit of one partition: compares its events with its facts and rejected records, each read once, in order.

Outputs are written in the order of their events. So one pass over the three, by source offset, finds outputs that are
missing, doubled or without an event (D24), checks each order's revisions, and derives every fact again from its event
and the order before it. An output that is out of order is set aside and judged at the end.

An event without an output is missing, unless its fact may have been compacted away (then a later fact of its order
must count it in its revision) or its rejected record may have expired.
"""

from collections.abc import Iterable, Iterator

import msgspec

from processor.audit.derivation import derived, differing_fields, fits, may_be_rejected, same_order
from processor.audit.findings import Findings, Kind, order_name
from processor.audit.known_orders import Known, Orders
from processor.codec import rejected
from processor.codec.avro import codec
from processor.domain.batch import Parsed, Rules
from processor.domain.pipeline import read
from processor.domain.records import Order, Record, UndecodableError
from processor.domain.rejections import Reason, Rejection
from processor.state.watermark import Watermark


class Standards(msgspec.Struct, frozen=True):
    """What every partition is compared with. A record written since `kept_since_ms` cannot be compacted away yet."""

    rules: Rules
    events_topic: str
    facts_topic: str
    rejected_topic: str
    now_ms: int
    kept_since_ms: int


class Window(msgspec.Struct, frozen=True):
    """The audited part of a partition: from the first offsets that are left up to the committed watermark."""

    partition: int
    events_start: int
    facts_start: int
    rejected_start: int
    cut: Watermark


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


class Output(msgspec.Struct, frozen=True):
    """A fact or a rejected record (its reason), with the source offset that it names."""

    source: int
    record: Record
    content: Order | Reason


class _Queue:
    """Outputs in the order of their sources, taken one at a time."""

    def __init__(self, outputs: Iterator[Output]) -> None:
        self._outputs = outputs
        self.head = next(outputs, None)

    def below(self, source: int) -> Iterator[Output]:
        """Take what comes before a source offset."""
        while (head := self.head) is not None and head.source < source:
            self.head = next(self._outputs, None)
            yield head

    def take(self, source: int) -> Output | None:
        """Take the output of an event, if it is the next."""
        return next(self.below(source + 1), None)


class PartitionAudit:
    """Audits one partition; adds differences to `findings` and the orders' latest facts to `orders`."""

    def __init__(self, standards: Standards, window: Window, orders: Orders, findings: Findings) -> None:
        self._standards = standards
        self._window = window
        self._orders = orders
        self._findings = findings
        self._written_ms = 0  # the latest time of writing so far; no later output was written before it
        self.tally = Tally()

    def run(self, events: Iterable[Record], facts: Iterable[Record], rejected: Iterable[Record]) -> Tally:
        """Return what was counted. The facts and rejected records may extend beyond the cut."""
        self._orders.begin(self._window.partition)
        fact_queue = _Queue(self._in_order(self._facts(facts), self._standards.facts_topic))
        rejected_queue = _Queue(self._in_order(self._rejections(rejected), self._standards.rejected_topic))
        if self._window.rejected_start > 0:
            first = rejected_queue.head
            self.tally.from_rejected = self._window.cut.source if first is None else first.source
        for event in events:
            self.tally.events += 1
            self._without_event(fact_queue, rejected_queue, event.offset)
            self._compare(event, fact_queue.take(event.offset), rejected_queue.take(event.offset))
        self._without_event(fact_queue, rejected_queue, self._window.cut.source)
        self._orders.flush()
        self._judge_waiting()
        self._judge_missing()
        self._judge_sum()
        return self.tally

    def _in_order(self, outputs: Iterator[Output], topic: str) -> Iterator[Output]:
        """Yield the outputs below the cut whose sources ascend; set those out of order aside."""
        cut, last = self._window.cut, -1
        is_facts = topic == self._standards.facts_topic
        for output in outputs:
            self.tally.last_source = max(self.tally.last_source, output.source)
            is_below = output.source < cut.source
            if is_below and output.source <= last:
                self._orders.add_stray(output.source, self._place(topic, output.record))
                continue
            if is_facts and is_below != (output.record.offset < cut.facts):
                self._add(
                    Kind.WATERMARK,
                    topic,
                    output.record,
                    f"of source offset {output.source} contradicts the committed offsets, "
                    f"{cut.source} with facts up to {cut.facts}",
                )
            if is_below:
                last = output.source
                yield output

    def _facts(self, records: Iterable[Record]) -> Iterator[Output]:
        topic = self._standards.facts_topic
        for record in records:
            try:
                fact = codec().decode_fact(record.value or b"")
            except UndecodableError as error:
                self._add(Kind.ALTERED, topic, record, f"is not a valid fact: {error}")
                continue
            if record.key != fact.external_order_id.encode():
                self._add(Kind.MISPLACED, topic, record, "has another key than its externalOrderId")
            if fact.source_partition != record.partition:
                self._add(Kind.MISPLACED, topic, record, f"names sourcePartition {fact.source_partition}")
            yield Output(fact.source_offset, record, fact)

    def _rejections(self, records: Iterable[Record]) -> Iterator[Output]:
        topic = self._standards.rejected_topic
        for record in records:
            said = rejected.read(record)
            if said.offset is None or said.known_reason is None:
                self._add(Kind.ALTERED, topic, record, "has no readable header source.offset or reason")
                continue
            if (said.topic, said.partition) != (self._standards.events_topic, record.partition):
                self._add(Kind.MISPLACED, topic, record, "names another source topic or partition")
            yield Output(said.offset, record, said.known_reason)

    def _without_event(self, facts: _Queue, rejected: _Queue, source: int) -> None:
        """Count the outputs before a source offset that have no event; report those that should have one."""
        for queue, topic in ((facts, self._standards.facts_topic), (rejected, self._standards.rejected_topic)):
            for output in queue.below(source):
                if output.source >= self._window.events_start:
                    self._add(
                        Kind.UNFOUNDED,
                        topic,
                        output.record,
                        f"is of source offset {output.source}, which holds no event",
                    )
                self._count(output)
                if isinstance(output.content, Order):
                    self._accept(output, output.content)

    def _compare(self, event: Record, fact: Output | None, rejection: Output | None) -> None:
        """Compare an event with its outputs."""
        parsed = read([event], codec().read_event, self._standards.rules)[0]
        if fact is None and rejection is None:
            self._without_output(event)
            return
        for output in (fact, rejection):
            if output is not None:
                self._count(output)
        if fact is not None and rejection is not None:
            self._add(
                Kind.DOUBLED,
                self._standards.events_topic,
                event,
                f"has a fact and is rejected, {order_name(event.key)}",
            )
        if rejection is not None and fact is None:
            self._check_rejection(parsed, rejection)
        if fact is not None and isinstance(fact.content, Order):
            self._accept(fact, fact.content, parsed)

    def _count(self, output: Output) -> None:
        self._written_ms = max(self._written_ms, output.record.timestamp_ms)
        if isinstance(output.content, Order):
            self.tally.facts += 1
            self.tally.facts_bytes += len(output.record.value or b"")
        else:
            self.tally.rejected += 1

    def _without_output(self, event: Record) -> None:
        """Note that an event is missing, or what may explain it."""
        known = self._orders.get(event.key or b"")
        known.doubtful = True
        if known.first < 0:
            known.first = event.offset
        written_ms = max(self._written_ms, event.timestamp_ms if event.timestamp_ms <= self._standards.now_ms else 0)
        may_be_compacted = written_ms < self._standards.kept_since_ms
        may_be_expired = event.offset < self.tally.from_rejected
        if may_be_expired:
            self.tally.unaudited += 1
            known.expired += may_be_compacted
        elif may_be_compacted:
            known.compacted += 1
        else:
            self._orders.add_missing(event.offset, event.key)

    def _accept(self, output: Output, fact: Order, parsed: Parsed | None = None) -> None:
        """Check a fact against its order's last one, and against its event if that is left; then remember it."""
        known = self._orders.get(fact.external_order_id.encode())
        self._check_revision(output.record, fact, known)
        right = None if parsed is None else self._check_fact(output.record, parsed, fact, known)
        if known.revision == 0:
            self.tally.orders += 1
            self.tally.orders_begun_before += fact.revision > 1
        self.tally.facts_made += fact.revision - known.revision
        known.revision, known.source, known.written_ms = fact.revision, fact.source_offset, output.record.timestamp_ms
        known.derived = None if right is None else codec().encode_fact(right)
        known.settle()
        self._orders.note(known, output.record.value or b"", fact)

    def _check_revision(self, record: Record, fact: Order, known: Known) -> None:
        """Require revision + 1, or a gap that compaction explains."""
        gap = fact.revision - known.revision - 1
        explained: float = known.compacted + known.expired
        events_expired = known.source + 1 < self._window.events_start
        if events_expired and known.written_ms < self._standards.kept_since_ms:
            explained = gap  # the missing facts' events have expired
        if gap < 0 or gap > explained:
            text = f"has revision {fact.revision} after {known.revision or 'none'}, {order_name(record.key)}"
            self._add(Kind.REVISION, self._standards.facts_topic, record, text)
        elif known.compacted > gap:
            self._add_waiting(record.key, known, known.compacted - gap)

    def _check_fact(self, record: Record, parsed: Parsed, fact: Order, known: Known) -> Order | None:
        """Compare a fact with what its event leads to; if they differ, return what it should be."""
        rules, topic = self._standards.rules, self._standards.facts_topic
        name = order_name(record.key)
        if fact.revision != known.revision + 1:  # the fact before it is gone
            if not fits(parsed, fact, rules):
                self._add(Kind.ALTERED, topic, record, f"is not what its event leads to, {name}")
            return None
        expected = derived(parsed, known.order, fact, rules)
        if isinstance(expected, Order) and same_order(expected, fact):
            return None
        if known.derived is not None:  # the last fact was altered; this one may follow from the right one
            again = derived(parsed, codec().decode_fact(known.derived), fact, rules)
            if isinstance(again, Order) and same_order(again, fact):
                return None
        if isinstance(expected, Rejection):
            self._add(
                Kind.ALTERED, topic, record, f"has an event that must be rejected: {expected.reason.value}, {name}"
            )
            return None
        self._add(Kind.ALTERED, topic, record, f"has another {differing_fields(expected, fact)}, {name}")
        return expected

    def _check_rejection(self, parsed: Parsed, output: Output) -> None:
        """Require the event's own bytes, and a reason that its event can lead to."""
        record, event, reason = output.record, parsed.record, output.content
        said, value = rejected.read(record), event.value
        if value is not None and said.truncated_bytes == len(value):
            value, _ = rejected.cut(value)
        is_same = (record.key, record.value) == (event.key, value)
        if not is_same or said.timestamp_ms != event.timestamp_ms:
            self._add(Kind.ALTERED, self._standards.rejected_topic, record, "is not a copy of its event")
            return
        known = Known() if isinstance(parsed.result, Rejection) else self._orders.get(parsed.result.order_id.encode())
        is_certain = isinstance(parsed.result, Rejection) or (
            not known.doubtful and self._written_ms >= self._standards.kept_since_ms and not self._window.facts_start
        )
        if is_certain and isinstance(reason, Reason):
            previous = known.order
            candidates = [previous] if known.derived is None else [previous, codec().decode_fact(known.derived)]
            if not any(may_be_rejected(parsed, order, reason, self._standards.rules) for order in candidates):
                text = f"is rejected as {reason.value}, which its event cannot lead to, {order_name(event.key)}"
                self._add(Kind.ALTERED, self._standards.rejected_topic, record, text)

    def _judge_waiting(self) -> None:
        for key, known in self._orders.waiting():
            self._add_waiting(key, known, known.compacted)

    def _add_waiting(self, key: bytes | None, known: Known, count: int) -> None:
        place = f"{self._standards.events_topic}[{self._window.partition}] offset {known.first}"
        for _ in range(count):
            self._findings.add(Kind.MISSING, f"{place} or later: no output and no later revision, {order_name(key)}")

    def _judge_missing(self) -> None:
        place = f"{self._standards.events_topic}[{self._window.partition}]"
        for source, key in self._orders.missing():
            self._findings.add(Kind.MISSING, f"{place} offset {source}: no fact, no rejected record, {order_name(key)}")
        for source, where, is_only_one in self._orders.strays():
            kind = Kind.OUT_OF_ORDER if is_only_one else Kind.DOUBLED
            what = "a late" if is_only_one else "another"
            self._findings.add(kind, f"{where} is {what} output of source offset {source}")

    def _judge_sum(self) -> None:
        """Compare the sums, if nothing has expired: events = facts ever written + rejected records (D24)."""
        window, tally = self._window, self.tally
        whole = not (window.events_start or window.facts_start or window.rejected_start)
        if whole and tally.events != tally.facts_made + tally.rejected:
            text = f"{tally.events} events, {tally.facts_made} facts written and {tally.rejected} rejected records"
            self._findings.add(Kind.SUM, f"{self._standards.events_topic}[{window.partition}] has {text}")

    def _add(self, kind: Kind, topic: str, record: Record, text: str) -> None:
        self._findings.add(kind, f"{self._place(topic, record)} {text}")

    @staticmethod
    def _place(topic: str, record: Record) -> str:
        return f"{topic}[{record.partition}] offset {record.offset}"
