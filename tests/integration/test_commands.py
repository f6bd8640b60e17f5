"""Proves what `--help` says, what `topics create` makes, and what `check` finds."""

import importlib.util
import re
import subprocess
import sys

import click
import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import NewPartitions

from deploy.build.asyncapi import topic_settings
from processor import __version__
from processor.cli import cli
from processor.errors import UnreachableError
from processor.kafka import creation
from processor.settings import Settings
from tests.support.commands import NOWHERE
from tests.support.refusals import REQUEST_S
from tests.support.ways import require_row

DEFAULTS = Settings()
TOPICS = ("events", "contacts", "facts", "rejected")
COMMANDS = {
    "run": "Process order events until SIGTERM or SIGINT",
    "contacts index": "Keep the contact index in Redis up to date",
    "contacts import": "Send contacts from FILE",
    "contacts find": "Find the contact that an event's parameter NAME with VALUE identifies",
    "events send": "Send order events from FILE; `-` is standard input",
    "events explain": "Say what would become of the events in FILE, by the rules of `run`",
    "facts show": "Print committed facts as JSON lines",
    "facts export": "Write a snapshot of all orders and contacts into DIR, as Parquet",
    "rejected show": "Print rejected records as JSON lines",
    "rejected replay": "Send rejected events back to the events topic",
    "schemas list": "Print each subject's schemas",
    "schemas register": "Register every version of the schemas in the schema registry",
    "schemas check": "Check that the schemas here, or a producer's schema in FILE, can be read",
    "segments list": "List the segments that come with the program",
    "segments show": "Print a segment's SQL",
    "segments sql": "Print the views and conditions as SQL",
    "segments run": "Print the contacts of a segment",
    "segments rfm": "Show RFM: how long ago, how often and for how much",
    "segments publish": "Write who entered a segment and who left to the topic segment-members",
    "state prune": "List the copies of orders and contacts in Redis",
    "state recover": "Set the group's offsets that are lost",
    "state skip": "Step over events that the Kafka client cannot read",
    "verify": "Audit the topics and the mirror",
    "watch": "Show what all processes do, from their log lines alone",
    "topics widen": "Copy the events to a new topic with more partitions",
    "topics create": "Create the topics that are missing",
    "check": "Check the settings, Kafka, the access rights, Redis, the topics and the contact index",
}
WITHOUT_KAFKA = {"events explain", "schemas list", "schemas register", "schemas check"}
WITHOUT_SETTINGS = {"segments list", "segments show", "watch"}
WITHOUT_KAFKA |= WITHOUT_SETTINGS | {"segments sql", "segments run", "segments rfm"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_says_what_it_is_for(name):
    """A newcomer reads the purpose, the settings that matter with their defaults, and where they may stand."""
    shown = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert COMMANDS[name] in " ".join(shown.output.split())
    assert ("--bootstrap-servers" in shown.output) is (name not in WITHOUT_KAFKA)
    assert ("--config" in shown.output) is (name not in WITHOUT_SETTINGS)


def test_every_command_is_in_the_list_above():
    """A command that is added has its purpose there."""
    context = click.Context(cli)
    groups = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    found = [
        f"{name} {inner}".strip()
        for name, group in groups.items()
        for inner in (group.list_commands(context) if isinstance(group, click.Group) else [""])
    ]
    assert sorted(found) == sorted(COMMANDS)


def test_help_and_version(idle):
    """`--help` shows a first session and all commands; `--version` the version; both leave with 0."""
    shown = idle.command("--help")
    listed = shown.stdout.partition("Commands:\n")[2]
    assert {name.split()[0] for name in COMMANDS} == set(re.findall(r"^  (\w+) ", listed, re.MULTILINE))
    assert "ORDER_FACTS_<NAME>" in shown.stdout
    assert idle.command("--version").stdout.strip() == f"order-facts, version {__version__}"


@pytest.mark.parametrize("arguments", [("events",), ("facts", "list"), ("events", "send"), ("facts", "show", "--all")])
def test_wrong_usage(idle, arguments):
    """An unknown command or option, or a missing argument, leaves with 2 and shows the usage on standard error."""
    done = idle.command(*arguments, check=False)
    assert done.returncode == 2
    assert "Usage:" in done.stderr
    assert done.stdout == ""


def test_unknown_command_names_the_nearest():
    """Commands are imported when asked for; a name that is none is still compared with all of them."""
    shown = CliRunner().invoke(cli, ["verfy"])
    assert shown.exit_code == 2
    assert "verify" in shown.output


def test_run_imports_no_other_command():
    """A replica that was killed is back the sooner for what it does not import."""
    others = {"processor.audit", "processor.contacts.keeper", "processor.replay"}
    others |= {f"processor.cli.{name.split()[0]}" for name in COMMANDS} - {"processor.cli.run"}
    assert [name for name in others if importlib.util.find_spec(name) is None] == [], "a module has another name"
    program = (
        "import sys; from processor.cli import cli; cli(['run', '--help'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    modules = set(done.stdout.splitlines()[-1].split())
    assert "processor.replica.service" in modules
    assert modules & others == set()


def test_topics_create(idle):
    """All six topics are made with the settings that the guarantee needs, as asyncapi.yaml has them; again: none."""
    settings = idle.settings
    outputs = (settings.facts_topic, settings.rejected_topic, settings.segment_members_topic)
    names = (settings.events_topic, settings.contacts_topic, *outputs)
    first = idle.command("topics", "create", partitions=3)
    created = [f"{name}: created, 3 partitions, replication factor 1" for name in names]
    assert first.stdout.splitlines() == [
        *created,
        f"{settings.healed_topic}: created, 1 partition, replication factor 1",
    ]
    assert idle.cluster.topic_settings(settings.healed_topic)["cleanup.policy"] == "compact"
    assert {topic.partitions for topic in idle.cluster.topics(names).values()} == {3}
    found = {name: idle.cluster.topic_settings(name) for name in names}
    for role, name in zip((*TOPICS, "segment_members"), names, strict=True):
        stated = topic_settings()[getattr(DEFAULTS, f"{role}_topic")]
        assert found[name].items() >= stated.items()
    policies = [found[name]["cleanup.policy"] for name in names]
    assert policies == ["delete", "compact", "compact", "delete", "compact"]
    assert found[settings.facts_topic]["min.compaction.lag.ms"] == str(7 * 24 * 3600 * 1000)
    assert 100_000_000 < int(found[settings.rejected_topic]["max.message.bytes"]) < 104_857_600
    again = idle.command("topics", "create", partitions=5)
    exist = [f"{name}: exists, 3 partitions" for name in names]
    assert again.stdout.splitlines() == [*exist, f"{settings.healed_topic}: exists, 1 partition"]
    assert first.stderr == again.stderr == ""
    assert {topic.partitions for topic in idle.cluster.topics(names).values()} == {3}


def test_topics_create_makes_what_is_missing(idle):
    """The outputs take the partition count of an existing events topic; existing topics keep their settings."""
    settings = idle.settings
    idle.create("events", 7)
    idle.create("facts", 7, min_compaction_lag_ms="5")
    idle.command("topics", "create", partitions=2)
    names = (settings.events_topic, settings.contacts_topic, settings.facts_topic, settings.rejected_topic)
    found = idle.cluster.topics(names)
    assert [found[name].partitions for name in names] == [7, 2, 7, 7]
    assert idle.cluster.topic_settings(settings.facts_topic)["min.compaction.lag.ms"] == "5"


def test_topics_create_takes_what_the_brokers_take(idle, monkeypatch):
    """A size that they refuse is stepped down; the smaller one is taken, and the answer says what was refused."""
    settings = idle.settings
    monkeypatch.setattr(creation, "MESSAGE_BYTES", (1 << 31, 8 << 20, None))  # no broker takes the first
    created = {topic.name: topic for topic in creation.create_missing(settings, idle.cluster)}
    assert idle.cluster.topic_settings(settings.rejected_topic)["max.message.bytes"] == str(8 << 20)
    assert "max.message.bytes=2147483648: " in created[settings.rejected_topic].refused
    assert {topic.factor for topic in created.values()} == {1}, "there is one broker"
    assert created[settings.facts_topic].refused == ""


def test_topics_that_were_created_are_there_at_once(idle):
    """Creating ends when the brokers know the topics: the controller answers before they do."""
    for attempt in range(3):
        names = {f"{name}_topic": f"{name}-{attempt}-{idle.settings.group_id}" for name in TOPICS}
        settings = msgspec.structs.replace(idle.settings, partitions=50, **names)
        for topic in creation.create_missing(settings, idle.cluster):
            assert topic.partitions == (1 if topic.name == settings.healed_topic else 50)
            assert idle.cluster.required([topic.name])[topic.name].partitions == topic.partitions
            assert "cleanup.policy" in idle.cluster.topic_settings(topic.name)


@pytest.mark.follows("no leaders")
def test_topics_that_get_no_leaders_are_named(idle, monkeypatch):
    """The first one is, and it is there when the command is run again."""
    slow = msgspec.structs.replace(idle.settings, startup_timeout_s=0.1)
    monkeypatch.setattr(idle.cluster, "led_partitions", lambda _: 5)
    with pytest.raises(UnreachableError) as caught:
        list(creation.create_missing(slow, idle.cluster))
    require_row(str(caught.value), "no leaders")
    assert str(caught.value).startswith(f"the topic {idle.settings.events_topic} was created, but after 0.1 s not all")
    monkeypatch.undo()
    factors = {topic.name: topic.factor for topic in creation.create_missing(idle.settings, idle.cluster)}
    assert factors.pop(idle.settings.events_topic) is None, "it exists"
    assert list(factors.values()) == [1] * 5


def test_check_of_a_good_deployment(indexed):
    """A line for each finding, all of them good, and 0; a warning for each topic that one broker's loss can empty."""
    done = indexed.command("check")
    assert done.stderr == ""
    assert [line[:9] for line in done.stdout.splitlines()] == ["ok       "] * 7 + ["warning  "] * 4 + ["ok       "]
    subjects = ["settings", "Kafka at ", "access rights: all ", "transactions: one began"]
    subjects += ["Redis at redis://", "in Redis ", "topics: "]
    subjects += [*["the topic "] * 4, "the contact index "]
    assert [line[9:].startswith(subject) for line, subject in zip(done.stdout.splitlines(), subjects, strict=True)]


def test_check_names_what_is_wrong(idle):
    """The finding stands on standard output, as data; the exit code is that of `run`; what is mended is passed."""

    def problem(code, **changes):
        done = idle.command("check", check=False, **changes)
        lines = done.stdout.splitlines()
        assert (done.returncode, done.stderr) == (code, "")
        lines = [line for line in lines if not line.startswith("warning  ")]
        assert [line[:9] for line in lines] == ["ok       "] * (len(lines) - 1) + ["problem  "]
        return len(lines) - 1, lines[-1][9:]

    settings = idle.settings
    unset, line = problem(2, identifier_key=None)
    assert unset == 0, "nothing is all right where the settings are not"
    assert line.startswith("setting identifier_key: ")
    assert problem(3, bootstrap_servers=NOWHERE, startup_timeout_s=0.4)[1].startswith(f"Kafka at {NOWHERE} did not")
    assert problem(3, redis_url=f"redis://{NOWHERE}/0", startup_timeout_s=0.4)[1].startswith("Redis did not answer")
    assert problem(1)[1].startswith("the topics are missing: ")
    idle.command("topics", "create", partitions=2)
    name = settings.events_topic
    assert problem(1)[1].startswith("the contact index is empty")
    idle.cluster.admin.create_partitions([NewPartitions(name, 3)])[name].result(REQUEST_S)
    assert problem(1)[1].startswith(f"{name} has 3 partitions, {settings.facts_topic} has 2")
