"""Panels of the events' way: what waits, what flows, how batches spend their time, what is rejected."""

from typing import Final

from deploy.observability.log_queries import How, Logged
from deploy.observability.panel import FRESH_WITHIN_S, WAITING_GAUGES, Panel
from processor.domain.rejections import Reason

STEPS: Final = ("poll", "decode", "lookup", "fold", "commit", "mirror")
_STEP_MS: Final = tuple(f"{step}_ms" for step in STEPS)
_OUTCOMES: Final = ("facts", "ignored", "invalid")
_BATCH: Final = ("batch.committed",)
_STATS: Final = ("service.stats",)


def _quantile(share: float, histogram: str, by: str = "") -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({histogram}_bucket[$__rate_interval])))"


GLANCE: Final = (
    Panel(
        "Oldest event that waits",
        f"Age of the oldest event that is neither a fact nor rejected yet; the goal is {FRESH_WITHIN_S} s.",
        "s",
        "OrderFactsFreshnessLost",
        (("max(order_facts_freshness_seconds)", "oldest"),),
        Logged(How.MOST, _STATS, ("freshness_s",)),
        goal=FRESH_WITHIN_S,
        kind="stat",
        width=4,
    ),
    Panel(
        "Events without outcome",
        "Events that were counted, less facts, less rejected ones: always 0, since each event becomes one of both.",
        "short",
        "batch.committed",
        (
            (
                (
                    "sum(order_facts_events_total)"
                    ' - sum(order_facts_events_total{outcome="fact"}) - (sum(order_facts_rejected_total) or vector(0))'
                ),
                "without outcome",
            ),
        ),
        goal=1,
        kind="stat",
        width=4,
    ),
    Panel(
        "Events per second",
        "Events that became a fact or a rejected record.",
        "ops",
        "batch.committed",
        (("sum(rate(order_facts_events_total[$__rate_interval]))", "events"),),
        Logged(How.RATE, _BATCH, ("records",)),
        kind="stat",
        width=4,
    ),
    Panel(
        "Replicas",
        "Processes of `run` that answer.",
        "short",
        "OrderFactsNoReplica",
        (('count(order_facts_partitions{state="placed"})', "replicas"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Events that wait",
        "Committed events that no replica has processed yet.",
        "short",
        "OrderFactsLagWithoutCommits",
        (("sum(order_facts_lag_records >= 0)", "lag"),),
        kind="stat",
        width=4,
    ),
    Panel(
        "Processes that wait",
        "Replicas, indexes, healers and publishers that cannot continue because something does not answer.",
        "short",
        "OrderFactsWaiting",
        (
            (
                " + ".join(f"(sum({gauge}) or vector(0))" for gauge in WAITING_GAUGES),
                "waiting",
            ),
        ),
        goal=1,
        kind="stat",
        width=4,
    ),
)

FLOW: Final = (
    Panel(
        "Freshness against the goal",
        f"By partition, the age of the oldest event that waits; the goal is {FRESH_WITHIN_S} s. "
        "While the brokers do not answer it grows: the most that it can be.",
        "s",
        "OrderFactsFreshnessLost",
        (("max by (partition) (order_facts_freshness_seconds)", "partition {{partition}}"),),
        Logged(How.MOST, _STATS, ("freshness_s",), by="instance"),
        goal=FRESH_WITHIN_S,
    ),
    Panel(
        "From event to commit",
        "Of the event of each batch and partition that waited longest: from its record's timestamp to its commit.",
        "s",
        "OrderFactsFreshnessPoor",
        (
            (_quantile(0.5, "order_facts_latency_seconds"), "p50"),
            (_quantile(0.99, "order_facts_latency_seconds"), "p99"),
        ),
        goal=FRESH_WITHIN_S,
    ),
    Panel(
        "From event to commit, the longest",
        "The event that waited longest, from its record's timestamp to its commit.",
        "s",
        "OrderFactsFreshnessPoor",
        logged=Logged(How.MOST, _BATCH, ("latency_max_s",)),
        goal=FRESH_WITHIN_S,
    ),
    Panel(
        "Throughput by outcome",
        "Events a second that became a fact, were ignored by the rules, or are invalid.",
        "ops",
        "batch.committed",
        (("sum by (outcome) (rate(order_facts_events_total[$__rate_interval]))", "{{outcome}}"),),
        Logged(How.RATE, _BATCH, _OUTCOMES),
    ),
    Panel(
        "Lag",
        "Events that wait, by partition. One that grows alone is a hot partition, or one that cannot be read.",
        "short",
        "OrderFactsLagWithoutCommits",
        (("max by (partition) (order_facts_partition_lag_records)", "partition {{partition}}"),),
        Logged(How.MOST, _STATS, ("lag_records",), by="instance"),
    ),
    Panel(
        "Facts and rejected records are all events",
        "Events a second, and facts and rejected records a second: both lines are one.",
        "ops",
        "batch.committed",
        (
            ("sum(rate(order_facts_events_total[$__rate_interval]))", "events"),
            (
                (
                    'sum(rate(order_facts_events_total{outcome="fact"}[$__rate_interval]))'
                    " + (sum(rate(order_facts_rejected_total[$__rate_interval])) or vector(0))"
                ),
                "facts + rejected",
            ),
        ),
        Logged(How.RATE, _BATCH, ("records", *_OUTCOMES)),
    ),
    Panel(
        "Since the last commit",
        "Time since each replica last committed events. It grows while no events come, too: look at the lag as well.",
        "s",
        "OrderFactsLagWithoutCommits",
        (("time() - (order_facts_last_commit_timestamp_seconds > 0)", "{{instance}}"),),
    ),
)

BATCHES: Final = (
    Panel(
        "Steps of a batch, p50",
        "How long half of the batches take at most, by step.",
        "s",
        "batch.committed",
        ((_quantile(0.5, "order_facts_step_seconds", "step"), "{{step}}"),),
    ),
    Panel(
        "Steps of a batch, p99",
        "How long 99 of 100 batches take at most, by step. `lookup` and `mirror` are Redis, `commit` is Kafka.",
        "s",
        "batch.committed",
        ((_quantile(0.99, "order_facts_step_seconds", "step"), "{{step}}"),),
    ),
    Panel(
        "Steps of a batch, p50 by the log",
        "How long half of the batches take at most, by step.",
        "ms",
        "batch.committed",
        logged=Logged(How.P50, _BATCH, _STEP_MS),
    ),
    Panel(
        "Steps of a batch, p99 by the log",
        "How long 99 of 100 batches take at most, by step. `lookup` and `mirror` are Redis, `commit` is Kafka.",
        "ms",
        "batch.committed",
        logged=Logged(How.P99, _BATCH, _STEP_MS),
    ),
    Panel(
        "Batches",
        "Committed batches a second, by replica: one transaction each.",
        "ops",
        "batch.committed",
        (("sum by (instance) (rate(order_facts_batches_total[$__rate_interval]))", "{{instance}}"),),
        Logged(How.LINES_RATE, _BATCH, by="instance"),
    ),
)

REJECTED: Final = (
    Panel(
        "Rejected by reason",
        "Rejected events a second. What each reason means and what to do about it: schemas/README.md.",
        "ops",
        "OrderFactsRejectedShare",
        (("sum by (reason) (rate(order_facts_rejected_total[$__rate_interval]))", "{{reason}}"),),
        Logged(How.RATE, _BATCH, tuple(f"reasons.{reason.value}" for reason in Reason)),
    ),
    Panel(
        "Share of invalid events",
        "Of all events, those that somebody has to repair. The breaker trips above `breaker_max_invalid_ratio`.",
        "percentunit",
        "OrderFactsRejectedShare",
        (
            (
                (
                    'sum(rate(order_facts_events_total{outcome="invalid"}[$__rate_interval]))'
                    " / (sum(rate(order_facts_events_total[$__rate_interval])) > 0)"
                ),
                "invalid",
            ),
        ),
        goal=0.1,
    ),
    Panel(
        "Breaker",
        "A tripped breaker: too many events in a row are invalid. With breaker_action=pause consuming stops.",
        "short",
        "OrderFactsBreaker",
        (('max by (instance) (order_facts_waiting{waiting_for="breaker"}) or vector(0)', "paused {{instance}}"),),
        Logged(How.TIMES, ("breaker.tripped", "breaker.paused"), by="event"),
        goal=1,
    ),
)
