"""Finds out from the delivery reports why a transaction failed.

If the broker refuses one record, the client gives up the whole transaction: it drops what waits in its queues
(`_PURGE_QUEUE`), takes no further record (`_STATE`), and reports nothing of a few until the transaction is aborted.
Such failures may be reported before their cause. So this looks for the first report that gives the cause. If no
report does, the transaction's next call does.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from processor.errors import RetryError

_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_FOLLOWING: Final = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
        KafkaError._STATE,  # noqa: SLF001
        KafkaError._INVALID_DIFFERENT_RECORD,  # noqa: SLF001 - another record of the same request was refused
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,  # for records in flight behind a refused one
    }
)
_SLICE_S: Final = 0.1
_REASON_S: Final = 1.0  # how long to wait for the reason after a failure


class Deliveries:
    """The delivery reports of one transaction's records, as far as they arrived."""

    def __init__(self) -> None:
        self.is_given_up = False  # a record failed: the transaction cannot be committed
        self.reason: KafkaError | None = None  # the first failure that is not the effect of another

    def failed(self, error: KafkaError) -> bool:
        """Note a record's failure; return whether the record was refused for its size."""
        self.is_given_up = True
        if self.reason is None and error.code() not in _FOLLOWING:
            self.reason = error
        return error.code() in _TOO_LARGE

    @contextmanager
    def producing(self) -> Iterator[None]:
        """End the block when the client takes no further record; the reports, or the next call, say why."""
        try:
            yield
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001
                raise
            self.failed(error.args[0])

    def await_reports(self, producer: Producer, timeout_s: float) -> int:
        """Wait for all reports, or once the transaction is given up for its reason; return how many are missing."""
        deadline = time.monotonic() + timeout_s
        left = None
        while True:
            before, left = left, producer.flush(max(0.0, min(_SLICE_S, deadline - time.monotonic())))
            now = time.monotonic()
            if self.is_given_up:
                deadline = min(deadline, now + _REASON_S)
            is_settled = self.reason is not None and left == before
            if not left or is_settled or now >= deadline:
                return left

    def require_open(self, call: Callable[[], None]) -> None:
        """Raise why the transaction was given up (KafkaException): as reported, or as its own next `call` fails."""
        if self.reason is not None:
            raise KafkaException(self.reason)
        if self.is_given_up:
            call()
            raise RetryError("the client gave up the transaction and does not say why", lasting="no reason")


def patient(producer: Producer, timeout_s: float) -> Callable[..., None]:
    """Return the producer's `produce`, which waits for room while other records fill the queue.

    Raises BufferError if the record does not even fit alone, RetryError if no room comes within `timeout_s`.
    """

    def produce(*arguments: Any, **named: Any) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                producer.produce(*arguments, **named)
            except BufferError:
                if not len(producer):
                    raise
                if time.monotonic() >= deadline:
                    raise RetryError(f"Kafka took no record within {timeout_s:g} s") from None
                producer.poll(_SLICE_S)
            else:
                return

    return produce
