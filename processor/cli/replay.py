"""`order-facts rejected replay`."""

from typing import Any, Final

import click
import msgspec

from processor.cli.options import CONNECTION, print_line, progress, with_settings
from processor.cli.outputs import rejected, time_ms
from processor.domain.rejections import Reason
from processor.replay import ALL_INVALID, Replay, Selection, Summary, Verdict
from processor.settings import Settings

_JSON: Final = msgspec.json.Encoder()
_SKIPPED: Final = (Verdict.ROUNDS, Verdict.TRUNCATED, Verdict.ALREADY)


@rejected.command()
@click.option(
    "--reason",
    "reasons",
    type=click.Choice([reason.value for reason in Reason]),
    multiple=True,
    help="Only this reason; may be given more than once. Without it: all records whose outcome is invalid.",
)
@click.option(
    "--since", metavar="TIME", help="Only what was rejected since this time (ISO 8601; UTC if it names no zone)."
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be done, and write nothing.")
@with_settings("events_topic", "rejected_topic", "group_id", "replay_max_rounds", *CONNECTION)
def replay(settings: Settings, *, reasons: tuple[str, ...], since: str | None, is_dry: bool) -> None:
    """Send rejected events back to the events topic, each of them once.

    They go to the partition they came from, in their order, as they were, with two more headers: replay.round
    counts how often an event was replayed, and replay.timestamp is its first timestamp, which its fact will
    show. One that was replayed replay_max_rounds times and rejected again is left where it is.

    An order's later events are often rejected for other reasons than its first: where orders came before
    their contacts, name contact_not_found, no_identifier, missing_parameter and order_unknown together.

    What one run has replayed the next one leaves out, whatever the reasons and times of either; what a run
    passed over, for its reason or its time, a later one can still replay. A run that was killed can be run
    again, after some 20 seconds, and goes on. Only one runs at a time.

    Prints one JSON object: how many events were replayed, of how many selected, and why the others were not
    (rounds: replayed too often; truncated: too large to be kept whole; already: replayed by an earlier run).
    """
    selected = frozenset(map(Reason, reasons)) or ALL_INVALID
    selection = Selection(selected) if since is None else Selection(selected, time_ms(since))
    with Replay(settings, selection, is_dry=is_dry) as running, progress("offsets") as bar:
        task = bar.add_task(f"Reading {settings.rejected_topic}", total=running.offsets)
        for _ in running.steps():
            bar.advance(task)
        summary = running.summary
    print_line(_JSON.encode(_line(summary, is_dry=is_dry)))
    _explain(settings, summary)


def _line(summary: Summary, *, is_dry: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "replayed": summary.verdicts[Verdict.REPLAYED],
        "selected": summary.verdicts.total(),
        "skipped": {verdict.value: summary.verdicts[verdict] for verdict in _SKIPPED},
    }
    if is_dry:
        partitions = {str(number): summary.by_partition[number] for number in sorted(summary.by_partition)}
        line |= {"dry_run": True, "reasons": dict(sorted(summary.by_reason.items())), "partitions": partitions}
    return line


def _explain(settings: Settings, summary: Summary) -> None:
    """Say on standard error what an operator must know of: what no replay will mend."""
    if count := summary.verdicts[Verdict.ROUNDS]:
        rounds = settings.replay_max_rounds
        click.echo(f"order-facts: {count} replayed {rounds} times or more, and rejected each time: left", err=True)
    if count := summary.verdicts[Verdict.TRUNCATED]:
        click.echo(f"order-facts: {count} kept only in part (header truncated): send them anew", err=True)
    if summary.foreign:
        topic = settings.rejected_topic
        click.echo(f"order-facts: {summary.foreign} in {topic} were not written by this program: left", err=True)
