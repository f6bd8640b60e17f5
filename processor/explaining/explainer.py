"""Judges events one by one with steps 2 to 4 of a batch, as `run` does: each is a batch of its own.

Orders live in memory, as the events before left them, all in one partition. An event's record is what `events send`
would send.
"""

from typing import Final

import msgspec

from processor.codec.avro import codec
from processor.codec.packed_items import with_packed_items
from processor.domain.batch import OrderKey
from processor.domain.pipeline import fold, needs, owners_in_doubt, read
from processor.domain.records import Event, Order, Record, UndecodableError
from processor.domain.rejections import Rejection
from processor.explaining.contact_book import ContactBook
from processor.explaining.rule_numbers import rule_of_fact, rule_of_rejection
from processor.settings import Settings
from processor.settings.rules import rules_of

_PARTITION: Final = 0


class Explained(msgspec.Struct, frozen=True):
    """What becomes of one event, the order as its fact has it or the rejection, and the number of the rule."""

    result: Order | Rejection
    rule: str


class Explainer:
    """Judges events in their order; each sees what the ones before did to its order."""

    def __init__(self, settings: Settings, contacts: ContactBook) -> None:
        self._rules = with_packed_items(rules_of(settings))
        self._encode = codec().fact_encoders[settings.fact_version]
        self._contacts = contacts
        self._orders: dict[OrderKey, Order] = {}
        self._events = 0

    def explain(self, key: bytes | None, value: bytes, timestamp_ms: int) -> Explained:
        """Return what becomes of the next event; `timestamp_ms` is its record's, in ms since the epoch."""
        record = Record(_PARTITION, self._events, timestamp_ms, key, value)
        self._events += 1
        parsed = read([record], codec().read_event, self._rules)
        contacts = self._contacts.found(needs(parsed).identifiers)
        gone = self._contacts.gone(owners_in_doubt(parsed, self._orders, contacts, self._rules))
        folded = fold(parsed, self._orders, contacts, self._encode, self._rules, gone=gone)
        for partition, changed in folded.changed.items():
            self._orders |= {(partition, order_id): order for order_id, order in changed.items()}
        (output,) = folded.outputs
        if isinstance(output.result, Rejection):
            occurred_at = self._rules.parsing.occurred_at
            return Explained(output.result, rule_of_rejection(output.result, _event(value), occurred_at))
        order = codec().decode_fact(output.result.value)
        return Explained(order, rule_of_fact(order))


def _event(value: bytes) -> Event | None:
    try:
        return codec().read_event(value)
    except UndecodableError:
        return None
