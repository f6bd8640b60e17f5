"""What bytes look like that have not the form that is configured, so that a rejection can help its producer.

Takes the first bytes of a value; gives words, never the bytes. Nothing is decoded by it: the form is configured.
"""

from typing import Final

from processor.codec.schemas import FRAMING, SINGLE_OBJECT_BYTES

_REGISTRY_BYTES: Final = 5  # a 0 byte and the schema's id
_BEGINNINGS: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"Obj\x01", "an Avro file"),
    (b"\xac\xed\x00\x05", "a serialized Java object"),
)
_BYTE_ORDER_MARK: Final = "\ufeff"


def looks_like(head: bytes) -> str | None:
    """Return what a value that begins with these bytes looks like, None if that cannot be told."""
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head.startswith(b"\0") and len(head) >= _REGISTRY_BYTES:
        return "a schema registry's framing: a 0 byte, then the schema's id"
    if head.startswith(FRAMING):
        return "Avro single-object encoding" + (
            " that ends within its header" if len(head) < SINGLE_OBJECT_BYTES else ""
        )
    return _text(head) or _avro(head)


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":  # the head may end within a character
            return None
        text = head[: error.start].decode("utf-8")
    text = text.removeprefix(_BYTE_ORDER_MARK)
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return None
    return "JSON" if text.lstrip().startswith(("{", "[", '"')) else "a text"


def _avro(head: bytes) -> str | None:
    """Recognize a record without a header: it begins with a text's length and letters, those of its type."""
    letters = head[1 : 1 + (head[0] >> 1)]
    is_length = head[0] & 1 == 0
    return "an Avro value without a header" if is_length and letters.isalpha() else None
