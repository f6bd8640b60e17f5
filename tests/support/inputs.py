"""What the reference fold is given: events, contacts and settings, read without the program's code."""

from tests.reference import ContactRecord, Input, Rules
from tests.support.facts import contact_of as raw_contact_of
from tests.support.facts import event_of

UNDECODABLE = "test.undecodable"  # the header of events that the reference must not decode


def input_of(record):
    """Give an event's record as the reference reads it."""
    decodable = record.value is not None and UNDECODABLE not in dict(record.headers)
    event = event_of(record.value) if decodable else None
    size = len(record.value or b"")
    return Input(record.partition, record.offset, record.timestamp_ms, record.key, size, event)


def contact_of(record):
    """Give a contact's record as the reference reads it."""
    value = record.value
    contact = None if value is None else raw_contact_of(value)
    return ContactRecord(record.partition, record.offset, record.timestamp_ms, record.key.decode(), contact)


def rules_of(settings):
    """Give the rules of the reference that these settings stand for."""
    return Rules(
        max_event_bytes=settings.max_event_bytes,
        max_fact_bytes=settings.max_fact_bytes,
        time_zone=settings.time_zone,
        default_currency=settings.default_currency,
        item_profile=settings.item_profile,
        statuses=tuple(settings.statuses.items()),
        identification=tuple((rule.parameter, rule.field) for rule in settings.identification),
        phone_matching=settings.phone_matching,
        phone_region=settings.phone_region,
        on_owner_conflict=settings.on_owner_conflict,
        on_duplicate_create=settings.on_duplicate_create,
        on_null=settings.on_null,
        occurred_at_parameter=settings.occurred_at_parameter,
    )
