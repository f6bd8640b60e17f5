"""How a schema registry's clients frame Avro values: by the writer's schema's id, or its GUID.

Three forms, told apart by their first byte and by a header of the record:

    00, 4 bytes           the id, big-endian, before the body
    01, 16 bytes          the GUID, before the body (clients of 2025 and later)
    header                either of them in the record's header `__value_schema_id`; the value is the body alone

An id is below 2^31: registries count with Java's int, and Confluent's does not even understand a question for more.

A prefix is the framing's bytes: it names a schema of a registry for ever. Knows no schema and asks nobody.
"""

from typing import Final
from uuid import UUID

from processor.codec.appearance import looks_like
from processor.domain.records import Headers, UndecodableError

HEADER: Final = "__value_schema_id"
BY_ID: Final = b"\0"
BY_GUID: Final = b"\1"
ID_BYTES: Final = 5
GUID_BYTES: Final = 17
_HEAD_BYTES: Final = 10


def framing_of(value: bytes, headers: Headers = ()) -> tuple[bytes, int]:
    """Return the prefix of a value and where its body begins. A header wins, and of several the last.

    Raises UndecodableError for a header that is no id and no GUID, and for a value that is framed otherwise.
    """
    said = None
    for name, content in headers:
        if name == HEADER and content is not None:
            said = content
    if said is not None:
        if not is_whole(said):
            raise UndecodableError(f"the header {HEADER} is neither a schema's id nor its GUID")
        _check(said)
        return said, 0
    size = GUID_BYTES if value.startswith(BY_GUID) else ID_BYTES
    prefix = value[:size]
    if not is_whole(prefix):
        raise UndecodableError(_problem(value))
    _check(prefix)
    return prefix, size


def is_framed(value: bytes) -> bool:
    """Return whether a value begins as one of a registry's clients does."""
    return value.startswith((BY_ID, BY_GUID))


def is_whole(prefix: bytes) -> bool:
    """Return whether a prefix is a whole id or a whole GUID."""
    return len(prefix) == {BY_ID: ID_BYTES, BY_GUID: GUID_BYTES}.get(prefix[:1])


def prefix_of(schema_id: int) -> bytes:
    """Return the prefix of a schema's id."""
    return BY_ID + schema_id.to_bytes(4, "big")


def shown(prefix: bytes) -> str:
    """Return a prefix in words: `schema id 7`."""
    if prefix.startswith(BY_ID):
        return f"schema id {int.from_bytes(prefix[1:], 'big')}"
    return f"schema GUID {UUID(bytes=prefix[1:])}"


def path_of(prefix: bytes) -> str:
    """Return the path at which a registry gives the schema of a prefix."""
    if prefix.startswith(BY_ID):
        return f"/schemas/ids/{int.from_bytes(prefix[1:], 'big')}"
    return f"/schemas/guids/{UUID(bytes=prefix[1:])}"


def _check(prefix: bytes) -> None:
    if prefix.startswith(BY_ID) and prefix[1] > 0x7F:
        raise UndecodableError(f"{shown(prefix)}: no registry gives such an id")


def _problem(value: bytes) -> str:
    if not value:
        return "the value is empty"
    if is_framed(value):
        return "a schema registry's framing that ends within the schema's id or GUID"
    appearance = looks_like(value[:_HEAD_BYTES])
    return "not a schema registry's framing" + (f"; it looks like {appearance}" if appearance else "")
