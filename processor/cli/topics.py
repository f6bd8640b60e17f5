"""`order-facts topics create | widen`."""

import click

from processor.cli.options import CONNECTION, TOPICS, with_settings
from processor.cli.widening import widen
from processor.kafka.cluster import Cluster
from processor.kafka.creation import create_missing
from processor.settings import Settings

topics = click.Group("topics", help="Create the topics, or give them more partitions.", commands=[widen])


@topics.command()
@with_settings(*TOPICS, "segment_members_topic", "partitions", "replication_factor", *CONNECTION)
def create(settings: Settings) -> None:
    """Create the topics that are missing; leave existing ones alone.

    The facts and rejected topics get as many partitions as the events topic has. A topic gets fewer copies than
    replication_factor, or smaller records, where the brokers refuse more; its line says so.
    """
    cluster = Cluster(settings)
    cluster.wait()
    for topic in create_missing(settings, cluster):
        if topic.factor is None:
            click.echo(f"{topic.name}: exists, {_count(topic.partitions)}")
            continue
        refused = f"; the brokers refused {topic.refused}" if topic.refused else ""
        click.echo(f"{topic.name}: created, {_count(topic.partitions)}, replication factor {topic.factor}{refused}")


def _count(partitions: int) -> str:
    return f"{partitions} partition{'s' * (partitions != 1)}"
