"""`order-facts check`."""

import time
from typing import Final

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, with_settings
from processor.contacts.lookup import IndexNotReadyError, staleness
from processor.errors import OrderFactsError, RetryError, UsageError
from processor.kafka.clients import reader
from processor.kafka.messages import record_of
from processor.kafka.partitioning import KeySample
from processor.kafka.ranges import read_range
from processor.kafka.topics import warnings
from processor.replica import startup
from processor.settings import Settings

_LAST_EVENTS: Final = 1_000


@click.command()
@with_settings(*TOPICS, "group_id", "contacts_max_age_s", *CONNECTION, *REDIS)
def check(settings: Settings) -> None:
    """Check the settings, Kafka, Redis, the topics and the contact index; print a line for each finding.

    A warning changes no exit code: 0 if all is well, 1 if something is wrong, 2 for a wrong setting, 3 if a service
    does not answer.
    """
    try:
        found = startup.check(settings)
    except OrderFactsError as error:
        if not isinstance(error, UsageError):
            click.echo("ok       settings")
        click.echo(f"problem  {error}")
        raise click.exceptions.Exit(error.exit_code) from error
    click.echo("ok       settings")
    topics = found.topics
    click.echo(f"ok       Kafka at {settings.bootstrap_servers}, cluster {found.lineage.cluster_id}")
    click.echo("ok       Redis, a primary with maxmemory-policy noeviction")
    click.echo(
        f"ok       topics: {topics.events.name}, {topics.facts.name} and {topics.rejected.name} with "
        f"{topics.events.partitions} partitions each, {topics.contacts.name} with {topics.contacts.partitions}"
    )
    for warning in warnings(settings, found.cluster):
        click.echo(f"warning  {warning}")
    if mixed := _mixed_partitioners(settings, found):
        click.echo(f"warning  {mixed}")
    try:
        age_s = max(0.0, time.time() - found.index.look(()).complete_at_ms / 1000)
    except IndexNotReadyError as error:
        click.echo(f"problem  {error}; orders wait until then")
        raise click.exceptions.Exit(1) from error
    except RetryError as error:
        click.echo(f"problem  {error}")
        raise click.exceptions.Exit(3) from error
    if stale := staleness(age_s, settings.contacts_max_age_s):
        click.echo(f"problem  {stale}")
        raise click.exceptions.Exit(1)
    click.echo(f"ok       the contact index is complete, as of {age_s:.0f} s ago")


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
