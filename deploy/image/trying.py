"""Tries the image as a platform runs it: `make image-test`. Needs a Docker engine, the image, Kafka's and Valkey's.

On a network of its own, with a read-only root and no capabilities, it starts a broker, a Redis, the contact index, a
replica and the healer, sends contacts and events, stops the replica under way and starts it again, and waits until each
event is a fact or a rejected record. Then it stops all. Each stop, by `docker stop`, must end with exit code 0 within
seconds, and each log must be JSON alone. Removes what it started.
Exit codes: 0 all as it must be; 1 something is not, and is named.

    python -m deploy.image.trying [--image IMAGE] [--kafka IMAGE] [--valkey IMAGE]
"""

import argparse
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deploy.demo.demo import SAMPLE, Input, convert
from deploy.image.build import IMAGE
from deploy.local.containers import REDIS_COMMAND
from deploy.local.embedded_kafka import single_broker_settings

KAFKA: Final = "apache/kafka:4.1.2@sha256:5cc2a2fd93fa2687b44015eee04fb2c3edd9e526bd64bf8bec5ff1e268772e0e"
VALKEY: Final = "valkey/valkey:9-alpine@sha256:ee91f7a174ac4d6a6b0685b3a60e321f0a9dbbb691f9b0e285be2ba1d1be8328"
HARDENED: Final = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
GRACE_S: Final = 10
STOP_S: Final = 5.0
WAIT_S: Final = 120.0
SERVED: Final = {
    "index": ("contacts", "index", "--http-port", "8080"),
    "replica": ("run", "--http-port", "8080"),
    "healer": ("rejected", "replay", "--follow", "--http-port", "8080"),
}
READY: Final = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/readyz', timeout=3).read().decode())"


class TryingError(Exception):
    """The image does not do what it must."""


