"""`order-facts verify`: the audit of a live or idle deployment."""

import itertools
from collections.abc import Iterator

import click

from processor.audit.across import Across, Compared, Former
from processor.audit.auditing import Audit, Audited
from processor.audit.findings import Findings, Kind
from processor.cli.options import CONNECTION, TOPICS, WIRE, print_line, progress, with_settings
from processor.errors import UsageError
from processor.settings import Settings
from processor.settings.rules import RULE_SETTINGS


@click.command()
@click.option("--former-events", metavar="TOPIC", help="Also compare: the events topic that `topics widen` copied.")
@click.option("--former-facts", metavar="TOPIC", help="With --former-events: the facts topic of that deployment.")
@click.option("--former-rejected", metavar="TOPIC", help="Leave out orders that lacked a contact in that deployment.")
@with_settings("group_id", *TOPICS, *RULE_SETTINGS, "redis_url", *CONNECTION, *WIRE)
def verify(
    settings: Settings, *, former_events: str | None, former_facts: str | None, former_rejected: str | None
) -> None:
    """Audit the topics and the mirror: nothing lost, nothing doubled, every fact as its event requires.

    Use the settings of `run`. Replicas may run meanwhile: the audit covers everything below the group's committed
    offsets, and writes nothing. It prints what was audited, partition by partition, then each kind of difference
    with the first examples. The last line is `ok` or the number of differences.

    After `topics widen`, with the settings of the new deployment and --former-events and --former-facts, it also
    requires that each old event has exactly one copy, as it was and in order, and that each order's last fact of
    copies is the same in both deployments.

    Exits with 0 if all is well, 1 if something differs, 2 for a wrong setting, 3 if a service does not answer.
    """
    former = _former(former_events, former_facts, former_rejected)
    across = None if former is None else Across(settings, former)
    audit = Audit(settings)
    with progress("records") as bar:
        task = bar.add_task("Auditing", total=audit.offsets)
        partitions, findings = audit.run(lambda records: bar.advance(task, records))
        compared: list[str] = []
        if former is not None and across is not None:
            task = bar.add_task("Comparing", total=across.offsets)
            found = across.run(lambda records: bar.advance(task, records), findings)
            compared += _compared_lines(settings, former, found)
    audited = (line for partition in partitions for line in _lines(settings, partition))
    for line in itertools.chain(audited, compared, _differences(findings)):
        print_line(line.encode())
    if findings.total:
        raise click.exceptions.Exit(1)


def _former(events: str | None, facts: str | None, rejected: str | None) -> Former | None:
    if events is not None and facts is not None:
        return Former(events, facts, rejected)
    if events is facts is rejected is None:
        return None
    raise UsageError("--former-events and --former-facts: give both, as `topics widen` had them")


def _compared_lines(settings: Settings, former: Former, compared: Compared) -> Iterator[str]:
    """Yield what was compared with the former deployment, and what could not be."""
    copies, facts, events = compared.copies, compared.facts, settings.events_topic
    yield f"{former.events} -> {events}: {copies.events} events compared with their copies"
    if copies.unreadable:
        yield f"{former.events}: {copies.unreadable} offsets cannot be read, and have no copies"
    if compared.headers_lost:
        yield f"{former.events}: {compared.headers_lost} events have headers that cannot be read, their copies none"
    if copies.expired_events:
        yield f"{former.events}: {copies.expired_events} events not compared: their copies may have expired"
    if copies.expired_copies:
        yield f"{events}: {copies.expired_copies} copies not compared: their events may have expired"
    if compared.not_copied and not compared.is_finished:
        yield f"{former.events}: {compared.not_copied} events are not copied yet"
    if copies.late:
        yield f"{events}: {copies.late} copies behind events of producers, by --accept-late"
    if copies.own:
        yield f"{events}: {copies.own} events behind the copies, of producers"
    if facts is None:
        yield f"{former.facts}: not compared, since the former group stopped when partitions were added"
        return
    yield f"{former.facts} -> {settings.facts_topic}: {facts.orders} orders compared"
    reasons = {
        "some of their events lacked a contact in one of both": facts.explained,
        "only facts of later events are left here": facts.superseded,
        "they have copies behind events of producers": facts.mixed,
        "only their contact is another, since contacts changed": facts.contacts,
        "events of them had expired, and may not have been copied": facts.lost,
    }
    yield from (f"{former.facts}: {count} orders not compared: {why}" for why, count in reasons.items() if count)


def _lines(settings: Settings, audited: Audited) -> Iterator[str]:
    """Yield what was audited of a partition, and what could not be."""
    name, window, tally = f"{settings.events_topic}[{audited.partition}]", audited.window, audited.tally
    if window is None:
        yield f"{name}: no committed offset"
        return
    yield (
        f"{name}: audited from offset {window.events_start} to {window.cut.source}, {tally.events} events; "
        f"{tally.orders} orders, {tally.facts_made} facts written, {tally.facts} of them in the topic; "
        f"{tally.rejected} rejected; mirror {audited.mirror}"
    )
    if window.events_start:
        yield f"{name}: events below offset {window.events_start} have expired, their outputs were not audited"
    if tally.unaudited:
        yield (
            f"{name}: rejected records of events below offset {tally.from_rejected} have expired; "
            f"{tally.unaudited} events without an output may have been among them"
        )
    if tally.orders_begun_before or tally.facts < tally.facts_made:
        yield (
            f"{name}: {tally.facts_made - tally.facts} facts are gone from the topic, by compaction unless a line says "
            f"otherwise; of {tally.orders_begun_before} orders the first fact left is a later revision"
        )
    if audited.mirror in {"missing", "behind", "ahead"}:
        yield f"{name}: the mirror is {audited.mirror} and was not compared"


def _differences(findings: Findings) -> Iterator[str]:
    for kind in Kind:
        if count := findings.counts[kind]:
            yield f"{kind.value}: {count}"
            examples = findings.examples[kind]
            yield from (f"  {example}" for example in examples)
            if count > len(examples):
                yield f"  and {count - len(examples)} more"
    yield f"{findings.total} difference{'s' if findings.total > 1 else ''}" if findings.total else "ok"
