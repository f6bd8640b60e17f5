"""Catch-up: brings a partition's mirror up to the committed watermark, from the facts.

A catch-up reads the partition's committed facts in chunks between the service's batches, and sends each chunk to Redis
while it reads the next. A chunk moves only the mirror's facts offset, and the last one sets the whole watermark, so an
interrupted catch-up continues where it was. If the target is beyond the readable end, it waits: a crashed member's open
transaction holds readers back.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, TopicPartition

from processor.codec.schemas import FRAMING
from processor.domain.records import UndecodableError
from processor.errors import RedisError, StopError
from processor.kafka.clients import reader
from processor.kafka.failures import failures, is_end
from processor.kafka.sight import Sight
from processor.logs import get_logger
from processor.replica import metrics
from processor.replica.partitions import Partitions, Tenure
from processor.settings import Settings
from processor.state.line import Line
from processor.state.mirror import Mirror, MirrorWrite
from processor.state.watermark import Watermark

CHUNK_RECORDS: Final = 5_000
_QUEUE_KBYTES: Final = 16 << 10  # bounds a chunk's bytes
_PROGRESS_S: Final = 2.0
PlainFact = Callable[[bytes], bytes]
"""Gives a fact in single-object encoding (see `registry.wire`)."""
log = get_logger()


class _Job(msgspec.Struct, eq=False):
    """One partition's catch-up to `target`; the mirror holds `mark` once everything sent is written."""

    tenure: Tenure
    mark: Watermark | None
    target: Watermark
    position: int  # of the next fact
    facts_read: int = 0
    started: float = msgspec.field(default_factory=time.monotonic)
    logged: float = msgspec.field(default_factory=time.monotonic)

    @property
    def done(self) -> bool:
        """Whether all facts are read."""
        return self.position >= self.target.facts

    def write(self, partition: int, values: dict[str | bytes, bytes]) -> MirrorWrite:
        """Return the write of the facts read since the last one; `mark` is its watermark then."""
        before, source = self.mark, self.mark.source if self.mark else 0
        self.mark = self.target if self.done else Watermark(source, self.position)
        return MirrorWrite(partition, before, self.mark, values)

    def log(self, partition: int, *, is_over: bool) -> None:
        """Log the end, or every two seconds how far it is."""
        now = time.monotonic()
        far = {"partition": partition, "facts_offset": self.position, "facts_read": self.facts_read}
        if is_over:
            log.info("mirror.caught_up", **far, took_ms=round((now - self.started) * 1000))
        elif now - self.logged >= _PROGRESS_S:
            self.logged = now
            log.info("mirror.progress", **far, to_facts_offset=self.target.facts)


