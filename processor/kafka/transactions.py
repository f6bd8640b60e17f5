"""Kafka transactions: begin, write, add offsets, commit or abort, by one producer with a stable transactional id.

Every call into the client ends: those that may hang are made on a thread that can be left behind (`kafka.bounded`).
Nothing is retried in here but the start, which waits for an earlier owner's transaction to end. What fails raises the
error whose class says what to do; then `abort` must be called, and after ProducerLostError `forget`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka.bounded import BoundedCalls, Call
from processor.kafka.clients import TRANSACTION_TIMEOUT_MS, client_properties, made
from processor.kafka.failures import classify, fatal_errors
from processor.settings import Settings

TRANSACTION_TIMEOUT_S: Final = TRANSACTION_TIMEOUT_MS / 1000
_ASK_AGAIN_S: Final = (0.01, 0.5)  # after how long for a transactional id: at first, and at most
Classified = Callable[[KafkaError, str], OrderFactsError]


class Transactions:
    """A transactional producer, and the transaction it has open, if any.

    `make` returns a new producer, whenever there is none; `classified` gives what a client's error asks for.
    """

    def __init__(self, make: Callable[[], Producer], classified: Classified = classify) -> None:
        self._make = make
        self._classified = classified
        self._producer: Producer | None = None
        self._calls = BoundedCalls()
        self._is_open = False

    @property
    def producer(self) -> Producer:
        """The producer. Raises ProducerLostError where there is none."""
        if self._producer is None:
            raise ProducerLostError("there is no producer")
        return self._producer

    def ready(self, doing: str) -> None:
        """Have a producer whose earlier transaction, if any, is settled. Raises RetryError or StopError."""
        if self._producer is None:
            producer = self._make()
            start_transactions(producer, doing, self._classified)
            self._producer = producer

    @contextmanager
    def writing(self, doing: str) -> Iterator[None]:
        """Begin a transaction, in which what is done inside is written; raise what an error in there asks for."""
        try:
            with fatal_errors():
                self.producer.begin_transaction()
                self._is_open = True
                yield
        except KafkaException as error:
            raise self._classified(error.args[0], doing) from error
        except BufferError as error:
            raise RetryError("the producer's queue is full") from error

    def call(self, *calls: Call, beside: Callable[[], None] | None = None) -> None:
        """Make calls of the transaction in turn, bounded, and do something `beside` them (see `BoundedCalls.call`)."""
        self._calls.call(*calls, beside=beside)

    def send_offsets(self, offsets: Sequence[TopicPartition], group_metadata: Any, timeout_s: float) -> None:
        """Add a group's offsets to the transaction. Not bounded by itself: to be made within `call`."""
        self.producer.send_offsets_to_transaction(list(offsets), group_metadata, timeout_s)

    def commit(self, doing: str) -> None:
        """Commit; on return that is definite. Raises ProducerLostError where nobody knows what became of it."""
        producer, started = self.producer, time.monotonic()
        try:
            self._bounded(lambda: producer.commit_transaction(TRANSACTION_TIMEOUT_S), doing)
        except KafkaException as error:
            failure: KafkaError = error.args[0]
            raised = self._classified(failure, f"{doing}, after {time.monotonic() - started:.1f} s")
            # Anything but a definite "abort it" leaves the outcome open: only a new producer settles that.
            if not failure.txn_requires_abort() and not isinstance(raised, StopError):
                raised = ProducerLostError(str(raised))
            raise raised from error
        self._is_open = False

    def abort(self, doing: str) -> None:
        """Abort the open transaction, if any. Raises ProducerLostError where its outcome is unknown."""
        if not self._is_open or self._producer is None:
            return
        self._is_open = False
        producer = self._producer
        try:
            self._bounded(lambda: producer.abort_transaction(TRANSACTION_TIMEOUT_S), doing)
        except KafkaException as error:
            raise ProducerLostError(f"{doing}: {error.args[0].str()}") from error

    def forget(self) -> None:
        """Drop the producer; the next `ready` makes one that settles what this one left open."""
        self._is_open = False
        if self._producer is not None:
            self._producer.purge(in_flight=False)
            self._producer = None
            self._calls.close()
            self._calls = BoundedCalls()  # the old one may be held up for ever by the old producer

    def _bounded(self, work: Callable[[], None], doing: str) -> None:
        with fatal_errors():
            self._calls.call(Call(work, TRANSACTION_TIMEOUT_S, doing))


def end_transaction(settings: Settings, claim: str) -> None:
    """End whatever transaction another, dead, replica left open: take its transactional id for a moment.

    Raises RetryError or StopError.
    """
    producer = made(
        Producer,
        {
            **client_properties(settings),
            "enable.idempotence": True,
            "acks": "all",
            "transactional.id": claim,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        },
    )
    start_transactions(producer, f"ending the transaction of {claim}")


def start_transactions(producer: Producer, doing: str, classified: Classified = classify) -> None:
    """Have the producer own its transactional id; a transaction that an earlier owner left open is ended.

    The broker needs some milliseconds to end it, and answers "not now" until then. The client asks again by itself
    after half a second, and at once where the call is made again. `doing` says what for, in an error's line.
    Raises RetryError, or StopError.
    """
    deadline = time.monotonic() + TRANSACTION_TIMEOUT_MS / 1000
    wait_s, longest_s = _ASK_AGAIN_S
    while True:
        try:
            producer.init_transactions(wait_s)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() >= deadline:
                failure = classified(error.args[0], doing)
                raise failure if isinstance(failure, StopError) else RetryError(str(failure)) from error
        else:
            return
        wait_s = min(wait_s * 2, longest_s)
