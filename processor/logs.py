"""Log lines: JSON on standard error, one line for each thing that happens.

`EVENTS` names every event with its own fields, and `MEANINGS` says what each means. Dashboards depend on the names.
Every line also has `timestamp` (ISO 8601 UTC), `level`, `event`, `service`, `version` and `instance`. No line holds
personal data: no identifier values, no payloads. Units come last in names.
A line that cannot be written is dropped; the next one has `dropped_lines`, how many were lost before it.
"""

import logging
import os
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog import dev, processors

from processor import __version__

SERVICE: Final = "order-facts"
_REPEAT_S: Final = 10.0
_REMEMBERED: Final = 1_000
_STEPS: Final = "poll_ms decode_ms lookup_ms fold_ms commit_ms mirror_ms"

# event -> its meaning in one line, then its own fields.
_PUBLISHED: Final = {
    # a process
    "service.started": ("a replica starts and joins the group", "topics group_id"),
    "service.stopping": ("a stop was requested, and the current batch has ended", ""),
    "service.stopped": ("the replica has left the group; totals since its start", "events facts rejected"),
    "service.stop_forced": (
        "a service that does not answer holds up a stop: the process ends as it is, which loses nothing",
        "waited_ms",
    ),
    "service.failed": ("`run`, `contacts index` or `rejected replay --follow` ends with this error", "error exit_code"),
    "service.stats": (
        "every 10 s: totals since the start, the rate of the last 10 s, the lag (null if it is not known)",
        "events facts ignored invalid events_per_s lag_records partitions waiting_for contacts_age_s rss_bytes",
    ),
    # the recovery path
    "service.waiting": (
        "the replica cannot continue; it stays in the group and tries again after `backoff_ms`",
        "waiting_for error attempt backoff_ms",
    ),
    "service.resumed": ("what the replica waited for is back", "waiting_for waited_ms"),
    # `rejected replay --follow`
    "healer.started": ("`rejected replay --follow` starts", "topic within_s"),
    "healer.standby": ("another process sends rejected events back; this one takes over if that one ends", ""),
    "healer.ready": (
        "what waits was read from the rejected topic; `healed` is how many records were sent back before",
        "waiting healed took_ms",
    ),
    "healer.sent": ("one transaction: rejected events went back to the events topic", "records partitions send_ms"),
    "healer.expired": ("so many rejected events waited for `--within`, or are no longer in their topic", "records"),
    "healer.let_go": ("more than `most` rejected events wait: the oldest no longer do", "records most"),
    "healer.waiting": (
        "it cannot look up or send back now; it tries again after `backoff_ms`",
        "waiting_for error attempt backoff_ms",
    ),
    "healer.resumed": ("what `rejected replay --follow` waited for is back", "waiting_for waited_ms"),
    "healer.overtaken": ("`rejected replay` took over; this process goes on when that one has ended", ""),
    "healer.stats": ("every 10 s: how many wait, totals since the start", "waiting sent expired rss_bytes"),
    "healer.stopped": ("`rejected replay --follow` has stopped", "sent"),
    # a batch
    "batch.committed": (
        "one batch is committed in one transaction: the outcomes of its records, the time of each of the six steps",
        f"records facts ignored invalid reasons partitions input_bytes output_bytes {_STEPS}",
    ),
    "batch.aborted": (
        "a batch failed at `step`; `recovery` is `retry` or `producer_lost`",
        "recovery error step records",
    ),
    "batch.dropped": ("a rebalance came while a batch was read; its records are read again", "cause records"),
    "events.mixed_partitioners": (
        "of a sample of keys some are where murmur2 puts them and some elsewhere: producers differ, orders live twice",
        "keys_following keys_elsewhere",
    ),
    # partitions
    "group.rejoined": ("the consumer was fenced by its own earlier attempt to join; a new one joins", "error"),
    "partition.assigned": ("the group gave this replica partitions", "partitions"),
    "partition.revoked": (
        "the group took partitions away; `lost`: the replica learned of it only afterwards",
        "partitions lost",
    ),
    "partition.pending": ("another replica's open transaction delays the committed offsets", "partitions"),
    "partition.positioned": (
        "a partition is placed; its `mirror` is `equal`, `caught_up` or `none`",
        "partition offset facts_offset mirror",
    ),
    "partition.unreadable": (
        "the Kafka client cannot read a partition on; it waits alone, and is tried again after 5 s to 5 minutes",
        "topic partition offset error attempts",
    ),
    "partition.readable": ("a partition that could not be read is read on", "partition offset"),
    "partition.stalled": (
        "a partition has records up to `end_offset`, and gives none from `offset` on: it is placed again",
        "partition offset end_offset",
    ),
    "mirror.behind": (
        "a mirror is older than the committed offset, or missing: a catch-up begins",
        "partition from_facts_offset to_facts_offset missing",
    ),
    "mirror.damaged": (
        "a mirror cannot be read, or its mark cannot be true: it is removed and rebuilt from the facts",
        "partition problem",
    ),
    "mirror.progress": ("every 2 s: how far a catch-up is", "partition facts_offset to_facts_offset facts_read"),
    "mirror.caught_up": ("a catch-up is done", "partition facts_offset facts_read took_ms"),
    "mirror.not_written": ("Redis did not take a write; the next look-up starts a catch-up", "error partitions"),
    "producer.replaced": ("the producer was lost; a new one settles its transaction", "error"),
    "predecessor.fenced": ("the open transaction of a dead replica was ended", "transactional_id partitions cause"),
    "state.skipped": (
        "`state skip` stepped over events that cannot be read; `user` is who ran it",
        "topic partition offset to_offset records error user",
    ),
    # the breaker
    "breaker.tripped": ("too many events are invalid: a producer's schema is broken", "cause"),
    "breaker.paused": (
        "as `breaker.tripped`, and consuming stops: for `pause_s`, or if that is null until SIGUSR1",
        "cause pause_s",
    ),
    # the Kafka client
    "kafka.client": ("a message of the Kafka client: a broker is down, a certificate does not fit", "message"),
    # the contact index
    "contacts.started": ("`contacts index` has found its topic", "topic partitions shards lineage"),
    "contacts.stopped": ("`contacts index` has stopped", "records"),
    "contacts.build_started": ("the index is built from nothing, because of `cause`", "cause build to_offsets"),
    "contacts.ready": ("the index is complete: orders no longer wait", "build records took_ms"),
    "contacts.resumed": ("an index that fits was found and is kept up to date", "build from_offsets"),
    "contacts.damaged": (
        "a shard of the index cannot be read: it is removed, and `contacts index` rebuilds the index",
        "shard problem",
    ),
    "contacts.committed": ("one batch of contacts is in the index", "records changed deleted skipped read_ms write_ms"),
    "contacts.skipped": (
        "contact records of one batch cannot be read and are skipped: how many, and the first one's place and problem",
        "records partition offset problem",
    ),
    "contacts.conflicting": (
        "so many contacts have records in one more partition; the record with the latest timestamp counts",
        "topic contacts",
    ),
    "contacts.stale": (
        "`run` uses a contact index older than `contacts_max_age_s`: new contacts are not found",
        "age_s max_age_s",
    ),
    "contacts.fresh": ("the contact index that `run` uses is young enough again", "age_s"),
    "contacts.waiting": (
        "the index cannot be updated now; `contacts index` tries again after `backoff_ms`",
        "error attempt backoff_ms",
    ),
    "contacts.resumed_after_wait": ("what `contacts index` waited for is back", "waited_ms"),
    "contacts.stats": (
        "every 10 s: totals since the start, the rate of the last 10 s, the lag",
        "records skipped records_per_s lag_records ready conflicting",
    ),
}
EVENTS: Final = {event: tuple(fields.split()) for event, (_, fields) in _PUBLISHED.items()}
MEANINGS: Final = {event: meaning for event, (meaning, _) in _PUBLISHED.items()}


