"""Catch-up: a partition's mirror is brought from where it is to the committed watermark, from the facts.

The facts topic is the changelog of the state: the latest fact of an order is the order. A catch-up reads
the partition's facts (committed ones only) in chunks between the service's batches, while other
partitions go on. Chunks move the mirror's facts offset only, the last one sets the whole watermark, so
that a catch-up that is cut off goes on where it was. A target beyond the readable end means wait: a
crashed member's open transaction holds readers back.
"""

import time
from collections.abc import Mapping
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from processor.adapters import kafka, metrics
from processor.adapters.avro import FRAMING
from processor.adapters.ledger import Watermark
from processor.adapters.mirror import Mirror, MirrorWrite
from processor.errors import StopError
from processor.logs import get_logger
from processor.settings import Settings

CHUNK_RECORDS: Final = 5_000
_QUEUE_KBYTES: Final = 16 << 10  # bounds a chunk's bytes
_PROGRESS_S: Final = 2.0
log = get_logger()


class _Job:
    """One partition's catch-up: from `mark`, which the mirror holds now, to `target`."""

    def __init__(self, tenure: int, mark: Watermark | None, target: Watermark) -> None:
        self.tenure = tenure
        self.mark = mark
        self.target = target
        self.position = mark.facts if mark else 0
        self.started = self.told = time.monotonic()
        self.facts_read = 0

    @property
    def done(self) -> bool:
        return self.position >= self.target.facts


class CatchUp:
    """The catch-ups under way in this member."""

    def __init__(self, settings: Settings, mirror: Mirror) -> None:
        self._settings = settings
        self._mirror = mirror
        self._jobs: dict[int, _Job] = {}
        self._reader: Consumer | None = None

    @property
    def partitions(self) -> set[int]:
        """The partitions that are being caught up."""
        return set(self._jobs)

    def begin(self, partition: int, tenure: int, mark: Watermark | None, target: Watermark) -> None:
        """Start to bring a partition's mirror from `mark` (None: it is missing) to `target`.

        `tenure` tells which assignment of the partition this is for.
        """
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

    def keep(self, tenures: Mapping[int, int]) -> None:
        """Drop the catch-ups that are not of these assignments: partition -> tenure."""
        dropped = [partition for partition, job in self._jobs.items() if tenures.get(partition) != job.tenure]
        for partition in dropped:
            del self._jobs[partition]
        if dropped:
            self._assign()

    def step(self, wait_s: float) -> dict[int, Watermark]:
        """Read and mirror one chunk; return the partitions that arrived, with their watermarks.

        A partition whose mirror another member wrote meanwhile is dropped: it is placed anew.
        """
        if not self._jobs:
            return {}
        values = self._read(wait_s)
        touched = [p for p, job in self._jobs.items() if p in values or job.done]
        writes = [self._write_of(partition, values.get(partition, {})) for partition in touched]
        moved = set(self._mirror.write(writes)) if writes else set()
        metrics.CAUGHT_UP.inc(sum(len(write.values) for write in writes))
        arrived = {}
        for write in writes:
            job = self._jobs[write.partition]
            job.mark = write.watermark
            if write.partition in moved:
                del self._jobs[write.partition]
            elif job.done:
                arrived[write.partition] = write.watermark
                del self._jobs[write.partition]
                self._tell(write.partition, job, done=True)
            else:
                self._tell(write.partition, job, done=False)
        if moved or arrived:
            self._assign()
        return arrived

    def close(self) -> None:
        """Drop everything."""
        self._jobs.clear()
        self._assign()

    def _read(self, wait_s: float) -> dict[int, dict[str | bytes, bytes]]:
        """Return the facts of one chunk by partition and order id, and move the jobs' positions."""
        values: dict[int, dict[str | bytes, bytes]] = {}
        waiting = any(not job.done for job in self._jobs.values())
        messages = self._reader.consume(CHUNK_RECORDS, wait_s) if waiting and self._reader is not None else []
        for message in messages:
            job = self._jobs.get(cast("int", message.partition()))
            if job is not None:
                self._take(message, job, values)
        return values

    @staticmethod
    def _take(message: Message, job: _Job, values: dict[int, dict[str | bytes, bytes]]) -> None:
        error, offset = message.error(), cast("int", message.offset())
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise kafka.classify(error, "reading facts")
        if job.done:
            return
        chunk = values.setdefault(cast("int", message.partition()), {})
        if error is not None:
            job.position = min(offset, job.target.facts)  # an end stands at the offset that is read next
            return
        if offset < job.target.facts:
            key, value = message.key(), message.value()
            if key is None or value is None or not value.startswith(FRAMING):
                raise StopError(
                    f"{message.topic()}[{message.partition()}]: offset {offset} holds no fact: something else writes "
                    "to the facts topic; take a new group_id with a new facts_topic and rejected_topic"
                )
            chunk[key] = value
            job.facts_read += 1
        job.position = min(offset + 1, job.target.facts)

    def _write_of(self, partition: int, values: dict[str | bytes, bytes]) -> MirrorWrite:
        job = self._jobs[partition]
        source = job.mark.source if job.mark else 0
        watermark = job.target if job.done else Watermark(source, job.position)
        return MirrorWrite(partition, job.mark, watermark, values)

    def _assign(self) -> None:
        """Have the reader read what the jobs still need, from where they are; without jobs, no reader."""
        if not self._jobs:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            return
        if self._reader is None:
            self._reader = kafka.reader(self._settings, **{"queued.max.messages.kbytes": _QUEUE_KBYTES})
        topic = self._settings.facts_topic
        self._reader.assign([TopicPartition(topic, p, job.position) for p, job in self._jobs.items() if not job.done])

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
