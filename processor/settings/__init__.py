"""Every setting of the program, typed, and where it comes from.

A setting is taken from the first of: the command line, the environment (`ORDER_FACTS_` and the name in
capitals, or `ORDER_FACTS_<NAME>_FILE`: a file that holds it), the TOML file of `--config`, its default.
`load` gives a checked `Settings` or raises UsageError with one line that names the setting.
"""

import difflib
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from processor.errors import UsageError

ENVIRONMENT_PREFIX: Final = "ORDER_FACTS_"
_TEST_PREFIX: Final = "ORDER_FACTS_TEST_"  # settings of the tests' services, none of the program's
_FILE_SUFFIX: Final = "_FILE"

REPLAY: Final = "replay"  # what `rejected replay` is called in the group's name and as a producer: no replica is

Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1, pattern=r"^\S+$")]
InstanceName = Annotated[str, Meta(min_length=1, pattern=r"^[^\s/]+$")]
TopicName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
KafkaProperties = dict[str, str | int | bool | float]


class IdentificationRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event's parameter that holds a value of a contact's field (D14)."""

    parameter: Annotated[str, Meta(min_length=1, max_length=100)]
    field: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, by the names of the command line (`--max-batch`), the environment and the file."""

    bootstrap_servers: Annotated[Name, Meta(description="Kafka brokers, host:port[,host:port...]")] = "localhost:9092"
    redis_url: Annotated[str, Meta(description="Redis or Valkey: redis://, rediss:// (TLS) or unix:// address")] = (
        "redis://localhost:6379/0"
    )
    group_id: Annotated[Name, Meta(description="consumer group of the replicas")] = "order-facts"
    instance_id: Annotated[
        InstanceName, Meta(description="name of this replica: stable, and different for each (default: host name)")
    ] = msgspec.field(default_factory=socket.gethostname)
    events_topic: Annotated[TopicName, Meta(description="topic of order events, the input")] = "order-events"
    contacts_topic: Annotated[TopicName, Meta(description="topic of contacts, the input of the contact index")] = (
        "contacts"
    )
    facts_topic: Annotated[TopicName, Meta(description="topic of order facts, the output")] = "order-facts"
    rejected_topic: Annotated[TopicName, Meta(description="topic of events that became no fact")] = (
        "order-events-rejected"
    )
    wire_format: Annotated[Literal["single-object", "confluent"], Meta(description="framing of Avro values")] = (
        "single-object"
    )
    schema_registry_url: Annotated[str | None, Meta(description="schema registry of wire_format=confluent")] = None
    max_batch: Annotated[
        int, Meta(ge=1, le=100_000, description="most records in one batch, that is in one transaction")
    ] = 5_000
    max_event_bytes: Annotated[
        int, Meta(ge=1, le=64 << 20, description="an event whose value is larger is rejected as oversized")
    ] = 1 << 20
    max_fact_bytes: Annotated[
        int, Meta(ge=1, le=64 << 20, description="an event whose fact would be larger is rejected")
    ] = 900_000
    time_zone: Annotated[str, Meta(description="zone of dates without an offset")] = "UTC"
    default_currency: Annotated[
        str | None, Meta(description="currency of orders created without one, three letters")
    ] = None
    item_profile: Annotated[
        Literal["strict", "lenient"], Meta(description="attributes an item needs: all six, or id and quantity")
    ] = "strict"
    identification: Annotated[
        tuple[IdentificationRule, ...],
        Meta(description='JSON list of {"parameter", "field"}: replaces the default identifiers'),
    ] = ()
    on_owner_conflict: Annotated[
        Literal["reject", "reassign"], Meta(description="an event that finds another contact than the order's")
    ] = "reject"
    on_duplicate_create: Annotated[
        Literal["ignore", "update"], Meta(description="orderCreated for an order that exists")
    ] = "ignore"
    kafka: Annotated[
        KafkaProperties, Meta(description="JSON table of librdkafka properties for security and tuning")
    ] = {}
    identifier_key: Annotated[
        str | None, Meta(description="secret of the contact index's hashes, 16 characters or more")
    ] = None
    partitions: Annotated[int, Meta(ge=1, le=10_000, description="partitions of what `topics create` makes")] = 6
    startup_timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="how long a service may take to answer")] = (
        60.0
    )
    breaker_window: Annotated[
        int, Meta(ge=1, le=1_000_000, description="how many events the breaker judges at once")
    ] = 1_000
    breaker_max_invalid_ratio: Annotated[
        float, Meta(ge=0, le=1, description="share of invalid events in that window that trips the breaker")
    ] = 0.5
    breaker_action: Annotated[
        Literal["warn", "pause"], Meta(description="what a tripped breaker does: log, or stop consuming")
    ] = "warn"
    breaker_pause_s: Annotated[float, Meta(ge=0, description="how long it stops; 0: until the signal SIGUSR1")] = 60.0
    replay_max_rounds: Annotated[
        int, Meta(ge=1, description="how often `rejected replay` sends the same event back")
    ] = 3
    http_port: Annotated[int, Meta(ge=0, le=65_535, description="port of /livez, /readyz and /metrics; 0: none")] = 0
    log_format: Annotated[Literal["json", "console"], Meta(description="form of the log lines")] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level that is logged")
    ] = "info"


