"""Catch-up: a partition's mirror is brought from where it is to the committed watermark, from the facts.

The facts topic is the changelog of the state: the latest fact of an order is the order. A catch-up reads
the partition's facts (committed ones only) in chunks between the service's batches, while other partitions
go on, and sends each chunk to Redis while it reads the next. Chunks move the mirror's facts offset only, the
last one sets the whole watermark, so that a catch-up that is cut off goes on where it was. A target beyond
the readable end means wait: a crashed member's open transaction holds readers back.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from processor.codec.schemas import FRAMING
from processor.errors import RedisError, StopError
from processor.kafka.clients import reader
from processor.kafka.failures import classify, failures
from processor.logs import get_logger
from processor.replica import metrics
from processor.replica.partitions import Tenure
from processor.settings import Settings
from processor.state.connection import Line
from processor.state.mirror import Mirror, MirrorWrite
from processor.state.watermark import Watermark

CHUNK_RECORDS: Final = 5_000
_QUEUE_KBYTES: Final = 16 << 10  # bounds a chunk's bytes
_PROGRESS_S: Final = 2.0
log = get_logger()


class _Job:
    """One partition's catch-up: from `mark`, which the mirror holds once all that was sent is done, to `target`."""

    def __init__(self, tenure: Tenure, mark: Watermark | None, target: Watermark) -> None:
        self.tenure = tenure
        self.mark = mark
        self.target = target
        self.position = mark.facts if mark else 0
        self.started = self.told = time.monotonic()
        self.facts_read = 0

    @property
    def done(self) -> bool:
        """Whether all was read."""
        return self.position >= self.target.facts


