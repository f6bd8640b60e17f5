"""Steps 2 to 4 of a batch: records in, one fact or one rejection for each out. Pure.

Step 2, `read`, makes a command or a rejection of every record. Step 3 is the service's: it looks up what
`needs` names. Step 4, `fold`, applies the commands in the records' order, each seeing what the earlier
ones of the batch did to its order. For any input, facts + rejections = records consumed (D24).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from processor.batch import DecodeEvent, EncodeFact, Fact, Folded, Needs, OrderKey, Output, Parsed, Rules
from processor.domain.events import parse
from processor.domain.identifiers import find_owner
from processor.domain.orders import decide
from processor.domain.records import Command, Identifier, Order, Record, Source, UndecodableError
from processor.domain.rejections import Reason, Rejection


def read(records: Iterable[Record], decode: DecodeEvent, rules: Rules) -> list[Parsed]:
    """Step 2: decode and parse every record; a bad one becomes a rejection."""
    return [Parsed(record, _read_one(record, decode, rules)) for record in records]


def _read_one(record: Record, decode: DecodeEvent, rules: Rules) -> Command | Rejection:
    if record.value is None:
        return Rejection(Reason.UNDECODABLE, "the value is null")
    if len(record.value) > rules.max_event_bytes:
        return Rejection(Reason.OVERSIZED, f"{len(record.value)} bytes, the limit is {rules.max_event_bytes}")
    try:
        event = decode(record.value)
    except UndecodableError as error:
        return Rejection(Reason.UNDECODABLE, str(error))
    return parse(event, record.key, rules.parsing)


def needs(parsed: Iterable[Parsed]) -> Needs:
    """Return what the commands of a batch need to know."""
    wanted = Needs({}, set())
    for entry in parsed:
        order_ids = wanted.order_ids.setdefault(entry.record.partition, set())
        if not isinstance(entry.result, Rejection):
            order_ids.add(entry.result.order_id)
            wanted.identifiers.update(c.identifier for c in entry.result.candidates if c.identifier is not None)
    return wanted


def fold(
    parsed: Sequence[Parsed],
    orders: Mapping[OrderKey, Order],
    contacts: Mapping[Identifier, str],
    encode: EncodeFact,
    rules: Rules,
    budget_bytes: int = 1 << 62,
) -> Folded:
    """Step 4: apply the commands in order, until the byte budget is spent; at least one record is consumed.

    `orders` holds the known orders before the batch, `contacts` the contact id of each identifier that
    finds one. The caller carries records not consumed, `parsed[len(outputs):]`, to the next batch.
    """
    folded = _Folder(orders, contacts, encode, rules)
    for entry in parsed:
        if folded.spent_bytes >= budget_bytes and folded.count:
            break
        folded.consume(entry)
    return folded.result()


class _Folder:
    """The fold's running state; lives within one call of `fold`."""

    def __init__(
        self,
        orders: Mapping[OrderKey, Order],
        contacts: Mapping[Identifier, str],
        encode: EncodeFact,
        rules: Rules,
    ) -> None:
        self._before = orders
        self._contacts = contacts
        self._encode = encode
        self._policy = rules.policy
        self._max_fact_bytes = rules.max_fact_bytes
        self._outputs: list[Output] = []
        self._changed: dict[int, dict[str, Order]] = {}
        self._next_offsets: dict[int, int] = {}
        self._reasons: Counter[Reason] = Counter()
        self._input_bytes = 0
        self._output_bytes = 0

    @property
    def count(self) -> int:
        """How many records were consumed so far."""
        return len(self._outputs)

    @property
    def spent_bytes(self) -> int:
        """Bytes of input and output so far; an output is counted twice, since the mirror holds it too."""
        return self._input_bytes + 2 * self._output_bytes

    def consume(self, entry: Parsed) -> None:
        """Add what becomes of one record."""
        record = entry.record
        parsed = entry.result
        size_bytes = record.size_bytes
        result = parsed if isinstance(parsed, Rejection) else self._apply(record, parsed)
        if isinstance(result, Rejection):
            self._reasons[result.reason] += 1
            self._output_bytes += size_bytes
        else:
            self._output_bytes += len(result.value)
        self._input_bytes += size_bytes
        self._next_offsets[record.partition] = record.offset + 1
        self._outputs.append(Output(record, result))

    def _apply(self, record: Record, command: Command) -> Fact | Rejection:
        partition, order_id = record.partition, command.order_id
        changed = self._changed.get(partition)
        if changed is None:
            changed = self._changed[partition] = {}
        order = changed.get(order_id)
        if order is None:
            order = self._before.get((partition, order_id))
        owner = find_owner(command.candidates, self._contacts)
        source = Source(partition, record.offset, _timestamp_ms(record))
        after = decide(order, command, owner, source, self._policy)
        if isinstance(after, Rejection):
            return after
        value = self._encode(after)
        if len(value) > self._max_fact_bytes:
            limit = self._max_fact_bytes
            return Rejection(Reason.FACT_TOO_LARGE, f"the fact would be {len(value)} bytes, the limit is {limit}")
        changed[order_id] = after
        return Fact(order_id.encode(), value)

    def result(self) -> Folded:
        """Return what was consumed so far leads to."""
        return Folded(
            outputs=self._outputs,
            changed=self._changed,
            next_offsets=self._next_offsets,
            reasons=self._reasons,
            facts=len(self._outputs) - self._reasons.total(),
            input_bytes=self._input_bytes,
            output_bytes=self._output_bytes,
        )


REPLAY_TIMESTAMP: Final = "replay.timestamp"


def _timestamp_ms(record: Record) -> int:
    """Return the event's timestamp: of a replayed record the one it had at first (D23)."""
    if not record.headers:
        return record.timestamp_ms
    for name, value in record.headers:
        if name == REPLAY_TIMESTAMP and value is not None and value.isdigit() and len(value) < 16:
            return int(value)
    return record.timestamp_ms
