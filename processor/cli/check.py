"""`order-facts check`."""

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, with_settings
from processor.contacts.lookup import IndexNotReadyError
from processor.domain.identifiers import CONTACT_ID
from processor.domain.records import Identifier
from processor.errors import OrderFactsError, RetryError, UsageError
from processor.kafka.topics import warnings
from processor.replica import startup
from processor.settings import Settings


@click.command()
@with_settings(*TOPICS, "group_id", *CONNECTION, *REDIS)
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
        found.index.find(Identifier(CONTACT_ID, "-"))
    except IndexNotReadyError as error:
        click.echo(f"problem  {error}; orders wait until then")
        raise click.exceptions.Exit(1) from error
    except RetryError as error:
        click.echo(f"problem  {error}")
        raise click.exceptions.Exit(3) from error
    click.echo("ok       the contact index is complete")
