"""Checks schemas/asyncapi.yaml, offline: it is AsyncAPI 3.0, its references lead somewhere, it agrees with the program.

Names what is wrong, a line each; exit codes: 0 nothing; 1 something. Never changes the document.

`asyncapi-3.0.0.json.xz` is AsyncAPI's own JSON schema, unchanged, from the npm package @asyncapi/specs 6.11.1.
Copyright 2016-2025 AsyncAPI Initiative; Apache License 2.0.
"""

import functools
import json
import lzma
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml

from processor.codec import lineage, rejected
from processor.codec.schemas import CONTACT, EVENT, FACT, MEMBER, read_schemas
from processor.domain.pipeline import REPLAY_TIMESTAMP
from processor.domain.rejections import Outcome, Reason
from processor.kafka.creation import MESSAGE_BYTES
from processor.replay.judging import REPLAY_ROUND
from processor.settings import REPLAY, Settings

HERE: Final = Path(__file__).parent
SCHEMAS: Final = HERE.parents[1] / "schemas"
DOCUMENT: Final = "asyncapi.yaml"
_SUBJECTS: Final = {"orderEvents": EVENT, "contacts": CONTACT, "orderFacts": FACT, "segmentMembers": MEMBER}


def main() -> None:
    """Check the project's document."""
    found = list(problems(SCHEMAS))
    for problem in found:
        print(f"schemas/{DOCUMENT}: {problem}")
    sys.exit(int(bool(found)))


