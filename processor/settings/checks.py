"""Checks that types cannot express: values not supported yet, impossible values, contradictions.

Each refusal is one line that names the setting and says what to put there. It never repeats a secret.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from processor.errors import UsageError
from processor.settings.fields import REPLAY, Settings
from processor.settings.kafka_properties import RESERVED_KAFKA_PROPERTIES

_REDIS_OPTIONS: Final = frozenset(
    {"db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)


def check(settings: Settings) -> None:
    """Raise UsageError for the first setting that is wrong."""
    if settings.wire_format == "confluent":
        raise UsageError("setting wire_format: confluent is not supported yet; put single-object there")
    if settings.schema_registry_url is not None:
        raise UsageError("setting schema_registry_url: only wire_format=confluent uses it; remove it")
    if settings.instance_id == REPLAY:
        raise UsageError(
            f"setting instance_id: {REPLAY} is the name of `rejected replay`; give the replica another name"
        )
    _check_redis_url(settings.redis_url)
    try:
        ZoneInfo(settings.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"setting time_zone: {settings.time_zone!r} is not a time zone; put a name such as Europe/Kyiv there"
        ) from error
    if settings.default_currency is not None and not re.fullmatch(r"[A-Za-z]{3}", settings.default_currency):
        raise UsageError("setting default_currency: put three letters there, such as EUR")
    if settings.identifier_key is not None and len(settings.identifier_key) < 16:
        raise UsageError("setting identifier_key: put a secret of 16 characters or more there")
    _check_topics(settings)
    for name in settings.kafka:
        if name in RESERVED_KAFKA_PROPERTIES:
            raise UsageError(f"setting kafka: {name} is reserved, the guarantee rests on it; remove it")


def _check_redis_url(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may repeat the password
        raise UsageError(
            "setting redis_url: it is not an address; begin with redis://, rediss:// or unix://, "
            "and write special characters as %XX"
        ) from None
    scheme = parts.scheme
    if "sentinel" in scheme or "cluster" in scheme:
        raise UsageError(
            f"setting redis_url: {scheme}:// is not supported yet; put the address of one server there, "
            "redis://, rediss:// or unix://"
        )
    if scheme not in {"redis", "rediss", "unix"}:
        raise UsageError("setting redis_url: put an address that begins with redis://, rediss:// or unix:// there")
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError("setting redis_url: the port is not a number from 0 to 65535") from error
    if scheme == "unix" and (not parts.path.strip("/") or port is not None):
        raise UsageError("setting redis_url: put the path of a socket there, unix:///path/to/redis.sock")
    if scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path, re.ASCII):
        raise UsageError("setting redis_url: put the number of a database after the address, such as /0")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _REDIS_OPTIONS:
            raise UsageError(f"setting redis_url: unknown option {name}; known are {', '.join(sorted(_REDIS_OPTIONS))}")


def _check_topics(settings: Settings) -> None:
    roles = ("events_topic", "contacts_topic", "facts_topic", "rejected_topic")
    names = [getattr(settings, role) for role in roles]
    for role, name in zip(roles, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"setting {role}: {name} is another setting's topic too; name four different topics")
