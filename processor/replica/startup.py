"""Checks what must hold before the first record is read; each refusal is one clear line."""

import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from processor.contacts.lookup import ContactIndex
from processor.contacts.shards import lineage_of
from processor.domain.batch import EncodeFact
from processor.errors import (
    OrderFactsError,
    RegistryError,
    RegistryRefusesError,
    RetryError,
    UnreachableError,
    UsageError,
)
from processor.kafka import topics
from processor.kafka.cluster import Cluster
from processor.kafka.topics import Topics
from processor.registry.client import Registry
from processor.registry.subjects import subject_of
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.state import connection as redis
from processor.state.servers import Servers
from processor.state.watermark import Lineage, check_metadata_fits

_PACE_S: Final = 0.2


class Found(msgspec.Struct, frozen=True):
    """What the start found: connections, topics, lineage, contact index, the largest produce batch, wire."""

    cluster: Cluster
    redis: Servers
    topics: Topics
    lineage: Lineage
    index: ContactIndex
    batch_bytes: int
    wire: Wire


def check(settings: Settings, schema_patience_s: float = 0.0) -> Found:
    """Return what the processor works with, or refuse; a command's wire waits for the schema registry's answers.

    Raises UsageError for a missing setting, UnreachableError if a service does not answer within startup_timeout_s,
    StopError if topics, access rights or Redis are not as they must be.
    """
    if settings.identifier_key is None:
        raise UsageError(
            "setting identifier_key: put the secret of the contact index's hashes there, the same for all "
            "replicas and for `contacts index` (ORDER_FACTS_IDENTIFIER_KEY or ORDER_FACTS_IDENTIFIER_KEY_FILE)"
        )
    wire = Wire(settings, schema_patience_s)
    cluster = Cluster(settings)
    deadline = time.monotonic() + settings.startup_timeout_s
    while True:
        cluster_id = cluster.wait(deadline)
        client = redis.connect(settings)
        redis.wait(client, settings)
        try:
            found = topics.describe_topics(settings, cluster)
            batch_bytes = topics.check_settings(settings, cluster)
            lineage = Lineage.of(cluster_id, settings.group_id, found.events, found.facts, found.rejected)
            check_metadata_fits(found.contacts.partitions)
            index = ContactIndex(client, settings, lineage_of(cluster_id, settings), found.contacts)
            return Found(cluster, client, found, lineage, index, batch_bytes, wire)
        except RetryError as error:  # a broker answered and went away: ask again
            client.close()
            if time.monotonic() >= deadline:
                raise UnreachableError(
                    f"{error}; Kafka answered at first, then no more: look at the brokers of "
                    f"{settings.bootstrap_servers}, then start again"
                ) from error
            time.sleep(_PACE_S)


def fact_encoder(settings: Settings, wire: Wire) -> EncodeFact:
    """Return what writes facts. With wire_format=confluent the schema registry must have their schema.

    Raises UnreachableError if it does not answer within startup_timeout_s, StopError if it refuses the program or does
    not have the schema.
    """
    try:
        return wire.fact_encoder(settings.fact_version)
    except RegistryError as error:
        raise UnreachableError(f"{error}; start it, or correct schema_registry_url") from error


def ask_registry(settings: Settings) -> Callable[[], None]:
    """Ask a registry that the start can do without, beside it; return what raises once it has refused the program.

    That never waits, and raises RegistryRefusesError: wrong credentials would only be a wait, in a catch-up months
    later. Silence and any other failure are left to whoever needs a schema. With wire_format=confluent nothing is
    asked: `fact_encoder` does. Raises UsageError as `Registry` does.
    """
    refusals: list[RegistryRefusesError] = []

    def require() -> None:
        if refusals:
            raise refusals[0]

    if settings.schema_registry_url is not None and settings.wire_format != "confluent":
        registry, subject = Registry(settings), subject_of(settings.facts_topic)

        def ask() -> None:
            try:
                registry.level(subject)
            except RegistryRefusesError as error:
                refusals.append(error)
            except OrderFactsError:
                pass

        threading.Thread(target=ask, name="schema registry", daemon=True).start()
    return require
