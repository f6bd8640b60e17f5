"""One deployment of the program in a test: its topics, its processes, and the comparison with the reference."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import msgspec
from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from deploy.local.servers import GuardedProcess
from processor.codec.avro import codec
from processor.codec.order_state import order_of
from processor.codec.packed_items import unpacked
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster
from processor.kafka.creation import create_missing
from processor.kafka.failures import is_end
from processor.kafka.messages import record_of
from processor.kafka.ranges import read_range
from processor.replica import startup
from processor.settings import Settings
from processor.state.mirror import Mirror
from tests.reference import Contacts, fold
from tests.support import log_lines
from tests.support.comparison import compare_mirror, compare_outputs
from tests.support.forking import forks_for, run_forked
from tests.support.inputs import UNDECODABLE, contact_of, input_of, rules_of
from tests.support.producing import quick_producer

PYTHON = (sys.executable, "-m")
PROJECT = Path(__file__).parents[2]
PATIENCE_S = 60.0
POLL_S = 0.02
REQUEST_S = 30.0
SOON_OVER = {"transaction.timeout.ms": 5_000}  # Kafka properties of one who dies with a transaction open


def await_condition(condition, what, patience_s=PATIENCE_S):
    """Wait until a condition holds and give its value. Fails, saying what was awaited."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what() if callable(what) else what}"
        time.sleep(POLL_S)
    return value


class Process:
    """A command of the program that runs; its log lines are read as they come. It ends with this process."""

    def __init__(self, command, environment, log, *, is_former=False):
        self.log_path = log
        self.is_former = is_former
        self._lines, self._read_bytes = [], 0  # a log is asked fifty times a second, and is read once
        self._guarded = _started(command, environment, log)

    def lines(self, event=None, **fields):
        """Give the log lines of an event so far, with these fields."""
        with self.log_path.open("rb") as log:
            log.seek(self._read_bytes)
            new, end, _ = log.read().rpartition(b"\n")
        self._read_bytes += len(new + end)
        self._lines += log_lines.lines_in(new.decode())
        return [
            line
            for line in self._lines
            if event in {None, line["event"]} and all(line.get(name) == value for name, value in fields.items())
        ]

    def await_line(self, event, count=1, **fields):
        """Wait for the log line of an event; fails where the process ends first."""

        def seen():
            found = self.lines(event, **fields)
            assert found or self.exit_code() is None or self.lines(event, **fields), self.tail(f"ended without {event}")
            return found if len(found) >= count else None

        return await_condition(seen, lambda: self.tail(f"{event} {fields}"))

    def tail(self, what):
        """Say what went wrong, with the end of the log."""
        return f"{what}\n" + "\n".join(self.log_path.read_text(encoding="utf-8").splitlines()[-25:])

    @property
    def pid(self):
        """The process id of the program itself."""
        return self._guarded.pid

    def exit_code(self):
        """Give the exit code (minus the signal that ended the process), None while it runs; frozen, it does."""
        return self._guarded.exit_code()

    def await_end(self):
        """Wait for the end of the process and give its exit code (minus the signal that ended it)."""
        assert self._guarded.wait(PATIENCE_S), self.tail("goes on")
        return self.exit_code()

    def stop(self):
        """Stop as an operator does, and require a clean end."""
        self.signal(signal.SIGTERM)
        code = self.await_end()
        assert code == 0, self.tail(f"exit code {code}")

    def signal(self, number):
        """Send a signal to the program itself; nothing happens where it has ended."""
        self._guarded.send(number)

    def end(self):
        """Leave nothing behind, whatever state it is in."""
        self.signal(signal.SIGKILL)
        self.await_end()


def _started(command, environment, log):
    """Start a command: forked where it is a module that makes no difference to, else anew."""
    forks = forks_for(environment) if command[:2] == PYTHON else None
    if forks is None:
        return GuardedProcess(command, PROJECT, log, environment=environment)
    with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
        streams = [nothing.fileno(), output.fileno(), output.fileno()]
        return forks.start(command[2], command[3:], environment, streams)


