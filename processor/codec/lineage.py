"""The headers that say whose an output is: the lineage's hash, and how many partitions the events topic had; as text.

Every rejected record has them, and the last fact of each partition in a batch: so the last record of a facts partition
has them too. Outputs of versions before these headers are unmarked.
"""

from typing import Final

from processor.domain.records import Record

LINEAGE: Final = "lineage"
PARTITIONS: Final = "lineage.partitions"


def marked(digest: str, partitions: int) -> list[tuple[str, bytes]]:
    """Return the headers of an output."""
    return [(LINEAGE, digest.encode()), (PARTITIONS, b"%d" % partitions)]


def lineage_of(record: Record) -> str | None:
    """Return the hash of the lineage that wrote an output; None if it is unmarked."""
    value = dict(record.headers).get(LINEAGE)
    return None if value is None else value.decode(errors="replace")


def partitions_of(record: Record) -> int | None:
    """Return how many partitions the events topic had when an output was written; None if it does not say."""
    value = dict(record.headers).get(PARTITIONS) or b""
    return int(value) if value.isdigit() and len(value) < 10 else None
