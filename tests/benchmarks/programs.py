"""The programs that are compared: how each is made ready, and started on a job."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.build.compiled import compiled
from deploy.local.programs import java, kafka_version
from tests.benchmarks.kafka_streams.build import classpath
from tests.benchmarks.quix import environment as quix
from tests.benchmarks.stage import IDENTIFIERS, project_environment
from tests.support.deployment import PROJECT, Deployment

THROUGHPUT_COMMIT_MS = {"quix": 5_000, "kafka-streams": 100}  # their defaults
LATENCY_COMMIT_MS = {"quix": 100, "kafka-streams": 100}


@dataclass(frozen=True)
class Job:
    """What a program is to do: on which topics, as which group, with a folder of its own."""

    deployment: Deployment
    folder: Path
    commit_ms: int = 0
    instance_id: str = "replica"

    def description(self):
        """Give it as the programs take it, besides order-facts itself, which has settings."""
        settings = self.deployment.settings
        return {
            "bootstrap_servers": settings.bootstrap_servers,
            "redis_url": settings.redis_url,
            "group_id": settings.group_id,
            "instance_id": self.instance_id,
            "events_topic": settings.events_topic,
            "facts_topic": settings.facts_topic,
            "rejected_topic": settings.rejected_topic,
            "identifiers": IDENTIFIERS,
            "state_folder": str(self.folder / "state"),
            "commit_ms": self.commit_ms,
        }


@dataclass(frozen=True)
class Start:
    """A command, its environment and the folder that it runs in."""

    command: list
    environment: dict
    folder: Path


class Program:
    """One of the programs. `is_audited`: it does the whole work, so that its outputs can be right or wrong."""

    def __init__(self, name, title, start, prepare=None, *, is_audited=True):
        self.name = name
        self.title = title
        self.is_audited = is_audited
        self._prepare = prepare
        self._start = start

    def prepare(self):
        """Install or build what the program needs, before anything is measured."""
        if self._prepare is not None:
            self._prepare()

    def start(self, job):
        """Give how the program is started on a job."""
        return self._start(job)


def _bare(job):
    command = [sys.executable, "-m", "tests.benchmarks.bare", json.dumps(job.description())]
    return Start(command, project_environment(), PROJECT)


def _order_facts(job):
    return _own(job, PROJECT)


def _compiled(job):
    return _own(job, compiled())


def _own(job, folder):
    environment = job.deployment.environment(instance_id=job.instance_id)
    return Start([sys.executable, "-m", "processor", "run"], environment, folder)


def _quix(job):
    command = [quix.python(), "-m", "tests.benchmarks.quix.app", json.dumps(job.description())]
    return Start(command, project_environment(), PROJECT)


def _kafka_streams(job):
    options = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classpath()]
    command = [java(), *options, "orderfacts.bench.Main", json.dumps(job.description())]
    return Start(command, project_environment(), PROJECT)


PROGRAMS = {
    program.name: program
    for program in (
        Program("bare", "bare loop", _bare, is_audited=False),
        Program("order-facts", "order-facts", _order_facts),
        Program("compiled", "order-facts, compiled", _compiled, prepare=compiled),
        Program("quix", f"Quix Streams {quix.version()}", _quix, prepare=quix.python),
        Program("kafka-streams", f"Kafka Streams {kafka_version()}", _kafka_streams, prepare=classpath),
    )
}
