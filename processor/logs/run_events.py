"""What `run` logs: each event with its meaning, its message and its own fields."""

from typing import Final, NamedTuple


class Published(NamedTuple):
    """An event: its meaning in one line; its message, with `{fields}` filled in; the names of its own fields."""

    meaning: str
    message: str
    fields: str = ""


_TOTALS: Final = "events facts ignored invalid"
_OUTCOMES: Final = "records facts ignored invalid"
_STEPS: Final = "poll_ms decode_ms lookup_ms fold_ms commit_ms mirror_ms"

PROCESS: Final = {
    "service.started": Published(
        "a replica starts and joins the group", "a replica starts and joins the group {group_id}", "topic group_id"
    ),
    "service.stopping": Published(
        "a stop was requested, and the current batch has ended", "a stop was requested: leaving the group"
    ),
    "service.stopped": Published(
        "the replica has left the group; totals since its start",
        "stopped after {events} events: {facts} facts, {rejected} rejected",
        "events facts rejected",
    ),
    "service.stop_forced": Published(
        "a service that does not answer holds up a stop: the process ends as it is, which loses nothing",
        "a service does not answer, so the stop is forced after {waited_ms} ms; nothing is lost",
        "waited_ms",
    ),
    "service.failed": Published(
        "a command that runs until a signal ends with this error; `error` says what to do",
        "ends with exit code {exit_code}: {error}",
        "error exit_code",
    ),
    "service.stats": Published(
        "every 10 s: totals since the start, the rate of the last 10 s; lag, and age of what waits (null: not known)",
        "{events_per_s} events/s, lag {lag_records}, the oldest waits for {freshness_s} s; since the start "
        "{events} events: {facts} facts, {ignored} ignored, {invalid} invalid",
        f"{_TOTALS} events_per_s lag_records freshness_s partitions waiting_for contacts_age_s rss_bytes",
    ),
    "service.waiting": Published(
        "the replica cannot continue; it stays in the group and tries again after `backoff_ms`",
        "waiting for {waiting_for}, next attempt in {backoff_ms} ms: {error}",
        "waiting_for error attempt backoff_ms",
    ),
    "service.resumed": Published(
        "what the replica waited for is back",
        "{waiting_for} is back after {waited_ms} ms: going on",
        "waiting_for waited_ms",
    ),
}

BATCH: Final = {
    "batch.committed": Published(
        "one batch is committed: its outcomes and steps, how long its events waited, how old the next one is",
        "committed a batch of {records}: {facts} facts, {ignored} ignored, {invalid} invalid",
        f"{_OUTCOMES} reasons partitions freshness_s latency_max_s input_bytes output_bytes {_STEPS}",
    ),
    "batch.aborted": Published(
        "a batch failed at `step`; `recovery` is `retry` or `producer_lost`",
        "a batch failed at its step {step} and is tried again, nothing is lost: {error}",
        "recovery error step records",
    ),
    "batch.dropped": Published(
        "a rebalance came while a batch was read; its records are read again",
        "a batch of {records} is read again, because of a {cause}",
        "cause records",
    ),
    "events.mixed_partitioners": Published(
        "of a sample of keys some are where murmur2 puts them and some elsewhere: producers differ, orders live twice",
        "producers partition differently, so orders live twice: {keys_following} keys follow murmur2, "
        "{keys_elsewhere} do not; give all producers the partitioner murmur2",
        "keys_following keys_elsewhere",
    ),
    "breaker.tripped": Published(
        "too many events are invalid: a producer's schema is broken",
        "too many events are invalid, look at the rejected events' reasons: {cause}",
        "cause",
    ),
    "breaker.paused": Published(
        "as `breaker.tripped`, and consuming stops: for `pause_s`, or if that is null until SIGUSR1",
        "consuming stops, mend the producer, then send SIGUSR1 to go on at once: {cause}",
        "cause pause_s",
    ),
}

