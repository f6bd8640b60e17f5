"""`order-facts rejected show | replay`: prints the rejected topic as JSON lines, and replays it."""

from collections.abc import Callable
from typing import Any, Final

import click
import msgspec

from processor.cli.healing import heal
from processor.cli.options import (
    CONNECTION,
    IDENTIFYING,
    REDIS,
    SERVED,
    WIRE,
    duration_ms,
    print_line,
    progress,
    with_settings,
)
from processor.cli.showing import records_of, time_ms
from processor.codec import rejected as headers
from processor.domain.records import Record, UndecodableError
from processor.domain.rejections import Reason
from processor.errors import UsageError
from processor.registry.wire import Wire
from processor.replay.judging import ALL_INVALID, Selection, Summary, Verdict
from processor.replay.replaying import Replay
from processor.replay.sweeps import EVER
from processor.settings import Settings

rejected = click.Group("rejected", help="Show rejected records, or replay their events.")
_REASONS: Final = click.Choice([reason.value for reason in Reason])
_JSON: Final = msgspec.json.Encoder()
_SKIPPED: Final = (Verdict.ROUNDS, Verdict.TRUNCATED, Verdict.ALREADY)


def _since(verb: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    text = f"{verb} only records rejected since this time (ISO 8601; UTC if it names no zone)."
    return click.option("--since", "since_ms", type=time_ms, metavar="TIME", help=text)


@rejected.command(name="show")
@click.option("--reason", type=_REASONS, help="Print only this reason.")
@_since("Print")
@click.option("--follow", "is_followed", is_flag=True, help="Keep printing new records until Ctrl-C.")
@with_settings("rejected_topic", *CONNECTION, *WIRE)
def show(settings: Settings, *, reason: str | None, since_ms: int | None, is_followed: bool) -> None:
    """Print rejected records as JSON lines, with the event if it can be decoded."""
    wire = Wire(settings, settings.startup_timeout_s)
    for record in records_of(settings, settings.rejected_topic, is_followed=is_followed):
        line = _rejected_line(wire, record)
        if (reason is None or line["reason"] == reason) and (since_ms is None or record.timestamp_ms >= since_ms):
            print_line(_JSON.encode(line))


def _rejected_line(wire: Wire, record: Record) -> dict[str, Any]:
    said = headers.read(record)
    return {
        "reason": said.reason,
        "outcome": said.outcome,
        "detail": said.detail,
        "sourceTopic": said.topic,
        "sourcePartition": said.partition,
        "sourceOffset": said.offset,
        "sourceTimestamp": said.timestamp_ms,
        "lineage": said.lineage,
        "partition": record.partition,
        "offset": record.offset,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "event": _event(wire, record),
    }


def _event(wire: Wire, record: Record) -> Any:
    try:
        return None if record.value is None else wire.decode_event(record.value, record.headers)
    except UndecodableError:
        return None


@rejected.command()
@click.option(
    "--reason",
    "reasons",
    type=_REASONS,
    multiple=True,
    help="Replay only this reason; may be repeated. Default: every reason whose outcome is invalid.",
)
@_since("Replay")
@click.option("--dry-run", "is_dry", is_flag=True, help="Print what would be done, and write nothing.")
@click.option("--follow", "is_followed", is_flag=True, help="Send events back by itself, once their contact is there.")
@click.option(
    "--within",
    "within_ms",
    type=duration_ms("--within", "24h"),
    metavar="TIME",
    help="With --follow: how long after an event its contact may come, such as 90m or 7d.  [24h]",
)
@click.option("--once", "is_once", is_flag=True, help="With --follow: send back what is found now, and end.")
@with_settings(
    *("events_topic", "facts_topic", "rejected_topic", "healed_topic", "contacts_topic", "group_id"),
    *("replay_max_rounds", *IDENTIFYING, *SERVED, *CONNECTION, *WIRE, *REDIS),
)
def replay(
    settings: Settings,
    *,
    reasons: tuple[str, ...],
    since_ms: int | None,
    is_dry: bool,
    is_followed: bool,
    within_ms: int | None,
    is_once: bool,
) -> None:
    """Send rejected events back to the events topic, each of them once.

    Each event goes back unchanged to the partition it came from, in order. It gets two more headers: replay.round
    counts how often it was replayed, and replay.timestamp is its first timestamp, which its fact will show. An
    event that was replayed replay_max_rounds times and rejected again is not replayed.

    An order's later events often have other reasons than its first. If orders came before their contacts, name
    contact_not_found, no_identifier, missing_parameter and order_unknown together.

    A run skips what an earlier run replayed, whatever reasons and times either selects. It can replay what an
    earlier run left out because of its reason or its time. If a run is killed, start it again after some 20
    seconds: it continues. Only one runs at a time.

    Prints one JSON object: how many events were replayed, how many were selected, and why the others were skipped
    (rounds: replayed too often; truncated: not kept whole; already: replayed by an earlier run).

    With --follow it runs until SIGTERM or SIGINT, and needs Redis and identifier_key. It sends an event that was
    rejected as contact_not_found back as soon as one of its identifiers finds a contact, with what waits of the same
    order, in order. With --reason order_unknown also what was delivered or cancelled before it was created. A second
    process waits, and takes over when the first one ends.
    """
    if is_followed:
        if since_ms is not None or is_dry:
            raise UsageError("--follow: leave --since and --dry-run out; --within says how old an event may be")
        heal(settings, frozenset(map(Reason, reasons)), within_ms, is_once=is_once)
        return
    if is_once or within_ms is not None:
        raise UsageError("--once and --within: they need --follow")
    selection = Selection(frozenset(map(Reason, reasons)) or ALL_INVALID, EVER if since_ms is None else since_ms)
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
    """Print on standard error what no replay can fix."""
    rounds = settings.replay_max_rounds
    left = (
        (summary.verdicts[Verdict.ROUNDS], f"replayed {rounds} times or more, rejected each time: skipped"),
        (
            summary.verdicts[Verdict.TRUNCATED],
            "not kept whole (truncated or unreadable): send them again",
        ),
        (summary.foreign, f"in {settings.rejected_topic} not written by this group: skipped"),
    )
    for count, problem in left:
        if count:
            click.echo(f"order-facts: {count} {problem}", err=True)
