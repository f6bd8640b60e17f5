"""The schemas of the topics' values: each version in a file of its own, `schemas/<subject>.<n>.avsc`."""

import functools
import importlib.resources
import json
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from processor.codec.decoders import AS_DICTIONARY, AS_EVENT, AS_ORDER, Shape, decoder_source
from processor.errors import StopError

EVENT: Final = "order-event"
CONTACT: Final = "contact"
FACT: Final = "order-fact"
MEMBER: Final = "segment-member"
FRAMING: Final = b"\xc3\x01"
SINGLE_OBJECT_BYTES: Final = 10  # of a value's header: FRAMING, and the schema's fingerprint
_WANTED: Final = {EVENT: AS_EVENT, CONTACT: AS_DICTIONARY, FACT: AS_ORDER, MEMBER: AS_DICTIONARY}


def newest_schemas() -> dict[str, Any]:
    """Return the newest schema of each subject, as its JSON text gives it."""
    return {name: versions[max(versions)] for name, versions in read_schemas(schema_folder()).items()}


@functools.cache
def record_names() -> frozenset[str]:
    """Return the full names of the records that topics hold."""
    return frozenset(map(name_of, newest_schemas().values()))


def name_of(record: Any) -> str:
    """Return the full name of one of our records."""
    return f"{record['namespace']}.{record['name']}"


def schema_texts(name: str) -> dict[int, str]:
    """Return the texts of a subject's schemas by version, as registries hold them: without outer white space."""
    versions = read_schemas(schema_folder())[name]
    return {version: (schema_folder() / f"{name}.{version}.avsc").read_text("utf-8").strip() for version in versions}


def wanted_shape(name: str) -> Shape:
    """Return what a decoder of a subject's values gives."""
    return _WANTED[name]


def header_of(schema: Any) -> bytes:
    """Return the framing before a value of a schema; in it the CRC-64-AVRO fingerprint: 8 bytes, little-endian."""
    return FRAMING + bytes.fromhex(fingerprint(canonical(schema), "CRC-64-AVRO"))


def canonical(schema: Any) -> str:
    """Return a schema's parsing canonical form: what decides the bytes of its values, and nothing else."""
    return str(to_parsing_canonical_form(fastavro.parse_schema(schema)))


def schema_folder() -> Traversable | Path:
    """Return where the schemas are that came with the program."""
    packaged = importlib.resources.files("processor") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"


def read_schemas(folder: Traversable | Path) -> dict[str, dict[int, Any]]:
    """Return each subject's schemas by version, as their JSON text gives them. Raises StopError where one is broken."""
    files: dict[str, dict[int, Traversable | Path]] = {name: {} for name in _WANTED}
    for file in folder.iterdir():
        name, _, version = file.name.removesuffix(".avsc").rpartition(".")
        if not file.name.endswith(".avsc"):
            continue
        if name not in files or not version.isdecimal():
            raise StopError(
                f"{file}: expected <subject>.<version>.avsc, subject one of {', '.join(_WANTED)}; the installation is "
                "damaged: install the program again"
            )
        files[name][int(version)] = file
    return {name: _read_versions(folder, name, found) for name, found in files.items()}


def _read_versions(folder: Traversable | Path, name: str, files: Mapping[int, Traversable | Path]) -> dict[int, Any]:
    """Return a subject's schemas, each one that the newest can be read from."""
    if not files:
        raise StopError(
            f"{folder}: no schema {name}.<version>.avsc; the installation is damaged: install the program again"
        )
    versions: dict[int, Any] = {}
    for version in sorted(files, reverse=True):
        try:
            versions[version] = json.loads(files[version].read_text(encoding="utf-8"))
            decoder_source("decode", versions[version], versions[max(versions)], _WANTED[name])
        except (ValueError, TypeError, KeyError, RecursionError, fastavro.schema.SchemaParseException) as error:
            raise StopError(
                f"{files[version]}: not an Avro schema that is read here: {error}; the installation is damaged: "
                "install the program again"
            ) from error
    return dict(sorted(versions.items()))
