"""The settings: each with its type, its default and a line that explains it."""

import socket
from typing import Annotated, Any, Final, Literal, get_type_hints

import msgspec
from msgspec import Meta

REPLAY: Final = "replay"  # names `rejected replay` in its group and as a producer: no replica may have this name

Name = Annotated[str, Meta(min_length=1, pattern=r"^\S+\Z")]
InstanceName = Annotated[str, Meta(min_length=1, pattern=r"^[^\s/]+\Z")]
TopicName = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9._-]{1,249}\Z")]
Bytes = Annotated[int, Meta(ge=1, le=64 << 20)]
KafkaProperties = dict[str, str | int | bool | float]
RegistryProperties = dict[str, str | int | float]


class IdentificationRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event's parameter whose value identifies a contact by one of its fields (D14)."""

    parameter: Annotated[str, Meta(min_length=1, max_length=100)]
    field: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


def about(description: str, **limits: Any) -> Meta:
    """Return what a setting means, in one line, and its limits by the names of `Meta`."""
    return Meta(description=description, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings, by the names of the command line (`--max-batch`), the environment and the file."""

    bootstrap_servers: Annotated[Name, about("Kafka brokers, host:port[,host:port...]")] = "localhost:9092"
    redis_url: Annotated[
        str,
        about("Redis or Valkey: redis://, redis+sentinel:// or redis+cluster:// (rediss: TLS), or unix:// address"),
    ] = "redis://localhost:6379/0"
    redis_url_file: Annotated[
        Name | None, about("file that holds redis_url; its password is read anew for each connection, so it may change")
    ] = None
    redis_eviction: Annotated[
        Literal["checked", "trusted"],
        about("what to do if Redis does not say whether it may evict: refuse it, or trust that it never does"),
    ] = "checked"
    group_id: Annotated[Name, about("consumer group of the replicas")] = "order-facts"
    instance_id: Annotated[
        InstanceName, about("name of this replica: stable, different for each (default: host name)")
    ] = msgspec.field(default_factory=socket.gethostname)
    events_topic: Annotated[TopicName, about("topic of order events, the input")] = "order-events"
    contacts_topic: Annotated[TopicName, about("topic of contacts, the input of the contact index")] = "contacts"
    facts_topic: Annotated[TopicName, about("topic of order facts, the output")] = "order-facts"
    rejected_topic: Annotated[TopicName, about("topic of rejected records, the other output")] = "order-events-rejected"
    healed_topic: Annotated[TopicName, about("topic that notes which rejected events were sent back by themselves")] = (
        "order-events-healed"
    )
    segment_members_topic: Annotated[
        TopicName, about("topic of segments' members, which `segments publish` writes")
    ] = "segment-members"
    wire_format: Annotated[Literal["single-object", "confluent"], about("framing of Avro values")] = "single-object"
    schema_registry_url: Annotated[
        str | None,
        about("schema registry with Confluent's interface: an http(s):// address, or several, by commas"),
    ] = None
    schema_registry: Annotated[
        RegistryProperties, about("JSON table of Confluent's client properties: credentials, TLS, timeout")
    ] = {}
    schema_grace_s: Annotated[
        float,
        about(
            "how many seconds a schema that the registry does not know may still come, before it is undecodable",
            ge=0,
            le=3_600,
        ),
    ] = 30.0
    max_batch: Annotated[int, about("most records in one batch: one transaction", ge=1, le=100_000)] = 5_000
    max_event_bytes: Annotated[Bytes, about("an event whose value is larger is rejected as oversized")] = 1 << 20
    max_fact_bytes: Annotated[Bytes, about("an event whose fact would be larger is rejected")] = 900_000
    time_zone: Annotated[str, about("time zone of dates without an offset")] = "UTC"
    default_currency: Annotated[str | None, about("currency of orders created without one: three letters")] = None
    item_profile: Annotated[
        Literal["strict", "lenient"], about("attributes that an item needs: all six, or id and quantity")
    ] = "lenient"
    statuses: Annotated[
        dict[str, str], about('JSON table from a shop\'s own words, in any case, to statuses: {"paid": "IN_PROGRESS"}')
    ] = {}
    identification: Annotated[
        tuple[IdentificationRule, ...], about('JSON list of {"parameter", "field"}: replaces the default identifiers')
    ] = ()
    phone_matching: Annotated[
        Literal["digits", "exact"], about("how phone numbers are compared: by their digits, or as text")
    ] = "digits"
    phone_region: Annotated[
        str | None,
        about("country, such as UA, whose numbers may be written without its code; needs order-facts[phones]"),
    ] = None
    on_owner_conflict: Annotated[
        Literal["reject", "reassign"], about("what an event does that finds another contact than the order's")
    ] = "reject"
    on_duplicate_create: Annotated[
        Literal["ignore", "update"], about("what orderCreated does to an order that exists")
    ] = "ignore"
    on_null: Annotated[
        Literal["ignore", "clear"], about("what a null in orderUpdated does: nothing, or it empties the field")
    ] = "ignore"
    occurred_at_parameter: Annotated[
        Annotated[str, Meta(min_length=1, max_length=100)] | None,
        about("parameter that says when an event happened: an earlier event of the order is then stale"),
    ] = None
    fact_version: Annotated[
        Literal[1, 2], about("schema version of the facts that are written: 1 until all that read facts know 2")
    ] = 2
    kafka: Annotated[KafkaProperties, about("JSON table of librdkafka properties for security and tuning")] = {}
    kafka_token: Annotated[
        str | None, about("module:function that gives the tokens of sasl.mechanisms=OAUTHBEARER, as of AWS or Azure")
    ] = None
    identifier_key: Annotated[str | None, about("secret of the contact index's hashes, 16 characters or more")] = None
    contacts_max_age_s: Annotated[
        float, about("`run` and `check` warn of a contact index that is more seconds old than this; 0: never", ge=0)
    ] = 60.0
    partitions: Annotated[int, about("partitions of topics that `topics create` creates", ge=1, le=10_000)] = 6
    replication_factor: Annotated[
        int, about("copies of topics that `topics create` creates; fewer if the brokers allow no more", ge=1, le=100)
    ] = 3
    startup_timeout_s: Annotated[float, about("how many seconds a service may take to answer", gt=0, le=86_400)] = 60.0
    breaker_window: Annotated[int, about("how many of the last events the breaker judges", ge=1, le=1_000_000)] = 1_000
    breaker_max_invalid_ratio: Annotated[
        float, about("the breaker trips above this share of invalid events in its window", ge=0, le=1)
    ] = 0.5
    breaker_action: Annotated[
        Literal["warn", "pause"], about("what a tripped breaker does: log it, or also stop consuming")
    ] = "warn"
    breaker_pause_s: Annotated[float, about("how many seconds consuming stops; 0: until the signal SIGUSR1", ge=0)] = (
        60.0
    )
    replay_max_rounds: Annotated[int, about("how often `rejected replay` sends the same event back, at most", ge=1)] = 3
    http_port: Annotated[int, about("port of /livez, /readyz and /metrics; 0: none", ge=0, le=65_535)] = 0
    http_host: Annotated[Name | None, about("address that http_port is served on (default: all, IPv4 and IPv6)")] = None
    log_format: Annotated[Literal["json", "console"], about("format of the log lines")] = "json"
    log_profile: Annotated[
        Literal["default", "ecs", "gcp", "otel"], about("names of the fields of JSON log lines: ours, or a standard's")
    ] = "default"
    log_stream: Annotated[
        Literal["stderr", "stdout"], about("where commands that run until a signal log to; others: stderr")
    ] = "stderr"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], about("lowest level that is logged")] = "info"


SECRETS: Final = frozenset({"identifier_key", "redis_url", "kafka", "schema_registry", "schema_registry_url"})
HINTS: Final = get_type_hints(Settings, include_extras=True)


def description(name: str) -> str:
    """Return the line that explains a setting."""
    return next(
        extra.description for extra in HINTS[name].__metadata__ if isinstance(extra, Meta) and extra.description
    )
