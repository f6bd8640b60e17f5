"""`order-facts facts show` and `order-facts rejected show`: what the output topics hold, as JSON lines."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
from confluent_kafka import Message

from processor.adapters.avro import codec
from processor.adapters.cluster import Cluster
from processor.adapters.kafka import follow, read_range, reader
from processor.adapters.messages import record_of
from processor.cli.options import CONNECTION, print_line, progress, with_settings
from processor.cli.running import stop_on_signals
from processor.domain.records import Record, UndecodableError
from processor.domain.rejections import Reason
from processor.errors import StopError, UsageError
from processor.facts import fact_json
from processor.settings import Settings

_JSON: Final = msgspec.json.Encoder()
_FOLLOW_POLL_S: Final = 0.2


@click.group()
def facts() -> None:
    """Read the order facts."""


@click.group()
def rejected() -> None:
    """Read the events that became no fact."""


@facts.command(name="show")
@click.option("--latest", is_flag=True, help="One fact an order: its latest.")
@click.option("--order", metavar="ID", help="Only the order with this externalOrderId.")
@click.option("--follow", "is_followed", is_flag=True, help="Go on with new facts, until Ctrl-C.")
@with_settings("facts_topic", *CONNECTION)
def show_facts(settings: Settings, *, latest: bool, order: str | None, is_followed: bool) -> None:
    """Print facts as JSON lines: money as text, times as ISO 8601 in UTC. Committed facts only."""
    if latest and is_followed:
        raise UsageError("--latest and --follow contradict each other: the latest fact is known at the end only")
    wanted = order.encode() if order is not None else None
    newest: dict[bytes, Record] = {}
    for message in _messages(settings, settings.facts_topic, is_followed=is_followed):
        record = record_of(message)
        if record.value is None or (wanted is not None and record.key != wanted):
            continue
        if latest:
            newest[record.key or b""] = record
        else:
            print_line(_fact_line(record))
    for record in newest.values():
        print_line(_fact_line(record))


@rejected.command(name="show")
@click.option("--reason", type=click.Choice([reason.value for reason in Reason]), help="Only this reason.")
@click.option(
    "--since", metavar="TIME", help="Only what was rejected since this time (ISO 8601; UTC if it names no zone)."
)
@click.option("--follow", "is_followed", is_flag=True, help="Go on with new records, until Ctrl-C.")
@with_settings("rejected_topic", *CONNECTION)
def show_rejected(settings: Settings, *, reason: str | None, since: str | None, is_followed: bool) -> None:
    """Print rejected records as JSON lines, with the event where it can be decoded."""
    since_ms = None if since is None else time_ms(since)
    for message in _messages(settings, settings.rejected_topic, is_followed=is_followed):
        record = record_of(message)
        line = _rejected_line(record)
        if (reason is None or line["reason"] == reason) and (since_ms is None or record.timestamp_ms >= since_ms):
            print_line(_JSON.encode(line))


def _messages(settings: Settings, topic: str, *, is_followed: bool) -> Iterator[Message]:
    """Yield the committed records of a topic up to the end it has now; followed, go on until a signal."""
    cluster = Cluster(settings)
    cluster.wait()
    found = cluster.topics([topic])
    if topic not in found:
        raise StopError(f"the topic {topic} is missing; make it with: order-facts topics create")
    partitions = range(found[topic].partitions)
    starts, ends = cluster.starts(topic, partitions), cluster.ends(topic, partitions)
    consumer = reader(settings)
    try:
        if is_followed:
            stop = stop_on_signals()
            stop.is_working = True
            yield from follow(consumer, topic, starts, stop.is_set, _FOLLOW_POLL_S)
            return
        with progress("offsets") as bar:
            task = bar.add_task(f"Reading {topic}", total=sum(ends.values()) - sum(starts.values()))
            for message in read_range(consumer, topic, starts, ends):
                bar.advance(task)
                yield message
    finally:
        consumer.close()


def _fact_line(record: Record) -> bytes:
    try:
        return fact_json(codec().decode_fact(record.value or b""))
    except UndecodableError as error:
        raise StopError(f"partition {record.partition}, offset {record.offset} holds no fact: {error}") from error


def _rejected_line(record: Record) -> dict[str, Any]:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return {
        "reason": headers.get("reason"),
        "outcome": headers.get("outcome"),
        "detail": headers.get("detail"),
        "sourceTopic": headers.get("source.topic"),
        "sourcePartition": _number(headers.get("source.partition")),
        "sourceOffset": _number(headers.get("source.offset")),
        "sourceTimestamp": _number(headers.get("source.timestamp")),
        "partition": record.partition,
        "offset": record.offset,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "event": _event(record.value),
    }


def _event(value: bytes | None) -> Any:
    try:
        return None if value is None else codec().decode_event(value)
    except UndecodableError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def time_ms(text: str) -> int:
    """Return the time that `--since` gives, in ms since the epoch. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: expected a time such as 2026-01-31T10:00:00Z") from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
