"""Turns settings into the domain's rules: the only place where the two meet."""

from zoneinfo import ZoneInfo

from processor.domain.batch import Rules
from processor.domain.identifiers import identification
from processor.domain.records import Identification, Parsing, Policy
from processor.settings import Settings


def identification_of(settings: Settings) -> Identification:
    """Return which parameters identify a contact, as configured (D14)."""
    return identification((rule.parameter, rule.field) for rule in settings.identification)


def rules_of(settings: Settings) -> Rules:
    """Return the rules as configured."""
    currency = settings.default_currency
    return Rules(
        parsing=Parsing(
            zone=ZoneInfo(settings.time_zone),
            lenient_items=settings.item_profile == "lenient",
            identification=identification_of(settings),
        ),
        policy=Policy(
            default_currency=currency.upper() if currency else None,
            reassign_on_owner_conflict=settings.on_owner_conflict == "reassign",
            update_on_duplicate_create=settings.on_duplicate_create == "update",
        ),
        max_event_bytes=settings.max_event_bytes,
        max_fact_bytes=settings.max_fact_bytes,
    )
