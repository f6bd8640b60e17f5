"""What must hold for any records: no crash, no hang, always one fact or one reason, and the right one.

`Checker.check` sends a case's records through steps 2 to 4, one at a time, and raises `BrokenError` where a promise is
broken. It counts what it saw. Time is CPU time of the thread, the best of three where it looks too long.
"""

import functools
import io
import signal
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
import msgspec

from processor.codec.avro import Codec, codec
from processor.codec.packed_items import with_packed_items
from processor.domain.batch import OrderKey
from processor.domain.pipeline import REPLAY_TIMESTAMP, needs, read
from processor.domain.records import MAX_ELEMENTS, Order, PlainItems, UndecodableError
from processor.domain.rejections import Reason, Rejection
from processor.settings.rules import rules_of
from tests.fuzz.case import OLDER, OLDER_HEADER, OLDER_SCHEMA, RESOLVABLE
from tests.fuzz.paper_registry import PaperRegistry
from tests.reference import Contacts, Input, Rejected
from tests.reference import fold as reference_fold
from tests.support import strict_avro
from tests.support.events import exact
from tests.support.facts import fact_of, with_decimal, without_logical_types
from tests.support.owners import fold_all, owners_of
from tests.support.schemas import copy_schemas, header_of, schema_of, versions_of
from tests.unit.test_properties import assert_names_are_told, encoded_size
from tests.unit.test_rules import settings_of

LIMIT_MS = 100.0
SCHEMA_LIMIT_MS = 1_000.0  # of one writer's schema: to read it, and to make a decoder of it
HANG_CPU_S = 5.0
DETAIL_CHARACTERS = 400
EVENT_VERSIONS = versions_of("order-event")
COMPARED_BYTES = 20_000  # records up to this size are also read by fastavro and folded by the reference
_WRITERS = {header_of(schema): schema for schema in (OLDER, *map(partial(schema_of, "order-event"), EVENT_VERSIONS))}
_RAW = {
    header: fastavro.parse_schema(without_logical_types(schema), named_schemas={})
    for header, schema in _WRITERS.items()
}
_STRICT = {header: strict_avro.compile_decoder(schema, MAX_ELEMENTS) for header, schema in _WRITERS.items()}


class BrokenError(Exception):
    """A promise is broken; `signature` is the same for what is probably the same fault."""

    def __init__(self, signature, detail=""):
        super().__init__(f"{signature}: {detail}" if detail else signature)
        self.signature = signature


class SlowError(BrokenError):
    """A record took too long."""

    def __init__(self, name, cpu_ms):
        super().__init__(f"slow: {name}", f"a record took {cpu_ms:.0f} ms of CPU time")
        self.cpu_ms = cpu_ms


class HangError(BaseException):
    """A record takes so much CPU time that it is not waited for; nobody's `except Exception` may catch it."""


