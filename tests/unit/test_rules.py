"""Proves that the program keeps the rules D1 to D24: the corpus of hand-checked examples, through steps 2 to 4."""

import pytest

from processor.codec.avro import codec
from processor.codec.packed_items import with_packed_items
from processor.domain.batch import OrderKey
from processor.domain.pipeline import needs, read
from processor.domain.records import Event, Order, Record, UndecodableError
from processor.domain.rejections import Rejection
from processor.settings import IdentificationRule, Settings
from processor.settings.rules import rules_of
from tests.support.cases import fact_differences, load_cases, noted
from tests.support.facts import fact_of
from tests.support.owners import fold_all, owners_of

CASES = load_cases()
BATCHES = (1, 7, 5000)


class Events:
    """Stands for the codec where an event holds what Avro cannot: a value is the number of its event."""

    def __init__(self, case):
        self.events = [entry.event for entry in case.inputs]
        self.records = [
            Record(i.partition, i.offset, i.timestamp_ms, i.key, str(number).encode().ljust(i.size))
            for number, i in enumerate(case.inputs)
        ]

    def decode(self, value, _headers=()):
        """Give the event whose number the value is."""
        event = self.events[int(value)]
        if event is None:
            raise UndecodableError("not an event")
        params = [(param["name"], param["value"]) for param in event["params"]]
        return Event.of(event["eventTypeKey"], event["keyValue"], params)


def settings_of(rules):
    """Give the program's settings for the reference's rules."""
    return Settings(
        max_event_bytes=rules.max_event_bytes,
        max_fact_bytes=rules.max_fact_bytes,
        time_zone=rules.time_zone,
        default_currency=rules.default_currency,
        item_profile=rules.item_profile,
        statuses=dict(rules.statuses),
        identification=tuple(IdentificationRule(*rule) for rule in rules.identification),
        phone_matching=rules.phone_matching,
        phone_region=rules.phone_region,
        on_owner_conflict=rules.on_owner_conflict,
        on_duplicate_create=rules.on_duplicate_create,
        on_null=rules.on_null,
        occurred_at_parameter=rules.occurred_at_parameter,
    )


def encoder(case):
    """Give the encoder of facts; in a case that says what facts weigh, their values are padded to that."""
    if case.fact_bytes is None:
        return codec().encode_fact
    weights = {(i.partition, i.offset): w for i, w in zip(case.inputs, case.fact_bytes, strict=True)}
    return lambda order: codec().encode_fact(order).ljust(weights[order.source_partition, order.source_offset])


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_event_becomes_the_fact_or_reason_of_its_case(case):
    """Every event gives the fact or the reason written in its case, whatever the size of the batches (D24)."""
    for batch in BATCHES:
        with noted(f"in batches of {batch}"):
            require_what_the_case_expects(case, batch)


def batches_of(case, records, batch):
    """Yield a case's records in batches of at most this size, each with the contacts' records until then."""
    for stage, contacts_topic in case.stages:
        staged = records[stage]
        for start in range(0, len(staged), batch):
            yield staged[start : start + batch], contacts_topic


def require_what_the_case_expects(case, batch):
    """Send a case's events through steps 2 to 4 in batches of this size, and compare what comes out."""
    rules = with_packed_items(rules_of(settings_of(case.rules)))
    events, outputs = Events(case), []
    orders: dict[OrderKey, Order] = {}
    for records, contacts_topic in batches_of(case, events.records, batch):
        owners = owners_of(contacts_topic, rules.parsing.identification)
        parsed = read(records, events.decode, rules)
        contacts = {identifier: owners[identifier] for identifier in needs(parsed).identifiers & owners.keys()}
        folded = fold_all(parsed, orders, contacts, encoder(case), rules, contacts_topic)
        for partition, changed in folded.changed.items():
            orders |= {(partition, order_id): order for order_id, order in changed.items()}
        outputs += folded.outputs
    assert len(outputs) == len(case.expect)
    for record, expected, output in zip(events.records, case.expect, outputs, strict=True):
        assert output.record is record
        if "fact" in expected:
            assert not isinstance(output.result, Rejection), output.result
            value = output.result.value.rstrip(b" ") if case.fact_bytes else output.result.value
            assert fact_differences(expected["fact"], fact_of(value)) == []
            assert isinstance(orders[record.partition, fact_of(value)["externalOrderId"]], Order)
        else:
            assert isinstance(output.result, Rejection), output.result
            assert output.result.reason == expected["reason"]
            assert all(name in output.result.detail for name in expected.get("detail", ()))
            assert "\n" not in output.result.detail