class CatchUp:
    """The catch-ups under way in this member."""

    def __init__(self, settings: Settings, mirror: Mirror, line: Line) -> None:
        self._settings = settings
        self._mirror = mirror
        self._line = line  # of its own: Redis takes one chunk while the next is read
        self._jobs: dict[int, _Job] = {}
        self._under_way: list[tuple[_Job, MirrorWrite]] = []  # sent, not answered
        self._reader: Consumer | None = None
        self._reads: dict[int, _Job] = {}  # what the reader reads
        self.is_waiting = False  # for facts that another's open transaction holds back, or that are on their way

    @property
    def partitions(self) -> set[int]:
        """The partitions that are being caught up."""
        return set(self._jobs)

    def begin(self, partition: int, tenure: Tenure, mark: Watermark | None, target: Watermark) -> None:
        """Start to bring a partition's mirror from `mark` (None: it is missing) to `target`, in one of its tenures."""
        if mark is None:
            self._mirror.remove(partition)
        self._jobs[partition] = job = _Job(tenure, mark, target)
        self._assign()
        log.info(
            "mirror.behind",
            partition=partition,
            from_facts_offset=job.position,
            to_facts_offset=target.facts,
            missing=mark is None,
        )

    def keep(self, tenures: Mapping[int, Tenure | None]) -> None:
        """Drop the catch-ups that are not of these tenures, by partition."""
        dropped = [partition for partition, job in self._jobs.items() if tenures.get(partition) is not job.tenure]
        for partition in dropped:
            del self._jobs[partition]
        if dropped:
            self._assign()

    def step(self, wait_s: float) -> dict[int, Watermark]:
        """Read one chunk while Redis takes the one before, send it, and return the partitions that arrived.

        A partition whose mirror another member wrote meanwhile is dropped: it is placed anew.
        """
        self.is_waiting = False
        if not self._jobs:
            return {}
        values = self._read(wait_s)
        self.is_waiting = not values
        arrived = self._answered()
        under_way = [
            (job, self._write_of(partition, job, values.get(partition, {})))
            for partition, job in self._jobs.items()
            if partition in values or (job.done and job.mark != job.target)
        ]
        self._mirror.send(self._line, [write for _, write in under_way])
        self._under_way = under_way
        self._assign()
        return arrived

    def close(self) -> None:
        """Drop everything."""
        with suppress(RedisError):
            self._answered()  # what was sent is done, and told, before anybody looks where the mirror is
        self._jobs.clear()
        self._assign()

    def _answered(self) -> dict[int, Watermark]:
        """Read what became of the chunk before; let go of partitions that arrived, or that another member wrote."""
        sent, self._under_way = self._under_way, []
        answers = self._line.answers()
        arrived = {}
        for (job, write), is_written in zip(sent, answers, strict=True):
            if self._jobs.get(write.partition) is not job:
                continue  # dropped meanwhile
            is_over = write.watermark == job.target
            if is_over or not is_written:
                del self._jobs[write.partition]
            if is_written:
                metrics.CAUGHT_UP.inc(len(write.values))
                self._tell(write.partition, job, done=is_over)
                if is_over:
                    arrived[write.partition] = write.watermark
        return arrived

    def _read(self, wait_s: float) -> dict[int, dict[str | bytes, bytes]]:
        """Return the facts of one chunk by partition and order id, and move the jobs' positions."""
        values: dict[int, dict[str | bytes, bytes]] = {}
        reader = self._reader
        if reader is None or all(job.done for job in self._jobs.values()):
            return values
        first = reader.poll(wait_s)  # consume() alone would wait for a whole chunk
        messages: list[Any] = [first, *reader.consume(CHUNK_RECORDS - 1, 0)] if first is not None else []
        for message in messages:
            partition, offset = message.partition(), message.offset()
            job = self._jobs.get(partition)
            if job is None or job.position >= job.target.facts:
                continue
            chunk = values.get(partition)
            if chunk is None:
                chunk = values[partition] = {}
            if message.error() is not None:
                self._reach(job, message)
            else:
                if offset < job.target.facts:
                    chunk[message.key()] = self._fact(message)
                    job.facts_read += 1
                job.position = min(offset + 1, job.target.facts)
        return values

    @staticmethod
    def _reach(job: _Job, message: Any) -> None:
        """Take the end of a partition, which stands at the offset that is read next; raise any other error."""
        if message.error().code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise classify(message.error(), "reading facts")
        job.position = min(message.offset(), job.target.facts)

    @staticmethod
    def _fact(message: Any) -> bytes:
        value: bytes | None = message.value()
        if value is None or message.key() is None or not value.startswith(FRAMING):
            raise StopError(
                f"{message.topic()}[{message.partition()}]: offset {message.offset()} holds no fact: something else "
                "writes to the facts topic; take a new group_id with a new facts_topic and rejected_topic"
            )
        return value

    @staticmethod
    def _write_of(partition: int, job: _Job, values: dict[str | bytes, bytes]) -> MirrorWrite:
        before, source = job.mark, job.mark.source if job.mark else 0
        job.mark = job.target if job.done else Watermark(source, job.position)
        return MirrorWrite(partition, before, job.mark, values)

    def _assign(self) -> None:
        """Have the reader read what the jobs still need, from where they are; without jobs, no reader."""
        if not self._jobs:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
                self._reads.clear()
            return
        if self._reader is None:
            self._reader = reader(self._settings, **{"queued.max.messages.kbytes": _QUEUE_KBYTES})
        topic, wanted = self._settings.facts_topic, {p: job for p, job in self._jobs.items() if not job.done}
        given_up = [TopicPartition(topic, p) for p, job in self._reads.items() if wanted.get(p) is not job]
        new = [TopicPartition(topic, p, job.position) for p, job in wanted.items() if self._reads.get(p) is not job]
        with failures("assigning facts"):
            if given_up:
                self._reader.incremental_unassign(given_up)
            if new:
                self._reader.incremental_assign(new)
        self._reads = wanted

    def _tell(self, partition: int, job: _Job, *, done: bool) -> None:
        now = time.monotonic()
        if done:
            log.info(
                "mirror.caught_up",
                partition=partition,
                facts_offset=job.position,
                facts_read=job.facts_read,
                took_ms=round((now - job.started) * 1000),
            )
        elif now - job.told >= _PROGRESS_S:
            job.told = now
            log.info(
                "mirror.progress",
                partition=partition,
                facts_offset=job.position,
                to_facts_offset=job.target.facts,
                facts_read=job.facts_read,
            )
