"""What stops the program, and how to go on: a row for each stop line, for the table in deploy/README.md and the tests.

`stop_lines` reads all stop lines from the sources. A test requires that each has exactly one row here, and another that
a test follows each row from the line to a running program.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROCESSOR: Final = Path(__file__).resolve().parents[2] / "processor"
HOLE: Final = "…"  # stands for what a line fills in
_PLACE: Final = f"{HOLE}[{HOLE}]"  # a topic's partition: part of a line
_RAISED: Final = frozenset(
    {
        "StopError",
        "UnreachableError",
        "UnreadableMetadataError",
        "Stop",
        "action",
        "OvertakenError",
        "RegistryRefusesError",
    }
)
_LEFT_OUT: Final = frozenset(
    {"cli", "audit", "segments", "snapshots", "membership", "watching"}
)  # commands that only read: whoever runs one sees the line at once
_WRITING: Final = "membership/members_ledger.py"  # but this may run for ever
_ANEW: Final = "A new group with new outputs: [reprocess everything](#reprocess-everything)."
_RECOVER: Final = "Stop all replicas; `order-facts state recover`; start them."
_ACCEPT_LOSS: Final = "Stop all replicas; `order-facts state recover --accept-loss`; start them."


class Row(NamedTuple):
    """A stop: its name in the tests, words of its line (`HOLE` for what varies), the cause, and how to go on."""

    name: str
    says: str
    cause: str
    go_on: str

    def stops_with(self, line: str) -> bool:
        """Return whether a line that the program printed is of this row."""
        return re.search(re.escape(self.says).replace(HOLE, ".*"), line) is not None


# fmt: off
ROWS: Final = (
    Row("kafka away", "Kafka at … did not answer within", "No broker answers at `bootstrap_servers`, or TLS fails: the line says why.", "Start the brokers, or correct `bootstrap_servers` or `kafka`. Start again."),
    Row("kafka went away", "Kafka answered at first, then no more", "The brokers went away during the start.", "Start again when they are back."),
    Row("no token", "see that the function works where this runs", "The function of `kafka_token` gives no token: the line says why.", "Mend it, or what it needs (a network, a role, a secret). Start again."),
    Row("redis away", "Redis did not answer within", "No server answers at `redis_url`.", "Start it, or correct `redis_url`. Start again."),
    Row("redis replica", "put the address of the primary into the setting redis_url", "The server is a replica.", "Correct `redis_url`, or finish the fail-over. Start again."),
    Row("redis refuses", "check the setting redis_url and the server's access rules", "Wrong password, or a missing right.", "Correct `redis_url`, or [grant the rights](#access-rights). Start again."),
    Row("redis hides role", "allow this user one of INFO, HELLO, ROLE", "Redis does not say whether it takes writes.", "Allow one of the three. Start again."),
    Row("redis hides eviction", "set redis_eviction=trusted", "Redis does not say whether it may forget orders.", "Allow `INFO` or `CONFIG GET`; or, if it never evicts for certain, set `redis_eviction=trusted`. Start again."),
    Row("redis hides keys", "allow this user SCAN, which lists the keys", "`state prune` may not list the keys.", "[Grant the right](#access-rights); run it again."),
    Row("copy not there", "no copy in Redis has the lineage", "`state prune --lineage` names none that is there.", "Run `state prune` without it: it lists all."),
    Row("copy is ours", "is this deployment's own: it would only be rebuilt", "`state prune --lineage` names the present copy.", "Leave it; with other settings it is another's."),
    Row("redis evicts", "Redis may evict state", "Redis may forget orders in silence.", "`CONFIG SET maxmemory-policy noeviction` (or a `volatile-` one); start again."),
    Row("kafka refuses", "check the setting kafka and the access rights on the brokers", "Wrong password or token, a missing right, or a request that the brokers refuse.", "Correct `kafka` or what `kafka_token` gives, or [grant the rights](#access-rights). Start again."),
    Row("registry away", "start it, or correct schema_registry_url", "No schema registry answers at `schema_registry_url`.", "Start it, or correct `schema_registry_url` or `schema_registry`. Start again."),
    Row("registry refuses", "put credentials with the right to read", "The registry refuses the program (401, 403).", "Correct `schema_registry`, or grant its user the right to read the subjects. Start again."),
    Row("schema not registered", "register it with: order-facts schemas register", "The registry does not have the schema that is written.", "`order-facts schemas register`; start again."),
    Row("old kafka", "use Kafka 2.8 or newer", "The brokers give no ids.", "Upgrade the brokers."),
    Row("topics missing", "order-facts topics create", "A topic does not exist.", "`order-facts topics create`; start again."),
    Row("no leaders", "partitions have a leader; look at the brokers, then run this again", "A topic was created, and brokers are down.", "Start the brokers; `order-facts topics create` again."),
    Row("topic refused", 'what they allow: see "Topics of your own" in deploy/README.md', "The brokers' policy refuses a topic.", "Create it with Kafka's tool as *Topics of your own* in [First session](#first-session) says, with what the brokers allow; start again."),
    Row("partition counts", "before the first event, delete the outputs and recreate them", "An output has another number of partitions than `order-events`.", "Before the first event: delete the outputs; `order-facts topics create`; start again. After it: [add partitions](#add-partitions)."),
    Row("partitions added", 'see "Partitions were added" in deploy/README.md', "`order-events` got more partitions.", "[Partitions were added](#partitions-were-added)."),
    Row("policy", "cleanup.policy=…; …: set it to", "A topic would lose what must stay.", "Set the policy that the line names; start again. What was removed meanwhile is gone."),
    Row("facts limit", "or lower the setting max_fact_bytes", "The facts topic may refuse a fact.", "Set the topic's `max.message.bytes` as the line says; start again."),
    Row("rejected limit", "so that no rejected record can stop a partition", "The rejected topic may refuse a record.", "Set the topic's `max.message.bytes` as the line says; start again."),
    Row("limit lowered", "its max.message.bytes was lowered while this ran", "An output topic refuses a record for its size.", "Raise its `max.message.bytes`; start again."),
    Row("deletions", "so that the contact index would miss some while it is built", "The contacts topic forgets deletions too soon.", "Set its `delete.retention.ms` as the line says; start `contacts index` again."),
    Row("contacts partitions", "use a contacts topic with fewer partitions", "The contacts topic has some 300 partitions or more.", "Copy the contacts to a topic with fewer; set `contacts_topic`; start again."),
    Row("recreated running", "was deleted and recreated while this ran: start again", "A topic was recreated under running replicas.", "Start again; the start says what does not fit, if anything."),
    Row("contacts recreated", "order-facts contacts index --accept-new-topic", "The contacts topic was recreated.", "When it holds all contacts: `order-facts contacts index --accept-new-topic`."),
    Row("two indexes", "another contacts index took over", "Two `contacts index` run.", "Let the later one run."),
    Row("two instances", "another process runs with this instance_id", "Two replicas have one name.", "Give each its own `instance_id`; start it again."),
    Row("offsets lost", "the offsets are lost; the offset to restore is …", "Kafka forgot the group's offsets.", _RECOVER),
    Row("offsets moved back", "the group's offsets were moved back or restored", "An offset is below what was processed.", _RECOVER),
    Row("offsets moved forward", "the group's offsets were moved forward", "An offset leaves out events.", _RECOVER),
    Row("offsets of a tool", "set it again with `order-facts state recover`, or take", "Another tool set an offset.", _RECOVER),
    Row("retention", "where the topic begins; to continue without them", "Retention removed events that were not processed.", _ACCEPT_LOSS),
    Row("log end", "to continue with those: order-facts state recover --accept-loss", "The brokers lost events that were processed.", _ACCEPT_LOSS),
    Row("another rejected topic", "the rejected records so far are in another topic", "The rejected topic was recreated, or `rejected_topic` was changed.", "Set `rejected_topic` back. Or, without those records: " + _ACCEPT_LOSS[0].lower() + _ACCEPT_LOSS[1:]),
    Row("unmarked outputs", "order-facts state recover --adopt-unmarked; if not, take a new", "An older version wrote the outputs, or another group.", "If this group wrote them: stop all replicas; `order-facts state recover --adopt-unmarked`; start them. If not: new topics, as the line says."),
    Row("changed meanwhile", "were changed while they were set", "Something else sets offsets of the group.", "Stop it; `order-facts state recover` again."),
    Row("replicas run", "stop them first", "`state recover` or `state skip` while replicas run.", "Stop all replicas; run the command again."),
    Row("open transaction", "is still open; try again in half a minute", "`state recover` or `state skip` soon after a crash.", "Run the command again after 30 s."),
    Row("skip below start", "the events from the committed offset … to … were lost to retention", "`state skip` where retention removed events.", _ACCEPT_LOSS),
    Row("skip without offsets", "the group's offsets are lost, set them first", "`state skip` where the offsets are lost.", "`order-facts state recover`; then `state skip` again if it is still needed."),
    Row("newer facts", "is a fact of a schema version that this program does not know", "A newer version writes the facts.", "Run that version."),
    Row("another version", "by a newer version of this program", "A newer version committed an offset.", "Run that version."),
    Row("another facts topic", "belongs to another events or facts topic", "The events or facts topic was recreated.", _ANEW),
    Row("another group's facts", "belongs to another group, or to an events topic that was deleted", "The facts topic is another group's, or the events topic was recreated.", "Set `group_id` to that group. Or: " + _ANEW),
    Row("recreated events", "is not the topic that the outputs were made from", "`state recover` where the events topic was recreated.", _ANEW),
    Row("facts lost", "facts were lost on the brokers", "The brokers lost facts.", _ANEW),
    Row("facts deleted", "so that the orders' state cannot be rebuilt", "Facts were deleted, and the mirror is lost.", _ANEW),
    Row("no valid fact", "another program writes to the topic", "A record in the facts topic is no fact.", "Stop the other program. " + _ANEW),
    Row("damaged fact", "cannot be read even after it was rebuilt from the facts", "A record in the facts topic is no fact.", "Stop the program that wrote it. " + _ANEW),
    Row("records gone", "records were deleted while they were processed", "Records were deleted under a running replica.", "Start again; the start says which events are lost, if any."),
    Row("repeats", "the same failed … times in a row", "One batch fails again and again for a cause that does not pass.", "Remove the cause that the line and the brokers' log name; start again."),
    Row("hanging calls", "start again under the same instance_id, which frees them", "Calls of the Kafka client hang.", "Start again under the same `instance_id`."),
    Row("schema files", "install the program again", "A schema file of the installation is missing, damaged, or none of its own.", "Install again."),
    Row("replay running", "a transaction of an earlier `rejected replay` of", "Another `rejected replay` runs, or was killed just now.", "Run it again when that one has ended, 20 s after a kill."),
    Row("replay overtaken", "another `rejected replay` has begun", "A later `rejected replay` took over.", "Run it again; it continues after what was replayed."),
    Row("replay too large", "refuses the record of", "`order-events` does not take an event for its size.", "Raise its `max.message.bytes`; run `rejected replay` again."),
    Row("replay partitions", "an event can only go back to its own", "`order-events` was recreated with fewer partitions.", "Add partitions; run `rejected replay` again."),
    Row("replay forgotten", "that may have been replayed: no replay is on record", "Kafka forgot what was replayed.", "`rejected replay --since` as the line says, or confirm with Kafka's tool that none was replayed."),
    Row("replay sinces", "too many replays with different --since are on record", "Many replays each left older records out.", "`rejected replay` with an earlier `--since`, or none."),
    Row("replay metadata", "records below it count as replayed", "Another tool set an offset of the replay's group.", "Set it again with Kafka's `kafka-consumer-groups`, which leaves no metadata; run `rejected replay` again."),
    Row("healed version", "was not written by this version of the program (", "A newer version sent rejected events back, or another program writes to the healed topic.", "Run that version; or stop the other program, and delete what it wrote."),
    Row("publisher overtaken", "another `segments publish` writes to", "A later `segments publish` took over, or this one was paused for too long.", "Let one of them run, with all segments; start it again."),
    Row("widen overtaken", "another `topics widen` with the same names", "A later `topics widen` took over.", "Let one of them run."),
    Row("widen retention", "to copy without them, start again with --accept-loss", "Retention removed events, so that orders made from them would be missing in the new facts.", "Keep the old deployment; or start again with `--accept-loss`."),
    Row("widen under load", "stop its producers first", "Events came while the copy was to be finished.", "Stop the producers; run the same command with `--finish` again."),
    Row("widen behind producers", "with --accept-late", "Producers wrote to the new topic, and events of the old one are not copied yet.", "Stop the producer that still writes to the old topic. Start again with `--accept-late`: these events come behind. Or begin again: `--suffix`."),
    Row("widen grown", "then start again with --finish", "`order-events` was given partitions while it was copied.", "[Partitions were added](#partitions-were-added)."),
    Row("widen too large", "for its size; raise its max.message.bytes, then start again", "The new events topic takes less than the old one.", "Raise its `max.message.bytes`; start again."),
    Row("widen time", "offset … for its time; raise its", "The new events topic takes no events as old as these, or from the future.", "Raise the limits that the line names; start again."),
    Row("widen late", "stop the producer that still writes there", "A producer wrote to `order-events` after the copy was finished.", "Stop that producer; run the command with `--finish` again."),
    Row("widen unreadable", "and so not copied", "Events cannot be read: damaged, or beyond the client's limit.", "Raise `receive.message.max.bytes` in `kafka`, or leave them out with the `--skip` that the line names. Start again."),
    Row("widen begin again", "begin again with another --suffix", "A topic was recreated, or the brokers lost events that were copied.", "Start again with another `--suffix`; delete the topics of the first attempt."),
    Row("replay another topic", "belongs to another topic of that name", "The rejected topic was recreated.", "Delete the offsets of the group with Kafka's `kafka-consumer-groups`; run `rejected replay` again."),
)
# fmt: on


class StopLine(NamedTuple):
    """A stop line in the sources: where it is made, and its text with `HOLE` for what it fills in."""

    place: str
    text: str


def stop_lines(root: Path = PROCESSOR) -> Iterator[StopLine]:
    """Yield every stop line that the sources make: arguments of the stopping errors, and what `placing` returns."""
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root)
        if path.parts[0] in _LEFT_OUT and path.as_posix() != _WRITING:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            made = node.args[0] if isinstance(node, ast.Call) and node.args and _name(node) in _RAISED else None
            if path.name == "placing.py" and isinstance(node, ast.Return):
                made = node.value
            text = _text(made)
            if made is not None and text is not None and len(text) > len(_PLACE):
                yield StopLine(f"{path}:{made.lineno}", text)


def rows_of(text: str) -> list[Row]:
    """Return the rows whose words a line has."""
    return [row for row in ROWS if row.says in text]


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return None
