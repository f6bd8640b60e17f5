"""What goes into the reference fold and what comes out of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """The settings that change rules, with their defaults."""

    max_event_bytes: int = 1_048_576
    max_fact_bytes: int = 900_000
    time_zone: str = "UTC"
    default_currency: str | None = None
    item_profile: str = "lenient"  # or strict
    statuses: tuple[tuple[str, str], ...] = ()  # (a shop's own word, status)
    identification: tuple[tuple[str, str], ...] = ()  # (event parameter, contact field), in the order tried
    phone_matching: str = "digits"  # or exact
    phone_region: str | None = None
    on_owner_conflict: str = "reject"  # or reassign
    on_duplicate_create: str = "ignore"  # or update
    on_null: str = "ignore"  # or clear
    occurred_at_parameter: str | None = None  # the parameter that says when an event happened


@dataclass(frozen=True)
class Input:
    """One record of order-events."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    size: int  # bytes of the record's value
    event: dict | None  # {"eventTypeKey", "keyValue", "params": [{"name", "value"}]}; None: undecodable


@dataclass(frozen=True)
class ContactRecord:
    """One record of contacts that has a key, and a value that is null or could be decoded (C1)."""

    partition: int
    offset: int
    timestamp_ms: int
    contact_id: str
    contact: dict | None  # as Avro's Contact; None: deleted


@dataclass(frozen=True)
class Fact:
    """The order as it is after an accepted event; `fact` has all fields of OrderFact by their names."""

    source_partition: int
    source_offset: int
    fact: dict


@dataclass(frozen=True)
class Rejected:
    """Why an event gave no fact."""

    source_partition: int
    source_offset: int
    reason: str
    outcome: str  # invalid or ignored
    detail_names: tuple[str, ...]  # the parameter names or paths that the detail has to mention


class RefusedError(Exception):
    """Stops the reading of one event: the reason, and the names for the detail."""

    def __init__(self, reason, *names):
        super().__init__(reason, *names)
        self.reason = reason
        self.names = names