class Checker:
    """Checks cases, and remembers how many records, which reasons, and the slowest record."""

    def __init__(self, limit_ms=LIMIT_MS):
        self.limit_ms = limit_ms
        self.records = self.compared = 0
        self.reasons: Counter[str] = Counter()
        self.slowest_ms, self.slowest_name = 0.0, ""
        self._pack = msgspec.msgpack.Encoder(enc_hook=lambda packed: PlainItems(packed.lines)).encode

    def check(self, case):
        """Check one case, told by its name where a record is slow; give each record's reason, or `fact`."""
        rules = with_packed_items(rules_of(settings_of(case.rules)))
        registry = PaperRegistry(case.answers) if case.answers else None
        if registry is not None and not self._is_prepared(case, registry):
            return []
        owners = owners_of(case.contacts, rules.parsing.identification)
        orders, outputs, too_slow_ms = dict[OrderKey, Order](), [], 0.0
        for record in case.records:
            output, changed, cpu_ms = self._timed(case, record, orders, owners, rules, registry)
            self._require_one_result(record, output, changed)
            self._note(case, output, cpu_ms)
            if cpu_ms > self.limit_ms:
                too_slow_ms = max(too_slow_ms, cpu_ms)
            orders |= {(record.partition, name): order for name, order in changed.items()}
            outputs.append(output)
        if case.size <= COMPARED_BYTES:
            self._require_as_the_reference(case, outputs, registry)
        if too_slow_ms:
            raise SlowError(case.name, too_slow_ms)
        return [outcome_of(output) for output in outputs]

    def _is_prepared(self, case, registry):
        """Have the schemas of a case read, and tell whether each is known or refused; none may take long."""
        for record in case.records:
            try:
                with _no_hang():
                    prepared_ms = registry.prepared_ms(record)
            except HangError:
                raise BrokenError(f"hang: {case.name}", "a schema's decoder is not made in time") from None
            if prepared_ms > SCHEMA_LIMIT_MS:
                raise BrokenError(f"slow schema: {case.name}", f"{prepared_ms:.0f} ms of CPU time")
        return all(map(registry.is_answered, case.records))

    def _timed(self, case, record, orders, owners, rules, registry):
        """Process one record, up to three times if it takes long, and give the least time."""
        best_ms = float("inf")
        for attempt in range(3):
            try:
                with _no_hang():
                    output, changed, cpu_ms = _process(record, orders, owners, rules, case.contacts, registry)
            except HangError:
                seconds = f"more than {HANG_CPU_S:.0f} s of CPU time"
                raise BrokenError(f"hang: {case.name}", f"{record.size_bytes} bytes took {seconds}") from None
            best_ms = min(best_ms, cpu_ms)
            if best_ms <= self.limit_ms or (attempt and best_ms > 2 * self.limit_ms):
                break
        return output, changed, best_ms

    def _note(self, case, output, cpu_ms):
        self.records += 1
        self.reasons[outcome_of(output)] += 1
        if cpu_ms > self.slowest_ms:
            self.slowest_ms, self.slowest_name = cpu_ms, case.name

    def _require_one_result(self, record, output, changed):
        result = output.result
        _require(output.record is record, "the output is another record's")
        if isinstance(result, Rejection):
            _require(isinstance(result.reason, Reason), "a rejection without a reason")
            line = result.detail
            _require(0 < len(line) <= DETAIL_CHARACTERS and line.isprintable(), "a detail is no clean line", repr(line))
            _require(not changed, "a rejection that changes an order")
            return
        (order,) = changed.values()
        _require(result.key == record.key == order.external_order_id.encode(), "a fact under another key")
        _require(
            self._pack(codec().decode_fact(result.value)) == self._pack(order),
            "a fact does not read back as its order",
        )

    def _require_as_the_reference(self, case, outputs, registry):
        inputs = [_input_of(case, record, registry) for record in case.records]
        expected = reference_fold(inputs, Contacts(case.contacts, case.rules), case.rules, encoded_size)
        self.compared += len(expected)
        for wanted, output in zip(expected, outputs, strict=True):
            if isinstance(wanted, Rejected):
                _require(isinstance(output.result, Rejection), "a fact, the reference rejects", wanted.reason)
                told = f"{output.result.reason}, the reference says {wanted.reason}"
                _require(output.result.reason == wanted.reason, "another reason than the reference's", told)
                assert_names_are_told(wanted, output.result.detail)
            else:
                _require(not isinstance(output.result, Rejection), "rejected, the reference has a fact")
                same = exact(fact_of(output.result.value)) == exact(wanted.fact)
                _require(same, "another fact than the reference's")