def main() -> None:
    """Try it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.image.trying", description="Try the image.")
    parser.add_argument("--image", default=IMAGE)
    parser.add_argument("--kafka", default=KAFKA)
    parser.add_argument("--valkey", default=VALKEY)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        folder.chmod(0o755)  # the image's user reads the files
        trial = Trial(options.image, folder, convert(SAMPLE, folder))
        try:
            trial.start_services(options.kafka, options.valkey)
            trial.work()
            trial.end()
        except TryingError as error:
            sys.exit(str(error))
        finally:
            trial.remove()


class Trial:
    """The containers of one try, and their network."""

    def __init__(self, image: str, folder: Path, data: Input) -> None:
        """Take the image, and a folder with the data to send."""
        self._image, self._folder, self._data = image, folder, data
        self._name = f"order-facts-try-{secrets.token_hex(3)}"
        self._started: list[str] = []
        (folder / "identifier.key").write_text(secrets.token_hex(32))
        settings = {
            "BOOTSTRAP_SERVERS": "kafka:9092",
            "REDIS_URL": "redis://valkey:6379/0",
            "IDENTIFIER_KEY_FILE": "/data/identifier.key",
        }
        self._settings = [part for name, value in settings.items() for part in ("--env", f"ORDER_FACTS_{name}={value}")]

    def start_services(self, kafka: str, valkey: str) -> None:
        """Start the broker and Redis, on a network of this try alone."""
        docker("network", "create", self._name)
        self._start("valkey", valkey, REDIS_COMMAND, ())
        environment = single_broker_settings() | {
            "node.id": "1",
            "listeners": "BROKER://:9092,CONTROLLER://:9093",
            "advertised.listeners": "BROKER://kafka:9092",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": "1@localhost:9093",
        }
        pairs = {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in environment.items()}
        self._start("kafka", kafka, (), [part for pair in pairs.items() for part in ("--env", "=".join(pair))])

    def work(self) -> None:
        """Create topics, send contacts and events, serve, until all are accounted for."""
        self._command("topics", "create")
        self._command("contacts", "import", f"/data/{self._data.contacts.name}")
        for name, arguments in SERVED.items():
            options = ("--env", f"ORDER_FACTS_INSTANCE_ID={name}", "--stop-timeout", str(GRACE_S))
            self._start(name, self._image, arguments, (*HARDENED, *self._settings, *self._mount(), *options))
        given = (*HARDENED, *self._settings, *self._mount())
        self._start("events", self._image, ("events", "send", f"/data/{self._data.events.name}"), given)
        count = self._data.event_count
        self._until_done(1)
        self._stop("replica")
        if (done := self._done()) >= count:
            raise TryingError(f"all {count:,} events were done before the replica stopped: it was not under way")
        print(f"{done:,} of {count:,} events were done then")
        docker("start", self._container("replica"))
        self._until_done(count)
        print(f"{count:,} events became facts or rejected records")
        if (code := docker("wait", self._container("events")).strip()) != "0":
            raise TryingError(f"events send: exit code {code}\n{self._log('events')[-2000:]}")
        for name in SERVED:
            print(f"{name}: /readyz says {self._ready(name)}")

    def _until_done(self, count: int) -> None:
        deadline = time.monotonic() + WAIT_S
        while (done := self._done()) < count:
            if time.monotonic() > deadline:
                raise TryingError(f"{done:,} of {count:,} events after {WAIT_S:.0f} s\n{self._log('replica')[-2000:]}")
            time.sleep(0.1)

    def _ready(self, name: str) -> str:
        """Return what /readyz says, once it is well: a replica that was started again may have nothing left to do."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                return docker("exec", self._container(name), "/opt/order-facts/bin/python", "-c", READY).strip()
            except TryingError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _done(self) -> int:
        return sum(line["records"] for line in self._lines("replica") if line["event"] == "batch.committed")

    def end(self) -> None:
        """Stop each as a platform does; require exit code 0, in time, and that its log is JSON."""
        for name in SERVED:
            self._stop(name)
            lines = len(list(self._lines(name)))
            print(f"{name}: its {lines} log lines are all JSON")

    def _stop(self, name: str) -> None:
        began_s = time.monotonic()
        docker("stop", self._container(name))
        took_s = time.monotonic() - began_s
        code = docker("inspect", "--format", "{{.State.ExitCode}}", self._container(name)).strip()
        print(f"{name}: stopped in {took_s:.2f} s, exit code {code}")
        if code != "0" or took_s > STOP_S:
            raise TryingError(f"{name} must end within {STOP_S} s with exit code 0\n{self._log(name)[-2000:]}")

    def remove(self) -> None:
        """Remove the containers and the network."""
        for container in reversed(self._started):
            docker("rm", "--force", "--volumes", container)
        docker("network", "rm", self._name)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        for text in self._log(name).splitlines():
            try:
                yield json.loads(text)
            except ValueError as error:
                raise TryingError(f"{name}: a line of its log is no JSON: {text}") from error

    def _log(self, name: str) -> str:
        """Return what a container wrote; the program writes its log on standard error."""
        command = ("docker", "logs", self._container(name))
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout

    def _container(self, name: str) -> str:
        return f"{self._name}-{name}"

    def _mount(self) -> tuple[str, ...]:
        return ("--mount", f"type=bind,source={self._folder},target=/data,readonly")

    def _start(self, name: str, image: str, arguments: tuple[str, ...], options: Any) -> None:
        self._started.append(self._container(name))
        place = ("--name", self._container(name), "--network", self._name, "--network-alias", name)
        docker("run", "--detach", *place, *options, image, *arguments)

    def _command(self, *arguments: str) -> None:
        """Run a command of the program until its end."""
        given = ("--network", self._name, *HARDENED, *self._settings, *self._mount())
        docker("run", "--rm", *given, self._image, *arguments)


def docker(*arguments: str) -> str:
    """Run a command of Docker; return its output. Raises TryingError, with what it said, if it fails."""
    run = subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False)
    if run.returncode:
        raise TryingError(f"docker {' '.join(arguments)[:200]}: code {run.returncode}\n{run.stderr.strip()[-3000:]}")
    return run.stdout


if __name__ == "__main__":
    main()
