"""`order-facts state recover`."""

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, with_settings
from processor.replica.recover import recover as recover_offsets
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
