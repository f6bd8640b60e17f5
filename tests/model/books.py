"""The model's books: what every topic ever held, what each group made of it, and what it should have made.

Nothing here asks the program. Outputs are told apart by when they came: the model looks at the topics before and after
each run, so what is new was written by that run's group. Topics are known by their ids, so that a recreated one is
another one, and what retention deletes stays on the books.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.reference import Contacts, fold
from tests.support.comparison import compare_outputs, source_of_fact, source_of_rejection
from tests.support.facts import fact_of
from tests.support.inputs import contact_of, input_of, rules_of

OUTPUTS = ("facts", "rejected")


class Violation(Exception):  # noqa: N818 - it is no error of the model
    """The program broke its promise: `kind` in two or three words, then what was seen."""

    def __init__(self, kind, seen):
        super().__init__(f"{kind}: {seen}")
        self.kind = kind


@dataclass
class Life:
    """What one group made of one events topic in one facts topic; all by partition."""

    next: dict = field(default_factory=dict)  # the first event that has no output
    orders: dict = field(default_factory=dict)  # of the reference fold
    accepted: dict = field(default_factory=dict)  # events below it may be missing: the operator accepted their loss
    rejected_gone: set = field(default_factory=set)  # sources of rejected records that retention removed
    rules: set = field(default_factory=set)  # all that were in force
    begun: set = field(default_factory=set)  # the partitions that have an output
    rejected: set = field(default_factory=set)  # the ids of all rejected topics that it wrote to

    def can_be_audited(self, rules, rejected):
        """Whether `verify` can judge it: it knows the present rules, and the present rejected topic's records, only."""
        return self.rules <= {rules} and self.rejected <= {rejected}


