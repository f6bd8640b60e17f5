"""Every log event by name, and the one type that each field has in every line, for ever: dashboards depend on both.

`logs.schema.json` and the tables in the documents are written from here. Units come last in names.
"""

from typing import Final

from processor.logs.command_events import ANY, CONTACTS, HEALER, SEGMENTS, WIDEN
from processor.logs.run_events import BATCH, PARTITIONS, PROCESS, Published

PUBLISHED: Final[dict[str, Published]] = {
    **PROCESS,
    **BATCH,
    **PARTITIONS,
    **HEALER,
    **SEGMENTS,
    **WIDEN,
    **CONTACTS,
    **ANY,
}
EVENTS: Final = {event: tuple(found.fields.split()) for event, found in PUBLISHED.items()}
MEANINGS: Final = {event: found.meaning for event, found in PUBLISHED.items()}
MESSAGES: Final = {event: found.message for event, found in PUBLISHED.items()}

LOUD: Final = ("warning", "error", "critical")
"""The levels of lines that say what is wrong; `critical` are the Kafka client's worst."""
COMMON: Final = ("timestamp", "level", "event", "message", "service", "version", "instance")
DROPPED: Final = "dropped_lines"
REPEATED: Final = "repeated"
SOMETIMES: Final = {
    DROPPED: "so many lines before this one could not be written",
    REPEATED: "so many lines like this one, but for numbers, were left out since the last one",
}
"""What any line may have besides its event's own fields, and what it means."""

_NAMES: Final = {
    "string": f"{' '.join(COMMON)} build cause detail error group_id lineage mirror new_topic problem recovery step "
    "topic transactional_id user waiting_for",
    "boolean": "lost missing ready",
    "integer": f"""{" ".join(SOMETIMES)}
        ask_ms attempt attempts backoff_ms changed conflicting contacts deleted end_offset events every_s exit_code
        expired export_ms facts facts_offset facts_read failed_ms foreign_records from_facts_offset healed
        ignored input_bytes invalid keys_elsewhere keys_following lag_records left_s most offset output_bytes
        partition partition_count publish_ms read_ms records rejected rounds rss_bytes send_ms sent shard shards skipped
        to_facts_offset to_offset took_ms waited_ms waiting within_s write_ms""",
    "number": """
        age_s commit_ms contacts_age_s decode_ms events_per_s fold_ms freshness_s latency_max_s lookup_ms
        max_age_s mirror_ms pause_s poll_ms records_per_s""",
    "integers": "from_offsets partitions to_offsets",
    "strings": "segments",
    "counts": "entered left members reasons",
}
TYPES: Final = {field: kind for kind, fields in _NAMES.items() for field in fields.split()}
"""Field -> its type. `integers` and `strings` are lists; `counts` is an object of numbers by name."""
NULLABLE: Final = frozenset({"contacts_age_s", "freshness_s", "lag_records", "latency_max_s", "pause_s", "waiting_for"})
"""Fields that are null if there is nothing to say."""
