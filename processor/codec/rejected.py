"""A record of the rejected topic: the event unchanged, with headers that say why it became no fact and where it was.

All values are UTF-8 text. The event's own headers are kept, except those with these names.
"""

import re
from typing import Final

import msgspec

from processor.codec.lineage import LINEAGE
from processor.domain.records import Record
from processor.domain.rejections import Reason, Rejection

CUT_BYTES: Final = 64 << 10  # what is left of the value, or the key, of a rejected record that the broker refuses
# A larger record is cut in any case, so that every consumer can read its copy: even with the client's default limit of
# 100 MB. The client may need three times the size to expand it.
COPY_BYTES: Final = 32_000_000
REASON: Final = "reason"
OUTCOME: Final = "outcome"
DETAIL: Final = "detail"
TRUNCATED: Final = "truncated"  # the length of a value that was cut
TOPIC: Final = "source.topic"
PARTITION: Final = "source.partition"
OFFSET: Final = "source.offset"
TIMESTAMP: Final = "source.timestamp"  # of the event's record, in ms
NAMES: Final = frozenset({REASON, OUTCOME, DETAIL, TRUNCATED, TOPIC, PARTITION, OFFSET, TIMESTAMP, LINEAGE})
_NUMBER: Final = re.compile(rb"-?[0-9]{1,19}")
_REASONS: Final = {reason.value: reason for reason in Reason}
Headers = list[tuple[str, bytes | None]]


class Rejected(msgspec.Struct, frozen=True):
    """The headers of a rejected record; None for each that is missing or unreadable."""

    reason: str | None
    outcome: str | None
    detail: str | None
    topic: str | None
    partition: int | None
    offset: int | None
    timestamp_ms: int | None
    truncated_bytes: int | None
    is_truncated: bool
    lineage: str | None

    @property
    def known_reason(self) -> Reason | None:
        """The reason, if this program gives it."""
        return _REASONS.get(self.reason or "")


def written(topic: str, lineage: str, record: Record, rejection: Rejection) -> Headers:
    """Return the headers that say why a record of the events topic is rejected, and by which lineage."""
    texts = {
        REASON: rejection.reason.value,
        OUTCOME: rejection.reason.outcome.value,
        DETAIL: rejection.detail,
        TOPIC: topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
        TIMESTAMP: str(record.timestamp_ms),
        LINEAGE: lineage,
    }
    return [(name, text.encode()) for name, text in texts.items()]


def cut(value: bytes | None) -> tuple[bytes | None, Headers]:
    """Return what is left of a value that is too large for the topic, and the header that says so."""
    return value and value[:CUT_BYTES], [(TRUNCATED, str(len(value or b"")).encode())]


def kept(record: Record) -> Headers:
    """Return the headers that an event itself had, in their order."""
    return [header for header in record.headers if header[0] not in NAMES]


def read(record: Record) -> Rejected:
    """Return what the headers of a record of the rejected topic say. Never raises."""
    headers = dict(record.headers)
    return Rejected(
        reason=_text(headers.get(REASON)),
        outcome=_text(headers.get(OUTCOME)),
        detail=_text(headers.get(DETAIL)),
        topic=_text(headers.get(TOPIC)),
        partition=_number(headers.get(PARTITION)),
        offset=_number(headers.get(OFFSET)),
        timestamp_ms=_number(headers.get(TIMESTAMP)),
        truncated_bytes=_number(headers.get(TRUNCATED)),
        is_truncated=TRUNCATED in headers,
        lineage=_text(headers.get(LINEAGE)),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and _NUMBER.fullmatch(value) else None
