"""`order-facts segments publish`: who is in which segment, as a topic."""

from pathlib import Path
from zoneinfo import ZoneInfo

import click

from processor.cli.asking import AS_OF, DATA
from processor.cli.options import CONNECTION, SERVED, WIRE, duration_ms, print_line, progress, teller, with_settings
from processor.cli.serving import serving
from processor.errors import UsageError
from processor.membership.publisher import Publisher
from processor.membership.publishing import members_of, publish, segments_of
from processor.segments.moments import moment_of
from processor.segments.queries import query_of, values_of
from processor.settings import Settings


@click.command(name="publish")
@click.argument("given", metavar="NAME|FILE.sql...", nargs=-1, required=True)
@DATA
@AS_OF
@click.option(
    "--every",
    "every_ms",
    type=duration_ms("--every", "5m"),
    metavar="TIME",
    help="Export and publish as of now, again and again, such as 5m or 1h.",
)
@with_settings(
    *("segment_members_topic", "facts_topic", "contacts_topic", "time_zone", *SERVED),
    *CONNECTION,
    *WIRE,
)
def publish_(
    settings: Settings, given: tuple[str, ...], folder: Path, *, as_of: str | None, every_ms: int | None
) -> None:
    """Write who entered a segment and who left to the topic segment-members.

    A file's name without .sql is its segment's name. After a single segment its parameters may follow, as in
    `vip min=100`. The difference is taken against the topic itself, and written in one transaction for all segments
    that are named; the others are left alone. So a second run writes nothing, and a run that was killed does no harm:
    start it again. Prints a line for each segment: how many are in it, entered, left.

    With --every it runs until SIGTERM or SIGINT: each round does what `facts export` does in DIR, then publishes as of
    now. It logs a line a round; while Kafka is away it waits.
    """
    names = [one for one in given if "=" not in one or one.endswith(".sql")]
    values = values_of(one for one in given if one not in names)
    if not names:
        raise UsageError("name a segment before its parameters, or a file NAME.sql")
    if "-" in names:
        raise UsageError("-: standard input has no name to publish it under; give a file NAME.sql")
    segments = segments_of([query_of(name) for name in names], values)
    if every_ms is not None:
        if as_of is not None:
            raise UsageError("--as-of with --every: each round asks as of now; leave one of the two out")
        with serving(settings) as stop:
            publisher = Publisher(settings, folder, segments, every_ms / 1000)
            stop.is_working = True
            publisher.run(stop)
        return
    moment = moment_of(as_of, ZoneInfo(settings.time_zone))
    members = members_of(settings, folder, segments, moment)
    with progress("") as bar:
        done = publish(settings, members, moment, teller(bar))
    for name, count in done.members.items():
        print_line(f"{name}: {count} members, {done.entered[name]} entered, {done.left[name]} left".encode())
    if done.foreign:
        click.echo(
            f"order-facts: {done.foreign} records of {settings.segment_members_topic} have a key that is none of a "
            "member (segment/contactId); they were left alone",
            err=True,
        )
