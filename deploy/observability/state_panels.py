"""Panels of what is in the way, of the state, of contacts and processes, and of the lines themselves."""

from typing import Final

from deploy.observability.log_queries import How, Logged
from deploy.observability.panel import FRESH_WITHIN_S, Panel

_WAITS: Final = ("service.waiting", "contacts.waiting", "healer.waiting", "segments.waiting")
_STATS: Final = ("service.stats",)

TROUBLES: Final = (
    Panel(
        "Waits",
        "What processes wait for: 1 while one does.",
        "short",
        "OrderFactsWaiting",
        (
            ("max by (waiting_for) (order_facts_waiting)", "replica: {{waiting_for}}"),
            ("max by (waiting_for) (order_facts_index_blocked)", "contact index: {{waiting_for}}"),
            ("max by (waiting_for) (order_facts_healer_blocked)", "healer: {{waiting_for}}"),
            ("max by (waiting_for) (order_facts_segments_blocked)", "segments: {{waiting_for}}"),
        ),
        Logged(How.TIMES, _WAITS, by="event"),
        goal=1,
    ),
    Panel(
        "Recoveries",
        "Batches that failed and were begun again, by recovery. A few are normal when replicas come and go.",
        "short",
        "OrderFactsAbortLoop",
        (("sum by (recovery) (increase(order_facts_recoveries_total[$__rate_interval]))", "{{recovery}}"),),
        Logged(How.TIMES, ("batch.aborted", "batch.dropped"), by="event"),
    ),
    Panel(
        "Rebalances",
        "Times that the group changed a replica's partitions.",
        "short",
        "batch.aborted",
        (("sum by (change) (increase(order_facts_rebalances_total[$__rate_interval]))", "{{change}}"),),
        Logged(How.TIMES, ("partition.assigned", "partition.revoked"), by="event"),
    ),
    Panel(
        "Partitions by state",
        "`placed` ones are read; `catching_up`, `owed` and `withheld` ones are not.",
        "short",
        "OrderFactsCatchUpLong",
        (("sum by (state) (order_facts_partitions)", "{{state}}"),),
    ),
    Panel(
        "Partitions that give nothing",
        "Partitions that were placed again because they have records and give none, and those that cannot be read.",
        "short",
        "OrderFactsPartitionUnreadable",
        (
            ("sum(increase(order_facts_stalled_partitions_total[$__rate_interval]))", "stalled"),
            ("count(order_facts_unreadable_offset) or vector(0)", "unreadable"),
        ),
        Logged(How.TIMES, ("partition.stalled", "partition.unreadable", "partition.waiting"), by="event"),
    ),
)

STATE: Final = (
    Panel(
        "Catch-ups: facts left",
        "Facts that are still to be read to bring mirrors up to date.",
        "short",
        "OrderFactsCatchUpLong",
        (("sum(order_facts_catch_up_left_facts)", "left"),),
    ),
    Panel(
        "Catch-ups by the log",
        "Times that a mirror was found behind, that it said how far it is (every 2 s), and that it had caught up.",
        "short",
        "OrderFactsCatchUpLong",
        logged=Logged(How.TIMES, ("mirror.behind", "mirror.progress", "mirror.caught_up"), by="event"),
    ),
    Panel(
        "Catch-ups: facts read",
        "Facts read a second to bring mirrors up to date: after Redis lost data, or a crash between commit and mirror.",
        "ops",
        "mirror.damaged",
        (("sum(rate(order_facts_caught_up_facts_total[$__rate_interval]))", "facts"),),
        Logged(How.RATE, ("mirror.caught_up",), ("facts_read",)),
    ),
    Panel(
        "Age of the contact index",
        "Since the index that replicas use last held the whole contacts topic. A few seconds if all is well.",
        "s",
        "OrderFactsContactIndexStale",
        (
            ("max(order_facts_contacts_age_seconds)", "as replicas see it"),
            ("time() - max(order_facts_index_complete_timestamp_seconds)", "as `contacts index` says"),
        ),
        Logged(How.MOST, _STATS, ("contacts_age_s",)),
        goal=FRESH_WITHIN_S,
    ),
    Panel(
        "What the other commands have not done",
        "Since the contact index held all contacts, the healer had looked up all that waits, and the segments were "
        "published. What came later may not be done. For segments it is normal up to their interval, and a round.",
        "s",
        "OrderFactsWaiting",
        (
            ("time() - max(order_facts_index_complete_timestamp_seconds)", "contact index"),
            ("time() - max(order_facts_healer_complete_timestamp_seconds > 0)", "healer"),
            ("time() - max(order_facts_segments_published_timestamp_seconds > 0)", "segments"),
        ),
        Logged(
            How.MOST,
            ("contacts.stats", "healer.stats", "segments.published", "segments.waiting"),
            ("freshness_s",),
            by="event",
        ),
    ),
    Panel(
        "Contact index: lag",
        "Contact records that are not in the index yet.",
        "short",
        "OrderFactsContactIndexStale",
        (("max(order_facts_index_lag_records >= 0)", "lag"),),
        Logged(How.MOST, ("contacts.stats",), ("lag_records",)),
    ),
    Panel(
        "Healer: events that wait for a contact",
        "Rejected events that `rejected replay --follow` will send back once their contact is there.",
        "short",
        "healer.let_go",
        (("max(order_facts_healer_waiting_events)", "waiting"),),
        Logged(How.MOST, ("healer.stats",), ("waiting",)),
    ),
    Panel(
        "Memory",
        "Memory that each process holds.",
        "bytes",
        "OrderFactsWaiting",
        (("order_facts_rss_bytes", "{{instance}}"),),
        Logged(How.MOST, ("service.stats", "healer.stats"), ("rss_bytes",), by="instance"),
    ),
    Panel(
        "Log lines lost",
        "Log lines that could not be written since the start: a disk is full, or a pipe is closed.",
        "short",
        "OrderFactsLogLinesLost",
        (("order_facts_dropped_log_lines", "{{instance}}"),),
        goal=1,
    ),
)

LINES: Final = (
    Panel(
        "Warnings and errors",
        "The lines that say what is wrong. Each one's `event` is a heading in the runbook.",
        "short",
        "service.failed",
        logged=Logged(How.TIMES),
        kind="logs",
        width=24,
    ),
)
