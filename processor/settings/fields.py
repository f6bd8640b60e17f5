"""The settings: each with its type, its default and a line that explains it."""

import socket
from typing import Annotated, Final, Literal, get_type_hints

import msgspec
from msgspec import Meta

REPLAY: Final = "replay"  # names `rejected replay` in its group and as a producer: no replica may have this name

Name = Annotated[str, Meta(min_length=1, pattern=r"^\S+$")]
InstanceName = Annotated[str, Meta(min_length=1, pattern=r"^[^\s/]+$")]
TopicName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
KafkaProperties = dict[str, str | int | bool | float]


class IdentificationRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event's parameter whose value identifies a contact by one of its fields (D14)."""

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
        InstanceName, Meta(description="name of this replica: stable, different for each (default: host name)")
    ] = msgspec.field(default_factory=socket.gethostname)
    events_topic: Annotated[TopicName, Meta(description="topic of order events, the input")] = "order-events"
    contacts_topic: Annotated[TopicName, Meta(description="topic of contacts, the input of the contact index")] = (
        "contacts"
    )
    facts_topic: Annotated[TopicName, Meta(description="topic of order facts, the output")] = "order-facts"
    rejected_topic: Annotated[TopicName, Meta(description="topic of rejected records, the other output")] = (
        "order-events-rejected"
    )
    wire_format: Annotated[Literal["single-object", "confluent"], Meta(description="framing of Avro values")] = (
        "single-object"
    )
    schema_registry_url: Annotated[str | None, Meta(description="schema registry of wire_format=confluent")] = None
    max_batch: Annotated[int, Meta(ge=1, le=100_000, description="most records in one batch: one transaction")] = 5_000
    max_event_bytes: Annotated[
        int, Meta(ge=1, le=64 << 20, description="an event whose value is larger is rejected as oversized")
    ] = 1 << 20
    max_fact_bytes: Annotated[
        int, Meta(ge=1, le=64 << 20, description="an event whose fact would be larger is rejected")
    ] = 900_000
    time_zone: Annotated[str, Meta(description="time zone of dates without an offset")] = "UTC"
    default_currency: Annotated[
        str | None, Meta(description="currency of orders created without one: three letters")
    ] = None
    item_profile: Annotated[
        Literal["strict", "lenient"], Meta(description="attributes that an item needs: all six, or id and quantity")
    ] = "strict"
    identification: Annotated[
        tuple[IdentificationRule, ...],
        Meta(description='JSON list of {"parameter", "field"}: replaces the default identifiers'),
    ] = ()
    on_owner_conflict: Annotated[
        Literal["reject", "reassign"],
        Meta(description="what an event does that finds another contact than the order's"),
    ] = "reject"
    on_duplicate_create: Annotated[
        Literal["ignore", "update"], Meta(description="what orderCreated does to an order that exists")
    ] = "ignore"
    kafka: Annotated[
        KafkaProperties, Meta(description="JSON table of librdkafka properties for security and tuning")
    ] = {}
    identifier_key: Annotated[
        str | None, Meta(description="secret of the contact index's hashes, 16 characters or more")
    ] = None
    partitions: Annotated[
        int, Meta(ge=1, le=10_000, description="partitions of topics that `topics create` creates")
    ] = 6
    startup_timeout_s: Annotated[
        float, Meta(gt=0, le=86_400, description="how many seconds a service may take to answer")
    ] = 60.0
    breaker_window: Annotated[
        int, Meta(ge=1, le=1_000_000, description="how many of the last events the breaker judges")
    ] = 1_000
    breaker_max_invalid_ratio: Annotated[
        float, Meta(ge=0, le=1, description="the breaker trips above this share of invalid events in its window")
    ] = 0.5
    breaker_action: Annotated[
        Literal["warn", "pause"], Meta(description="what a tripped breaker does: log it, or also stop consuming")
    ] = "warn"
    breaker_pause_s: Annotated[
        float, Meta(ge=0, description="how many seconds consuming stops; 0: until the signal SIGUSR1")
    ] = 60.0
    replay_max_rounds: Annotated[
        int, Meta(ge=1, description="how often `rejected replay` sends the same event back, at most")
    ] = 3
    http_port: Annotated[int, Meta(ge=0, le=65_535, description="port of /livez, /readyz and /metrics; 0: none")] = 0
    log_format: Annotated[Literal["json", "console"], Meta(description="format of the log lines")] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="lowest level that is logged")
    ] = "info"


SECRETS: Final = frozenset({"identifier_key", "redis_url", "kafka"})
HINTS: Final = get_type_hints(Settings, include_extras=True)


def description(name: str) -> str:
    """Return the line that explains a setting."""
    for extra in HINTS[name].__metadata__:
        if isinstance(extra, Meta) and extra.description:
            return extra.description
    raise KeyError(name)
