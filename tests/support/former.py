"""The program as it was before a schema version came, recorded or without the schema, beside today's processes.

A record is what the wheel of the commit before holds (`git archive COMMIT`, `pip wheel`, unpacked, as .tar.xz): a clone
may have no history.
"""

import io
import shutil
import sys
import tarfile

import fastavro

from processor.codec.avro import codec
from processor.domain.records import UndecodableError
from tests.support.deployment import PROJECT
from tests.support.schemas import header_of, schema_of
from tests.support.traffic import Sent

RECORDED = PROJECT / "tests" / "data" / "former"
ISOLATED = (sys.executable, "-P", "-m")  # without the folder it runs in: the wheel is imported, not this project


def program_before(what, folder):
    """Unpack a recorded program; give the folder that it is imported from."""
    with tarfile.open(RECORDED / f"before-{what}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def program_without(file, folder):
    """Copy the program without one of its schemas; give the folder that it is imported from."""
    for part in ("processor", "schemas"):
        shutil.copytree(PROJECT / part, folder / part)
    (folder / file).unlink()
    return folder


def former_replica(deployment, wheel, name, **changes):
    """Start a replica of the program in a folder, with the settings that it knows; its instance id is `name`."""
    return _begin(deployment, wheel, name, "run", **changes)


def former_index(deployment, wheel):
    """Start `contacts index` of the program in a folder, which builds an index of its own format, and await that."""
    index = _begin(deployment, wheel, "former-index", "contacts", "index")
    index.await_line("contacts.ready")
    return index


def _begin(deployment, wheel, name, *command, **changes):
    known = (wheel / "processor" / "settings" / "definitions.py").read_text(encoding="utf-8")
    environment = {
        variable: value
        for variable, value in deployment.environment(instance_id=name, **changes).items()
        if not variable.startswith("ORDER_FACTS_")
        or f"\n    {variable.removeprefix('ORDER_FACTS_').lower()}: " in known
    }
    environment["PYTHONPATH"] = str(wheel)
    return deployment.begin((*ISOLATED, "processor", *command), environment, name, is_former=True)


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
