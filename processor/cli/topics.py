"""`order-facts topics create`."""

from typing import Final

import click
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from processor.cli.options import CONNECTION, TOPICS, with_settings
from processor.kafka.clients import REQUEST_TIMEOUT_S
from processor.kafka.cluster import Cluster
from processor.kafka.failures import classify
from processor.settings import Settings

topics = click.Group("topics", help="Create the topics.")
_WEEK_MS: Final = 7 * 24 * 3600 * 1000
# A default broker takes requests of up to 104,857,600 bytes; leave room for the request's own fields.
_LARGEST_MESSAGE_BYTES: Final = 104_857_600 - (64 << 10)


@topics.command()
@with_settings(*TOPICS, "partitions", *CONNECTION)
def create(settings: Settings) -> None:
    """Create the topics that are missing; leave existing ones alone.

    The facts and rejected topics get as many partitions as the events topic has.
    """
    cluster = Cluster(settings)
    cluster.wait()
    existing = cluster.topics(getattr(settings, role) for role in TOPICS)
    events = existing.get(settings.events_topic)
    outputs = events.partitions if events else settings.partitions
    wanted = {
        settings.events_topic: (settings.partitions, {}),
        settings.contacts_topic: (settings.partitions, {"cleanup.policy": "compact"}),
        settings.facts_topic: (outputs, {"cleanup.policy": "compact", "min.compaction.lag.ms": str(_WEEK_MS)}),
        settings.rejected_topic: (outputs, {"max.message.bytes": str(_LARGEST_MESSAGE_BYTES)}),
    }
    new = [NewTopic(name, count, config=config) for name, (count, config) in wanted.items() if name not in existing]
    created = cluster.admin.create_topics(new, request_timeout=REQUEST_TIMEOUT_S) if new else {}
    for name, (count, _) in wanted.items():
        if name in existing:
            click.echo(f"{name}: exists, {existing[name].partitions} partitions")
            continue
        try:
            created[name].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise classify(error.args[0], f"creating the topic {name}") from error
            click.echo(f"{name}: exists")  # somebody else created it just now
        else:
            click.echo(f"{name}: created, {count} partitions")
