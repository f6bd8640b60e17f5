"""What the other commands log: the contact index, the healer, segments' members, and what all of them may log."""

from typing import Final

from processor.logs.run_events import Published

HEALER: Final = {
    "healer.started": Published(
        "`rejected replay --follow` starts", "the healer starts on {topic}, for {within_s} s back", "topic within_s"
    ),
    "healer.standby": Published(
        "another process sends rejected events back; this one takes over if that one ends",
        "another healer works: standing by",
    ),
    "healer.ready": Published(
        "what waits was read from the rejected topic; `healed` is how many records were sent back before",
        "the healer is ready: {waiting} rejected events wait",
        "waiting healed took_ms",
    ),
    "healer.sent": Published(
        "one transaction: rejected events went back to the events topic",
        "sent back {records} rejected events",
        "records partitions send_ms",
    ),
    "healer.expired": Published(
        "so many rejected events waited for `--within`, or are no longer in their topic",
        "{records} rejected events wait no longer: their time is over",
        "records",
    ),
    "healer.let_go": Published(
        "more than `most` rejected events wait: the oldest no longer do",
        "the oldest {records} rejected events wait no longer, more than {most} do: send them back by `rejected replay`",
        "records most",
    ),
    "healer.waiting": Published(
        "it cannot look up or send back now; it tries again after `backoff_ms`",
        "waiting for {waiting_for}, next attempt in {backoff_ms} ms: {error}",
        "waiting_for error attempt backoff_ms",
    ),
    "healer.resumed": Published(
        "what `rejected replay --follow` waited for is back",
        "{waiting_for} is back after {waited_ms} ms: going on",
        "waiting_for waited_ms",
    ),
    "healer.overtaken": Published(
        "`rejected replay` took over; this process goes on when that one has ended",
        "`rejected replay` took over: standing by until it has ended",
    ),
    "healer.stats": Published(
        "every 10 s: how many wait, totals since the start, age of what was not read or looked up (null: not known)",
        "{waiting} rejected events wait; since the start {sent} sent back, {expired} expired",
        "waiting sent expired freshness_s rss_bytes",
    ),
    "healer.stopped": Published("`rejected replay --follow` has stopped", "stopped after {sent} sent back", "sent"),
}

SEGMENTS: Final = {
    "segments.started": Published(
        "`segments publish --every` starts",
        "publishing {segments} to {topic} every {every_s} s",
        "topic segments every_s",
    ),
    "segments.published": Published(
        "one round: members by segment, the entries and leaves that one transaction wrote, the age of what was read",
        "published a round in {publish_ms} ms; members: {members}",
        "members entered left foreign_records freshness_s export_ms ask_ms publish_ms",
    ),
    "segments.may_have_missed": Published(
        "reading took longer than `topic` keeps deletions, and some may be missed: raise its delete.retention.ms",
        "deletions may be missed: raise delete.retention.ms of {topic}",
        "topic",
    ),
    "segments.waiting": Published(
        "a round failed for a while; it is tried again after `backoff_ms`; age of what was published last (null: none)",
        "waiting for {waiting_for}, next attempt in {backoff_ms} ms: {error}",
        "waiting_for error attempt backoff_ms freshness_s",
    ),
    "segments.resumed": Published(
        "what `segments publish --every` waited for is back",
        "{waiting_for} is back after {waited_ms} ms: going on",
        "waiting_for waited_ms",
    ),
    "segments.stopped": Published(
        "`segments publish --every` has stopped", "stopped after so many rounds: {rounds}", "rounds"
    ),
}