class CatchUp:
    """The catch-ups in progress in this replica."""

    def __init__(
        self, settings: Settings, partitions: Partitions, mirror: Mirror, line: Line, plain_fact: PlainFact
    ) -> None:
        self._settings = settings
        self._plain_fact = plain_fact
        self._partitions = partitions
        self._mirror = mirror
        self._line = line  # its own line: Redis takes one chunk while the next is read
        self._jobs: dict[int, _Job] = {}
        self._unanswered: list[tuple[_Job, MirrorWrite]] = []  # writes sent, answers not read
        self._reader: Consumer | None = None
        self._reads: dict[int, _Job] = {}  # the jobs that the reader is assigned to
        self.is_waiting = False  # for facts that are still to arrive, or that another's open transaction holds back

    def begin(self, partition: int, mark: Watermark | None, target: Watermark) -> None:
        """Start to bring an owed partition's mirror from `mark` (None: it is missing) to `target`, in this tenure."""
        if mark is None:
            self._mirror.remove(partition)
        tenure, position = self._partitions.begin_catch_up(partition), mark.facts if mark else 0
        self._jobs[partition] = _Job(tenure, mark, target, position)
        self._assign()
        offsets = {"from_facts_offset": position, "to_facts_offset": target.facts}
        log.info("mirror.behind", partition=partition, **offsets, missing=mark is None)

    def tidy(self) -> None:
        """Drop the catch-ups of earlier tenures, and owe a place to partitions whose catch-up has ended."""
        dropped = [p for p, job in self._jobs.items() if self._partitions.tenure(p) is not job.tenure]
        for partition in dropped:
            del self._jobs[partition]
        if dropped:
            self._assign()
        self._partitions.end_catch_ups(self._jobs)

    def step(self, wait_s: float) -> dict[int, Watermark]:
        """Read one chunk while Redis takes the one before, send it, and return the partitions that are caught up."""
        self.tidy()
        if not self._jobs:
            return {}
        values = self._read(wait_s)
        self.is_waiting = not values
        arrived = self._answered()
        writes = [
            (job, job.write(partition, values.get(partition, {})))
            for partition, job in self._jobs.items()
            if partition in values or (job.done and job.mark != job.target)
        ]
        self._mirror.send(self._line, [write for _, write in writes])
        self._unanswered = writes
        self._assign()
        return arrived

    def close(self) -> None:
        """Drop all catch-ups."""
        with suppress(RedisError):
            self._answered()  # finish and log what was sent before anyone reads the mirror's mark
        self._jobs.clear()
        self._assign()
        self._partitions.end_catch_ups(())

    def _answered(self) -> dict[int, Watermark]:
        """Read the answers to the last chunk; end the catch-ups that arrived, or whose mirror another member wrote."""
        sent, self._unanswered = self._unanswered, []
        arrived = {}
        for (job, write), is_written in zip(sent, self._line.answers(), strict=True):
            if self._jobs.get(write.partition) is not job:
                continue  # dropped meanwhile
            is_over = write.watermark == job.target
            if is_over or not is_written:
                del self._jobs[write.partition]
            if is_written:
                metrics.CAUGHT_UP.inc(len(write.values))
                job.log(write.partition, is_over=is_over)
                if is_over:
                    arrived[write.partition] = write.watermark
        return arrived

    def _read(self, wait_s: float) -> dict[int, dict[str | bytes, bytes]]:
        """Return the facts of one chunk, by partition and order id, and move the jobs' positions."""
        values: defaultdict[int, dict[str | bytes, bytes]] = defaultdict(dict)
        reader = self._reader
        if reader is None or all(job.done for job in self._jobs.values()):
            return values
        first = reader.poll(wait_s)  # `consume` alone would wait for a whole chunk
        self._sight.polled(is_empty=first is None)
        messages: list[Any] = [first, *reader.consume(CHUNK_RECORDS - 1, 0)] if first is not None else []
        for message in messages:
            partition, offset = message.partition(), message.offset()
            job = self._jobs.get(partition)
            if job is None or job.position >= job.target.facts:
                continue
            chunk = values[partition]
            is_fact = not is_end(message, "reading facts")
            if is_fact and offset < job.target.facts:
                chunk[message.key()] = self._fact(message)
                job.facts_read += 1
            job.position = min(offset + is_fact, job.target.facts)
        return values

    def _assign(self) -> None:
        """Assign to the reader what the jobs still need, from their positions; without jobs close it."""
        metrics.CATCH_UP_LEFT.set(sum(job.target.facts - job.position for job in self._jobs.values()))
        if not self._jobs:
            if self._reader is not None:
                self._reader.close()
            self._reader, self._reads = None, {}
            return
        if self._reader is None:
            self._reader = reader(self._settings, **{"queued.max.messages.kbytes": _QUEUE_KBYTES})
            self._sight = Sight(self._reader, self._settings.facts_topic)
        topic, wanted = self._settings.facts_topic, {p: job for p, job in self._jobs.items() if not job.done}
        given_up = [TopicPartition(topic, p) for p, job in self._reads.items() if wanted.get(p) is not job]
        new = [TopicPartition(topic, p, job.position) for p, job in wanted.items() if self._reads.get(p) is not job]
        with failures("assigning facts"):
            self._reader.incremental_unassign(given_up)
            self._reader.incremental_assign(new)
        self._reads = wanted

    def _fact(self, message: Any) -> bytes:
        """Return a fact as mirrors hold it."""
        value: bytes | None = message.value()
        try:
            plain = b"" if value is None or message.key() is None else self._plain_fact(value)
        except UndecodableError:
            plain = b""
        if not plain.startswith(FRAMING):
            raise StopError(
                f"{message.topic()}[{message.partition()}]: offset {message.offset()} is not a valid fact: "
                "another program writes to the topic; take a new group_id with a new facts_topic and rejected_topic"
            )
        return plain
