"""Log lines that make each rule of the logs fire, and lines that must not: by the rule's name.

A line is (event, seconds before the moment, its fields). Each case is a tenant of VictoriaLogs by itself.
"""

from datetime import UTC, datetime
from typing import NamedTuple


class LogCase(NamedTuple):
    """Lines, and whether the rule finds something in them."""

    lines: list[tuple[str, int, dict]]
    fires: bool


def stats(seconds, every_s=10, **fields):
    """Give a replica's lines of totals of so many seconds; a field may be a function of the line's age."""
    ages = range(every_s // 2, seconds, every_s)
    given = {"waiting_for": None, "lag_records": 0, "freshness_s": 0.0, "contacts_age_s": 1.4, "events": 7}
    return [("service.stats", age, _at(age, given | fields)) for age in ages]


def lines(event, ages, **fields):
    """Give a line at each age."""
    return [(event, age, _at(age, fields)) for age in ages]


def _at(age, fields):
    return {name: value(age) if callable(value) else value for name, value in fields.items()}


def both(fires, silent):
    """Give a case that fires and one that must not."""
    return (LogCase(fires, fires=True), LogCase(silent, fires=False))


_BUSY = lines("batch.committed", range(0, 900, 10), records=100, invalid=3)
_ABORTED = {"error": "it fails", "recovery": "retry", "step": "commit"}
CASES = {
    "OrderFactsFreshnessLost": both(
        stats(300, freshness_s=90.0), stats(300, freshness_s=lambda age: 90.0 if age > 200 else 5.0)
    ),
    "OrderFactsFreshnessPoor": (
        LogCase(stats(3_600, freshness_s=lambda age: 90.0 if age < 400 else 1.0), fires=True),
        LogCase(stats(3_600, freshness_s=lambda age: 90.0 if age < 100 else 1.0), fires=False),
        LogCase(stats(3_600, freshness_s=lambda age: 90.0 if 2_000 < age < 2_800 else 1.0), fires=False),
    ),
    "OrderFactsNoReplica": both(lines("contacts.stats", (5, 15)), stats(120)),
    "OrderFactsNotAnswering": (
        LogCase(lines("service.stats", range(400, 900, 10)), fires=True),
        LogCase(lines("service.stats", range(100, 900, 10)), fires=False),
        LogCase([*lines("service.stats", range(400, 900, 10)), ("service.stopped", 395, {})], fires=False),
    ),
    "OrderFactsLagWithoutCommits": (
        LogCase(stats(180, lag_records=5), fires=True),
        LogCase(stats(180, lag_records=5, events=lambda age: 1_000 - age), fires=False),
        LogCase(stats(180), fires=False),
        LogCase(stats(180, lag_records=None), fires=False),
    ),
    "OrderFactsWaiting": both(lines("service.waiting", (3, 5), waiting_for="redis", error="redis is away"), stats(60)),
    "OrderFactsAbortLoop": (
        LogCase(lines("batch.aborted", range(0, 300, 20), **_ABORTED), fires=True),
        LogCase(
            [*lines("batch.aborted", (30,), **_ABORTED), *lines("batch.aborted", (3,), **_ABORTED, repeated=9)],
            fires=True,
        ),
        LogCase(lines("batch.aborted", (1, 2, 3), **_ABORTED), fires=False),
        LogCase(lines("batch.aborted", (3,), **_ABORTED, repeated=9), fires=False),
    ),
    "OrderFactsRejectedShare": both(lines("batch.committed", range(0, 900, 10), records=100, invalid=20), _BUSY),
    "OrderFactsCatchUpLong": both(lines("mirror.progress", (3, 5)), stats(60)),
    "OrderFactsContactIndexStale": both(stats(60, contacts_age_s=400.0), stats(60)),
    "OrderFactsNearRetention": both(stats(60, freshness_s=430_000.0), stats(60, freshness_s=300_000.0)),
    "OrderFactsRedisNearlyFull": both(
        lines(
            "batch.aborted",
            (3,),
            error="Redis took the write of partition 0 not: OOM command not allowed when used memory > 'maxmemory'.",
        ),
        lines("batch.aborted", (3,), error="Redis at localhost did not answer"),
    ),
    "OrderFactsPartitionUnreadable": both(
        lines(
            "partition.unreadable", (3,), topic="order-events", partition=0, offset=32, error="cannot read", attempts=1
        ),
        _BUSY,
    ),
    "OrderFactsStalled": (
        LogCase(lines("partition.stalled", (5, 100, 300), partition=0), fires=True),
        LogCase(lines("partition.stalled", (5,), partition=0, repeated=2), fires=True),
        LogCase(lines("partition.stalled", (5, 100), partition=0), fires=False),
    ),
    "OrderFactsMixedPartitioners": both(lines("events.mixed_partitioners", (3,)), _BUSY),
    "OrderFactsBreaker": both(lines("breaker.tripped", (3,), cause="600 of 1000"), _BUSY),
    "OrderFactsHealerLetGo": both(
        lines("healer.let_go", (3,), records=5, most=10), lines("healer.expired", (3,), records=5)
    ),
    "OrderFactsSegmentsLate": both(
        lines("segments.waiting", (3,), waiting_for="kafka"), lines("segments.published", (3,), publish_ms=20)
    ),
    "OrderFactsLogLinesLost": both(stats(60, dropped_lines=3), stats(60)),
    "OrderFactsFailed": both(
        lines("service.failed", (3,), error="stopped", exit_code=1), lines("service.stopped", (3,))
    ),
    "OrderFactsContactsConflicting": both(lines("contacts.conflicting", (3,), contacts=2), _BUSY),
}


def written(found, moment_s):
    """Give lines as the program writes them, before a moment in seconds since 1970."""
    for event, age_s, fields in found:
        at = datetime.fromtimestamp(moment_s - age_s - 1, UTC).isoformat(timespec="microseconds")
        origin = {
            "level": "info",
            "event": event,
            "message": "so it is",
            "service": "order-facts",
            "version": "0",
            "instance": "replica-1",
        }
        yield {"timestamp": at, **origin, **fields}
