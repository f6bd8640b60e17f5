"""What must hold before the first record is read; each refusal is one clear line."""

from zoneinfo import ZoneInfo

from processor.domain.events import Parsing
from processor.domain.identifiers import identification
from processor.domain.orders import Policy
from processor.pipeline import Rules
from processor.settings import Settings


def rules_of(settings: Settings) -> Rules:
    """Return what the settings make of the rules."""
    currency = settings.default_currency
    return Rules(
        parsing=Parsing(
            zone=ZoneInfo(settings.time_zone),
            lenient_items=settings.item_profile == "lenient",
            identification=identification((rule.parameter, rule.field) for rule in settings.identification),
        ),
        policy=Policy(
            default_currency=currency.upper() if currency else None,
            reassign_on_owner_conflict=settings.on_owner_conflict == "reassign",
            update_on_duplicate_create=settings.on_duplicate_create == "update",
        ),
        max_event_bytes=settings.max_event_bytes,
        max_fact_bytes=settings.max_fact_bytes,
    )
