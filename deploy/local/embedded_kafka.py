"""A real Kafka 4 broker as a child process: KRaft, broker and controller in one, data in a folder.

The settings make one small broker for development and tests. Those that affect behaviour (record sizes, retention, how
often timed-out transactions are looked for) stay as in production.
"""

from __future__ import annotations

import base64
import re
import subprocess
import uuid
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.class_archive import CLASS_ARCHIVE, READ_CLASSES, WRITE_CLASSES, link_libraries, record_classes
from deploy.local.programs import java, kafka_libraries
from deploy.local.servers import HOST, EmbeddedServer, ServicesError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWER_S = 1.0
# Measured on two cores: the serial collector starts as fast as G1 and needs less memory. The first compiler alone
# saves a quarter of a second per start and leaves the cores to the tests. Classes from an archive save another second.
JVM = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


def single_broker_settings() -> dict[str, str]:
    """Return the broker settings that make one light broker enough, wherever it runs."""
    return {
        "process.roles": "broker,controller",
        "auto.create.topics.enable": "false",
        # One broker cannot hold three copies.
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A broker creates every partition of the internal topics, and reads them at a restart.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.num.partitions": "1",
        # A test's group need not wait for members that never come, nor 6 s for a dead one.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "log.cleaner.threads": "1",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # 128 MiB of heap by default
        # A killed broker may come back when its old session has ended: 9 s by default. With 2 s, a broker on a busy
        # machine sometimes loses its place.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
    }


class EmbeddedKafka(EmbeddedServer):
    """One broker with private data; read `bootstrap_servers` only after the first start."""

    heap = "1g"
    class_path = "libraries/*"  # relative to the folder

    def __init__(
        self,
        folder: Path,
        *,
        node_id: int = 1,
        overrides: Mapping[str, str] | None = None,
        abandoned: Path | None = None,
    ) -> None:
        """Take a folder of its own, and broker settings that replace the ones here.

        `abandoned` is a folder to remove if this process ends without stopping the broker.
        """
        super().__init__(folder, port_count=2, abandoned=abandoned)
        self.node_id = node_id
        self._cluster_id = new_cluster_id()
        self._overrides = dict(overrides or {})

    @property
    def bootstrap_servers(self) -> str:
        """Host and port of the broker."""
        return f"{HOST}:{self._ports[0]}"

    @property
    def voter(self) -> str:
        """This broker as a voter of the controllers' quorum."""
        return f"{self.node_id}@{HOST}:{self._ports[1]}"

    def _prepare(self) -> list[str]:
        """Write the settings; format the data folder if it is new. All paths are relative to the folder.

        (`log.dirs` splits at commas, a class path at colons.)
        """
        settings = single_broker_settings() | self._addresses() | self._overrides
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.folder / "server.properties").write_text("".join(lines))
        libraries = kafka_libraries()
        classes = self._class_archive(libraries)
        link_libraries(self.folder, libraries)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        return [java(), "-cp", self.class_path, f"-Xmx{self.heap}", *JVM, classes, "kafka.Kafka", "server.properties"]

    def _class_archive(self, libraries: Path) -> str:
        """Return Java's option to read the archive of classes; write the archive first if there is none."""
        if not (libraries / CLASS_ARCHIVE).exists():
            record_classes(libraries, "kafka.lock", _recorder)
        return READ_CLASSES

    def _addresses(self) -> dict[str, str]:
        broker, controller = self._ports
        return {
            "node.id": str(self.node_id),
            "log.dirs": "data",
            "listeners": f"BROKER://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"BROKER://{HOST}:{broker}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": self.voter,
        }

    def _format(self) -> None:
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster_id}", "-c", "server.properties"]
        result = subprocess.run(
            [java(), "-cp", self.class_path, "-Xmx256m", *JVM, READ_CLASSES, *tool],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise ServicesError(f"Kafka's data folder cannot be formatted:\n{result.stdout}{result.stderr}")

    def _answers(self) -> bool:
        meta = (self.folder / "data" / "meta.properties").read_text()
        cluster_id = re.search(r"^cluster\.id=(.+)$", meta, re.MULTILINE)
        assert cluster_id is not None
        return cluster_id_of(self.bootstrap_servers) == cluster_id[1].strip()


class _ClassRecorder(EmbeddedKafka):
    """A broker that writes its loaded classes to its folder when it stops."""

    def _class_archive(self, libraries: Path) -> str:
        del libraries
        return WRITE_CLASSES


def _recorder(folder: Path, abandoned: Path) -> EmbeddedKafka:
    return _ClassRecorder(folder, abandoned=abandoned)


def new_cluster_id() -> str:
    """Return an id for a new cluster."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def cluster_id_of(bootstrap_servers: str) -> str | None:
    """Return the id of the cluster that answers there with at least one broker, else None."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        metadata = admin.list_topics(timeout=ANSWER_S)
    except KafkaException:
        return None
    return str(metadata.cluster_id) if metadata.brokers else None
