"""Log lines: JSON on standard error, one canonical line for each thing that happened.

`EVENTS` is the list of every event with its own fields, in one place; dashboards build on it. Every line
also has `timestamp` (ISO 8601 UTC), `level`, `event`, `service`, `version` and `instance`. No line holds
personal data: no identifier values, no payloads. Units stand last in names.
"""

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from processor import __version__

SERVICE: Final = "order-facts"
_REPEAT_S: Final = 10.0
_REMEMBERED: Final = 1_000
_STEPS: Final = ("poll_ms", "decode_ms", "lookup_ms", "fold_ms", "commit_ms", "mirror_ms")

# event -> its own fields. A field in round brackets is left out where there is nothing to say.
EVENTS: Final[dict[str, tuple[str, ...]]] = {
    # the processor's life
    "service.started": ("topics", "group_id"),
    "service.stopping": (),
    "service.stopped": ("events", "facts", "rejected"),
    "service.failed": ("error", "exit_code"),
    "service.stats": (
        *("events", "facts", "ignored", "invalid", "events_per_s", "lag_records"),
        *("partitions", "waiting_for", "rss_bytes"),
    ),
    # the recovery path: `recovery` is retry, producer_lost or stop
    "service.waiting": ("waiting_for", "error", "attempt", "backoff_ms"),
    "service.resumed": ("waiting_for", "waited_ms"),
    # one batch, one transaction; the six steps by their time
    "batch.committed": (
        *("records", "facts", "ignored", "invalid", "reasons", "partitions", "input_bytes", "output_bytes"),
        *_STEPS,
    ),
    "batch.aborted": ("recovery", "error", "step", "records"),
    "batch.dropped": ("cause", "records"),
    # partitions
    "group.rejoined": ("error",),  # with a new consumer, as the old one was fenced by its own ghost
    "partition.assigned": ("partitions",),
    "partition.revoked": ("partitions", "lost"),
    "partition.pending": ("partitions",),  # a predecessor's transaction holds the committed offsets open
    "partition.positioned": ("partition", "offset", "facts_offset", "mirror"),
    "mirror.behind": ("partition", "from_facts_offset", "to_facts_offset", "missing"),
    "mirror.progress": ("partition", "facts_offset", "to_facts_offset", "facts_read"),
    "mirror.caught_up": ("partition", "facts_offset", "facts_read", "took_ms"),
    "mirror.not_written": ("error", "partitions"),
    "producer.replaced": ("error",),
    "predecessor.fenced": ("transactional_id", "partitions", "cause"),
    # too many invalid events: a producer's schema broke
    "breaker.tripped": ("cause",),
    "breaker.paused": ("cause", "pause_s"),
    # what the Kafka client itself reports: a broker that is down, a certificate that does not fit
    "kafka.client": ("message",),
    # the contact index
    "contacts.started": ("topic", "partitions", "shards"),
    "contacts.stopped": ("records",),
    "contacts.build_started": ("cause", "build", "to_offsets"),
    "contacts.ready": ("build", "records", "took_ms"),
    "contacts.resumed": ("build", "from_offsets"),
    "contacts.committed": ("records", "changed", "deleted", "skipped", "read_ms", "write_ms"),
    "contacts.skipped": ("partition", "offset", "problem"),
    "contacts.waiting": ("error", "attempt", "backoff_ms"),
    "contacts.resumed_after_wait": ("waited_ms",),
    "contacts.stats": ("records", "skipped", "records_per_s", "lag_records", "ready"),
}


class _KafkaClientLines(logging.Handler):
    """Turns the Kafka client's own messages into log lines; the same message at most every ten seconds."""

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
    """Return the logger that every Kafka client is given; silent until `show_kafka_client`."""
    logger = logging.getLogger("order-facts.kafka")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def show_kafka_client() -> None:
    """Have the Kafka client's messages logged: for the services, whose operators have nothing but the log."""
    logger = kafka_client_logger()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(_KafkaClientLines())


def configure(log_format: str, level: str, instance: str, stream: TextIO = sys.stderr) -> None:
    """Send all log lines to `stream`: as JSON lines, or as coloured text with log_format=console."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if log_format == "console"
        else structlog.processors.JSONRenderer()
    )

    def add_origin(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {
            "timestamp": line.pop("timestamp"),
            "level": line.pop("level"),
            "event": line.pop("event"),
            "service": SERVICE,
            "version": __version__,
            "instance": instance,
            **line,
        }

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            add_origin,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the logger; events and their fields are those of `EVENTS`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
