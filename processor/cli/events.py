"""`order-facts events send | explain`: events in the vendor's documented JSON shape."""

import functools
import json
import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import click

from processor.cli import explaining
from processor.cli.options import CONNECTION, WIRE, with_settings
from processor.cli.sending import NOW, Encode, RefusedError, Sendable, Sender, json_entries, lines_of
from processor.codec.avro import codec
from processor.domain.instants import parse_date
from processor.domain.parameters import ORDER_ID, order_id_text
from processor.domain.records import LONGS
from processor.domain.values import InvalidValue, is_filled
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.settings.rules import RULE_SETTINGS

events = click.Group("events", help="Send order events, or explain what becomes of them.")
_FIELDS: Final = frozenset({"eventTypeKey", "keyValue", "params"})
_PARAM_FIELDS: Final = frozenset({"name", "value", "type"})
_DECIMAL: Final = re.compile(r"-?[0-9]{1,14}(\.[0-9]{1,4})?")  # the digits that decimal(18,4) has room for


@events.command()
@click.argument("file")
@click.option(
    "--timestamp-from",
    "time_from",
    metavar="PARAMETER",
    help="Give each record the time of this parameter, a date: for a backfill.",
)
@with_settings("events_topic", "time_zone", *CONNECTION, *WIRE)
def send(settings: Settings, file: str, *, time_from: str | None) -> None:
    """Send order events from FILE; `-` is standard input.

    FILE holds one JSON object, an array of them, or one on each line:
    {"eventTypeKey": "orderCreated", "keyValue": "...", "params": [{"name": "...", "value": ...}, ...]}.
    The record's key is the parameter externalOrderId. This command refuses only what Avro cannot hold; the
    processor decides whether an event is valid.

    A value may be a text, a number, true, false, null, an object of these, or an array of these and of such objects. A
    number with a point or an exponent is sent as a double. An exact decimal is a text with its type:
    {"name": "totalCost", "value": "258.90", "type": "decimal"}, with at most 18 digits, 4 of them after the point.

    A backfill with --timestamp-from keeps its own times in the facts' createdAt and updatedAt. First give the topic a
    retention.ms that is longer than the oldest of them is old: Kafka deletes records by their timestamps.
    """
    entries = json_entries(file, lines_of(file, "Sending events"))
    zone, encode = ZoneInfo(settings.time_zone), Wire(settings).encode_event
    to_record = functools.partial(record_of, encode=encode, time_from=time_from, zone=zone)
    # Somebody may be typing: deliver each line before the next.
    Sender(settings, settings.events_topic).send_all(entries, to_record, "an OrderEvent", at_once=file == "-")


@events.command()
@click.argument("file")
@click.option("--contacts", metavar="FILE", help="Find these contacts, in a file as `contacts import` takes it.")
@click.option("--timestamp-from", "time_from", metavar="PARAMETER", help="As in `events send`.")
@with_settings(*RULE_SETTINGS)
def explain(settings: Settings, file: str, *, contacts: str | None, time_from: str | None) -> None:
    """Say what would become of the events in FILE, by the rules of `run`; `-` is standard input. Needs no services.

    FILE is as for `events send`. Each event is judged as the ones before it in FILE left its order. Without --contacts
    every identifier finds the same contact.

    Prints a table on a terminal, else a JSON object for each event: its place in FILE; its outcome (fact, ignored,
    invalid, or refused: `events send` would refuse it too); the number of the rule; the fact, or the reason, its
    detail and what to do. Exits with 0 if all become facts or are ignored, 1 if one is invalid or refused, 2 if a
    file is wrong.
    """
    zone, encode = ZoneInfo(settings.time_zone), codec().encode_event
    to_record = functools.partial(record_of, encode=encode, time_from=time_from, zone=zone)
    explaining.explain(settings, file, contacts, to_record)


