"""What the commands that send records share: input files, refusals, delivery."""

import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import click
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from processor.cli.options import print_line, progress
from processor.errors import StopError, UnreachableError, UsageError
from processor.kafka.clients import plain_producer
from processor.kafka.cluster import Cluster
from processor.kafka.failures import classify
from processor.settings import Settings

_FLUSH_S = 60.0
Lines = Iterator[tuple[int, bytes]]
"""A file's lines with their numbers."""
Entries = Iterator[tuple[str, Any]]
"""Values of a file with their places; a RefusedError instead of one that cannot be read."""


class Sendable(NamedTuple):
    """A record to send; `timestamp_ms` is since the epoch, `NOW` for the time of sending."""

    key: bytes | None
    value: bytes | None
    timestamp_ms: int = 0


NOW: Final = 0  # what the client takes for it
Encode = Callable[[Mapping[str, Any]], bytes]
"""Gives the bytes of a record's value."""
RecordOf = Callable[[Any], Sendable]
"""Gives an entry's record."""


class RefusedError(ValueError):
    """An entry of the input cannot be sent; the text says what is wrong with it."""


class Sender:
    """Sends records to one topic, counts them, and reports refused ones."""

    def __init__(self, settings: Settings, topic: str) -> None:
        cluster = Cluster(settings)
        cluster.wait()
        cluster.required([topic])
        self._topic = topic
        self._producer = plain_producer(settings)
        self._failure: KafkaError | None = None
        self._sent = self._refused = 0
        self._is_restamped = False  # the topic replaced a timestamp that was asked for

    def send_all(self, entries: Entries, record_of: RecordOf, kind: str, *, at_once: bool = False) -> None:
        """Send the record of each entry, print the counts, and exit with 1 if something was refused.

        `record_of` raises RefusedError for an entry that is wrong, ValueError or TypeError where Avro cannot hold it.
        With `at_once` each record is delivered before the next entry is read.
        """
        for place, entry in entries:
            try:
                record = sendable(entry, record_of, kind)
            except RefusedError as error:
                self._refuse(place, str(error))
            else:
                self._send(place, record)
                if at_once:
                    self._settle()
        self._settle()
        print_line(json.dumps({"sent": self._sent, "refused": self._refused}).encode())
        if self._refused:
            raise click.exceptions.Exit(1)

    def _send(self, place: str, record: Sendable) -> None:
        """Queue a record; wait while the queue is full."""
        report = functools.partial(self._delivered, place, record)
        while True:
            try:
                self._producer.produce(
                    self._topic, record.value, record.key, timestamp=record.timestamp_ms, on_delivery=report
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
        self._check()

    def _settle(self) -> None:
        """Wait until everything queued is delivered."""
        left = self._producer.flush(_FLUSH_S)
        self._check()
        if left:
            raise UnreachableError(f"Kafka did not take {left} records within {_FLUSH_S:g} s")

    def _check(self) -> None:
        if self._is_restamped:
            raise StopError(
                f"the topic {self._topic} gives records its own time: set its message.timestamp.type to CreateTime, "
                "or the timestamps that were asked for are lost"
            )
        if self._failure is not None:
            raise classify(self._failure, f"sending to {self._topic}")

    def _refuse(self, place: str, problem: str) -> None:
        self._refused += 1
        click.echo(f"order-facts: {place}: {problem}", err=True)

    def _delivered(self, place: str, record: Sendable, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._sent += 1
            self._is_restamped |= record.timestamp_ms != NOW and message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME
        elif error.code() == KafkaError.INVALID_TIMESTAMP:
            limits = "message.timestamp.before.max.ms and message.timestamp.after.max.ms"
            self._refuse(place, f"its timestamp is further from now than the topic {self._topic} allows ({limits})")
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refuse(place, f"is larger than the topic {self._topic} takes (its max.message.bytes)")
        else:
            self._failure = error


def sendable(entry: Any, record_of: RecordOf, kind: str) -> Sendable:
    """Return the record of an entry. Raises RefusedError, whatever is wrong with it."""
    if isinstance(entry, RefusedError):
        raise entry
    try:
        return record_of(entry)
    except RefusedError:
        raise
    except UnicodeEncodeError as error:
        raise RefusedError("holds half a surrogate pair, which is not valid text") from error
    except (ValueError, TypeError) as error:
        raise RefusedError(f"cannot be written as {kind}: {error}") from error


def lines_of(path: str, what: str) -> Lines:
    """Open a file, or standard input for `-`, and return its lines, with a progress bar on a terminal.

    Raises UsageError if the file cannot be read.
    """
    try:
        file: BinaryIO = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - closed at its end
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return _lines(file, what, 0 if path == "-" else Path(path).stat().st_size)


def _lines(file: BinaryIO, what: str, size: int) -> Lines:
    with file, progress("bytes") as bar:
        task = bar.add_task(what, total=size or None)
        for number, line in enumerate(file, 1):
            yield number, line
            bar.advance(task, len(line))


def json_entries(path: str, lines: Lines) -> Entries:
    """Yield the JSON values of a file: lines, one array, or one object over several lines."""
    numbered = ((number, line) for number, line in lines if line.strip())
    head: list[tuple[int, bytes]] = []
    for first in numbered:
        if not head and _is_complete(first[1]):
            yield from ((f"{path}, line {number}", _parse(line)) for number, line in itertools.chain([first], numbered))
            return
        head.append(first)
    value = _parse(b"".join(line for _, line in head))
    if isinstance(value, RefusedError) and head and isinstance(_parse(head[-1][1]), dict):
        # One entry a line, and the first is broken: an object or array over several lines would end with a bracket.
        yield from ((f"{path}, line {number}", _parse(line)) for number, line in head)
    elif isinstance(value, list):
        yield from ((f"{path}, entry {number}", entry) for number, entry in enumerate(value, 1))
    elif head:
        yield path, value


def _is_complete(line: bytes) -> bool:
    """Return whether the first line is a whole entry: an object that ends on it, or not the beginning of JSON."""
    return not isinstance(_parse(line), RefusedError | list) or line.lstrip()[:1] not in b"[{"


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return RefusedError(f"not JSON: {error}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
