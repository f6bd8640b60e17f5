"""`order-facts facts show`: prints the facts topic as JSON lines; `facts export`: writes the latest ones as Parquet."""

from collections.abc import Iterator
from pathlib import Path

import click

from processor.cli.options import CONNECTION, WIRE, print_line, progress, teller, with_settings
from processor.cli.showing import latest_of, records_of
from processor.codec.fact_json import fact_json
from processor.domain.records import Record, UndecodableError
from processor.errors import StopError, UsageError
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.snapshots.columns import TABLES
from processor.snapshots.exporting import Exported, export

facts = click.Group("facts", help="Read the order facts.")


@facts.command(name="show")
@click.option("--latest", is_flag=True, help="Print only the latest fact of each order.")
@click.option("--order", metavar="ID", help="Print only the order with this externalOrderId.")
@click.option("--follow", "is_followed", is_flag=True, help="Keep printing new facts until Ctrl-C.")
@with_settings("facts_topic", *CONNECTION, *WIRE)
def show(settings: Settings, *, latest: bool, order: str | None, is_followed: bool) -> None:
    """Print committed facts as JSON lines: money as strings, times as ISO 8601 in UTC."""
    if latest and is_followed:
        raise UsageError("--latest and --follow contradict each other: only the end shows which fact is the latest")
    wire = Wire(settings, settings.startup_timeout_s)
    wanted = order.encode() if order is not None else None

    def is_wanted(record: Record) -> bool:
        return wanted is None or record.key == wanted

    if latest:
        records = latest_of(settings, settings.facts_topic, is_wanted)
    else:
        records = filter(is_wanted, records_of(settings, settings.facts_topic, is_followed=is_followed))
    for record in records:
        if record.value is not None:  # an order was deleted
            print_line(_fact_line(wire, record))


def _fact_line(wire: Wire, record: Record) -> bytes:
    try:
        return fact_json(wire.decode_fact(record.value or b""))
    except UndecodableError as error:
        raise StopError(f"partition {record.partition}, offset {record.offset} is not a valid fact: {error}") from error


@facts.command(name="export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Read everything, not only what is new since the last snapshot.")
@click.option("--personal", is_flag=True, help="Also write names, addresses and other personal columns.")
@with_settings("facts_topic", "contacts_topic", *CONNECTION, *WIRE)
def export_(settings: Settings, folder: Path, *, full: bool, personal: bool) -> None:
    """Write a snapshot of all orders and contacts into DIR, as Parquet: orders, items, contacts.

    DIR/current is the newest snapshot; the one before is kept. The next run adds what is new, or reads everything
    again if it must. It needs the extra `segments`.
    """
    with progress("") as bar:
        exported = export(settings, folder, teller(bar), full=full, personal=personal)
    for line in _export_lines(exported):
        print_line(line.encode())
    if exported.skipped:
        click.echo(
            f"order-facts: {exported.skipped} records of {settings.contacts_topic} are no contacts and were skipped, "
            f"the first: {exported.first_skipped}",
            err=True,
        )
    if exported.may_have_missed:
        click.echo(
            f"order-facts: reading took longer than {exported.may_have_missed} keeps deletions, and some may be "
            "missed; set its delete.retention.ms higher (a day is Kafka's default)",
            err=True,
        )


def _export_lines(exported: Exported) -> Iterator[str]:
    """Yield what a snapshot holds, and how it was made."""
    snapshot = exported.snapshot
    counts = ", ".join(f"{snapshot.manifest.rows[table]} {table}" for table in TABLES)
    yield f"{snapshot.path}: {counts}"
    read = ", ".join(f"{count} records of {topic}" for topic, count in exported.read.items())
    yield f"read {read}; {exported.whole or 'added to the snapshot before'}"