WIDEN: Final = {
    "widen.started": Published(
        "`topics widen` copies events to the new topic",
        "copying {topic} to {new_topic} with {partition_count} partitions",
        "topic new_topic partition_count",
    ),
    "widen.stats": Published(
        "every 10 s: events copied since the start, the rate of the last 10 s, how many are left",
        "{records} events copied to {new_topic}, {records_per_s} events/s, {lag_records} left",
        "new_topic records records_per_s lag_records",
    ),
    "widen.caught_up": Published(
        "all events are copied; it goes on following",
        "{records} events copied to {new_topic}, nothing left: stop the producers of {topic}, then run the same "
        "command with --finish",
        "topic new_topic records",
    ),
    "widen.finished": Published(
        "the rest is copied, and that is committed as the end of the copy",
        "finished: {records} events copied from {topic} to {new_topic} since the start",
        "topic new_topic records",
    ),
    "widen.other_partitioner": Published(
        "so many of the first keys were not where Kafka's own partitioner (murmur2) puts them; their copies are",
        "{keys_elsewhere} keys of {topic} were not where murmur2 puts them, {keys_following} were: producers must "
        "place keys in {new_topic} by murmur2",
        "topic new_topic keys_following keys_elsewhere",
    ),
    "widen.headers_lost": Published(
        "events have a header whose name is not UTF-8, which the client does not show: copied without headers",
        "{records} events are copied without their headers, the first at partition {partition}, offset {offset}",
        "topic records partition offset",
    ),
    "widen.skipped": Published(
        "`--skip` left out offsets that cannot be read",
        "left out partition {partition}, offset {offset} to {to_offset}: {error}",
        "topic partition offset to_offset error",
    ),
    "widen.waiting": Published(
        "nothing can be copied now; it tries again after `backoff_ms`",
        "copying waits, next attempt in {backoff_ms} ms: {error}",
        "error attempt backoff_ms",
    ),
    "widen.resumed": Published(
        "what `topics widen` waited for is back", "copying goes on after {waited_ms} ms", "waited_ms"
    ),
    "widen.stopped": Published("`topics widen` has stopped", "stopped after {records} events copied", "records"),
}

CONTACTS: Final = {
    "contacts.started": Published(
        "`contacts index` has found its topic",
        "the contact index starts on {topic} with {partition_count} partitions",
        "topic partition_count shards lineage",
    ),
    "contacts.stopped": Published("`contacts index` has stopped", "stopped after {records} contact records", "records"),
    "contacts.build_started": Published(
        "the index is built from nothing, because of `cause`",
        "the contact index is built from nothing, and orders wait: {cause}",
        "cause build to_offsets",
    ),
    "contacts.ready": Published(
        "the index is complete: orders no longer wait",
        "the contact index is complete: {records} records in {took_ms} ms",
        "build records took_ms",
    ),
    "contacts.resumed": Published(
        "an index that fits was found and is kept up to date",
        "an index that fits was found and is kept up to date",
        "build from_offsets",
    ),
    "contacts.damaged": Published(
        "a shard of the index cannot be read: it is removed, and `contacts index` rebuilds the index",
        "shard {shard} of the contact index is removed, the index will be rebuilt: {problem}",
        "shard problem",
    ),
    "contacts.committed": Published(
        "one batch of contacts is in the index",
        "{records} contact records are in the index: {changed} changed, {deleted} deleted, {skipped} skipped",
        "records changed deleted skipped read_ms write_ms",
    ),
    "contacts.skipped": Published(
        "contact records of one batch cannot be read and are skipped: how many, and the first one's place and problem",
        "skipped {records} contact records, the first at partition {partition}, offset {offset}: {problem}",
        "records partition offset problem",
    ),
    "contacts.conflicting": Published(
        "so many contacts have records in one more partition; the record with the latest timestamp counts",
        "{contacts} contacts have records in several partitions of {topic}: give its producers one partitioner",
        "topic contacts",
    ),
    "contacts.waiting": Published(
        "the index cannot be updated now; `contacts index` tries again after `backoff_ms`",
        "the contact index waits, next attempt in {backoff_ms} ms: {error}",
        "error attempt backoff_ms",
    ),
    "contacts.resumed_after_wait": Published(
        "what `contacts index` waited for is back", "going on after a wait of {waited_ms} ms", "waited_ms"
    ),
    "contacts.stats": Published(
        "every 10 s: totals since the start, the rate of the last 10 s; lag, and age of what waits (null: not known)",
        "{records_per_s} contact records/s, lag {lag_records}, the oldest waits for {freshness_s} s; since the start "
        "{records}, {skipped} skipped",
        "records skipped records_per_s lag_records freshness_s ready conflicting",
    ),
}

ANY: Final = {
    "kafka.client": Published(
        "a message of the Kafka client: a broker is down, a certificate does not fit",
        "the Kafka client says: {detail}",
        "detail",
    ),
    "kafka.token_failed": Published(
        "the function of `kafka_token` gave no token, and is asked again; the present one lives for `left_s`",
        "no token, the present one lives for {left_s} s: {error}",
        "error left_s",
    ),
    "kafka.token_back": Published(
        "the function of `kafka_token` gives tokens again", "tokens are given again after {failed_ms} ms", "failed_ms"
    ),
    "state.skipped": Published(
        "`state skip` stepped over events that cannot be read; `user` is who ran it",
        "{user} stepped over {records} events of partition {partition}, from offset {offset} to {to_offset}: {error}",
        "topic partition offset to_offset records error user",
    ),
}
