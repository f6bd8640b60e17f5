"""`order-facts events send`: sends events in the vendor's documented JSON shape to the events topic."""

import json
from collections.abc import Mapping
from typing import Any, Final

import click

from processor.cli.options import CONNECTION, with_settings
from processor.cli.sending import RefusedError, Sender, json_entries, lines_of
from processor.codec.avro import codec
from processor.domain.parameters import ORDER_ID, order_id_text
from processor.domain.records import LONGS
from processor.domain.values import is_filled
from processor.settings import Settings

events = click.Group("events", help="Send order events.")
_FIELDS: Final = frozenset({"eventTypeKey", "keyValue", "params"})


@events.command()
@click.argument("file")
@with_settings("events_topic", *CONNECTION)
def send(settings: Settings, file: str) -> None:
    """Send order events from FILE; `-` is standard input.

    FILE holds one JSON object, an array of them, or one on each line:
    {"eventTypeKey": "orderCreated", "keyValue": "...", "params": [{"name": "...", "value": ...}, ...]}.
    The record's key is the parameter externalOrderId. This command refuses only what Avro cannot hold; the
    processor decides whether an event is valid.
    """
    entries = json_entries(file, lines_of(file, "Sending events"))
    # Somebody may be typing: deliver each line before the next.
    Sender(settings, settings.events_topic).send_all(entries, record_of, "an OrderEvent", at_once=file == "-")


def record_of(entry: Any) -> tuple[bytes | None, bytes]:
    """Return the key and value of an event in the vendor's shape. Raises as `RecordOf` may."""
    event = _event_of(entry)
    return _key_of(event), codec().encode_event(event)


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
    if not isinstance(param, dict) or param.keys() - {"name", "value"} or not isinstance(param.get("name"), str):
        raise RefusedError(f"{path}: expected an object with name, a string, and value")
    return {"name": param["name"], "value": _value_of(f"{path} ({param['name']})", param["name"], param.get("value"))}


def _value_of(path: str, name: str, value: Any) -> Any:
    if isinstance(value, list | dict) and name == "items" and not _is_array_of_maps(value):
        # No Avro map holds nested values. The vendor's other form, a JSON string, does.
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, dict) or (isinstance(value, list) and not _is_array_of_maps(value)):
        raise RefusedError(f"{path}: expected a string, number, boolean, null, or an array of flat objects")
    if isinstance(value, int) and value not in LONGS:
        raise RefusedError(f"{path}: the integer is beyond 64 bits; send it as a string")
    return value


def _is_array_of_maps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) and all(map(_fits, item.values())) for item in value)


def _fits(value: Any) -> bool:
    return value is None or isinstance(value, str | float) or (isinstance(value, int) and value in LONGS)


def _key_of(event: Mapping[str, Any]) -> bytes | None:
    """Return the key that keeps an order's events in one partition: the order's id, None if it has none (D5)."""
    for param in event["params"]:
        value = param["value"]
        if param["name"] == ORDER_ID and is_filled(value):
            order_id = order_id_text(value)
            return None if order_id is None else order_id.encode()
    return None
