"""A record of the rejected topic: the event unchanged, with headers that say why it became no fact and where it was.

All values are UTF-8 text. The event's own headers are kept, except those with these names.
"""

import re
from typing import Final

import msgspec

from processor.codec.lineage import LINEAGE, PARTITIONS
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
NAMES: Final = frozenset({REASON, OUTCOME, DETAIL, TRUNCATED, TOPIC, PARTITION, OFFSET, TIMESTAMP, LINEAGE, PARTITIONS})
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


def written(topic: str, mark: list[tuple[str, bytes]], record: Record, rejection: Rejection) -> Headers:
    """Return the headers that say why a record of the events topic is rejected; `mark` says by which lineage."""
    return [
        (REASON, rejection.reason.value.encode()),
        (OUTCOME, rejection.reason.outcome.value.encode()),
        (DETAIL, rejection.detail.encode()),
        (TOPIC, topic.encode()),
        (PARTITION, b"%d" % record.partition),
        (OFFSET, b"%d" % record.offset),
        (TIMESTAMP, b"%d" % record.timestamp_ms),
        *mark,
    ]


def cut(record: Record) -> tuple[bytes | None, bytes | None, Headers]:
    """Return what is left of an event that is too large for the topic: its key, its value and its own headers.

    Any topic takes that which passed the start-up check: above all the value is cut, but the rest too.
    """
    key, value = record.key, record.value
    headers_bytes = sum(len(name) + len(text or b"") for name, text in record.headers)
    headers = kept(record) if headers_bytes <= CUT_BYTES else []
    return key and key[:CUT_BYTES], value and value[:CUT_BYTES], headers


def truncated(record: Record) -> Headers:
    """Return the header that says that an event was cut."""
    return [(TRUNCATED, str(len(record.value or b"")).encode())]


def kept(record: Record) -> Headers:
    """Return the headers that an event itself had, in their order."""
    return [header for header in record.headers if header[0] not in NAMES]


def is_copy(record: Record, event: Record) -> bool:
    """Return whether a record of the rejected topic has an event's key, value, headers and timestamp, whole or cut."""
    said = read(record)
    whole = event.key, event.value, kept(event)
    expected = cut(event) if said.truncated_bytes == len(event.value or b"") else whole
    found = record.key, record.value, kept(record)
    is_told = said.known_reason is not None and said.outcome == said.known_reason.outcome and said.detail is not None
    return found == expected and is_told and said.timestamp_ms == event.timestamp_ms


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