def record_of(entry: Any, encode: Encode, time_from: str | None = None, zone: tzinfo = UTC) -> Sendable:
    """Return the record of an event in the vendor's shape, its value as `encode` writes it.

    `time_from` names the parameter that has its time.

    Raises as `RecordOf` may.
    """
    event = _event_of(entry)
    at_ms = NOW if time_from is None else _time_of(event, time_from, zone)
    return Sendable(_key_of(event), encode(event), at_ms)


def _time_of(event: Mapping[str, Any], name: str, zone: tzinfo) -> int:
    """Return the time that a parameter says, in ms (D8)."""
    found = [(place, param["value"]) for place, param in enumerate(event["params"]) if param["name"] == name]
    if not found or not is_filled(found[0][1]):
        raise RefusedError(f"{name}: is missing, and --timestamp-from needs it")
    place, value = found[0]
    try:
        at_ms = parse_date(value, zone)
    except InvalidValue as error:
        raise RefusedError(f"params[{place}] ({name}): {error}") from error
    if at_ms <= 0:
        raise RefusedError(f"params[{place}] ({name}): a record's timestamp has to be after 1970-01-01T00:00:00Z")
    return at_ms


def _event_of(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise RefusedError("expected an object with eventTypeKey, keyValue and params")
    if unknown := sorted(entry.keys() - _FIELDS):
        raise RefusedError(f"unknown field {unknown[0]}; an event has eventTypeKey, keyValue and params")
    if not isinstance(entry.get("eventTypeKey"), str):
        raise RefusedError("eventTypeKey: expected a string")
    if not isinstance(entry.get("keyValue", ""), str):
        raise RefusedError("keyValue: expected a string")
    params = entry.get("params", [])
    if not isinstance(params, list):
        raise RefusedError("params: expected an array of objects with name and value")
    return {
        "eventTypeKey": entry["eventTypeKey"],
        "keyValue": entry.get("keyValue", ""),
        "params": [_param_of(f"params[{position}]", param) for position, param in enumerate(params)],
    }


def _param_of(path: str, param: Any) -> dict[str, Any]:
    if not isinstance(param, dict) or param.keys() - _PARAM_FIELDS or not isinstance(param.get("name"), str):
        raise RefusedError(f"{path}: expected an object with name, a string, and value")
    name, value, place = param["name"], param.get("value"), f"{path} ({param['name']})"
    if "type" in param:
        return {"name": name, "value": _decimal_of(place, param["type"], value)}
    return {"name": name, "value": _value_of(place, name, value)}


def _decimal_of(place: str, kind: Any, value: Any) -> Decimal:
    if kind != "decimal":
        raise RefusedError(f'{place}: the only type is "decimal"; leave it out for all others')
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise RefusedError(f'{place}: expected a text such as "258.90": 14 digits, and 4 after the point, at most')
    return Decimal(value)


def _value_of(place: str, name: str, value: Any) -> Any:
    if _is_scalar(value) or _is_map(value) or (isinstance(value, list) and all(map(_is_element, value))):
        return value
    if isinstance(value, list | dict) and name == "items":
        # No Avro map holds nested values. The vendor's other form, a JSON string, does.
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, int):
        raise RefusedError(f"{place}: the integer is beyond 64 bits; send it as a string")
    raise RefusedError(
        f"{place}: expected a string, number, boolean, null, a flat object, or an array of these, integers of "
        "at most 64 bits"
    )


def _is_element(value: Any) -> bool:
    return _is_scalar(value) or _is_map(value)


def _is_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_scalar, value.values()))


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | float) or (isinstance(value, int) and value in LONGS)


def _key_of(event: Mapping[str, Any]) -> bytes | None:
    """Return the key that keeps an order's events in one partition: the order's id, None if it has none (D5)."""
    for param in event["params"]:
        value = param["value"]
        if param["name"] == ORDER_ID and is_filled(value):
            order_id = order_id_text(value)
            return None if order_id is None else order_id.encode()
    return None
