"""`state recover`: sets the group's offsets to where the outputs and the mirror say that events were processed.

For a group whose offsets were lost, moved back, or written by another tool. It plans first, by the decisions that `run`
starts with (`placing`): it sets only what those accept, in one request, and reads it back. It processes nothing and
writes no output. The group must have no members, and no transaction may be open.
"""

from functools import reduce

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from processor.codec.avro import codec
from processor.errors import StopError
from processor.kafka.clients import REQUEST_TIMEOUT_S
from processor.kafka.committed import committed_entries
from processor.kafka.failures import classify
from processor.replica import startup
from processor.replica.placing import Mended, Placing, Stop
from processor.replica.situations import look
from processor.replica.startup import Found
from processor.settings import Settings
from processor.state.history import is_same_events_topic
from processor.state.mirror import Mirror
from processor.state.watermark import ContactsPosition, contacts_of, is_own_metadata


class Step(msgspec.Struct, frozen=True):
    """A partition's part of the plan: its committed offset so far (negative: there is none), and what becomes of it."""

    committed: TopicPartition
    outcome: Mended | Stop


class Recovery:
    """One run of the command: `plan`, then `carry_out`.

    Creating it raises StopError if replicas run or a transaction is open.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found = startup.check(settings, settings.startup_timeout_s)
        self._placing = Placing(settings, self._found.lineage)
        self._partitions = range(self._found.topics.events.partitions)
        require_quiet(settings, self._found)

    def plan(self, *, adopt_unmarked: bool, accept_loss: bool) -> list[Step]:
        """Return what is to become of each partition; the flags are those of `Placing.mend`."""
        marks = Mirror(self._found.redis, self._found.lineage, codec()).marks(self._partitions)
        committed = _committed(self._settings, self._found)
        situations = look(self._settings, self._found, committed, marks, all_outputs=True)
        steps = []
        for p, seen in situations.items():
            outcome = self._placing.mend(seen, adopt_unmarked=adopt_unmarked, accept_loss=accept_loss)
            if isinstance(outcome, Mended) and not self._is_of_this_topic(p, outcome):
                outcome = Stop(
                    f"{self._settings.events_topic}[{p}] is not the topic that the outputs were made from (it was "
                    "deleted and recreated); take a new group_id with a new facts_topic and rejected_topic"
                )
            steps.append(Step(seen.committed, outcome))
        return steps

    def require_fit(self, plan: list[Step]) -> None:
        """Raise StopError, with the line of the first one, if the plan refuses partitions: then none is set."""
        for step in plan:
            if isinstance(step.outcome, Stop):
                raise StopError(step.outcome.line)

    def carry_out(self, plan: list[Step]) -> int:
        """Set all offsets of a plan in one request; return how many were changed.

        The contact index's position is kept: each gets the greatest that any of the group's offsets has. Raises
        StopError, and sets nothing, if the plan refuses a partition.
        """
        self.require_fit(plan)
        contacts = self._contacts([step.committed for step in plan])
        entries = [
            self._placing.entry(step.committed.partition, step.outcome.after, contacts, step.outcome.earlier)
            for step in plan
            if isinstance(step.outcome, Mended) and step.outcome.is_change and step.outcome.after is not None
        ]
        if entries:
            self._set(entries)
        return len(entries)

    def _is_of_this_topic(self, partition: int, outcome: Mended) -> bool:
        """Return whether unmarked outputs that count were made from this events topic; marked ones say so."""
        last = outcome.adopted
        return last is None or is_same_events_topic(self._settings, self._found.cluster, partition, last)

    def _contacts(self, committed: list[TopicPartition]) -> ContactsPosition | None:
        """Return the greatest position of the contact index that committed offsets hold; of the present topic, if any.

        Events were decided with it, so it must not be forgotten with one partition's offset.
        """
        held = [contacts_of(entry) for entry in committed if entry.offset >= 0 and is_own_metadata(entry)]
        known = [position for position in held if position is not None]
        known.sort(key=lambda position: position.topic_id == self._found.topics.contacts.topic_id, reverse=True)
        return reduce(ContactsPosition.joined, known) if known else None

    def _set(self, entries: list[TopicPartition]) -> None:
        """Set offsets, and require that they are read back."""
        asked = ConsumerGroupTopicPartitions(self._settings.group_id, entries)
        with self._found.cluster.asking("setting offsets"):
            (future,) = self._found.cluster.admin.alter_consumer_group_offsets([asked]).values()
            changed = future.result(REQUEST_TIMEOUT_S).topic_partitions
        for entry in changed:
            if entry.error is not None:
                raise classify(entry.error, f"setting the offset of partition {entry.partition}")
        now = {entry.partition: (entry.offset, entry.metadata) for entry in _committed(self._settings, self._found)}
        others = sorted(e.partition for e in entries if now[e.partition] != (e.offset, e.metadata))
        if others:
            raise StopError(
                f"the offsets of {self._settings.events_topic}{others} were changed while they were set: stop what "
                f"else sets offsets of the group {self._settings.group_id}, then run `order-facts state recover` again"
            )


def require_quiet(settings: Settings, found: Found) -> None:
    """Raise StopError if replicas run, or a transaction on the outputs is open."""
    members = found.cluster.instances(settings.group_id)
    if members:
        raise StopError(f"replicas run in the group {settings.group_id}: {', '.join(sorted(members))}; stop them first")
    partitions = range(found.topics.events.partitions)
    for topic in (settings.facts_topic, settings.rejected_topic):
        if found.cluster.held_back(topic, partitions):
            raise StopError(f"a transaction on {topic} is still open; try again in half a minute")


def committed_offsets(settings: Settings, found: Found) -> dict[int, TopicPartition]:
    """Return each partition's committed offset, without those of another tool."""
    own = (entry for entry in _committed(settings, found) if entry.offset >= 0 and is_own_metadata(entry))
    return {entry.partition: entry for entry in own}


def _committed(settings: Settings, found: Found) -> list[TopicPartition]:
    return committed_entries(settings, range(found.topics.events.partitions), must_be_stable=True)
