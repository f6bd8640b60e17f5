"""Why a transaction failed, of what its delivery reports say.

Where the broker refuses one record, the client gives the whole transaction up: it drops what waits in its queues
(`_PURGE_QUEUE`), takes no further record (`_STATE`), and of a few it says nothing until the transaction is aborted.
Such failures may be reported before the one that they follow from. So the first that tells is looked for; where no
record's report tells, the transaction's next call does.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from processor.errors import RetryError

_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
_FOLLOWING: Final = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001
        KafkaError._STATE,  # noqa: SLF001
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,  # of what was on its way behind a refused record
    }
)
_SLICE_S: Final = 0.1
_REASON_S: Final = 1.0  # how long a reason is awaited once something has failed


class Deliveries:
    """The delivery reports of one transaction's records, as far as they came."""

    def __init__(self) -> None:
        self.is_given_up = False  # some record failed, so that nothing of the transaction can be committed
        self.reason: KafkaError | None = None  # the first failure that does not follow from another

    def failed(self, error: KafkaError) -> bool:
        """Note a record's failure; tell whether the record was refused for its size."""
        self.is_given_up = True
        if self.reason is None and error.code() not in _FOLLOWING:
            self.reason = error
        return error.code() in _TOO_LARGE

    @contextmanager
    def producing(self) -> Iterator[None]:
        """End what is done inside where the client takes no further record: why, the reports say, or the next call."""
        try:
            yield
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001
                raise
            self.failed(error.args[0])

    def await_reports(self, producer: Producer, timeout_s: float) -> int:
        """Wait until all records are reported, or the transaction is given up; return how many are not.

        Then no longer than a second for the reason, and until no more reports come: others may have one, too.
        """
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
        """Raise why the transaction was given up, if it was, where no report says it.

        `call` is one of the transaction's own, which fails with the reason then (KafkaException).
        """
        if self.is_given_up:
            call()
            raise RetryError("the client gave the transaction up, and does not say why")
