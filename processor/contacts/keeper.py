"""The contact index's keeper: reads the contacts topic and keeps the index in Redis up to date (C1 to C4).

It reads all partitions by itself, in no group. The index holds its position. A session is:

1. check the topic: it must be compacted;
2. take over the index from its last writer, which ends that one;
3. resume at the index's position, or rebuild the index if it is missing or does not fit;
4. batch by batch: poll, decode, write (`contacts.session`). Idle positions are written too. Every few seconds the
   topic's ends show whether the index is complete, and since when.

Any failure ends the session; after a wait the next one begins at 1. Nothing is retried elsewhere. Only an error that
no retry can fix (StopError) ends the keeper.
"""

import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Final

from processor.contacts.changes import Source
from processor.contacts.keeper_view import KeeperView
from processor.contacts.session import Opened, Session, Totals
from processor.contacts.shards import FORMAT, SHARDS, Hashes, Mark, Position, lineage_of
from processor.contacts.writer import TOKEN_BYTES, IndexWriter, standing, why_build
from processor.errors import ProducerLostError, RetryError, StopError
from processor.kafka.clients import reader
from processor.kafka.cluster import Cluster, Topic
from processor.kafka.failures import failures
from processor.kafka.repeats import Repeats
from processor.kafka.topics import RETENTION_MARGIN, deletions_kept_ms, require_compact
from processor.logs import get_logger
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.settings.rules import identification_of
from processor.state import connection as redis_adapter
from processor.state.servers import Servers
from processor.state.watermark import check_metadata_fits

log = get_logger()
_FIRST_BACKOFF_S: Final = 0.1
_MAX_BACKOFF_S: Final = 5.0


class IndexKeeper:
    """Keeps the index: runs session after session, with waits between them. Raises UsageError without identifier_key.

    With `accept_new_topic` it builds the index from a recreated topic. `skips` are places (partition, offset) to step
    over if the Kafka client cannot read them.
    """

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        *,
        accept_new_topic: bool = False,
        skips: Iterable[tuple[int, int]] = (),
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._accept_new_topic = accept_new_topic
        self._skips = frozenset(skips)
        self._hashes = Hashes(settings)
        self._cluster = Cluster(settings)
        self._wire = Wire(settings)
        self._totals = Totals()
        self._token = secrets.token_bytes(TOKEN_BYTES)
        self._last_id = b""
        self._has_started = False
        self._repeats = Repeats(settings.contacts_topic)

    def run(self) -> None:
        """Keep the index until `stop` is set.

        Raises UnreachableError or RegistryError if a service does not answer at the start, UsageError if http_port
        cannot be had, and StopError if the topic is missing, not compacted, keeps deletions too short or is recreated,
        or if another writer took over.
        """
        self._wire.require_contacts()
        lineage = lineage_of(self._cluster.wait(), self._settings)
        with closing(redis_adapter.connect(self._settings)) as servers:
            redis_adapter.wait(servers, self._settings)
            view = KeeperView(self._settings)
            while not self._stop.is_set():
                try:
                    with failures(f"topic {self._settings.contacts_topic}"):
                        self._session(lineage, servers, view)
                except (RetryError, ProducerLostError) as error:  # a session creates its own Kafka clients
                    servers.ask_anew()
                    self._wait(error, view)
        self._wire.close()
        view.stopped(self._totals)

    def _session(self, lineage: str, servers: Servers, view: KeeperView) -> None:
        """Run one session; return when `stop` is set."""
        topic, max_age_ms = self._topic(lineage)
        consumer = reader(self._settings)
        with closing(consumer):
            redis_adapter.check_server(servers)
            with closing(IndexWriter(servers, lineage, self._hashes, self._token)) as writer:
                self._last_id = writer.take(self._last_id)
                opened = self._open(writer, topic, max_age_ms)
                source = Source(consumer, self._wire, self._skips, lambda: reader(self._settings))
                session = Session(self._cluster, source, writer, opened, self._totals)
                while not self._stop.is_set():
                    session.step()
                    self._repeats.worked()
                    view.turned(session, self._totals)
                session.finish()

    def _topic(self, lineage: str) -> tuple[Topic, float]:
        """Return the contacts topic, and how old in ms an index may be. Raises StopError if the topic is unfit."""
        name = self._settings.contacts_topic
        topic = self._cluster.topics([name]).get(name)
        if topic is None:
            problem = f"the topic {name} is missing; create it with: order-facts topics create"
            raise RetryError(problem) if self._has_started else StopError(problem)
        settings = self._cluster.topic_settings(name)
        require_compact(name, settings, "it holds all contacts")
        kept_ms = deletions_kept_ms(name, settings)
        check_metadata_fits(topic.partitions)
        if not self._has_started:
            self._has_started = True
            log.info("contacts.started", topic=name, partition_count=topic.partitions, shards=SHARDS, lineage=lineage)
        return topic, kept_ms * RETENTION_MARGIN

    def _open(self, writer: IndexWriter, topic: Topic, max_age_ms: float) -> Opened:
        """Resume the index, or begin to build it. Raises StopError for a recreated topic, unless that is accepted."""
        topic_ids = {shard.mark.topic_id for shard in writer.shards if shard.mark is not None}
        if topic_ids - {topic.topic_id} and not self._accept_new_topic:  # it may hold other contacts, or none yet
            raise StopError(
                f"the topic {topic.name} was recreated since its contacts were indexed; once it holds them all, "
                "build the index from it with: order-facts contacts index --accept-new-topic"
            )
        rules = identification_of(self._settings)
        now_ms, partitions = int(time.time() * 1000), range(topic.partitions)
        offsets = self._cluster.ranges(topic.name, partitions)
        held = [(offsets[partition].start, offsets[partition].stop) for partition in partitions]
        ends = self._cluster.ends(topic.name, partitions)
        wanted = Mark(
            format=FORMAT,
            build=secrets.token_hex(8),
            topic_id=topic.topic_id,
            ends=tuple(ends[partition] for partition in partitions),
            is_ready=False,
            phones=rules.phones.name,
        )
        cause = why_build(writer.shards, wanted, held, int(now_ms - max_age_ms))
        if cause is None:
            mark, position = standing(writer.shards)
            writer.level()
            log.info("contacts.resumed", build=mark.build, from_offsets=position.offsets)
        else:
            mark, position = wanted, Position(tuple(start for start, _ in held), now_ms)
            log.info("contacts.build_started", cause=cause, build=mark.build, to_offsets=mark.ends)
            writer.build(mark, position)
        self._accept_new_topic = False
        return Opened(topic, rules, max_age_ms, mark, position)

    def _wait(self, error: RetryError | ProducerLostError, view: KeeperView) -> None:
        """Report the error, and wait, longer each time. Raises StopError if a lasting one repeats."""
        self._repeats.failed(error)
        backoff_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(view.attempts, 10))
        view.blocked(error.waiting_for, str(error), backoff_s)
        self._stop.wait(backoff_s)
