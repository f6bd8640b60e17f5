"""The recorded log of a chaos run, and lines made like its own."""

import gzip
import json

from deploy.build.picture import LINES

BATCH = {
    "level": "info",
    "event": "batch.committed",
    "service": "order-facts",
    "version": "0.1.0",
    "instance": "replica-1",
    "records": 50,
    "facts": 40,
    "ignored": 6,
    "invalid": 4,
    "reasons": {"contact_not_found": 4, "order_unknown": 6},
    "partitions": [0, 1],
    "input_bytes": 16_000,
    "output_bytes": 21_000,
    "poll_ms": 1.5,
    "decode_ms": 4.0,
    "lookup_ms": 3.0,
    "fold_ms": 5.0,
    "commit_ms": 20.0,
    "mirror_ms": 0.5,
}
"""A line of a replica without its time; it has 50 events."""


def recorded():
    """Give the recorded lines as they stand."""
    with gzip.open(LINES) as lines:
        return lines.read().splitlines()


def line(second, event, *, instance="replica-1", level="info", **fields):
    """Give a line of so many seconds after noon."""
    at = f"2020-05-14T12:{second // 60:02}:{second % 60:02}.000000Z"
    first = {"timestamp": at, "level": level, "event": event, "service": "order-facts", "version": "0.1.0"}
    return json.dumps({**first, "instance": instance, **fields}).encode()


def batch(second, **changed):
    """Give a line about a batch of 50 events."""
    return json.dumps({"timestamp": f"2020-05-14T12:{second // 60:02}:{second % 60:02}Z", **BATCH, **changed}).encode()


def stats(second, instance="replica-1", **changed):
    """Give a replica's line of totals."""
    fields = {"lag_records": 7, "freshness_s": 1.25, "partitions": [0, 1], "waiting_for": None}
    return line(second, "service.stats", instance=instance, **fields | changed)
