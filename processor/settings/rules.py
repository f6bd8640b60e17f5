"""Turns settings into the domain's rules: the only place where the two meet."""

from typing import Final
from zoneinfo import ZoneInfo

from processor.domain.batch import Rules
from processor.domain.events import CREATED, UPDATED
from processor.domain.identifiers import identification
from processor.domain.phones import DIGITS, EXACT
from processor.domain.records import Identification, Parsing, PhoneRule, Policy
from processor.settings import Settings
from processor.settings.phone_regions import numbers_of_region

RULE_SETTINGS: Final = (
    *("max_event_bytes", "max_fact_bytes", "fact_version", "time_zone", "default_currency"),
    *("item_profile", "statuses", "identification", "phone_matching", "phone_region", "occurred_at_parameter"),
    *("on_owner_conflict", "on_duplicate_create", "on_null"),
)
"""The settings that decide what an event becomes: whoever judges events takes all of them."""


def identification_of(settings: Settings) -> Identification:
    """Return which parameters identify a contact (D14), and how phone numbers are compared (D12), as configured."""
    rules = ((rule.parameter, rule.field) for rule in settings.identification)
    return identification(rules, _phones_of(settings))


def _phones_of(settings: Settings) -> PhoneRule:
    if settings.phone_region is not None:
        return numbers_of_region(settings.phone_region)
    return EXACT if settings.phone_matching == "exact" else DIGITS


def _clearing(settings: Settings) -> frozenset[str]:
    """Return the types of event in which a null empties its field (D18)."""
    if settings.on_null != "clear":
        return frozenset()
    return frozenset({UPDATED} if settings.on_duplicate_create == "ignore" else {UPDATED, CREATED})


def rules_of(settings: Settings) -> Rules:
    """Return the rules as configured."""
    currency = settings.default_currency
    return Rules(
        parsing=Parsing(
            zone=ZoneInfo(settings.time_zone),
            statuses={word.strip().lower(): status for word, status in settings.statuses.items()},
            lenient_items=settings.item_profile == "lenient",
            identification=identification_of(settings),
            occurred_at=settings.occurred_at_parameter,
            clearing=_clearing(settings),
        ),
        policy=Policy(
            default_currency=currency.upper() if currency else None,
            reassign_on_owner_conflict=settings.on_owner_conflict == "reassign",
            update_on_duplicate_create=settings.on_duplicate_create == "update",
            keeps_occurred_at=settings.fact_version >= 2,
        ),
        max_event_bytes=settings.max_event_bytes,
        max_fact_bytes=settings.max_fact_bytes,
    )
