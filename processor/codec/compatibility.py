"""Whether values of one schema can be read as another's, by Avro's rules, and which fields break that.

Takes schemas as texts of JSON; gives what breaks, each by its path in the reader's record: `params[].value`. It is
stricter than a decoder, which refuses a union's branch only where a value of it comes.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import fastavro

from processor.codec.resolution import NAMED, WIDER, have_same_name, is_decimal, named
from processor.codec.source import kind_of

_MOST: Final = 10  # of what breaks; the rest follows from it more often than not


class Schema:
    """A parsed schema, and its named types."""

    def __init__(self, text: str) -> None:
        """Raise ValueError where the text is no Avro schema."""
        self.types: dict[str, Any] = {}
        try:
            self.given = json.loads(text)
            self.root = fastavro.parse_schema(self.given, named_schemas=self.types)
        except (ValueError, TypeError, KeyError, RecursionError, fastavro.schema.SchemaParseException) as error:
            raise ValueError(f"not an Avro schema: {error or type(error).__name__}") from error

    @property
    def name(self) -> str:
        """The full name of its record; the kind of what is none."""
        return str(self.root["name"]) if isinstance(self.root, dict) and "name" in self.root else kind_of(self.root)


def breaks(writer: Schema, reader: Schema) -> list[str]:
    """Return why the reader cannot read each value of the writer; empty if it can. Ten reasons at most."""
    found = _Comparison(writer, reader).reasons("", writer.root, reader.root)
    return [reason for _, reason in zip(range(_MOST), found, strict=False)]


class _Comparison:
    """Of one writer's schema with one reader's."""

    def __init__(self, writer: Schema, reader: Schema) -> None:
        self._writer = writer.types
        self._reader = reader.types
        self._seen: set[tuple[str, str]] = set()  # pairs of records: types may be recursive, and occur often

    def reasons(self, path: str, writer: Any, reader: Any) -> Iterator[str]:
        """Yield what breaks at a path and below."""
        writer, reader = named(writer, self._writer), named(reader, self._reader)
        kind = kind_of(writer)
        if kind == "union":
            for branch in writer:
                yield from self.reasons(path, branch, reader)
        elif isinstance(reader, list):
            yield from self._in_union(path, writer, [named(branch, self._reader) for branch in reader])
        elif kind == kind_of(reader):
            yield from self._same_kind(path, kind, writer, reader)
        elif kind_of(reader) not in WIDER.get(kind, ()):
            yield f"{_shown(path)}: {_called(writer)} cannot be read as {_called(reader)}"

    def _in_union(self, path: str, writer: Any, branches: list[Any]) -> Iterator[str]:
        kind = kind_of(writer)
        same = [one for one in branches if kind_of(one) == kind and (kind not in NAMED or have_same_name(writer, one))]
        if same:
            yield from self._same_kind(path, kind, writer, same[0])
        elif not any(kind_of(one) in WIDER.get(kind, ()) for one in branches):
            read = ", ".join(_called(one) for one in branches)
            yield f"{_shown(path)}: {_called(writer)} cannot be read as one of {read}"

    def _same_kind(self, path: str, kind: str, writer: Any, reader: Any) -> Iterator[str]:
        if kind in NAMED and not have_same_name(writer, reader):
            yield f"{_shown(path)}: {_called(writer)} cannot be read as {_called(reader)}"
        elif kind == "record":
            yield from self._records(path, writer, reader)
        elif kind == "array":
            yield from self.reasons(f"{path}[]", writer["items"], reader["items"])
        elif kind == "map":
            yield from self.reasons(f"{path}{{}}", writer["values"], reader["values"])
        elif kind == "enum" and "default" not in reader:
            if lacking := [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]:
                yield f"{_shown(path)}: the reader's enum has no {', '.join(lacking)}, and no default"
        elif kind == "fixed" and writer["size"] != reader["size"]:
            yield f"{_shown(path)}: {writer['size']} bytes cannot be read as {reader['size']}"
        if is_decimal(writer) and is_decimal(reader) and writer.get("scale", 0) != reader.get("scale", 0):
            scales = writer.get("scale", 0), reader.get("scale", 0)
            yield f"{_shown(path)}: a decimal of scale {scales[0]} cannot be read as one of scale {scales[1]}"

    def _records(self, path: str, writer: Any, reader: Any) -> Iterator[str]:
        pair = writer["name"], reader["name"]
        if pair in self._seen:
            return
        self._seen.add(pair)
        for field in reader["fields"]:
            below = f"{path}.{field['name']}" if path else field["name"]
            known = (field["name"], *field.get("aliases", ()))
            given = [one for one in writer["fields"] if one["name"] in known]
            if given:
                yield from self.reasons(below, given[0]["type"], field["type"])
            elif "default" not in field:
                yield f"{below}: the writer has no such field, and the reader no default for it"


def _shown(path: str) -> str:
    return path or "the whole value"


def _called(schema: Any) -> str:
    kind = kind_of(schema)
    return f"{kind} {schema['name']}" if kind in NAMED else kind
