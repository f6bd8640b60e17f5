"""The world of one example: an estate, the programs that run on it, and the operator who follows their lines."""

import contextlib
import signal
import time
from typing import Any

from confluent_kafka import TopicPartition
from redis import ResponseError

from processor.contacts.shards import MARK, POSITION, Mark, Position, lineage_of, read_as, shard_keys
from tests.model.books import Violation
from tests.model.estate import ROLES, Estate, Skipped
from tests.model.ways import ways_of
from tests.support.deployment import await_condition
from tests.support.inputs import rules_of
from tests.support.refusals import PREFIX

PATIENCE_S = 45.0  # a dead member's transaction is looked for every 10 s, its session lasts 3 s
POLL_S = 0.1
MOST_WAYS = 8  # that an operator takes before a run must get through
# What makes it right to ask for new outputs; after any other damage the group goes on.
ENDS_A_LIFE = ("recreated", "more partitions", "deleted facts", "other names")


class World(Estate):
    """An estate on which the program runs."""

    def __init__(self, settings, folder):
        super().__init__(settings, folder)
        self._cluster_id = self.cluster.wait()
        self._index: Any = None
        self._index_settings = self.settings

    # --- runs ------------------------------------------------------------------------------------------

    def run(self, start):
        """Run until all events are processed; follow what each stop says. Raises Violation if that leads nowhere.

        `start` starts the replicas of an attempt. Afterwards the books must be right, and the mirror equal the facts.
        """
        taken: list[tuple[str, str]] = []
        for _ in range(MOST_WAYS):
            self.books.begin()
            line = self._attempt(start)
            self.books.account(is_drained=line is None)
            if line is None:
                self._require_mirror()
                self.damages[:] = [
                    damage for damage in self.damages if damage == "deleted facts"
                ]  # until Redis is lost
                self.is_quiet = True
                return
            self.say(f"stopped: {line}")
            self._take_way(line, taken)
        raise Violation("no way on", f"after {taken}")

    def crash(self, start):
        """Run replicas that are to die; the run after it accounts for what they did."""
        self.is_quiet = False
        self.books.begin()
        with contextlib.suppress(Skipped):
            if (line := self._await_index()) is not None:
                raise Skipped(line)
            process, due = start(), self._due()
            await_condition(
                lambda: process.exit_code() is not None or self._is_drained([process], due),
                lambda: process.tail("neither killed nor done"),
            )
            self.say(f"crashed: {process.lines('test.sabotage') != []}")
            process.end()
        self.books.account(is_drained=False)

    def verify(self):
        """Require that the audit agrees, where it can judge."""
        life, topics = self.books.life(), self.topics()
        if life is None or not life.can_be_audited(rules_of(self.settings), topics["rejected"].topic_id):
            return
        facts = topics["facts"]
        if any(self.cluster.starts(facts.name, range(facts.partitions)).values()):
            return  # somebody deleted facts, which it finds
        done = self.command("verify", check=False)
        if done.returncode != 0:
            raise Violation("verify disagrees", f"exit {done.returncode}\n{done.stdout}{done.stderr}")

    def _attempt(self, start):
        """Give None if all was processed, or the line with which a program stopped."""
        line = self._await_index()
        if line is not None:
            return line
        processes, due = start(), self._due()
        try:
            deadline = time.monotonic() + PATIENCE_S
            while all(process.exit_code() is None for process in processes) and not self._is_drained(processes, due):
                if time.monotonic() > deadline:
                    raise Violation("stuck", "\n".join(_last_lines(process) for process in processes))
                time.sleep(POLL_S)
            for process in processes:
                process.signal(signal.SIGTERM)
            codes = {process: process.await_end() for process in processes}
            failed = [process for process, code in codes.items() if code not in {0, -signal.SIGTERM}]
            return self._line_of(failed[0]) if failed else None
        finally:
            for process in processes:
                process.end()

    def _line_of(self, process):
        """Give the one line with which a process stopped."""
        code = process.exit_code()
        lines = [line for line in process.log_path.read_text(encoding="utf-8").splitlines() if line[:1] != "{"]
        if code not in {1, 2, 3} or len(lines) != 1 or not lines[0].startswith(PREFIX) or "defect" in lines[0]:
            raise Violation("no stop with one line", process.tail(f"exit code {code}"))
        return lines[0].removeprefix(PREFIX)

    def _due(self):
        """Give what a run has to process: the next offset of each partition, at least."""
        topic = self.topics().get("events")
        pending = self.books.pending() if topic else {}
        partitions = range(topic.partitions if topic else 0)
        return {number: pending[number][-1] + 1 if pending[number] else -1 for number in partitions}

    def _is_drained(self, processes, due):
        """Whether all partitions are placed, and all events processed."""
        placed = {line["partition"] for process in processes for line in process.lines("partition.positioned")}
        if not due or placed != due.keys():
            return False
        committed = self.committed([TopicPartition(self.name_of("events"), partition) for partition in due])
        return committed is not None and all(committed.get(p, (-1,))[0] >= offset for p, offset in due.items())

    def _require_mirror(self):
        differences = self.mirror_differences(self.books.facts())
        if differences:
            raise Violation("the mirror is not the facts", "\n".join(differences))

    # --- the contact index -----------------------------------------------------------------------------

    def start_index(self, *options):
        """Start `contacts index` with the present settings."""
        if self._index is not None:
            self._index.end()
        self._index_settings = self.settings
        self._index = self.start("contacts", "index", *options, name="index")

    def _await_index(self):
        """Wait until the index has all contacts; give the line if it stops."""
        if self._index is None or self._index.exit_code() is not None or self._needs_other_index():
            self.start_index()
        topic = self.topics().get("contacts")
        if topic is None:
            return None  # the replica says so
        keys = shard_keys(lineage_of(self._cluster_id, self.settings))
        ends = self.cluster.ends(topic.name, range(topic.partitions))
        deadline = time.monotonic() + PATIENCE_S
        while not self._has_all_contacts(keys, topic.topic_id, ends):
            if self._index.exit_code() is not None:
                return self._line_of(self._index)
            if time.monotonic() > deadline:
                raise Violation("stuck", _last_lines(self._index))
            time.sleep(POLL_S)
        return None

    def _needs_other_index(self):
        names = ("contacts_topic", "identifier_key", "identification", "phone_matching", "phone_region", "kafka")
        return any(getattr(self.settings, name) != getattr(self._index_settings, name) for name in names)

    def _has_all_contacts(self, keys, topic_id, ends):
        """Whether every shard is complete. This only looks: the program's own reader repairs what it cannot read."""
        for key in keys:
            try:
                marks: Any = self.redis.hmget(key, [MARK, POSITION])
            except ResponseError:
                return False  # its key was damaged
            mark, position = read_as(Mark, marks[0]), read_as(Position, marks[1])
            if mark is None or position is None or not mark.is_ready or mark.topic_id != topic_id:
                return False
            if position.offsets != tuple(end for _, end in sorted(ends.items())):
                return False
        return True

    # --- the operator ----------------------------------------------------------------------------------

    def _take_way(self, line, taken):
        """Do what a line says: its first way on that was not taken for this line."""
        if not self.damages:
            raise Violation("stopped without a cause", line)
        if not any(name in line for name in self._nameable()):
            raise Violation("a line that names nothing", line)
        for way in ways_of(line):
            if (way.name, line) not in taken or way.is_patient:
                taken.append((way.name, line))
                if way.is_new_life and not any(damage.startswith(ENDS_A_LIFE) for damage in self.damages):
                    raise Violation("new outputs for nothing", line)
                self.say(f"  operator: {way.name}")
                further = way.take(self)
                if further is not None:
                    self.say(f"  refused: {further}")
                    self._take_way(further, taken)
                return
        raise Violation("no way on", line)

    def _nameable(self):
        yield from (self.name_of(role) for role in ROLES)
        yield from self.settings.__struct_fields__
        yield self.settings.group_id
        yield "partition"

    def recover(self, *options):
        """Run `state recover`; give its line if it refuses."""
        self.say("state recover " + " ".join(options))
        self.books.begin()
        done = self.command("state", "recover", *options, check=False)
        if done.returncode == 0:
            if "--accept-loss" in options:
                self.books.accept_loss()
            return None
        lines = [line for line in done.stderr.splitlines() if line[:1] != "{"]
        if len(lines) != 1 or not lines[0].startswith(PREFIX):
            raise Violation("no stop with one line", done.stderr)
        return lines[0].removeprefix(PREFIX)


def _last_lines(process):
    """Give the end of a log that goes on and on."""
    return "\n".join(process.log_path.read_text(encoding="utf-8").splitlines()[-3:])
