"""What wakes or tells somebody: each alert once, as a question to Prometheus and as one to the logs.

`make docs` writes Prometheus' rules and VictoriaLogs' (for vmalert) from here. An alert's name is a heading of
deploy/RUNBOOK.md. `page`: events are late, or will be; `ticket`: it can wait until morning.

The questions to the logs need no metrics at all. vmalert asks each once a minute about the minute before, or about what
its own `_time` says; some alerts exist only there, since only a line says so.
"""

from typing import Final, NamedTuple

from deploy.observability.log_queries import TIMES
from deploy.observability.panel import FRESH_WITHIN_S, WAITING_GAUGES

RETENTION_S: Final = 7 * 86_400
"""Kafka's default `retention.ms` of a topic, in seconds: change the rule where order-events has another."""
_LINES: Final = "stats by (instance) count() as lines"
_TIMES: Final = f"{TIMES} | stats by (instance) sum(times) as times"


class Alert(NamedTuple):
    """An alert: how bad it is, for how long its condition must hold in metrics and in logs, and both conditions."""

    name: str
    severity: str
    summary: str
    metrics: str | None = None
    hold: str = "0s"
    logs: str | None = None
    logs_hold: str = "0s"


def _first(event: str) -> str:
    """Return the question for any line of an event."""
    return f"event:={event!r} | {_LINES}".replace("'", '"')


def _oldest(span: str) -> str:
    """Return the subquery for the oldest event that waits, over all partitions."""
    return f"(max(order_facts_freshness_seconds) > bool {FRESH_WITHIN_S})[{span}]"


_IS_LATE: Final = f"freshness_s:>{FRESH_WITHIN_S}"
_LATE: Final = f"count() if ({_IS_LATE}) as late, count() if ({_IS_LATE} _time:30m) as lately"

_STATS: Final = '"service.stats", "contacts.stats", "healer.stats"'
_STOPS: Final = '"service.stopped", "contacts.stopped", "healer.stopped"'
_BY_REPLICA: Final = "sum by (job, instance)"

