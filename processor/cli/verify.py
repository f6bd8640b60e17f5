"""`order-facts verify`: the audit of a live or idle deployment."""

from collections.abc import Iterator
from typing import Final

import click

from processor.audit.auditing import Audit, Audited, Findings, Kind
from processor.cli.options import CONNECTION, print_line, progress, with_settings
from processor.settings import Settings

_TOPICS: Final = ("events_topic", "facts_topic", "rejected_topic", "contacts_topic")
_RULES: Final = (
    "max_event_bytes",
    "max_fact_bytes",
    "time_zone",
    "default_currency",
    "item_profile",
    "identification",
    "on_owner_conflict",
    "on_duplicate_create",
)


@click.command()
@with_settings("group_id", *_TOPICS, *_RULES, "redis_url", *CONNECTION)
def verify(settings: Settings) -> None:
    """Audit the topics and the mirror: nothing lost, nothing twice, every fact what its event leads to.

    Run it with the settings of `run`, while replicas run or not: what is audited is everything below the
    group's committed offsets. Nothing is written. One line for each partition says what was audited, then
    one for each kind of difference, with the first examples; the last line is `ok` or their number.

    Exits with 0 where all is well, 1 where something differs, 2 for a setting, 3 where a service does not
    answer.
    """
    audit = Audit(settings)
    with progress("records") as bar:
        task = bar.add_task("Auditing", total=audit.offsets)
        partitions, findings = audit.run(lambda records: bar.advance(task, records))
    for partition in partitions:
        for line in _lines(settings, partition):
            print_line(line.encode())
    for line in _differences(findings):
        print_line(line.encode())
    if findings.total:
        print_line(f"{findings.total} difference{'s' if findings.total > 1 else ''}".encode())
        raise click.exceptions.Exit(1)
    print_line(b"ok")


def _lines(settings: Settings, audited: Audited) -> Iterator[str]:
    """Say what was audited of a partition, and what could not be."""
    name, window, tally = f"{settings.events_topic}[{audited.partition}]", audited.window, audited.tally
    if window is None:
        yield f"{name}: nothing is committed"
        return
    yield (
        f"{name}: audited from offset {window.events_start} to {window.cut.source}, {tally.events} events; "
        f"{tally.orders} orders, {tally.facts_made} facts made, {tally.facts} of them in the topic; "
        f"{tally.rejected} rejected; mirror {audited.mirror}"
    )
    if window.events_start:
        yield f"{name}: events below offset {window.events_start} have expired, their outputs stand unaudited"
    if tally.unaudited:
        yield (
            f"{name}: rejected records of events below offset {tally.from_rejected} have expired; "
            f"{tally.unaudited} events without an output may have been among them"
        )
    if tally.orders_begun_before or tally.facts < tally.facts_made:
        yield (
            f"{name}: {tally.facts_made - tally.facts} facts are gone from the topic, by compaction where nothing else "
            f"is said; of {tally.orders_begun_before} orders the first fact at hand is a later revision"
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
