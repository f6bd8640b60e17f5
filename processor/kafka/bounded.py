"""Bounds calls into the Kafka client: some of its transactional calls ignore their own timeout.

`send_offsets_to_transaction` waits for ever if the group's coordinator goes away during the call (librdkafka issues
5456 and 5511, found here by killing brokers). So such a call runs on its own thread. When its time is over, the
thread is abandoned with its producer; a new producer fences whatever it still does.
"""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from processor.errors import ProducerLostError, RetryError

GRACE_S: Final = 2.0  # the client's own timeout comes first, if it keeps it


class Call(NamedTuple):
    """The work, how long it may take, and what an error's line calls it."""

    work: Callable[[], None]
    timeout_s: float
    what: str


class BoundedCalls:
    """Makes calls one at a time on a thread that may be abandoned."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Sequence[Call] | None] = SimpleQueue()
        self._answers: SimpleQueue[Exception | None] = SimpleQueue()
        self._thread: threading.Thread | None = None  # from the first call on

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs; after `close` that is a call that does not return."""
        return self._thread is not None and self._thread.is_alive()

    def call(self, *calls: Call, beside: Callable[[], None] | None = None) -> None:
        """Make calls in turn until one raises, and raise that; ProducerLostError if one does not end.

        `beside` runs here meanwhile. Its error is raised once the calls have ended: a RetryError only if they raise
        nothing, any other error in any case. After ProducerLostError only `close` may follow.
        """
        if self._thread is None:
            arguments = (self._asked, self._answers)
            self._thread = threading.Thread(target=_work, args=arguments, name="kafka-calls", daemon=True)
            self._thread.start()
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
        """Wait for the calls to end, and return the error that one of them raised."""
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
        """Let the thread end after its present call."""
        self._asked.put(None)


def _work(asked: "SimpleQueue[Sequence[Call] | None]", answers: "SimpleQueue[Exception | None]") -> None:
    while _has_made(asked.get(), answers):
        pass


def _has_made(calls: Sequence[Call] | None, answers: "SimpleQueue[Exception | None]") -> bool:
    """Make calls; return whether there were any. On return the thread holds none, and so no producer."""
    for call in calls or ():
        try:
            call.work()
        except Exception as failure:  # noqa: BLE001 - handed to `call`, which raises it; else that waits in vain
            answers.put(failure)
            break
        answers.put(None)
    return calls is not None