PARTITIONS: Final = {
    "group.rejoined": Published(
        "the consumer was fenced by its own earlier attempt to join, or lost its brokers for ever; a new one joins",
        "a new consumer joins the group: {error}",
        "error",
    ),
    "partition.assigned": Published(
        "the group gave this replica partitions", "assigned partitions {partitions}", "partitions"
    ),
    "partition.revoked": Published(
        "the group took partitions away; `lost`: the replica learned of it only afterwards",
        "gave up partitions {partitions}",
        "partitions lost",
    ),
    "partition.pending": Published(
        "another replica's open transaction delays the committed offsets",
        "partitions {partitions} wait for another replica's open transaction",
        "partitions",
    ),
    "partition.positioned": Published(
        "a partition is placed; its `mirror` is `equal`, `caught_up` or `none`",
        "partition {partition} starts at offset {offset}",
        "partition offset facts_offset mirror",
    ),
    "partition.unreadable": Published(
        "the Kafka client cannot read a partition on; it waits alone, and is tried again after 5 s to 5 minutes; "
        "`error` says what to do",
        "partition {partition} cannot be read on, the others go on: {error}",
        "topic partition offset error attempts",
    ),
    "partition.readable": Published(
        "a partition that could not be read is read on",
        "partition {partition} is read on from offset {offset}",
        "partition offset",
    ),
    "partition.waiting": Published(
        "a partition waits alone for `waiting_for`: the schema of its event at `offset` is not known yet",
        "partition {partition} waits for {waiting_for} at offset {offset}: {error}",
        "partition offset waiting_for error",
    ),
    "partition.resumed": Published(
        "a partition goes on at `offset`: the schema is known, or was given up after `schema_grace_s`",
        "partition {partition} goes on at offset {offset} after {waited_ms} ms",
        "partition offset waited_ms",
    ),
    "partition.stalled": Published(
        "a partition has records up to `end_offset`, and gives none from `offset` on: it is placed again",
        "partition {partition} gives no records from offset {offset} on, and is placed again",
        "partition offset end_offset",
    ),
    "mirror.behind": Published(
        "a mirror is older than the committed offset, or missing: a catch-up begins",
        "the mirror of partition {partition} catches up from fact {from_facts_offset} to {to_facts_offset}",
        "partition from_facts_offset to_facts_offset missing",
    ),
    "mirror.damaged": Published(
        "a mirror cannot be read, or its mark cannot be true: it is removed and rebuilt from the facts",
        "the mirror of partition {partition} is rebuilt from the facts: {problem}",
        "partition problem",
    ),
    "mirror.progress": Published(
        "every 2 s: how far a catch-up is",
        "the mirror of partition {partition} is at fact {facts_offset} of {to_facts_offset}",
        "partition facts_offset to_facts_offset facts_read",
    ),
    "mirror.caught_up": Published(
        "a catch-up is done",
        "the mirror of partition {partition} has caught up: {facts_read} facts read in {took_ms} ms",
        "partition facts_offset facts_read took_ms",
    ),
    "mirror.not_written": Published(
        "Redis did not take a write; the next look-up starts a catch-up",
        "Redis did not take a write of partitions {partitions}, a catch-up follows: {error}",
        "error partitions",
    ),
    "producer.replaced": Published(
        "the producer was lost; a new one settles its transaction",
        "a new producer settles the transaction of a lost one: {error}",
        "error",
    ),
    "predecessor.fenced": Published(
        "the open transaction of a dead replica was ended",
        "ended the open transaction of a dead replica ({transactional_id}): {cause}",
        "transactional_id partitions cause",
    ),
    "contacts.stale": Published(
        "`run` uses a contact index older than `contacts_max_age_s`: new contacts are not found",
        "the contact index is {age_s} s old, more than {max_age_s} s: see that `contacts index` runs",
        "age_s max_age_s",
    ),
    "contacts.fresh": Published(
        "the contact index that `run` uses is young enough again", "the contact index is {age_s} s old again", "age_s"
    ),
}