def problems(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the document of a folder, which also holds the Avro schemas."""
    document = yaml.safe_load((folder / DOCUMENT).read_text(encoding="utf-8"))
    missing = [reference for reference in references(document) if not _leads_somewhere(reference, document, folder)]
    yield from (f"{reference}: leads nowhere" for reference in missing)
    if not missing:
        whole = with_files(document, folder)
        broken = list(_against_the_specification(whole))
        yield from broken or chain(_messages(document), _against_the_program(whole, folder))


def topic_settings() -> dict[str, dict[str, str]]:
    """Return each topic's settings, by its name, as the project's document has them, and as brokers write them."""
    document = yaml.safe_load((SCHEMAS / DOCUMENT).read_text(encoding="utf-8"))
    return {
        channel["address"]: {
            name: ",".join(value) if isinstance(value, list) else str(value)
            for name, value in channel["bindings"]["kafka"]["topicConfiguration"].items()
        }
        for channel in document["channels"].values()
    }


def references(node: Any) -> Iterator[str]:
    """Yield what the document refers to: its own places, as `#/...`, and files."""
    for name, value in _items(node):
        if name == "$ref":
            yield value
        elif name == "x-older-versions":
            yield from value
        else:
            yield from references(value)


def with_files(node: Any, folder: Path) -> Any:
    """Return the document with the files it refers to in their places, as AsyncAPI's own tools read it."""
    if isinstance(node, list):
        return [with_files(one, folder) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and not node["$ref"].startswith("#"):
        return _read(folder / node["$ref"])
    return {name: with_files(value, folder) for name, value in node.items()}


def _items(node: Any) -> Iterator[tuple[Any, Any]]:
    return iter(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _leads_somewhere(reference: str, document: Any, folder: Path) -> bool:
    try:
        if reference.startswith("#"):
            _at(document, reference)
        else:
            _read(folder / reference)
    except (KeyError, TypeError, OSError, ValueError):
        return False
    return True


def _at(document: Any, reference: str) -> Any:
    """Return the value that a reference such as `#/channels/contacts` leads to. Raises KeyError or TypeError."""
    for name in reference.removeprefix("#/").split("/"):
        document = document[name]
    return document


def _of(document: Any, node: Any) -> Any:
    """Return a value, or the one that it refers to."""
    return _at(document, node["$ref"]) if "$ref" in node else node


@functools.cache
def _specification() -> Any:
    with lzma.open(HERE / "asyncapi-3.0.0.json.xz") as file:
        return jsonschema.Draft7Validator(json.load(file))


def _against_the_specification(document: Any) -> Iterator[str]:
    for error in _specification().iter_errors(document):
        closest = _closest(error)
        yield f"{'.'.join(map(str, closest.absolute_path))}: {closest.message[:200]}"


def _closest(error: Any) -> Any:
    """Return what is wrong by the form that was meant: of several, not a reference, and the one that goes deepest."""
    while error.context:
        meant = [one for one in error.context if one.message != "'$ref' is a required property"]
        error = max(meant or error.context, key=lambda one: len(one.absolute_path))
    return error


def _messages(document: Any) -> Iterator[str]:
    """Yield the messages that no channel has."""
    sent = {node["$ref"] for channel in document["channels"].values() for node in channel["messages"].values()}
    for name in document["components"]["messages"]:
        if f"#/components/messages/{name}" not in sent:
            yield f"the message {name} is in no channel"


def _against_the_program(document: Any, folder: Path) -> Iterator[str]:
    try:
        stated = dict(_stated(document))
    except KeyError as error:
        yield f"lacks {error}"
        return
    for what, expected in _expected(folder).items():
        if (said := stated.get(what)) != expected:
            yield f"{what}: says {said}, and the program {expected}"


def _stated(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the document says of things that the program decides."""
    bootstrap = document["servers"]["kafka"]["variables"]["bootstrap"]
    yield "bootstrap servers", bootstrap["default"]
    for name, channel in document["channels"].items():
        kafka = channel["bindings"]["kafka"]
        yield f"{name}: topic", channel["address"]
        yield f"{name}: partitions", kafka["partitions"]
        yield f"{name}: replicas", kafka["replicas"]
        yield f"{name}: max.message.bytes", kafka["topicConfiguration"].get("max.message.bytes")
        for message in (_of(document, node) for node in channel["messages"].values()):
            headers = _of(document, message.get("headers", {}))
            yield f"{message['name']}: headers", sorted(headers.get("properties", {}))
            payload = _of(document, message["payload"])
            yield f"{message['name']}: schema", payload.get("schema")
            yield f"{message['name']}: older versions", message.get("x-older-versions", [])
    told = document["components"]["schemas"]["RejectedHeaders"]["properties"]
    yield "reasons", told["reason"]["enum"]
    yield "outcomes", told["outcome"]["enum"]
    for name in ("receiveOrderEvents", "receiveRejectedEvents"):
        yield f"{name}: group", document["operations"][name]["bindings"]["kafka"]["groupId"]["const"]


def _expected(folder: Path) -> dict[str, Any]:
    """Return what the program does, by the same names."""
    settings = Settings()
    events, contacts, facts, rejects = "orderEvents", "contacts", "orderFacts", "rejectedEvents"
    topics = {events: settings.events_topic, contacts: settings.contacts_topic}
    topics |= {facts: settings.facts_topic, rejects: settings.rejected_topic}
    topics["segmentMembers"] = settings.segment_members_topic
    expected: dict[str, Any] = {"bootstrap servers": settings.bootstrap_servers}
    expected |= {f"{name}: topic": topic for name, topic in topics.items()}
    expected |= {f"{name}: partitions": settings.partitions for name in topics}
    expected |= {f"{name}: replicas": settings.replication_factor for name in topics}
    expected |= {f"{name}: max.message.bytes": None for name in topics}
    expected[f"{rejects}: max.message.bytes"] = MESSAGE_BYTES[0]
    versions = read_schemas(folder)
    headers: dict[str, set[str]] = {EVENT: {REPLAY_ROUND, REPLAY_TIMESTAMP}, CONTACT: set(), MEMBER: set()}
    headers[FACT] = {lineage.LINEAGE, lineage.PARTITIONS}
    for subject in _SUBJECTS.values():
        *older, newest = versions[subject]
        record = versions[subject][newest]["name"]
        for message in (record, f"{record}ByRegistry"):
            expected[f"{message}: headers"] = sorted(headers[subject])
            expected[f"{message}: schema"] = versions[subject][newest]
            expected[f"{message}: older versions"] = [f"./{subject}.{version}.avsc" for version in older]
    expected["RejectedEvent: headers"] = sorted(rejected.NAMES)
    expected["reasons"] = [reason.value for reason in Reason]
    expected["outcomes"] = [outcome.value for outcome in Outcome]
    expected["receiveOrderEvents: group"] = settings.group_id
    expected["receiveRejectedEvents: group"] = f"{settings.group_id}-{REPLAY}"
    return expected


if __name__ == "__main__":
    main()
