"""`order-facts verify`: the audit of a live or idle deployment."""

import itertools
from collections.abc import Iterator

import click

from processor.audit.auditing import Audit, Audited
from processor.audit.findings import Findings, Kind
from processor.cli.options import CONNECTION, TOPICS, WIRE, print_line, progress, with_settings
from processor.settings import Settings
from processor.settings.rules import RULE_SETTINGS


@click.command()
@with_settings("group_id", *TOPICS, *RULE_SETTINGS, "redis_url", *CONNECTION, *WIRE)
def verify(settings: Settings) -> None:
    """Audit the topics and the mirror: nothing lost, nothing doubled, every fact as its event requires.

    Use the settings of `run`. Replicas may run meanwhile: the audit covers everything below the group's committed
    offsets, and writes nothing. It prints what was audited, partition by partition, then each kind of difference
    with the first examples. The last line is `ok` or the number of differences.

    Exits with 0 if all is well, 1 if something differs, 2 for a wrong setting, 3 if a service does not answer.
    """
    audit = Audit(settings)
    with progress("records") as bar:
        task = bar.add_task("Auditing", total=audit.offsets)
        partitions, findings = audit.run(lambda records: bar.advance(task, records))
    audited = (line for partition in partitions for line in _lines(settings, partition))
    for line in itertools.chain(audited, _differences(findings)):
        print_line(line.encode())
    if findings.total:
        raise click.exceptions.Exit(1)


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
