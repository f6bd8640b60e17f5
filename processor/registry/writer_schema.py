"""What a registry's answer says of a writer's schema: the schema with its references, or why no value is read.

Refused are: other types than Avro; what is no Avro schema; more than ten references, or references in a circle; rules
that change the bytes (encodingRules, and domain rules that encrypt). Other rules and the metadata are ignored. Asks
nobody: `registry.client` fetches what a reference names.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from processor.codec.compatibility import Schema
from processor.codec.schemas import header_of, record_names
from processor.domain.rejections import shown

MOST_REFERENCES: Final = 10
_NAMED: Final = ("record", "error", "enum", "fixed")
_PARTS: Final = ("items", "values", "type")


class Writer(NamedTuple):
    """A writer's schema: the full name of its record, and as JSON text gives it, whole.

    `header` is what single-object encoding would have before its values. Both are None for a record that is none of
    ours, and where `refusal` says why no value is read.
    """

    name: str
    size_bytes: int  # of its text, which is about what keeping it costs
    schema: Any = None
    header: bytes | None = None
    refusal: str | None = None


class Reference(NamedTuple):
    """A part of a schema that is registered by itself."""

    name: str
    subject: str
    version: int


class RefusedError(ValueError):
    """No value of a schema is read; the text says why, on one line."""


def references_of(answer: Any) -> list[Reference]:
    """Return what an answer's schema refers to. Raises RefusedError: too much, or not as a registry says it."""
    found = answer.get("references") or []
    try:
        given = [Reference(str(one["name"]), str(one["subject"]), int(one["version"])) for one in found]
        "".join(one.subject for one in given).encode()  # a lone surrogate is in no path
    except (TypeError, KeyError, ValueError, OverflowError, RecursionError) as error:
        raise RefusedError("its references are not a registry's") from error
    if len(given) > MOST_REFERENCES:
        raise RefusedError(f"it has more than {MOST_REFERENCES} references")
    return given


def text_of(answer: Any) -> str:
    """Return the text of an answer's schema. Raises RefusedError where its values are not plain Avro."""
    kind = answer.get("schemaType") or "AVRO"
    if kind != "AVRO":
        raise RefusedError(f"it is of type {_called(kind)}, not AVRO")
    if rule := next(_encoding_rules(answer.get("ruleSet")), None):
        raise RefusedError(f"its rule {_called(rule)} changes the bytes, which is not supported")
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RefusedError("its schema is no text")
    return text


def _called(name: Any) -> str:
    """Return a name as a line may show it; of what is no text, the kind of value."""
    return shown(name) if isinstance(name, str) else f"({type(name).__name__})"


def _encoding_rules(rules: Any) -> Iterator[Any]:
    """Yield the names of the rules that change the bytes."""
    if not isinstance(rules, dict):
        return
    for rule in _rules(rules, "encodingRules"):
        yield rule.get("name") or "without a name"
    for rule in _rules(rules, "domainRules"):
        kind = rule.get("type")
        if isinstance(kind, str) and kind.upper().startswith("ENCRYPT"):
            yield rule.get("name") or "without a name"


def _rules(rules: Any, kind: str) -> Iterable[Any]:
    found = rules.get(kind)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else ()


def writer_of(text: str, referred: list[str]) -> Writer:
    """Return what a schema's text says, with the texts that it refers to, each before those that refer to it.

    Raises RefusedError where they are no Avro schema.
    """
    size_bytes = len(text) + sum(map(len, referred))
    try:
        whole = json.loads(text)
        if referred:
            whole = _Inlining(json.loads(one) for one in referred).whole(whole)
        name = Schema(json.dumps(whole)).name
        if name not in record_names():
            return Writer(shown(name), len(name))
        return Writer(name, size_bytes, whole, header_of(whole))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        problem = shown(str(error)) if isinstance(error, ValueError) else type(error).__name__
        raise RefusedError(f"not an Avro schema: {problem.removeprefix('not an Avro schema: ')}") from error


class _Inlining:
    """Puts named types into a schema at the first place that names each of them."""

    def __init__(self, types: Iterable[Any]) -> None:
        # What has no name is put in at each place that names it: as often as a hostile schema likes.
        self._types = {_full_name(one, ""): one for one in types if isinstance(one, dict) and one["type"] in _NAMED}
        self._done: set[str] = set()

    def whole(self, schema: Any, namespace: str = "") -> Any:
        """Return a schema with what it names; `namespace` is the one around it."""
        if isinstance(schema, list):
            return [self.whole(one, namespace) for one in schema]
        if isinstance(schema, str):
            return self._named(schema, namespace)
        if not isinstance(schema, dict):
            return schema
        if schema.get("type") in _NAMED:
            name = _full_name(schema, namespace)
            self._done.add(name)
            namespace = name.rpartition(".")[0]
        found = {part: self.whole(schema[part], namespace) for part in _PARTS if part in schema}
        if isinstance(schema.get("fields"), list):
            found["fields"] = [self._field(field, namespace) for field in schema["fields"]]
        return schema | found

    def _field(self, field: Any, namespace: str) -> Any:
        return field | {"type": self.whole(field["type"], namespace)}

    def _named(self, name: str, namespace: str) -> Any:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        if full not in self._types or full in self._done:
            return name
        space, _, short = full.rpartition(".")
        return self.whole(self._types[full] | {"name": short, "namespace": space})


def _full_name(schema: Any, namespace: str) -> str:
    name = str(schema["name"])
    space = str(schema.get("namespace", namespace))
    return name if "." in name or not space else f"{space}.{name}"


def with_references(answer: Any, fetch: Callable[[Reference], Any]) -> Writer:
    """Return the writer's schema of an answer, whole; `fetch` gives the answer for a reference, and may raise.

    Raises nothing of its own: what is refused says so.
    """
    referred: list[str] = []
    open_, seen = list[Reference](), dict[tuple[str, int], None]()

    def visit(given: Any) -> str:
        text = text_of(given)
        for reference in references_of(given):
            place = reference.subject, reference.version
            if reference in open_:
                raise RefusedError("its references go in a circle")
            if place in seen:
                continue
            seen[place] = None
            if len(seen) > MOST_REFERENCES:
                raise RefusedError(f"it has more than {MOST_REFERENCES} references")
            open_.append(reference)
            referred.append(visit(fetch(reference)))
            open_.pop()
        return text

    try:
        return writer_of(visit(answer), referred)
    except RefusedError as error:
        return Writer("", len(str(error)), refusal=str(error))
