"""`order-facts check`."""

import time

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, with_settings
from processor.contacts.lookup import IndexNotReadyError, staleness
from processor.errors import OrderFactsError, RetryError, UsageError
from processor.kafka.topics import warnings
from processor.replica import startup
from processor.settings import Settings


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