class Deployment:
    """The program's commands on one set of topics, one group, one Redis."""

    def __init__(self, settings, folder):
        self.settings = settings
        self.folder = folder
        self.cluster = Cluster(settings)
        self._processes = []
        self.files = {}  # of settings that the processes read from files: name -> path
        self.sent = 0

    @functools.cached_property
    def _producer(self):
        return quick_producer(self.settings)

    def environment(self, **changes):
        """Give the process environment that holds the settings."""
        settings = msgspec.structs.replace(self.settings, **changes)
        own = {name: value for name, value in os.environ.items() if not name.startswith("ORDER_FACTS_")}
        defaults = Settings(instance_id="")
        for name in Settings.__struct_fields__:
            value = getattr(settings, name)
            if value != getattr(defaults, name):
                text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
                own[f"ORDER_FACTS_{name.upper()}"] = text
        for name, path in self.files.items():
            own.pop(f"ORDER_FACTS_{name.upper()}", None)
            own[f"ORDER_FACTS_{name.upper()}_FILE"] = str(path)
        return own

    def command(self, *arguments, check=True, stdin=None, module="processor", extra=None, **changes):
        """Run a command to its end and give the completed process, its output as text.

        `extra` are variables of its environment, None for one to take away.
        """
        given = self.environment(**changes) | (extra or {})
        environment = {name: value for name, value in given.items() if value is not None}
        if forks := forks_for(environment):
            done = run_forked(forks, module, arguments, environment, stdin, PATIENCE_S * 2)
        else:
            done = subprocess.run(
                (*PYTHON, module, *arguments),
                env=environment,
                cwd=PROJECT,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S * 2,
                check=False,
            )
        assert not check or done.returncode == 0, done.stderr
        log_lines.check(done.stderr)
        return done

    def start(self, *arguments, name, module="processor", extra=None, **changes):
        """Start a command that goes on; `name` is its log's, and unless changed its instance id."""
        environment = self.environment(**{"instance_id": name, **changes}) | (extra or {})
        return self.begin((*PYTHON, module, *arguments), environment, name)

    def begin(self, command, environment, name, *, is_former=False):
        """Start any process that goes on, in this environment; `name` is its log's. A former one has its own lines."""
        log = self.folder / f"{len(self._processes)}-{name}.log"
        process = Process(command, environment, log, is_former=is_former)
        self._processes.append(process)
        return process

    def create_topics(self, partitions):
        """Create the topics as the command `topics create` does, in this process: the command has tests of its own."""
        self.cluster.wait()
        list(create_missing(msgspec.structs.replace(self.settings, partitions=partitions), self.cluster))

    def replica(self, name, **changes):
        """Start a replica."""
        return self.start("run", name=name, **changes)

    def sabotaged(self, name, moment, batch, signal_name, **changes):
        """Start a replica that signals itself at a moment of its n-th batch (see `saboteur`)."""
        return self._sabotaged(name, {"moment": moment, "batch": batch, "signal": signal_name}, changes)

    def pausing(self, name, moment, batch, partition, **changes):
        """Start a replica whose client stops to read a partition at a moment of its n-th batch (see `saboteur`)."""
        return self._sabotaged(name, {"moment": moment, "batch": batch, "pause": partition}, changes)

    def _sabotaged(self, name, plan, changes):
        extra = {"TEST_SABOTAGE": json.dumps(plan)}
        return self.start("run", name=name, module="tests.support.saboteur", extra=extra, **changes)

    def index(self):
        """Start the contact index and wait until it is complete."""
        process = self.start("contacts", "index", name="index")
        process.await_line("contacts.ready")
        return process

    def renew_producer(self):
        """Send by another producer from now on: brokers that lost records refuse the one that sent them."""
        self._producer = quick_producer(self.settings)

    def framed(self, value):
        """Give a value of ours as the topics hold it."""
        return value

    def plain(self, value):
        """Give a topic's value in single-object encoding."""
        return value

    def send(self, records):
        """Send records to the events topic; those the reference must not decode carry a mark."""
        for record in records:
            headers = headers_of(record)
            while True:
                try:
                    self._producer.produce(self.settings.events_topic, record.value, record.key, headers=headers)
                except BufferError:
                    self._producer.poll(0.1)
                else:
                    break
            self.sent += 1
        assert self._producer.flush(PATIENCE_S) == 0

    def send_contacts(self, contacts):
        """Send contacts, whole."""
        for contact in contacts:
            value = codec().encode_contact(contact)
            self._producer.produce(self.settings.contacts_topic, value, contact["contactId"].encode())
        assert self._producer.flush(PATIENCE_S) == 0

    def read(self, topic):
        """Give all committed records of a topic, by partition and offset."""
        partitions = range(self.cluster.topics([topic])[topic].partitions)
        consumer = reader(self.settings)
        starts, ends = self.cluster.starts(topic, partitions), self.cluster.ends(topic, partitions)
        records = [record_of(message) for message in read_range(consumer, topic, starts, ends)]
        consumer.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))

    def await_accounted(self, count=None, patience_s=PATIENCE_S):
        """Wait until facts and rejected records together are as many as the events sent."""
        expected, seen = count or self.sent, 0
        consumer = reader(self.settings)
        names = (self.settings.facts_topic, self.settings.rejected_topic)
        topics = await_condition(lambda: _all_of(names, self.cluster), "the brokers know the outputs", patience_s)
        partitions = [entry for name, topic in topics.items() for entry in _all_partitions(name, topic.partitions)]
        consumer.assign(partitions)

        def counted():
            nonlocal seen
            seen += sum(not is_end(message, "counting outputs") for message in consumer.consume(5_000, 0.1))
            return seen >= expected

        await_condition(counted, lambda: f"{seen} of {expected} accounted for\n{self.tails()}", patience_s)
        consumer.close()

    def tails(self):
        """Give the ends of all logs."""
        return "\n".join(process.tail(process.log_path.name) for process in self._processes)

    def end(self):
        """Leave no process behind."""
        for process in self._processes:
            process.end()

    def check_log_lines(self):
        """Require that each log line of all processes is as the published schema has it."""
        for process in self._processes:
            if not process.is_former:
                log_lines.check(process.log_path.read_text(encoding="utf-8"))

    def require_right_outputs(self, events=None):
        """Require that the topics' whole content, and the mirror, are the reference's; give counts by reason.

        `events` are the records that count, where the events topic no longer holds them all.
        """
        comparison = self.compare() if events is None else self.compare_with(events)
        assert comparison.is_clean, comparison.told()
        return comparison.reasons

    def compare(self):
        """Compare the topics' whole content, and the mirror, with the reference fold."""
        return self.compare_with(self.read(self.settings.events_topic))

    def compare_with(self, events, is_left_out=lambda _key: False):
        """Compare the outputs' whole content, and the mirror, with the reference fold of these events.

        Events and outputs with some keys may be left out, by a function.
        """
        inputs = [input_of(record) for record in events if not is_left_out(record.key)]
        contacts = [contact_of(record) for record in self.read(self.settings.contacts_topic)]
        rules = rules_of(self.settings)
        expected = fold(inputs, Contacts(contacts, rules), rules)
        facts = self.read(self.settings.facts_topic)
        rejected = self.read(self.settings.rejected_topic)
        judged = [[record for record in some if not is_left_out(record.key)] for some in (facts, rejected)]
        comparison = compare_outputs(expected, *judged)
        comparison.mismatches += self.mirror_differences(facts)
        return comparison

    def mirror_differences(self, facts):
        """Compare the mirror with the latest fact of every order; give a line for each difference."""
        found = startup.check(self.settings)
        mirror = Mirror(found.redis, found.lineage, codec())
        latest = {(record.partition, record.key): codec().decode_fact(record.value) for record in facts}
        lines = []
        for partition in range(found.topics.events.partitions):
            names = list({name for some in mirror.names(partition, 1_000) for name in some})
            _, states = mirror.look(partition, names)
            held = {name: state for name, state in zip(names, states, strict=True) if state is not None}
            by_key = {(partition, name): unpacked(order_of(state)) for name, state in held.items()}
            lines += compare_mirror(by_key, {place: order for place, order in latest.items() if place[0] == partition})
        return lines


def headers_of(record):
    """Give the headers of a record to send: those the reference must not decode carry a mark."""
    marks: dict[str, str | bytes | None] = {UNDECODABLE: b"1"}
    return marks if record.is_undecodable else None


@contextmanager
def deployed(settings, folder, partitions=3, kind=Deployment):
    """Give a deployment of a kind with its topics made, and end all its processes afterwards."""
    deployment = kind(settings, folder)
    try:
        deployment.create_topics(partitions)
        yield deployment
    finally:
        deployment.end()
    deployment.check_log_lines()


def _all_of(names, cluster):
    """Give the topics, None while a broker does not know all of them: a busy one learns late of what was created."""
    found = cluster.topics(names)
    return found if len(found) == len(names) else None


def _all_partitions(topic, count):
    return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(count)]
