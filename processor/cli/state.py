"""`order-facts state recover | skip | prune`."""

import getpass

import click

from processor.cli.options import CONNECTION, REDIS, TOPICS, WIRE, duration_ms, with_settings
from processor.copies.pruning import Pruning
from processor.logs import get_logger
from processor.replica.placing import Stop
from processor.replica.recover import Recovery, Step
from processor.replica.skip import Skipper
from processor.settings import Settings

state = click.Group("state", help="Repair the group's committed offsets; tidy Redis.")


@state.command()
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Continue though retention removed events, brokers lost them, or the rejected records are in another topic.",
)
@click.option(
    "--adopt-unmarked",
    is_flag=True,
    help="Count facts and rejected records without the header lineage: this group wrote them, by an older version.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Print the plan, and set nothing.")
@with_settings(*TOPICS, "group_id", *CONNECTION, *WIRE, *REDIS)
def recover(settings: Settings, *, accept_loss: bool, adopt_unmarked: bool, is_dry: bool) -> None:
    """Set the group's offsets that are lost, too low or unreadable.

    Each is set to one above the highest source offset in the group's facts and rejected records, so that no event is
    skipped and none is processed twice; where nothing was ever processed, to the earliest event. The mirror counts
    where the outputs do not contradict it.
    Prints the plan first, a line for each partition: the offset before, the offset after, and why. Then sets all
    offsets at once, or none if one partition does not fit (--dry-run shows each). `run` starts afterwards.

    Stop all replicas first. Rejected records that retention removed do not count: if a partition's last events were
    rejected that long ago, they are rejected again. Outputs of another group never count.
    """
    recovery = Recovery(settings)
    plan = recovery.plan(adopt_unmarked=adopt_unmarked, accept_loss=accept_loss)
    if not is_dry:
        recovery.require_fit(plan)
    for step in plan:
        click.echo(f"{settings.events_topic}[{step.committed.partition}]: {_line(step)}")
    if not is_dry:
        click.echo(f"{recovery.carry_out(plan)} offsets set in the group {settings.group_id}")


@state.command()
@click.option("--partition", type=int, required=True, help="The partition that waits.")
@click.option("--offset", type=int, required=True, help="The offset that the log line names.")
@click.option("--to-offset", type=int, help="The last offset to skip; by default that of the unreadable batch.")
@click.option("--yes", is_flag=True, help="Do it; without this the command says what it would do.")
@with_settings(*TOPICS, "group_id", "instance_id", *CONNECTION, *WIRE, *REDIS)
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


@state.command()
@click.option(
    "--idle",
    "idle_ms",
    type=duration_ms("--idle", "1d"),
    default="1d",
    metavar="TIME",
    help="How long a past copy was not used at least.  [1d]",
)
@click.option("--lineage", "lineages", multiple=True, help="Remove this copy, and no other; may be repeated.")
@click.option("--yes", is_flag=True, help="Remove them; without this the command only lists them.")
@with_settings(*TOPICS, "group_id", *CONNECTION, *REDIS)
def prune(settings: Settings, *, idle_ms: int, lineages: tuple[str, ...], yes: bool) -> None:
    """List the copies of orders and contacts in Redis, and remove those of the past.

    A new group, a recreated topic, another identifier_key or version of the program begins a copy of its own, and the
    one before stays. A mirror is past if its group works with other topics now, an index of this contacts topic if
    nobody reads or writes it; both only if they were not used for --idle. All others stay until they are named with
    --lineage: look who used them. (Before Redis 7.2 the look itself counts as a use.)

    Nothing is lost: whoever still needs a copy that was removed rebuilds it from its topics, and orders wait meanwhile.
    """
    pruning = Pruning(settings)
    found = pruning.judged(idle_ms / 1000)
    gone = pruning.chosen(found, lineages)
    for one in found:
        click.echo(f"{one.copy.lineage} {one.copy.kind}, {_mib(one.copy.taken_bytes)}: {one.use} ({one.why})")
    if yes:
        pruning.remove(gone)
        click.echo(f"removed {len(gone)} of {len(found)} copies, {_mib(sum(one.copy.taken_bytes for one in gone))}")


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _line(step: Step) -> str:
    before = "none" if step.committed.offset < 0 else step.committed.offset
    if isinstance(step.outcome, Stop):
        return f"{before}, refused: {step.outcome.line}"
    after = "none" if step.outcome.after is None else step.outcome.after.source
    return f"{before} -> {after}: {step.outcome.why}"