class _Writer:
    """Writes lines to a stream. A line that cannot be written is dropped and counted: events go on.

    A disk may be full, or the reader of a pipe gone. It writes to the file itself: a buffer would keep the line.
    """

    dropped = 0  # since the last line that was written
    total_dropped = 0  # of all writers

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_torn = False  # the last line was written in part

    def msg(self, message: str) -> None:
        """Write a line, or drop it."""
        try:
            self._write("\n" * self._is_torn + message + "\n")
            self.dropped, self._is_torn = 0, False
        except OSError:
            self.dropped += 1
            _Writer.total_dropped += 1

    log = debug = info = warn = warning = error = critical = fatal = exception = msg

    def _write(self, text: str) -> None:
        try:
            number = self._stream.fileno()
        except (OSError, ValueError):  # a stream in memory
            self._stream.write(text)
            return
        left = text.encode(errors="backslashreplace")
        while left:
            count = os.write(number, left)
            left = left[count:]
            self._is_torn = bool(left)


def dropped_lines() -> int:
    """Return how many log lines could not be written since the start."""
    return _Writer.total_dropped


class _KafkaClientLines(logging.Handler):
    """Turns the Kafka client's messages into log lines; logs the same message at most every ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last_s: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        now_s = time.monotonic()
        if now_s - self._last_s.get(message, -_REPEAT_S) >= _REPEAT_S:
            if len(self._last_s) >= _REMEMBERED:
                self._last_s.clear()
            self._last_s[message] = now_s
            get_logger().log(record.levelno, "kafka.client", message=message)


def kafka_client_logger() -> logging.Logger:
    """Return the logger for every Kafka client; it is silent until `show_kafka_client`."""
    logger = logging.getLogger("order-facts.kafka")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def show_kafka_client() -> None:
    """Log the Kafka client's messages: for the services, whose operators see only the log."""
    logger = kafka_client_logger()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(_KafkaClientLines())


def configure(log_format: str, level: str, instance: str, stream: TextIO = sys.stderr) -> None:
    """Send all log lines to `stream`: JSON lines, or coloured text with log_format=console."""
    is_console = log_format == "console"
    writer = _Writer(stream)
    renderer: Any = dev.ConsoleRenderer(colors=stream.isatty()) if is_console else processors.JSONRenderer()

    def add_origin(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        first = {name: line.pop(name) for name in ("timestamp", "level", "event")}
        origin = {"service": SERVICE, "version": __version__, "instance": instance}
        dropped = {"dropped_lines": writer.dropped} if writer.dropped else {}
        return {**first, **origin, **line, **dropped}

    structlog.configure(
        processors=[processors.add_log_level, processors.TimeStamper(fmt="iso", utc=True), add_origin, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger. Its events and fields are those of `EVENTS`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
