"""Runs `events explain` as the command does, and says which cases a file of JSON can hold."""

import functools
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click

from processor.cli import explaining
from processor.cli.events import record_of
from processor.codec.avro import codec
from tests.reference import in_force
from tests.support.cases import key_text

LONGS = range(-(1 << 63), 1 << 63)
TIMES = ("date", "occurredAt")
OF_THE_RECORD = ("createdAt", "updatedAt", "statusChangedAt", "sourcePartition", "sourceOffset")


@dataclass(frozen=True)
class Run:
    """What a run printed, line by line, and its exit code."""

    lines: list[dict[str, Any]]
    said: str
    exit_code: int


class Explain:
    """`events explain` in this process; what it prints is captured."""

    def __init__(self, folder: Path, capsysbinary):
        self._folder, self._captured = folder, capsysbinary

    def __call__(self, settings, events, contacts=None, *, time_from=None):
        """Give what the command prints for these events and contacts, as JSON values."""
        files = [self._folder / "events.jsonl", self._folder / "contacts.jsonl"]
        for file, entries in zip(files, (events, contacts or []), strict=True):
            file.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries), encoding="utf-8")
        to_record = functools.partial(
            record_of, encode=codec().encode_event, time_from=time_from, zone=ZoneInfo(settings.time_zone)
        )
        exit_code = 0
        try:
            explaining.explain(settings, str(files[0]), None if contacts is None else str(files[1]), to_record)
        except click.exceptions.Exit as left:
            exit_code = left.exit_code
        printed = self._captured.readouterr()
        return Run([json.loads(line) for line in printed.out.splitlines()], printed.err.decode(), exit_code)


def with_times_in_ms(fact):
    """Give a printed fact with its dates as the corpus has them."""
    return {name: _ms(value) if name in TIMES and value is not None else value for name, value in fact.items()}


def _ms(text):
    if text.endswith("ms"):  # outside of the years that ISO 8601 has
        return int(text.removesuffix("ms"))
    moment = datetime.fromisoformat(text).astimezone(UTC) - datetime.fromtimestamp(0, UTC)
    return moment.days * 86_400_000 + moment.seconds * 1000 + moment.microseconds // 1000


def events_of(case):
    """Give a case's events as a file of `events send` has them, None if JSON or the command cannot say them."""
    sizes = {record.size for record in case.inputs}
    if case.fact_bytes is not None or any(case.since) or sizes != {1000} or {i.partition for i in case.inputs} != {0}:
        return None
    if any(expected.get("fact", {}).keys() & {*OF_THE_RECORD} for expected in case.expect):
        return None
    events = [_event_of(record) for record in case.inputs]
    return None if None in events else events


def _event_of(record):
    event = record.event
    if event is None or record.key != _own_key(event) or not _is_text(event["eventTypeKey"] + event["keyValue"]):
        return None
    params = [_param_of(param) for param in event["params"]]
    return None if None in params else {**event, "params": params}


def _own_key(event):
    """Give the key that `events send` gives a record: of the first order id that is filled."""
    for param in event["params"]:
        if param["name"] == "externalOrderId" and str(param["value"]).strip().lower() not in {"", "null", "none"}:
            value = param["value"]
            is_id = isinstance(value, str | int | float) and not isinstance(value, bool)
            is_id = is_id and not (isinstance(value, float) and not (value.is_integer() and abs(value) < 1 << 53))
            return key_text(value).encode(errors="surrogatepass") if is_id else None
    return None


def _param_of(param):
    name, value = param["name"], param["value"]
    if not _is_text(name):
        return None
    if isinstance(value, Decimal):
        digits = value.as_tuple()
        fits = isinstance(digits.exponent, int) and -4 <= digits.exponent <= 0 and value < Decimal(10) ** 14
        return {"name": name, "value": format(value, "f"), "type": "decimal"} if fits else None
    is_known = _is_scalar(value) or _is_map(value) or (isinstance(value, list) and all(map(_is_element, value)))
    return param if is_known else None


def _is_element(value):
    return _is_scalar(value) or _is_map(value)


def _is_map(value):
    return isinstance(value, dict) and all(map(_is_text, value)) and all(map(_is_scalar, value.values()))


def _is_scalar(value):
    match value:
        case None | bool():
            return True
        case str():
            return _is_text(value)
        case int():
            return value in LONGS
        case float():
            return math.isfinite(value)
    return False


def _is_text(text):
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def contacts_of(case):
    """Give a case's contacts as lines of `contacts import`: those in force, the winner of two claims last (C3)."""
    records = sorted(in_force(case.contacts).values(), key=lambda record: (record.timestamp_ms, record.contact_id))
    return [
        {**({"deleted": True} if record.contact is None else record.contact), "contactId": record.contact_id}
        for record in records
    ]
