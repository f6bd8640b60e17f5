"""The program as it was before a schema version came, from a wheel or without the schema, beside today's processes."""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile

import fastavro

from processor.codec.avro import codec
from processor.domain.records import UndecodableError
from tests.support.deployment import PROJECT
from tests.support.schemas import header_of, schema_of
from tests.support.traffic import Sent

ISOLATED = (sys.executable, "-P", "-m")  # without the folder it runs in: the wheel is imported, not this project


def wheel_before(file, folder):
    """Build the wheel of the commit before the one that added a file; give the folder that it is unpacked in.

    Needs the history that a full clone has.
    """
    added = _git("log", "--diff-filter=A", "--format=%H", "--", file).decode().split()
    assert added, f"the history does not say when {file} came: git fetch --unshallow"
    sources, wheels, unpacked = folder / "sources", folder / "wheels", folder / "unpacked"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", f"{added[-1]}^"))) as archive:
        archive.extractall(sources, filter="data")
    pip = (sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation")
    subprocess.run((*pip, "--wheel-dir", str(wheels), str(sources)), check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(unpacked)
    return unpacked


def _git(*arguments):
    return subprocess.run(("git", "-C", str(PROJECT), *arguments), check=True, capture_output=True).stdout


def program_without(file, folder):
    """Copy the program without one of its schemas; give the folder that it is imported from."""
    for part in ("processor", "schemas"):
        shutil.copytree(PROJECT / part, folder / part)
    (folder / file).unlink()
    return folder


def former_replica(deployment, wheel, name, **changes):
    """Start a replica of the program in a folder, with the settings that it knows; its instance id is `name`."""
    known = (wheel / "processor" / "settings" / "definitions.py").read_text(encoding="utf-8")
    environment = {
        variable: value
        for variable, value in deployment.environment(instance_id=name, **changes).items()
        if not variable.startswith("ORDER_FACTS_")
        or f"\n    {variable.removeprefix('ORDER_FACTS_').lower()}: " in known
    }
    return deployment.begin((*ISOLATED, "processor", "run"), environment | {"PYTHONPATH": str(wheel)}, name)


_FIRST = schema_of("order-event", 1)
_FIRST_PARSED = fastavro.parse_schema(_FIRST)


def as_version_1(sent):
    """Give the record of an event as a producer with version 1 writes it; one that cannot be decoded stays as it is."""
    try:
        event = codec().decode_event(sent.value or b"")
    except UndecodableError:
        return sent
    buffer = io.BytesIO(header_of(_FIRST))
    buffer.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(buffer, _FIRST_PARSED, event)
    return Sent(sent.key, buffer.getvalue(), sent.is_undecodable)
