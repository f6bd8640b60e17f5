"""`order-facts facts show`: prints the facts topic as JSON lines."""

import click

from processor.cli.options import CONNECTION, print_line, with_settings
from processor.cli.showing import latest_of, records_of
from processor.codec.avro import codec
from processor.codec.fact_json import fact_json
from processor.domain.records import Record, UndecodableError
from processor.errors import StopError, UsageError
from processor.settings import Settings

facts = click.Group("facts", help="Read the order facts.")


@facts.command(name="show")
@click.option("--latest", is_flag=True, help="Print only the latest fact of each order.")
@click.option("--order", metavar="ID", help="Print only the order with this externalOrderId.")
@click.option("--follow", "is_followed", is_flag=True, help="Keep printing new facts until Ctrl-C.")
@with_settings("facts_topic", *CONNECTION)
def show(settings: Settings, *, latest: bool, order: str | None, is_followed: bool) -> None:
    """Print committed facts as JSON lines: money as strings, times as ISO 8601 in UTC."""
    if latest and is_followed:
        raise UsageError("--latest and --follow contradict each other: only the end shows which fact is the latest")
    wanted = order.encode() if order is not None else None

    def is_wanted(record: Record) -> bool:
        return record.value is not None and (wanted is None or record.key == wanted)

    if latest:
        records = latest_of(settings, settings.facts_topic, is_wanted)
    else:
        records = filter(is_wanted, records_of(settings, settings.facts_topic, is_followed=is_followed))
    for record in records:
        print_line(_fact_line(record))


def _fact_line(record: Record) -> bytes:
    try:
        return fact_json(codec().decode_fact(record.value or b""))
    except UndecodableError as error:
        raise StopError(f"partition {record.partition}, offset {record.offset} is not a valid fact: {error}") from error
