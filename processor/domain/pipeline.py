"""Steps 2 to 4 of a batch: records in, one fact or one rejection for each out. Pure.

Step 2, `read`, turns every record into a command or a rejection. The service does step 3: it looks up what `needs`
names. Step 4, `fold`, applies the commands in the records' order; each sees what earlier ones of the batch did to its
order. If an event found another contact than its order's, which is rare, the service looks up which of the contacts
exist that `owners_in_doubt` names, and folds again. For any input, facts + rejections = records consumed (D24).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from processor.domain.batch import DecodeEvent, EncodeFact, Fact, Folded, Needs, OrderKey, Output, Parsed, Rules
from processor.domain.events import parse
from processor.domain.identifiers import find_owner
from processor.domain.orders import decide
from processor.domain.records import MAX_ELEMENTS, Command, Identifier, Order, Record, Source, UndecodableError
from processor.domain.rejections import Reason, Rejection


def read(records: Iterable[Record], decode: DecodeEvent, rules: Rules) -> list[Parsed]:
    """Step 2: decode and parse every record; a bad one becomes a rejection."""
    parsed: list[Parsed] = []
    for record in records:
        try:
            parsed.append(Parsed(record, _read_one(record, decode, rules)))
        except Exception as defect:  # only to note the record; the error is raised again
            _note_place(defect, record)
            raise
    return parsed


def _read_one(record: Record, decode: DecodeEvent, rules: Rules) -> Command | Rejection:
    if record.value is None:
        return Rejection(Reason.UNDECODABLE, "the value is null")
    if len(record.value) > rules.max_event_bytes:
        return Rejection(Reason.OVERSIZED, f"{len(record.value)} bytes, the limit is {rules.max_event_bytes}")
    try:
        event = decode(record.value, record.headers)
    except UndecodableError as error:
        return Rejection(Reason.UNDECODABLE, str(error))
    return parse(event, record.key, rules.parsing)


def needs(parsed: Iterable[Parsed]) -> Needs:
    """Return what the commands of a batch need to know."""
    order_ids: dict[int, set[str]] = {}
    identifiers: set[Identifier] = set()
    for entry in parsed:
        partition = entry.record.partition
        names = order_ids.get(partition)
        if names is None:
            names = order_ids[partition] = set()
        command = entry.result
        # `type`, not `isinstance`, if most have another type: `isinstance` asks the metaclass, five times as long.
        if type(command) is not Rejection:
            names.add(command.order_id)
            for candidate in command.candidates:
                if (identifier := candidate.identifier) is not None:
                    identifiers.add(identifier)
    return Needs(order_ids, identifiers)


def owners_in_doubt(
    parsed: Iterable[Parsed], orders: Mapping[OrderKey, Order], contacts: Mapping[Identifier, str], rules: Rules
) -> set[str]:
    """Return the contacts of which step 4 must know whether they exist (D15), if it met another than an order's.

    They are those of each order for which the batch names several: the order's contact, and whom its events find.
    """
    doubted: set[str] = set()
    if rules.policy.reassign_on_owner_conflict:  # another contact takes the order over anyway
        return doubted
    created: dict[OrderKey, str] = {}  # the first contact found for each order that is not known
    for entry in parsed:
        command = entry.result
        if type(command) is Rejection:
            continue
        for candidate in command.candidates:  # as `find_owner`, without an object for each event
            if candidate.identifier is not None and (found := contacts.get(candidate.identifier)) is not None:
                place = (entry.record.partition, command.order_id)
                order = orders.get(place)
                held = created.setdefault(place, found) if order is None else order.contact_id
                if found != held:
                    doubted |= {held, found}
                break
    return doubted


def fold(
    parsed: Sequence[Parsed],
    orders: Mapping[OrderKey, Order],
    contacts: Mapping[Identifier, str],
    encode: EncodeFact,
    rules: Rules,
    budget_bytes: int = 1 << 62,
    *,
    gone: frozenset[str] = frozenset(),
) -> Folded:
    """Step 4: apply the commands in order until the byte budget is spent; consume at least one record.

    `orders` holds the known orders before the batch, `contacts` the contact id of each identifier that finds one,
    `gone` the contacts of `owners_in_doubt` that do not exist. The caller carries the other records,
    `parsed[len(outputs):]`, to the next batch. Raises UndecodableError if items must be compared and their kept form is
    damaged.
    """
    outputs: list[Output] = []
    changed: dict[int, dict[str, Order]] = {}
    first: dict[int, Record] = {}
    last: dict[int, Record] = {}
    reasons: Counter[Reason] = Counter()
    input_bytes = output_bytes = 0
    for entry in parsed:
        # An output counts twice, since the mirror holds it too.
        if input_bytes + 2 * output_bytes >= budget_bytes and outputs:
            break
        record, command = entry.record, entry.result
        partition, size_bytes = record.partition, record.size_bytes
        input_bytes += size_bytes
        if partition not in last:
            first[partition], changed[partition] = record, {}
        last[partition] = record
        result: Fact | Rejection
        if type(command) is Rejection:
            result = command
        else:
            changes, order_id = changed[partition], command.order_id
            before = changes.get(order_id) or orders.get((partition, order_id))
            try:
                owner = find_owner(command.candidates, contacts)
                after = decide(before, command, owner, _source(record), rules.policy, gone)
                result = after if type(after) is Rejection else _keep(after, changes, encode, rules)
            except Exception as defect:  # only to note the record; the error is raised again
                _note_place(defect, record)
                raise
        if type(result) is Rejection:
            reasons[result.reason] += 1
            output_bytes += size_bytes
        else:
            output_bytes += len(result.value)
        outputs.append(Output(record, result))
    facts = len(outputs) - reasons.total()
    return Folded(outputs, changed, first, last, reasons, facts, input_bytes, output_bytes)


def _keep(order: Order, changes: dict[str, Order], encode: EncodeFact, rules: Rules) -> Fact | Rejection:
    """Return the fact of an order's change, and note the change, unless the fact is too large."""
    if len(order.custom) > MAX_ELEMENTS:
        return Rejection(Reason.FACT_TOO_LARGE, f"the order would have more than {MAX_ELEMENTS} custom fields")
    value = encode(order)
    if len(value) > rules.max_fact_bytes:
        limit = rules.max_fact_bytes
        return Rejection(Reason.FACT_TOO_LARGE, f"the fact would be {len(value)} bytes, the limit is {limit}")
    changes[order.external_order_id] = order
    return Fact(order.external_order_id.encode(), value)


def _note_place(defect: Exception, record: Record) -> None:
    """Add the record's place to an unexpected error, which stops the processor there (see `cli.serving`)."""
    defect.add_note(f"events partition {record.partition}, offset {record.offset}")


REPLAY_TIMESTAMP: Final = "replay.timestamp"
_NO_TIME: Final = b"-1"  # Kafka's timestamp of a record that has none


def first_timestamp_ms(record: Record, own_ms: int) -> int:
    """Return the timestamp that counts for an event: a replayed record's first one, else its own (D23).

    `own_ms` is the timestamp of the event's record; a record of the rejected topic has it in a header.
    """
    for name, value in record.headers:
        if (
            name == REPLAY_TIMESTAMP
            and value is not None
            and len(value) < 16
            and (value.isdigit() or value == _NO_TIME)
        ):
            return int(value)
    return own_ms


def _source(record: Record) -> Source:
    return Source(record.partition, record.offset, first_timestamp_ms(record, record.timestamp_ms))