SECRETS: Final = frozenset({"identifier_key", "redis_url", "kafka"})
_HINTS: Final = get_type_hints(Settings, include_extras=True)
_JSON_SETTINGS: Final = frozenset({"identification", "kafka"})
_REDIS_OPTIONS: Final = frozenset(
    {"db", "ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
# What the guarantee rests on, and why: the setting `kafka` must not change it.
RESERVED_BECAUSE: Final[dict[str, tuple[str, ...]]] = {
    "only committed records are read; it also makes the client wait for stable offsets": ("isolation.level",),
    "a lost offset is a decision, never a silent jump; the end of a partition is counted on": (
        *("auto.offset.reset", "enable.partition.eof"),
    ),
    "offsets are committed by the transaction only": ("enable.auto.commit", "enable.auto.offset.store"),
    "a transaction needs them as they are": (
        *("acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"),
        *("max.in.flight", "max.in.flight.requests.per.connection"),
    ),
    "they say who this member is, and how it is given partitions": (
        *("transactional.id", "group.id", "group.instance.id", "group.protocol", "group.remote.assignor"),
        "partition.assignment.strategy",
    ),
    "an order's events must meet in one partition, whoever sends them": ("partitioner",),
    "the client checks it before compression, and it would stop a partition for ever; the topic's limit decides": (
        "message.max.bytes",
    ),
    "they have settings of their own": ("bootstrap.servers", "metadata.broker.list", "client.id"),
}
RESERVED_KAFKA_PROPERTIES: Final = frozenset(name for names in RESERVED_BECAUSE.values() for name in names)


def load(
    command_line: Mapping[str, Any], config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings from all their sources. Raises UsageError, naming the setting and its source.

    `command_line` holds the options given, by setting name; `environment` defaults to the process's own.
    """
    values: dict[str, Any] = {}
    if config is not None:
        values |= _from_file(config)
    values |= _from_environment(os.environ if environment is None else environment)
    for name, value in command_line.items():
        values[name] = _convert(name, value, f"option --{name.replace('_', '-')}")
    settings = Settings(**values)
    _check(settings)
    return settings


def description(name: str) -> str:
    """Return the line that explains a setting."""
    for extra in _HINTS[name].__metadata__:
        if isinstance(extra, Meta) and extra.description:
            return extra.description
    raise KeyError(name)


def _from_file(config: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {config}: {error}") from error
    for name in table:
        if name not in _HINTS:
            raise UsageError(f"{config}: unknown setting {name}{_nearest(name)}")
    return {name: _convert(name, value, str(config), text=False) for name, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable.startswith(_TEST_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        text = environment[variable]
        if name not in _HINTS and variable.endswith(_FILE_SUFFIX):
            name = name.removesuffix(_FILE_SUFFIX.lower())
            if ENVIRONMENT_PREFIX + name.upper() in environment:
                raise UsageError(f"{variable} and {ENVIRONMENT_PREFIX}{name.upper()} contradict: set one of them")
            text = _read_secret(variable, text)
        if name not in _HINTS:
            raise UsageError(f"unknown setting {variable}{_nearest(name)}")
        values[name] = _convert(name, text, variable)
    return values


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{variable}: {error}") from error


def _convert(name: str, value: Any, origin: str, *, text: bool = True) -> Any:
    """Return the setting's typed value; `text` tells that the source holds texts only."""
    try:
        if text and name in _JSON_SETTINGS:
            value = msgspec.json.decode(value)
        return msgspec.convert(value, _HINTS[name], strict=not text)
    except msgspec.MsgspecError as error:
        shown = "" if name in SECRETS else f" (it is {value!r})"
        raise UsageError(f"setting {name}, from {origin}: {error}{shown}; {description(name)}") from error


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, _HINTS, n=1, cutoff=0.4)
    return f"; did you mean {close[0]}?" if close else ""


def _check(settings: Settings) -> None:
    """Refuse what is not there yet, what cannot be, and what contradicts itself."""
    if settings.wire_format == "confluent":
        raise UsageError("setting wire_format: confluent is not supported yet; put single-object there")
    if settings.schema_registry_url is not None:
        raise UsageError("setting schema_registry_url: only wire_format=confluent uses it; remove it")
    if settings.instance_id == REPLAY:
        raise UsageError(
            f"setting instance_id: {REPLAY} is what `rejected replay` is called; give the replica another name"
        )
    _check_redis_url(settings.redis_url)
    try:
        ZoneInfo(settings.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(
            f"setting time_zone: {settings.time_zone!r} is no time zone; put a name such as Europe/Kyiv there"
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
            "setting redis_url: it is no address; begin with redis://, rediss:// or unix://, "
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
        raise UsageError("setting redis_url: the port is no number from 0 to 65535") from error
    if scheme == "unix" and (not parts.path.strip("/") or port is not None):
        raise UsageError("setting redis_url: put the path of a socket there, unix:///path/to/redis.sock")
    if scheme != "unix" and not re.fullmatch(r"/?[0-9]*", parts.path, re.ASCII):
        raise UsageError("setting redis_url: after the address stands the number of a database, such as /0")
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _REDIS_OPTIONS:
            raise UsageError(f"setting redis_url: unknown option {name}; known are {', '.join(sorted(_REDIS_OPTIONS))}")


def _check_topics(settings: Settings) -> None:
    roles = ("events_topic", "contacts_topic", "facts_topic", "rejected_topic")
    names = [getattr(settings, role) for role in roles]
    for role, name in zip(roles, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"setting {role}: {name} is another setting's topic too; name four different topics")
