"""The audit of a deployment, live or idle: compares what the topics and the mirror hold with what the rules say.

It takes a consistent cut: first the group's committed offsets with their metadata, then everything below them,
partition by partition. It ignores newer records, writes nothing and joins no group.
"""

import sqlite3
import time
from typing import Final

import msgspec

from processor.audit.findings import Findings, Kind, order_name
from processor.audit.known_orders import Orders
from processor.audit.mirror_audit import MirrorAudit
from processor.audit.partition_audit import PartitionAudit, Standards, Tally, Window
from processor.audit.reading import Advance, Reading
from processor.codec.avro import codec
from processor.errors import StopError
from processor.kafka.cluster import Cluster
from processor.kafka.topics import describe_topics
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.settings.rules import rules_of
from processor.state import connection as redis
from processor.state.history import last_outputs
from processor.state.mirror import Mirror
from processor.state.watermark import Lineage, Watermark

_CLOCKS_MS: Final = 60_000  # how far apart clocks may be


class Audited(msgspec.Struct, frozen=True):
    """What was audited of one partition; without a window it has no committed offset.

    `mirror` is equal, differs, empty (so are the facts), or why it was not compared: missing, behind, ahead, damaged.
    """

    partition: int
    window: Window | None
    tally: Tally
    mirror: str


class Audit:
    """One audit. Creating it takes the cut; `run` does the work.

    Creating it raises UnreachableError or RetryError if a service does not answer, StopError if the topics and the
    committed offsets are not those of one deployment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wire = Wire(settings, settings.startup_timeout_s)
        self._cluster = Cluster(settings)
        cluster_id = self._cluster.wait()
        client = redis.connect(settings)
        redis.wait(client, settings)
        topics = describe_topics(settings, self._cluster)
        self._lineage = Lineage.of(cluster_id, settings.group_id, topics.events, topics.facts, topics.rejected)
        self._reading = Reading(settings, self._lineage)
        self._mirror = Mirror(client, self._lineage, codec())
        self._orders = Orders()
        self._findings = Findings()
        self._mirrors = MirrorAudit(self._mirror, self._reading, self._wire, self._orders, self._findings)
        self._partitions = range(topics.events.partitions)
        self._cuts = {partition: self._reading.committed(partition) for partition in self._partitions}
        self._ends = {
            settings.events_topic: {partition: cut.source for partition, cut in self._cuts.items() if cut is not None}
        }
        # Take the log ends after the cut: everything that committed transactions wrote is below them.
        for topic in (settings.facts_topic, settings.rejected_topic):
            self._ends[topic] = self._cluster.ends(topic, self._partitions, committed=False)
        lag_ms = int(self._cluster.topic_settings(settings.facts_topic).get("min.compaction.lag.ms", 0))
        now_ms = int(time.time() * 1000)
        self._standards = Standards(
            settings, self._wire, self._lineage.digest(), rules_of(settings), now_ms, now_ms - lag_ms + _CLOCKS_MS
        )

    @property
    def offsets(self) -> int:
        """How many offsets there are to read: about the number of records."""
        count = 0
        for topic, ends in self._ends.items():
            starts = self._cluster.starts(topic, ends)
            count += sum(max(0, end - starts[partition]) for partition, end in ends.items())
        return count

    def run(self, advance: Advance) -> tuple[list[Audited], Findings]:
        """Return what was audited and what was found; `advance` is called with the number of records read.

        Raises RetryError or RedisError if a service stops answering, StopError if the disk is full.
        """
        self._reading.advance = advance
        try:
            audited = [self._partition(partition) for partition in self._partitions]
            for key, partitions in self._orders.in_several_partitions():
                self._findings.add(Kind.TWO_PARTITIONS, f"{order_name(key)} has facts in partitions {partitions}")
        except sqlite3.Error as error:
            problem = f"the temporary database: {error}; name a folder with more room in SQLITE_TMPDIR"
            raise StopError(problem) from error
        finally:
            self._orders.close()
            self._wire.close()
            self._reading.close()
        return audited, self._findings

    def _partition(self, partition: int) -> Audited:
        cut = self._cuts[partition]
        if cut is None:
            self._judge_uncommitted(partition)
            return Audited(partition, None, Tally(), "empty")
        settings = self._settings
        topics = (settings.events_topic, settings.facts_topic, settings.rejected_topic)
        starts = [self._cluster.starts(topic, [partition])[partition] for topic in topics]
        window = Window(partition, cut, *starts)
        records = (
            self._reading.records(topic, partition, start, self._ends[topic][partition])
            for topic, start in zip(topics, starts, strict=True)
        )
        tally = PartitionAudit(self._standards, window, self._orders, self._findings).run(*records)
        if window.facts_start > 0:
            place = f"{settings.facts_topic}[{partition}]"
            self._findings.add(Kind.FACTS_DELETED, f"{place}: facts below offset {window.facts_start} were deleted")
        self._judge_last(partition, tally, cut)
        state = self._mirrors.compare(partition, cut, tally.facts_bytes // max(1, tally.facts))
        return Audited(partition, window, tally, state)

    def _judge_uncommitted(self, partition: int) -> None:
        """Require that a partition without a committed offset has no output."""
        mark = self._mirror.marks([partition])[partition].watermark
        last = last_outputs(self._settings, self._wire, self._cluster, self._lineage, [partition])[partition]
        if (not last.is_empty or mark is not None) and self._reading.committed(partition) is None:
            text = f"{self._settings.events_topic}[{partition}] has outputs, and the group has no committed offset"
            self._findings.add(Kind.WATERMARK, text)

    def _judge_last(self, partition: int, tally: Tally, cut: Watermark) -> None:
        """Require that every output's offset is committed by now: one transaction writes both."""
        if tally.last_source < cut.source:
            return
        committed = self._reading.committed(partition)
        if committed is None or committed.source <= tally.last_source:
            now = "none" if committed is None else committed.source
            text = f"has outputs up to source offset {tally.last_source}, yet the committed offset is {now}"
            self._findings.add(Kind.WATERMARK, f"{self._settings.events_topic}[{partition}] {text}")