ALERTS: Final = (
    Alert(
        "OrderFactsFreshnessLost",
        "page",
        f"An event has waited for more than {FRESH_WITHIN_S} s, for five minutes now",
        f"min_over_time(max(order_facts_freshness_seconds)[5m:30s]) > {FRESH_WITHIN_S}",
        "0s",
        '_time:5m event:="service.stats" freshness_s:* | stats by (instance) min(freshness_s) as least, '
        f"count() as lines | filter lines:>20 least:>{FRESH_WITHIN_S}",
    ),
    Alert(
        "OrderFactsFreshnessPoor",
        "ticket",
        f"Events waited for more than {FRESH_WITHIN_S} s in over 5% of six hours, and do so now",
        f"avg_over_time({_oldest('6h:1m')}) > 0.05 and avg_over_time({_oldest('30m:1m')}) > 0.05",
        "0s",
        '_time:6h event:="service.stats" freshness_s:* | stats by (instance) count() as lines, '
        f"{_LATE} | math late / lines as share | filter share:>0.05 lately:>9",
    ),
    Alert(
        "OrderFactsNoReplica",
        "page",
        "No replica runs: no event becomes a fact",
        'absent(order_facts_partitions{state="placed"})',
        "1m",
        '_time:2m event:="service.stats" | stats count() as lines | filter lines:=0',
    ),
    Alert(
        "OrderFactsNotAnswering",
        "ticket",
        "{{ $labels.instance }} has not answered for five minutes: it was killed, is frozen, or cannot be reached",
        "up == 0 and on (job, instance) last_over_time(order_facts_rss_bytes[1d])",
        "5m",
        f"_time:15m event:in({_STATS}, {_STOPS}) | stats by (instance) count() if (_time:5m) as lately, "
        f"count() if (event:in({_STOPS})) as stopped, count() as lines | filter lately:=0 stopped:=0",
    ),
    Alert(
        "OrderFactsLagWithoutCommits",
        "page",
        "Events wait, and {{ $labels.instance }} commits none",
        "(order_facts_lag_records > 0) and on (job, instance) (increase(order_facts_batches_total[3m]) == 0)",
        "2m",
        '_time:3m event:="service.stats" | stats by (instance) min(lag_records) as lag, min(events) as before, '
        "max(events) as after, count() as lines | filter lines:>12 lag:>0 | math after - before as done "
        "| filter done:=0",
    ),
    Alert(
        "OrderFactsWaiting",
        "page",
        "{{ $labels.instance }} waits for {{ $labels.waiting_for }}",
        " or ".join(f"{gauge} == 1" for gauge in WAITING_GAUGES),
        "2m",
        'event:in("service.waiting", "contacts.waiting", "healer.waiting", "segments.waiting") '
        "| stats by (instance, event) count() as lines",
        "2m",
    ),
    Alert(
        "OrderFactsAbortLoop",
        "page",
        "Batches of {{ $labels.instance }} fail again and again",
        "sum by (job, instance) (increase(order_facts_recoveries_total[5m])) > 10",
        "0s",
        f'_time:5m event:="batch.aborted" | {_TIMES} | filter times:>10',
    ),
    Alert(
        "OrderFactsRejectedShare",
        "ticket",
        "More than a tenth of the events of 15 minutes are invalid",
        'sum(increase(order_facts_events_total{outcome="invalid"}[15m])) / sum(increase(order_facts_events_total[15m]))'
        " > 0.1 and sum(increase(order_facts_events_total[15m])) > 100",
        "0s",
        '_time:15m event:="batch.committed" | stats sum(invalid) as invalid, sum(records) as records'
        " | filter records:>100 | math invalid / records as share | filter share:>0.1",
    ),
    Alert(
        "OrderFactsCatchUpLong",
        "page",
        "{{ $labels.instance }} has been bringing mirrors up to date for ten minutes",
        'order_facts_partitions{state="catching_up"} > 0',
        "10m",
        'event:="mirror.progress" | stats by (instance) count() as lines',
        "10m",
    ),
    Alert(
        "OrderFactsContactIndexStale",
        "page",
        "Nobody keeps the contact index: new contacts are not found, and their orders are rejected",
        "max(order_facts_contacts_age_seconds) > 300",
        "1m",
        'event:="service.stats" | stats max(contacts_age_s) as age | filter age:>300',
    ),
    Alert(
        "OrderFactsNearRetention",
        "page",
        "The oldest event that waits will soon be deleted by the topic's retention",
        f"max(order_facts_freshness_seconds) > {RETENTION_S * 7 // 10}",
        "0s",
        f'event:="service.stats" | stats max(freshness_s) as oldest | filter oldest:>{RETENTION_S * 7 // 10}',
    ),
    Alert(
        "OrderFactsRedisNearlyFull",
        "page",
        "Redis holds more than 85% of its maxmemory: beyond it, orders wait",
        "redis_memory_used_bytes / (redis_memory_max_bytes > 0) > 0.85",
        "5m",
        'event:in("service.waiting", "batch.aborted", "mirror.not_written", "contacts.waiting") error:maxmemory'
        f" | {_LINES}",
    ),
    Alert(
        "OrderFactsPartitionUnreadable",
        "page",
        "Partition {{ $labels.partition }} of {{ $labels.topic }} cannot be read",
        "order_facts_unreadable_offset",
        "1m",
        'event:="partition.unreadable" | stats by (topic, partition) count() as lines',
    ),
    Alert(
        "OrderFactsStalled",
        "ticket",
        "A partition of {{ $labels.instance }} has events and gives none, again and again",
        "increase(order_facts_stalled_partitions_total[15m]) >= 3",
        "0s",
        f'_time:15m event:="partition.stalled" | {TIMES} | stats by (instance, partition) sum(times) as times'
        " | filter times:>=3",
    ),
    Alert(
        "OrderFactsMixedPartitioners",
        "page",
        "Producers use different partitioners: orders get two lives",
        "max(order_facts_mixed_partitioners) == 1",
        "0s",
        _first("events.mixed_partitioners"),
    ),
    Alert(
        "OrderFactsBreaker",
        "page",
        "A producer's schema is broken: most events are invalid",
        'max by (job, instance) (order_facts_waiting{waiting_for="breaker"}) == 1 or ('
        f'{_BY_REPLICA} (increase(order_facts_events_total{{outcome="invalid"}}[5m]))'
        f" / {_BY_REPLICA} (increase(order_facts_events_total[5m])) > 0.5"
        f" and {_BY_REPLICA} (increase(order_facts_events_total[5m])) > 500)",
        "0s",
        f'event:in("breaker.tripped", "breaker.paused") | {_LINES}',
    ),
    Alert(
        "OrderFactsHealerLetGo",
        "ticket",
        "Too many rejected events wait for a contact: the oldest no longer do",
        "increase(order_facts_healer_let_go_events_total[15m]) > 0",
        "0s",
        _first("healer.let_go"),
    ),
    Alert(
        "OrderFactsSegmentsLate",
        "ticket",
        "Segments have not been published for three rounds",
        "time() - order_facts_segments_published_timestamp_seconds > 3 * order_facts_segments_every_seconds",
        "1m",
        'event:="segments.waiting" | stats by (instance) count() as lines',
        "10m",
    ),
    Alert(
        "OrderFactsLogLinesLost",
        "ticket",
        "Log lines of {{ $labels.instance }} cannot be written",
        "delta(order_facts_dropped_log_lines[10m]) > 0",
        "0s",
        "dropped_lines:>0 | stats by (instance) sum(dropped_lines) as lost",
    ),
    Alert(
        "OrderFactsFailed",
        "page",
        "{{ $labels.instance }} ended with an error: its line says how to go on",
        logs=_first("service.failed"),
    ),
    Alert(
        "OrderFactsContactsConflicting",
        "ticket",
        "Contacts have records in several partitions of their topic: a deletion may not last",
        logs=_first("contacts.conflicting"),
    ),
)
