"""`order-facts state recover | skip`."""

import getpass

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, with_settings
from processor.logs import get_logger
from processor.replica.recover import recover as recover_offsets
from processor.replica.skip import Skipper
from processor.settings import Settings

state = click.Group("state", help="Repair the group's committed offsets.")


@state.command()
@click.option("--accept-loss", is_flag=True, help="Skip events that retention removed before they were processed.")
@with_settings(*TOPICS, "group_id", *CONNECTION, *REDIS)
def recover(settings: Settings, *, accept_loss: bool) -> None:
    """Set the group's offsets that are lost, too low or unreadable.

    Each is set to one above the highest source offset in the facts, the rejected records and the mirror, so that
    no event is processed twice. Stop all replicas first. Rejected records that retention removed do not count: if
    a partition's last events were rejected that long ago, they are rejected again.
    """
    for entry in recover_offsets(settings, accept_loss=accept_loss):
        place = f"{settings.events_topic}[{entry.partition}]"
        if entry.after is None:
            click.echo(f"{place}: nothing was ever processed; it starts at the earliest event")
        elif entry.after == entry.before:
            click.echo(f"{place}: {entry.after.source}, as it was")
        else:
            before = "none" if entry.before is None else entry.before.source
            lost = f", {entry.lost_events} lost events skipped" if entry.lost_events else ""
            click.echo(f"{place}: set to {entry.after.source} (before: {before}){lost}")


@state.command()
@click.option("--partition", type=int, required=True, help="The partition that waits.")
@click.option("--offset", type=int, required=True, help="The offset that the log line names.")
@click.option("--to-offset", type=int, help="The last offset to skip; by default that of the unreadable batch.")
@click.option("--yes", is_flag=True, help="Do it; without this the command says what it would do.")
@with_settings(*TOPICS, "group_id", "instance_id", *CONNECTION, *REDIS)
def skip(settings: Settings, *, partition: int, offset: int, to_offset: int | None, yes: bool) -> None:
    """Step over events that the Kafka client cannot read.

    Each gets a rejected record in its place, with the reason `unreadable`: facts and rejected records together stay
    as many as the events. What can be read is never skipped. Stop all replicas first.
    """
    skipper = Skipper(settings, partition, offset, to_offset)
    found = skipper.skip
    first, last, count = found.offsets[0], found.offsets[-1], len(found.offsets)
    click.echo(f"{settings.events_topic}[{partition}]: offsets {first} to {last} cannot be read: {found.problem}")
    if not yes:
        click.echo(f"with --yes: {count} rejected records (unreadable), and offset {last + 1} is committed")
        return
    for committed in skipper.run():
        click.echo(f"{settings.events_topic}[{partition}]: offset {committed} is committed")
    get_logger().warning(
        "state.skipped",
        topic=settings.events_topic,
        partition=partition,
        offset=first,
        to_offset=last,
        records=count,
        error=found.problem,
        user=getpass.getuser(),
    )