def _process(record, orders, owners, rules, contacts_topic, registry):
    """Send one record through steps 2 to 4; give its output, the changed orders, and the CPU time in ms."""
    begun = time.thread_time()
    parsed = read([record], (registry or decoder(record)).read_event, rules)
    needed = needs(parsed)
    read_s = time.thread_time() - begun
    places = [(partition, name) for partition, names in needed.order_ids.items() for name in names]
    known = {place: orders[place] for place in places if place in orders}
    contacts = {one: owners[one] for one in needed.identifiers & owners.keys()}
    begun = time.thread_time()
    folded = fold_all(parsed, known, contacts, codec().encode_fact, rules, contacts_topic)
    cpu_ms = (read_s + time.thread_time() - begun) * 1_000
    _require(len(folded.outputs) == 1, "not one output for one record")
    return folded.outputs[0], folded.changed.get(record.partition, {}), cpu_ms


def outcome_of(output):
    """Give the reason of a rejection, or `fact`."""
    return output.result.reason.value if isinstance(output.result, Rejection) else "fact"


def decoder(record):
    """Give the codec that a record is for: of the newest schemas, or of older ones besides."""
    is_older = (record.value or b"").startswith(OLDER_HEADER)
    return both_versions() if is_older else codec()


@functools.cache
def both_versions():
    """Give a codec that also knows an older version of OrderEvent."""
    with tempfile.TemporaryDirectory(prefix="order-facts-fuzz-") as folder:
        copy_schemas(folder, OLDER_SCHEMA)
        return Codec(Path(folder))


def _input_of(case, record, registry):
    """Give a case's record as the reference takes it. Its event: as decoded, if fastavro agrees with that."""
    try:
        value = record.value or b""
        event = registry.decode_event(value, record.headers) if registry else decoder(record).decode_event(value)
    except UndecodableError:
        event = None
    if registry is None:
        _require_as_fastavro(record, event)
    elif case.name == RESOLVABLE and (expected := registry.expected(record)) is not None:
        _require(event is not None, "undecodable, and fastavro reads it")
        _require(exact(event) == exact(expected), "an event is not what fastavro reads")
    first = dict(reversed(record.headers)).get(REPLAY_TIMESTAMP, b"") or b""
    timestamp_ms = int(first) if first.isdigit() and len(first) < 16 else record.timestamp_ms
    return Input(record.partition, record.offset, timestamp_ms, record.key, len(record.value or b""), event)


def _require_as_fastavro(record, event):
    _require((event is not None) == _is_strict(record.value or b""), "taken or refused, unlike the strict reference")
    by_fastavro, is_canonical = _fastavro_reads(record.value or b"")
    if event is not None:
        _require(exact(event) == exact(by_fastavro), "an event is not what fastavro reads")
    else:
        _require(not is_canonical, "undecodable, and fastavro would write it so")


def _is_strict(value):
    """Tell whether the strict reference takes a value."""
    decode = _STRICT.get(value[:10])
    try:
        return decode is not None and decode(value, 10)[1] == len(value)
    except strict_avro.MalformedAvro:
        return False


def _fastavro_reads(value):
    """Give what fastavro makes of a value, and whether it would write the very same bytes."""
    schema = _RAW.get(value[:10])
    if schema is None:
        return None, False
    body = io.BytesIO(value[10:])
    try:
        written: Any = fastavro.schemaless_reader(body, schema, None)
        again = io.BytesIO()
        fastavro.schemaless_writer(again, schema, written)
    except Exception:  # noqa: BLE001 - it raises whatever comes to hand
        return None, False
    event = {"keyValue": "", **written}  # an older version has none
    if any(param["value"] == b"" for param in event["params"]):
        return None, False  # no number, but fastavro takes it for 0
    event["params"] = [{**param, "value": with_decimal(param["value"])} for param in event["params"]]
    return event, again.getvalue() == value[10:]


def _require(holds, signature, detail=""):
    if not holds:
        raise BrokenError(signature, detail)


@contextmanager
def _no_hang():
    """Interrupt the block after so much CPU time of this process."""
    before = signal.signal(signal.SIGVTALRM, _interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _interrupt(*_):
    raise HangError
