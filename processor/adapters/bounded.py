"""Calls into the Kafka client that must end: some of its transactional calls do not keep their own timeout.

`send_offsets_to_transaction` waits for ever when the group's coordinator went away in the middle of it
(librdkafka issues 5456 and 5511, found here by killing brokers). Such a call is made on a thread of its
own, and left behind with its producer when its time is over: a new producer fences whatever it still does.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from confluent_kafka import KafkaException

from processor.errors import ProducerLostError

GRACE_S: Final = 2.0  # the client's own timeout comes first, if it keeps it


_RAISED: Final = (KafkaException, SystemError, RuntimeError, TypeError, ValueError)


class BoundedCalls:
    """Makes calls one at a time on a thread that may be left behind."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._asked, self._answers), name="kafka-calls", daemon=True).start()

    def call(self, work: Callable[[], None], timeout_s: float, what: str) -> None:
        """Do the work, raise what it raises; ProducerLostError where it has not ended by then.

        After that error only `close` may follow.
        """
        self._asked.put(work)
        try:
            failure = self._answers.get(timeout=timeout_s + GRACE_S)
        except Empty:
            raise ProducerLostError(f"{what}: the client did not return within {timeout_s + GRACE_S:g} s") from None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Let the thread end, once what it does has ended."""
        self._asked.put(None)


def _work(asked: "SimpleQueue[Callable[[], None] | None]", answers: "SimpleQueue[Exception | None]") -> None:
    while (work := asked.get()) is not None:
        try:
            work()
        except _RAISED as failure:
            answers.put(failure)
        else:
            answers.put(None)