class Books:
    """All topics' records, by topic id, partition and offset; and all lives."""

    def __init__(self, world):
        self._world = world
        self.records: defaultdict[str, dict] = defaultdict(dict)
        self.lives = defaultdict(Life)

    def look(self):
        """Note what the present topics hold. Give what is new, by role."""
        fresh = {}
        for role, topic in self._world.topics().items():
            known = self.records[topic.topic_id]
            found = {(record.partition, record.offset): record for record in self._world.read(topic.name)}
            fresh[role] = [record for place, record in found.items() if place not in known]
            known |= found
        return fresh

    def begin(self):
        """Note the state before a run; a partition without an output and an offset begins where its events do now."""
        self.look()
        life, topics = self.life(), self._world.topics()
        if life is not None:
            events = topics["events"]
            known = life.begun | (self._world.offsets() or {}).keys()
            for partition, start in self._world.cluster.starts(events.name, range(events.partitions)).items():
                if partition not in known:
                    life.next[partition] = start
                life.next.setdefault(partition, start)

    def life(self):
        """Give the present group's life, None while a topic of it is missing."""
        topics = self._world.topics()
        if not topics.keys() >= {"events", "facts"}:
            return None
        return self.lives[self._world.settings.group_id, topics["events"].topic_id, topics["facts"].topic_id]

    def accept_loss(self):
        """Note that the operator accepts the loss of what is not in the events and the rejected topic any more."""
        events, life = self._world.topics()["events"], self.life()
        life.accepted = self._world.cluster.starts(events.name, range(events.partitions))

    def expire_rejected(self, partition, before):
        """Note that retention removes rejected records; `recover` may have them written again, as documented."""
        self.look()
        topic = self._world.topics()["rejected"]
        gone = [
            source_of_rejection(record)
            for (number, offset), record in self.records[topic.topic_id].items()
            if number == partition and offset < before
        ]
        for life in self.lives.values():
            life.rejected_gone.update(gone)

    def pending(self):
        """Give the offsets of the events that the present group has still to process, by partition."""
        topics, life = self._world.topics(), self.life()
        pending = defaultdict(list)
        for partition, offset in sorted(self.records[topics["events"].topic_id]):
            if offset >= max(life.next.get(partition, 0), life.accepted.get(partition, 0)):
                pending[partition].append(offset)
        return pending

    def facts(self):
        """Give all facts that the present facts topic ever held, in order."""
        return [record for _, record in sorted(self.records[self._world.topics()["facts"].topic_id].items())]

    def account(self, *, is_drained):
        """Compare what came since `begin` with what should have come."""
        fresh, life = self.look(), self.life()
        if life is None:
            return
        rules = rules_of(self._world.settings)
        events = self.records[self._world.topics()["events"].topic_id]
        outputs = self._new_outputs(fresh, life)
        unfounded = [source for source in outputs if source not in events]
        if unfounded:
            raise Violation("an output of no event", unfounded)
        ends = self._ends(outputs, life, is_drained=is_drained)
        due = [
            place
            for place in sorted(events)
            if life.next.get(place[0], 0) <= place[1] < ends.get(place[0], 0)
            and (place in outputs or place[1] >= life.accepted.get(place[0], 0))
        ]
        skipped = [place for place in due if place not in outputs]
        if skipped:
            raise Violation("events skipped", f"{skipped} have no output; the last ones have")
        expected = fold([input_of(events[place]) for place in due], self._lookup(rules), rules, orders=life.orders)
        if due:
            life.rules.add(rules)
            life.rejected.add(self._world.topics()["rejected"].topic_id)
        found = [[record for record in fresh[role] if self._is_due(role, record, outputs)] for role in OUTPUTS]
        comparison = compare_outputs(expected, *found)
        if not comparison.is_clean:
            raise Violation("wrong outputs", comparison.told())
        life.begun |= {partition for partition, _ in outputs}
        life.next |= {partition: max(end, life.next.get(partition, 0)) for partition, end in ends.items()}
        self._require_one_life()

    def _new_outputs(self, fresh, life):
        """Give the sources of new outputs. Raises Violation for one that has an output already."""
        outputs, may_come_again = set(), life.rejected_gone | self._rejected_elsewhere(life)
        for role, source_of in (("facts", source_of_fact), ("rejected", source_of_rejection)):
            for record in fresh.get(role, ()):
                source = source_of(record)
                if source[1] < life.next.get(source[0], 0) and source in may_come_again and role == "rejected":
                    continue
                if source in outputs or source[1] < life.next.get(source[0], 0):
                    raise Violation("an event processed twice", f"{source} has another output in {role}")
                outputs.add(source)
        return outputs

    def _rejected_elsewhere(self, life):
        """Give the sources that were rejected to another topic than the present one, which says nothing of them."""
        topic = self._world.topics().get("rejected")
        others = life.rejected - {topic.topic_id if topic else None}
        return {source_of_rejection(record) for topic_id in others for record in self.records[topic_id].values()}

    @staticmethod
    def _is_due(role, record, outputs):
        return role == "facts" or source_of_rejection(record) in outputs

    def _ends(self, outputs, life, *, is_drained):
        """Give up to where each partition was processed: to its end if the run was drained."""
        ends = dict.fromkeys((partition for partition, _ in outputs), 0)
        for partition, offset in outputs:
            ends[partition] = max(ends[partition], offset + 1)
        if is_drained:
            for partition, offsets in self.pending().items():
                ends[partition] = max(offsets[-1] + 1, ends.get(partition, 0))
        return ends

    def _lookup(self, rules):
        topic = self._world.topics().get("contacts")
        records = self.records[topic.topic_id] if topic else {}
        return Contacts([contact_of(record) for _, record in sorted(records.items())], rules)

    def _require_one_life(self):
        """Require of every order in the present facts topic one partition, and revisions 1, 2, 3, ..."""
        places, revisions = defaultdict(set), defaultdict(list)
        for record in self.facts():
            places[record.key].add(record.partition)
            revisions[record.key].append(fact_of(record.value)["revision"])
        for key, partitions in places.items():
            if len(partitions) > 1:
                raise Violation("an order with two lives", f"{key.decode()} in partitions {sorted(partitions)}")
            if revisions[key] != list(range(1, len(revisions[key]) + 1)):
                raise Violation("an order with two lives", f"{key.decode()} has revisions {revisions[key]}")
