"""Which of the reader's types a writer's value becomes, by Avro's rules of schema resolution."""

from collections.abc import Mapping
from typing import Any, Final

from processor.codec.source import kind_of

NAMED: Final = ("record", "enum", "fixed")
READ: Final = frozenset(
    ("null", "boolean", "int", "long", "double", "bytes", "string", "record", "enum", "array", "map", "union")
)
WRITTEN: Final = READ | {"float", "fixed"}  # which only other writers' schemas have
WIDER: Final = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
CONVERTED: Final = {
    ("int", "double"): "float({})",
    ("long", "double"): "float({})",
    ("string", "bytes"): "{}.encode()",
    ("bytes", "string"): "{}.decode()",
}
"""How a value of the first kind becomes one of the second; others that are wider are the same in Python."""


class MismatchError(ValueError):
    """The writer's values are not what the reader wants."""


def matching(writer: Any, reader: Any, readers: Mapping[str, Any]) -> Any:
    """Return what the reader has for the writer's values: of a union the branch of the same type, else a wider one.

    `readers` are the reader's named types. Raises MismatchError where it has nothing for them.
    """
    branches = [named(one, readers) for one in (reader if isinstance(reader, list) else [reader])]
    if unread := {kind_of(branch) for branch in branches} - READ:
        raise ValueError(f"type {', '.join(sorted(unread))} is not one that a value may have here")
    kind = kind_of(writer)
    same = [branch for branch in branches if kind_of(branch) == kind and have_same_name(writer, branch)]
    wider = [branch for branch in branches if kind_of(branch) in WIDER.get(kind, ())]
    if not same + wider:
        raise MismatchError(f"a {kind} is not what is wanted there")
    return (same + wider)[0]


def named(schema: Any, types: Mapping[str, Any]) -> Any:
    """Return the type that a name stands for, or the schema itself."""
    return types.get(schema, schema) if isinstance(schema, str) else schema


def is_decimal(schema: Any) -> bool:
    """Return whether a type's values are decimals."""
    return isinstance(schema, dict) and schema.get("logicalType") == "decimal"


def scales_of(schema: Any) -> list[Any]:
    """Return the scales of a schema's decimals, in the order of its types: two may differ in nothing else."""
    if isinstance(schema, list):
        return [scale for branch in schema for scale in scales_of(branch)]
    if not isinstance(schema, dict):
        return []
    inner = [schema.get(part) for part in ("type", "items", "values")]
    inner += [field["type"] for field in schema.get("fields", ())]
    return ([schema.get("scale", 0)] if is_decimal(schema) else []) + scales_of(inner)


def last_name(schema: Any) -> str:
    """Return a type's name without its namespace: that is how types are compared."""
    return str(schema["name"]).rpartition(".")[2]


def have_same_name(writer: Any, reader: Any) -> bool:
    """Return whether two types of one kind are the same by name, or by the reader's aliases."""
    if kind_of(writer) not in NAMED:
        return True
    aliases = [alias.rpartition(".")[2] for alias in reader.get("aliases", ())]
    return last_name(writer) in (last_name(reader), *aliases)


def default(field: Any) -> str:
    """Return the literal of a reader's default. Raises MismatchError where a field has none."""
    if "default" not in field:
        raise MismatchError(f"there is no {field['name']}, and no default for it")
    kind = kind_of(field["type"][0] if isinstance(field["type"], list) else field["type"])
    if kind in ("record", "bytes"):
        raise ValueError(f"a default of type {kind}")
    return repr(float(field["default"]) if kind == "double" else field["default"])
