"""The project's Avro schemas, and folders of them that a test may add to."""

import json
import shutil
from pathlib import Path

import fastavro

SCHEMAS = Path(__file__).parents[2] / "schemas"


def versions_of(subject):
    """Give the numbers of a subject's versions, from the first."""
    return sorted(int(file.name.split(".")[1]) for file in SCHEMAS.glob(f"{subject}.*.avsc"))


def schema_of(subject, version=None):
    """Give a subject's schema as its JSON text has it; without a version the newest."""
    number = versions_of(subject)[-1] if version is None else version
    return json.loads((SCHEMAS / f"{subject}.{number}.avsc").read_text(encoding="utf-8"))


def header_of(schema):
    """Give the header of a schema's values: C3 01 and the fingerprint, as fastavro computes it."""
    canonical = fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(schema))
    return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))


def copy_schemas(folder, *further):
    """Copy all schemas, and further files, into a folder."""
    for file in (*SCHEMAS.glob("*.avsc"), *further):
        shutil.copy(file, folder)
