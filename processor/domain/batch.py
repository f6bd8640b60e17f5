"""What passes between the steps of a batch. Frozen data only; never compiled (see `domain.records`)."""

from collections import Counter
from collections.abc import Callable
from typing import final

import msgspec

from processor.domain.identifiers import identification
from processor.domain.records import Command, Event, Headers, Identifier, Order, Parsing, Policy, Record
from processor.domain.rejections import Outcome, Reason, Rejection

DecodeEvent = Callable[[bytes, Headers], Event]
EncodeFact = Callable[[Order], bytes]
OrderKey = tuple[int, str]  # partition, externalOrderId: an order lives in its partition


class Rules(msgspec.Struct, frozen=True):
    """All settings that affect what becomes of an event. Limits in bytes."""

    parsing: Parsing = msgspec.field(default_factory=lambda: Parsing(identification()))
    policy: Policy = Policy()
    max_event_bytes: int = 1 << 20
    max_fact_bytes: int = 900_000


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A record with what it asks for, or why it is refused."""

    record: Record
    result: Command | Rejection


class Needs(msgspec.Struct, frozen=True):
    """What step 3 must look up: order ids by partition (every partition of the batch is named), and identifiers."""

    order_ids: dict[int, set[str]]
    identifiers: set[Identifier]


@final
class Fact(msgspec.Struct, frozen=True, gc=False):
    """An accepted change: the record's key and value for the facts topic."""

    key: bytes
    value: bytes


class Output(msgspec.Struct, frozen=True, gc=False):
    """What became of one record."""

    record: Record
    result: Fact | Rejection

    @property
    def is_invalid(self) -> bool:
        """Whether the event is invalid: neither a fact nor ignored."""
        return isinstance(self.result, Rejection) and self.result.reason.outcome is Outcome.INVALID


class Folded(msgspec.Struct, frozen=True):
    """The results of a batch, for as many of its records as fit the byte budget.

    `changed` holds by partition the changed orders as they are now, `first` and `last` by partition the first and the
    last record consumed. `input_bytes` and `output_bytes` count keys, values and headers.
    """

    outputs: list[Output]
    changed: dict[int, dict[str, Order]]
    first: dict[int, Record]
    last: dict[int, Record]
    reasons: Counter[Reason]
    facts: int
    input_bytes: int
    output_bytes: int

    @property
    def next_offsets(self) -> dict[int, int]:
        """The offset after the last record consumed, by partition."""
        return {partition: record.offset + 1 for partition, record in self.last.items()}

    @property
    def has_mismatch(self) -> bool:
        """Whether an event found another contact than its order's: then step 4 must know which owners exist (D15)."""
        return Reason.CONTACT_MISMATCH in self.reasons

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How many records were ignored, and how many are invalid."""
        counts: Counter[Outcome] = Counter()
        for reason, count in self.reasons.items():
            counts[reason.outcome] += count
        return counts
