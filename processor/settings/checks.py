"""Checks that types cannot express: values not supported yet, impossible values, contradictions.

Each refusal is one line that names the setting and says what to put there. It never repeats a secret.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final
from zoneinfo import ZoneInfo

from processor.domain.identifiers import identification
from processor.domain.orders import STATUSES
from processor.domain.parameters import ORDER_PARAMETERS
from processor.domain.values import is_filled
from processor.errors import UsageError
from processor.settings.definitions import REPLAY, Settings
from processor.settings.kafka_properties import property_problem, token_problems
from processor.settings.phone_regions import region_problem
from processor.settings.redis_address import BadAddressError, parse_redis_url
from processor.settings.registry_properties import registry_problems

_LEAST_CONTACTS_AGE_S: Final = 10  # an idle replica's index is up to 7 s old if all is well
_TOPICS: Final = (
    *("events_topic", "contacts_topic", "facts_topic", "rejected_topic", "healed_topic"),
    "segment_members_topic",
)


def check(settings: Settings) -> None:
    """Raise UsageError for the first setting that is wrong."""
    for name, problem in _problems(settings):
        raise UsageError(f"setting {name}: {problem}")


def _problems(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.wire_format == "confluent" and settings.schema_registry_url is None:
        yield "schema_registry_url", "wire_format=confluent needs it: put the schema registry's address there"
    yield from registry_problems(settings.schema_registry_url, settings.schema_registry)
    if settings.instance_id == REPLAY:
        yield "instance_id", f"{REPLAY} is the name of `rejected replay`; give the replica another name"
    for name in ("instance_id", "group_id"):  # the Kafka client refuses others at the first commit, Redis at connecting
        if not re.fullmatch(r"[!-~]+", getattr(settings, name)):
            yield name, f"it is {getattr(settings, name)!r}; use ASCII letters, digits and signs, without spaces"
    if problem := _redis_url_problem(settings.redis_url):
        yield "redis_url", problem
    try:
        ZoneInfo(settings.time_zone)
    except (KeyError, ValueError, OSError):
        yield "time_zone", f"{settings.time_zone!r} is not a time zone; put a name such as Europe/Kyiv there"
    if settings.default_currency is not None and not re.fullmatch(r"[A-Za-z]{3}", settings.default_currency):
        yield "default_currency", "put three letters there, such as EUR"
    yield from _statuses_problems(settings.statuses)
    if settings.identifier_key is not None and len(settings.identifier_key) < 16:
        yield "identifier_key", "put a secret of 16 characters or more there"
    yield from _conflicts(settings)


def _statuses_problems(statuses: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a shop's own words for statuses (D7)."""
    known, seen = {status.lower() for status in STATUSES}, set[str]()
    for given, status in statuses.items():
        word = given.strip().lower()
        if not is_filled(word):
            yield "statuses", f"no status can be {given!r}, which counts as absent; remove it"
        if word in known:
            yield "statuses", f"{given!r} is a status itself; remove it"
        if word in seen:
            yield "statuses", f"{given!r} is there twice, since case and outer spaces do not count; remove one"
        if status not in STATUSES:
            yield "statuses", f"{given!r} is mapped to {status!r}; put one of {', '.join(STATUSES)} there"
        seen.add(word)


def _conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    names = {role: getattr(settings, role) for role in _TOPICS}
    for role, name in names.items():
        if [*names.values()].count(name) > 1:
            yield role, f"{name} is another setting's topic too; name six different topics"
    if settings.phone_region is not None and (problem := region_problem(settings.phone_region)):
        yield "phone_region", problem
    if settings.phone_region is not None and settings.phone_matching == "exact":
        yield "phone_region", "phone_matching=exact compares phone numbers as text; remove one of the two"
    if 0 < settings.contacts_max_age_s < _LEAST_CONTACTS_AGE_S:
        yield "contacts_max_age_s", f"put {_LEAST_CONTACTS_AGE_S} or more there, or 0 for no limit"
    if problem := _occurred_at_problem(settings):
        yield "occurred_at_parameter", problem
    for name in settings.kafka:
        if problem := property_problem(name):
            yield "kafka", problem
    yield from token_problems(settings.kafka_token, settings.kafka)


def _occurred_at_problem(settings: Settings) -> str | None:
    name = settings.occurred_at_parameter
    if name is None:
        return None
    if settings.fact_version == 1:
        return "facts of fact_version=1 have no field for it; put 2 there, or remove this setting"
    names = identification((rule.parameter, rule.field) for rule in settings.identification).names
    if name in ORDER_PARAMETERS or name.lower() in names:  # D25
        return f"{name} already has another meaning in the rules; put a parameter of its own there, such as occurredAt"
    return None


def _redis_url_problem(url: str) -> str | None:
    """Return what is wrong with the address, if anything; never the text of an error, which may repeat the password."""
    try:
        parse_redis_url(url)
    except BadAddressError as error:
        return str(error)
    return None
