"""The audit of a partition's mirror: every order in it equals its latest fact, none is missing, none is extra.

On a live deployment the mirror moves while it is read. So one atomic command reads each chunk of orders together with
its watermark; then the facts are read up to that watermark, and the chunk is compared with the orders of that moment.
Nothing is written, and no partition has to pause.
"""

from collections.abc import Sequence
from typing import Final

from processor.audit.derivation import differing_fields, same_order
from processor.audit.findings import Findings, Kind, order_name
from processor.audit.known_orders import Orders
from processor.audit.reading import Reading
from processor.codec.avro import codec
from processor.codec.order_state import order_of
from processor.codec.packed_items import unpacked
from processor.domain.records import UndecodableError
from processor.registry.wire import Wire
from processor.state.mirror import DamagedMirrorError, Mirror
from processor.state.watermark import Watermark

_CHUNK_BYTES: Final = 4 << 20
_CHUNK_ORDERS: Final = (10, 1_000)


class _NotComparableError(Exception):
    """The mirror cannot be compared further; the text is its state, in one word."""


class MirrorAudit:
    """Compares mirrors with the orders just audited; adds differences to `findings`."""

    def __init__(self, mirror: Mirror, reading: Reading, wire: Wire, orders: Orders, findings: Findings) -> None:
        self._mirror = mirror
        self._reading = reading
        self._wire = wire
        self._orders = orders
        self._findings = findings
        self._partition = -1
        self._reached = Watermark(0, 0)  # how far the facts were read, and offsets are known to be committed
        self._chunk = 0

    def compare(self, partition: int, cut: Watermark, fact_bytes: int) -> str:
        """Return how a partition's mirror is: equal, differs, or why it was not compared.

        `cut` is the watermark of the partition's audited orders, `fact_bytes` the mean size of a fact.
        """
        self._partition, self._reached = partition, cut
        self._chunk = max(_CHUNK_ORDERS[0], min(_CHUNK_ORDERS[1], _CHUNK_BYTES // max(1, fact_bytes)))
        before = self._findings.total
        try:
            self._read([])
            self._compare_orders()
            self._look_for_extra()
        except _NotComparableError as stopped:
            return str(stopped)
        return "equal" if self._findings.total == before else "differs"

    def _compare_orders(self) -> None:
        """Compare every order that has a fact."""
        row = 0
        while names := self._orders.names(row, self._chunk):
            row = names[-1][0]
            keys = [key for _, key in names]
            for key, value in zip(keys, self._read(keys), strict=True):
                self._compare_order(key, value)

    def _compare_order(self, key: bytes, value: bytes | None) -> None:
        fact = self._orders.latest(key)
        if value is None:
            self._add(Kind.MIRROR_MISSING, key, "is not in the mirror")
        elif fact is not None and value != fact:
            try:
                held = unpacked(order_of(value))
            except UndecodableError:
                self._add(Kind.MIRROR_ALTERED, key, "is not a valid order in the mirror")
                return
            order = codec().decode_fact(fact)
            if not same_order(held, order):
                self._add(Kind.MIRROR_ALTERED, key, f"has another {differing_fields(held, order)}")

    def _look_for_extra(self) -> None:
        """Look for orders in the mirror that have no fact."""
        for found in self._mirror.names(self._partition, self._chunk):
            unknown = [name for name in found if self._orders.latest(name) is None]
            for name, value in zip(unknown, self._read(unknown) if unknown else (), strict=True):
                if value is not None and self._orders.latest(name) is None:
                    self._add(Kind.MIRROR_EXTRA, name, "is in the mirror and has no fact")

    def _read(self, names: Sequence[bytes]) -> list[bytes | None]:
        """Return orders as the mirror holds them; read the facts up to its watermark, if that was committed."""
        try:
            mark, states = self._mirror.look(self._partition, names)
        except DamagedMirrorError as error:
            self._findings.add(Kind.MIRROR_ALTERED, f"partition {self._partition}: the mirror cannot be read: {error}")
            raise _NotComparableError("damaged") from error
        if mark is None:
            raise _NotComparableError("missing" if self._orders.names(0, 1) else "empty")
        if mark.facts < self._reached.facts:
            raise _NotComparableError("behind")
        if mark.source <= self._reached.source and mark.facts == self._reached.facts:
            return states
        committed = self._reading.committed(self._partition)
        if committed is None or mark.source > committed.source or mark.facts > committed.facts:
            ledger = "nothing" if committed is None else f"{committed.source} {committed.facts}"
            text = f"the mirror is at {mark.source} {mark.facts}, committed is {ledger}"
            self._findings.add(Kind.MIRROR_AHEAD, f"partition {self._partition}: {text}")
            raise _NotComparableError("ahead")
        facts = self._reading.records(self._reading.facts_topic, self._partition, self._reached.facts, mark.facts)
        for record in facts:
            if record.key is not None and record.value is not None:
                self._orders.note(self._orders.get(record.key), self._wire.plain_fact(record.value), None)
        self._orders.flush()
        self._reached = mark
        return states

    def _add(self, kind: Kind, key: bytes, text: str) -> None:
        self._findings.add(kind, f"partition {self._partition}, {order_name(key)} {text}")
