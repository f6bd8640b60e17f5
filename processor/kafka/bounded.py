"""Calls into the Kafka client that must end: some of its transactional calls do not keep their own timeout.

`send_offsets_to_transaction` waits for ever when the group's coordinator went away in the middle of it
(librdkafka issues 5456 and 5511, found here by killing brokers). Such a call is made on a thread of its
own, and left behind with its producer when its time is over: a new producer fences whatever it still does.
"""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from processor.errors import ProducerLostError, RetryError

GRACE_S: Final = 2.0  # the client's own timeout comes first, if it keeps it


class Call(NamedTuple):
    """What is done, how long it may take, and what it is, in an error's line."""

    work: Callable[[], None]
    timeout_s: float
    what: str


class BoundedCalls:
    """Makes calls one at a time on a thread that may be left behind."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Sequence[Call] | None] = SimpleQueue()
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._asked, self._answers), name="kafka-calls", daemon=True).start()

    def call(self, *calls: Call, beside: Callable[[], None] | None = None) -> None:
        """Make calls in turn, up to the first that raises, and raise that; ProducerLostError where one does not end.

        `beside` is done here meanwhile. What it raises is raised once the calls have ended: a RetryError where they
        raise nothing, anything else in any case. After ProducerLostError only `close` may follow.
        """
        self._asked.put(calls)
        retry = None
        try:
            if beside is not None:
                beside()
        except RetryError as error:
            retry = error
        finally:
            failure = self._failure(calls) or retry
        if failure is not None:
            raise failure

    def _failure(self, calls: Sequence[Call]) -> Exception | None:
        """Wait for the calls to end, and return the error that one of them ended in."""
        for _, timeout_s, what in calls:
            limit_s = timeout_s + GRACE_S
            try:
                failure = self._answers.get(timeout=limit_s)
            except Empty:
                return ProducerLostError(f"{what}: the client did not return within {limit_s:g} s")
            if failure is not None:
                return failure
        return None

    def close(self) -> None:
        """Let the thread end, once what it does has ended."""
        self._asked.put(None)


def _work(asked: "SimpleQueue[Sequence[Call] | None]", answers: "SimpleQueue[Exception | None]") -> None:
    while (calls := asked.get()) is not None:
        for call in calls:
            try:
                call.work()
            except Exception as failure:  # noqa: BLE001 - handed over, and raised by `call`; else that would wait in vain
                answers.put(failure)
                break
            answers.put(None)
