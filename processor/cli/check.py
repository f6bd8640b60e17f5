"""`order-facts check`."""

import time
from contextlib import suppress
from typing import Final

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, WIRE, with_settings
from processor.codec.avro import codec
from processor.contacts.lookup import IndexNotReadyError, staleness
from processor.copies.sizes import size_of_index, size_of_mirrors
from processor.errors import OrderFactsError, RetryError, StopError, UsageError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.messages import record_of
from processor.kafka.partitioning import KeySample
from processor.kafka.ranges import read_range
from processor.kafka.rights import findings
from processor.kafka.topics import warnings
from processor.registry.client import Registry
from processor.registry.subjects import subject_of
from processor.replica import startup
from processor.settings import Settings
from processor.settings.redis_address import parse_redis_url
from processor.state.mirror import Mirror
from processor.state.permissions import refused

_LAST_EVENTS: Final = 1_000


@click.command()
@with_settings(
    *(*TOPICS, "segment_members_topic", "group_id", "fact_version", "contacts_max_age_s"),
    *CONNECTION,
    *WIRE,
    *REDIS,
)
def check(settings: Settings) -> None:
    """Check the settings, Kafka, the access rights, Redis, the topics and the contact index; a line for each finding.

    It names each access right that `run` lacks, begins and aborts a transaction, and looks the schemas up that
    wire_format=confluent needs.
    A warning changes no exit code: 0 if all is well, 1 if something is wrong, 2 for a wrong setting, 3 if a service
    does not answer.
    """
    try:
        found = startup.check(settings)
    except OrderFactsError as error:
        if not isinstance(error, UsageError):
            _say("ok", "settings")
        _say("problem", str(error))
        if isinstance(error, StopError):
            _name_missing_rights(settings)
        raise click.exceptions.Exit(error.exit_code) from error
    _say("ok", "settings")
    topics = found.topics
    _say("ok", f"Kafka at {settings.bootstrap_servers}, cluster {found.lineage.cluster_id}")
    may_run = _say_rights(settings, found)
    _say_registry(settings, found)
    may_run = _say_redis(settings, found) and may_run
    _say(
        "ok",
        f"topics: {topics.events.name}, {topics.facts.name} and {topics.rejected.name} with "
        f"{topics.events.partitions} partitions each, {topics.contacts.name} with {topics.contacts.partitions}",
    )
    for warning in warnings(settings, found.cluster):
        _say("warning", warning)
    if may_run and (mixed := _mixed_partitioners(settings, found)):
        _say("warning", mixed)
    try:
        age_s = max(0.0, time.time() - found.index.look(()).complete_at_ms / 1000)
    except IndexNotReadyError as error:
        _say("problem", f"{error}; orders wait until then")
        raise click.exceptions.Exit(1) from error
    except RetryError as error:
        _say("problem", str(error))
        raise click.exceptions.Exit(3) from error
    stale = staleness(age_s, settings.contacts_max_age_s)
    _say(*(("problem", stale) if stale else ("ok", f"the contact index is complete, as of {age_s:.0f} s ago")))
    if stale or not may_run:
        raise click.exceptions.Exit(1)


def _say(kind: str, text: str) -> None:
    click.echo(f"{kind:<9}{text}")


def _say_rights(settings: Settings, found: startup.Found) -> bool:
    """Say which access rights are missing and whether there are transactions; return whether `run` may work."""
    may_run = True
    try:
        for kind, text in findings(settings, found.cluster):
            _say(kind, text)
            may_run = may_run and kind != "problem"
    except OrderFactsError as error:
        _say("problem", str(error))
        raise click.exceptions.Exit(3 if isinstance(error, RetryError) else 1) from error
    return may_run


def _say_redis(settings: Settings, found: startup.Found) -> bool:
    """Say where Redis is, which commands it refuses and what the deployment takes; return whether `run` may work."""
    _say("ok", f"Redis at {parse_redis_url(settings.redis_url).place}, a primary that does not evict")
    mirror = Mirror(found.redis, found.lineage, codec())
    try:
        missing = refused(found.redis, settings)
        orders = size_of_mirrors(found.redis, [mirror.key(p) for p in range(found.topics.events.partitions)])
        contacts = size_of_index(found.redis, found.index.keys)
    except RetryError as error:
        _say("problem", str(error))
        raise click.exceptions.Exit(3) from error
    for kind, text in missing:
        _say(kind, text)
    for size, what in ((orders, "orders"), (contacts, "identifiers and contacts")):
        if size is not None and size.count:
            taken = f"{size.taken_bytes / 2**20:.1f} MiB, {size.each} bytes each"
            _say("ok", f"in Redis {size.count:,} {what} take {taken}")
    return all(kind != "problem" for kind, _ in missing)


def _say_registry(settings: Settings, found: startup.Found) -> None:
    """Say whether the schema registry, if one is set, answers, and has the schema of the facts where that is needed."""
    if settings.schema_registry_url is None:
        return
    try:
        startup.fact_encoder(settings, found.wire)
        if settings.wire_format != "confluent":
            Registry(settings, settings.startup_timeout_s).level(subject_of(settings.facts_topic))
    except OrderFactsError as error:
        _say("problem", str(error))
        raise click.exceptions.Exit(3 if isinstance(error, RetryError) else error.exit_code) from error
    has_schema = f", which has order-fact.{settings.fact_version}" if settings.wire_format == "confluent" else ""
    _say("ok", f"the schema registry at {settings.schema_registry_url}{has_schema}")


def _name_missing_rights(settings: Settings) -> None:
    """Name the access rights that may be behind the problem, if the brokers answer at all."""
    with suppress(OrderFactsError):
        for kind, text in findings(settings, Cluster(settings)):
            if kind == "problem":
                _say(kind, text)


def _mixed_partitioners(settings: Settings, found: startup.Found) -> str | None:
    """Return what is wrong if the keys of the topic's last events were partitioned in more than one way."""
    topic, partitions = found.topics.events.name, found.topics.events.partitions
    held = found.cluster.ranges(topic, range(partitions))
    last = {partition: offsets[-max(1, _LAST_EVENTS // partitions) :] for partition, offsets in held.items()}
    sample = KeySample(partitions)
    with reader(settings) as consumer:
        starts = {partition: offsets.start for partition, offsets in last.items()}
        stops = found.cluster.ends(topic, range(partitions))
        sample.add(record_of(message) for message in read_range(consumer, topic, starts, stops))
    if not sample.is_mixed():
        return None
    following, elsewhere = sample.counts
    return (
        f"the topic {topic}: of its last events' keys {following} are where Kafka's partitioner (murmur2) puts them, "
        f"{elsewhere} are not: producers with different partitioners give one order two lives; set "
        "partitioner=murmur2_random in clients based on librdkafka; `order-facts verify` names the orders"
    )
