"""The Kafka client's messages: to log lines for the services, or to a list for a command that looks for a cause."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from processor.logs.form import get_logger


class _KafkaClientLines(logging.Handler):
    """Turns the Kafka client's messages into log lines."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger().log(record.levelno, "kafka.client", detail=record.getMessage())


def kafka_client_logger() -> logging.Logger:
    """Return the logger for every Kafka client; it is silent until `show_kafka_client`."""
    logger = logging.getLogger("order-facts.kafka")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


class _KafkaClientMessages(logging.Handler):
    """Keeps the Kafka client's messages."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def kafka_client_messages() -> Iterator[list[str]]:
    """Give the list of what Kafka clients say in the block, of any level: for a command that looks for a cause."""
    keeper, logger = _KafkaClientMessages(), kafka_client_logger()
    level = logger.level
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    try:
        yield keeper.messages
    finally:
        logger.removeHandler(keeper)
        logger.setLevel(level)


def show_kafka_client() -> None:
    """Log the Kafka client's messages: for the services, whose operators see only the log."""
    logger = kafka_client_logger()
    logger.setLevel(logging.DEBUG)
    logger.addHandler(_KafkaClientLines())
