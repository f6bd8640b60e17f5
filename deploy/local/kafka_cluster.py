"""Three real Kafka brokers as child processes: one cluster, with every partition on each of them.

An acknowledged record is on at least two of them (`min.insync.replicas`), and two of the three voters are a quorum: one
broker may be killed or freeze, and everything continues. All topics get these settings, the internal ones too, unless
they are created with others.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.embedded_kafka import ANSWER_S, EmbeddedKafka, new_cluster_id
from deploy.local.servers import ServicesError

if TYPE_CHECKING:
    from pathlib import Path

BROKERS = 3
IN_SYNC_S = 120.0  # a bound, not a wait: a killed broker is in sync again within seconds
LOOK_EVERY_S = 0.2


class ClusterBroker(EmbeddedKafka):
    """One broker and voter of a cluster; set `voters` before its first start. It never changes its ports."""

    heap = "512m"

    def __init__(self, folder: Path, node_id: int, cluster_id: str, abandoned: Path | None) -> None:
        super().__init__(folder, node_id=node_id, overrides=cluster_settings(), abandoned=abandoned)
        self._cluster_id = cluster_id
        self._keeps_ports = True
        self.voters = ""

    def sees(self) -> tuple[set[int], bool]:
        """Return the live brokers' ids as this broker sees them, and whether every partition is in sync on all."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            metadata = admin.list_topics(timeout=ANSWER_S)
        except KafkaException:
            return set(), False
        partitions = [entry for topic in metadata.topics.values() for entry in topic.partitions.values()]
        return set(metadata.brokers), all(len(entry.isrs) == BROKERS for entry in partitions)

    def _addresses(self) -> dict[str, str]:
        return super()._addresses() | {"controller.quorum.voters": self.voters}

    def _answers(self) -> bool:
        """Return whether the cluster has admitted this broker: a restarted one is fenced until it has caught up."""
        return super()._answers() and self.node_id in self.sees()[0]


class KafkaCluster:
    """The brokers; `bootstrap_servers` names them all. Not for several threads at once."""

    def __init__(self, folder: Path, *, abandoned: Path | None = None) -> None:
        """Take a folder of its own; `abandoned` is a folder to remove if this process ends without stopping them."""
        cluster_id = new_cluster_id()
        self.brokers = [
            ClusterBroker(folder / f"broker-{number}", number, cluster_id, abandoned)
            for number in range(1, BROKERS + 1)
        ]
        for broker in self.brokers:
            broker.voters = ",".join(other.voter for other in self.brokers)

    @property
    def bootstrap_servers(self) -> str:
        """Host and port of every broker."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def start(self) -> None:
        """Start all brokers at once, since none answers alone, and wait until they know each other."""
        try:
            with ThreadPoolExecutor(BROKERS) as starters:
                list(starters.map(EmbeddedKafka.start, self.brokers))
            self.await_in_sync()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End all brokers by SIGKILL: at SIGTERM the last one would wait for a quorum to hand over to."""
        for broker in self.brokers:
            broker.kill()

    def await_in_sync(self) -> None:
        """Wait until every broker sees all of them alive and each partition's copies in sync."""
        deadline = time.monotonic() + IN_SYNC_S
        everyone = ({broker.node_id for broker in self.brokers}, True)
        while any(broker.sees() != everyone for broker in self.brokers):
            if time.monotonic() > deadline:
                raise ServicesError(f"the brokers are not in sync after {IN_SYNC_S:g} s")
            time.sleep(LOOK_EVERY_S)


def cluster_settings() -> dict[str, str]:
    """Return the broker settings that differ from those of a single broker: copies, and how many must be in sync."""
    copies, in_sync = str(BROKERS), str(BROKERS - 1)
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }
