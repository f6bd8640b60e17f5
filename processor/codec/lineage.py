"""The header that says whose an output is: the lineage's hash, as text.

Every rejected record has it, and the last fact of each partition in a batch: so the last record of a facts partition
has it too. Outputs of versions before this header are unmarked.
"""

from typing import Final

from processor.domain.records import Record

LINEAGE: Final = "lineage"


def lineage_of(record: Record) -> str | None:
    """Return the hash of the lineage that wrote an output; None if it is unmarked."""
    value = dict(record.headers).get(LINEAGE)
    return None if value is None else value.decode(errors="replace")
