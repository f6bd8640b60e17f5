"""Kafka transactions: begin, write, add offsets, commit or abort, by one producer with a stable transactional id.

Every call into the client ends: those that may hang run on a thread that can be abandoned (`kafka.bounded`). Nothing
is retried here except the start, which waits for an earlier owner's transaction to end. A failure raises the error
whose class says what to do. Then call `abort`, and after ProducerLostError `forget`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka.bounded import BoundedCalls, Call
from processor.kafka.clients import TRANSACTION_TIMEOUT_MS, client_properties, new_client
from processor.kafka.failures import classify, fatal_errors
from processor.settings import Settings

TRANSACTION_TIMEOUT_S: Final = TRANSACTION_TIMEOUT_MS / 1000
_ASK_AGAIN_S: Final = (0.01, 0.5)  # wait before asking again for a transactional id: first, and at most
_MOST_LEFT: Final = 3  # producers whose calls hang: each keeps its connections, threads and queue
Classified = Callable[[KafkaError, str], OrderFactsError]


class Transactions:
    """A transactional producer, which `make` returns whenever there is none, and its open transaction, if any."""

    def __init__(self, make: Callable[[], Producer], classified: Classified = classify) -> None:
        self._make = make
        self._classified = classified
        self._producer: Producer | None = None
        self._calls = BoundedCalls()
        self._left: list[BoundedCalls] = []  # of producers that were given up
        self._is_open = False

    @property
    def producer(self) -> Producer:
        """The producer. Raises ProducerLostError if there is none."""
        if self._producer is None:
            raise ProducerLostError("there is no producer")
        return self._producer

    def ready(self, doing: str) -> None:
        """Ensure a producer whose earlier transaction is settled. Raises RetryError or StopError."""
        if self._producer is None:
            self._left = [calls for calls in self._left if calls.is_alive]
            if len(self._left) > _MOST_LEFT:
                raise StopError(
                    f"{doing}: {len(self._left)} calls of the Kafka client hang, each in a producer that was given up; "
                    "start again under the same instance_id, which frees them and ends what they left open"
                )
            producer = self._make()
            start = partial(start_transactions, producer, doing, self._classified)
            try:
                self.call(Call(start, TRANSACTION_TIMEOUT_S, doing))
            except ProducerLostError:
                self._give_up_calls()
                raise
            self._producer = producer

    @contextmanager
    def writing(self, doing: str) -> Iterator[None]:
        """Begin a transaction that the block writes to; raise what an error in the block asks for."""
        try:
            with fatal_errors():
                self.producer.begin_transaction()
                self._is_open = True
                yield
        except KafkaException as error:
            raise self._classified(self._cause(error.args[0]), doing) from error
        except BufferError as error:
            problem = "no record fits into the producer's queue: raise queue.buffering.max.kbytes in the setting kafka"
            raise RetryError(f"{doing}: {problem}", lasting="queue full") from error

    def _cause(self, error: KafkaError) -> KafkaError:
        """Return the fatal error of the producer if that is all that an error says: being fenced is one.

        `produce` only says that there is one; a call that begins a transaction says which.
        """
        if error.code() != KafkaError._FATAL or self._producer is None:  # noqa: SLF001
            return error
        try:
            self._producer.begin_transaction()
        except KafkaException as fatal:
            found: KafkaError = fatal.args[0]
            return found
        return error

    def call(self, *calls: Call, beside: Callable[[], None] | None = None) -> None:
        """Make calls of the transaction in turn, bounded, and run `beside` meanwhile (see `BoundedCalls.call`)."""
        with fatal_errors():
            self._calls.call(*calls, beside=beside)

    def commit(self, doing: str) -> None:
        """Commit; on return that is definite. Raises ProducerLostError if the outcome is unknown."""
        producer, started = self.producer, time.monotonic()
        try:
            self.call(Call(lambda: producer.commit_transaction(TRANSACTION_TIMEOUT_S), TRANSACTION_TIMEOUT_S, doing))
        except KafkaException as error:
            failure: KafkaError = error.args[0]
            raised = self._classified(failure, f"{doing}, after {time.monotonic() - started:.1f} s")
            # Anything but a definite "abort" leaves the outcome unknown: only a new producer settles it.
            if not failure.txn_requires_abort() and not isinstance(raised, StopError):
                raised = ProducerLostError(str(raised), lasting=raised.lasting)
            raise raised from error
        self._is_open = False

    def abort(self, doing: str) -> None:
        """Abort the open transaction, if any. Raises ProducerLostError if its outcome is unknown."""
        producer = self._producer
        if not self._is_open or producer is None:
            return
        self._is_open = False
        try:
            self.call(Call(lambda: producer.abort_transaction(TRANSACTION_TIMEOUT_S), TRANSACTION_TIMEOUT_S, doing))
        except KafkaException as error:
            raise ProducerLostError(f"{doing}: {error.args[0].str()}") from error

    def forget(self) -> None:
        """Drop the producer and what it holds; the next `ready` creates one that settles what this one left open."""
        self._is_open = False
        if self._producer is not None:
            self._producer.purge(in_flight=False)
            self._producer = None
        self._give_up_calls()

    def _give_up_calls(self) -> None:
        """Leave the thread of calls to a producer that may hold it up for ever."""
        self._calls.close()
        if self._calls.is_alive:
            self._left.append(self._calls)
        self._calls = BoundedCalls()


def end_transaction(settings: Settings, claim: str) -> None:
    """End a dead replica's open transaction by taking its transactional id. Raises RetryError or StopError."""
    producer = new_client(
        Producer,
        {
            **client_properties(settings),
            "enable.idempotence": True,
            "acks": "all",
            "transactional.id": claim,
            "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
        },
    )
    doing, calls = f"ending the transaction of {claim}", BoundedCalls()
    try:
        calls.call(Call(partial(start_transactions, producer, doing), TRANSACTION_TIMEOUT_S, doing))
    except ProducerLostError as lost:  # it is not this replica's own
        raise RetryError(str(lost)) from lost
    finally:
        calls.close()


def start_transactions(producer: Producer, doing: str, classified: Classified = classify) -> None:
    """Take the producer's transactional id, which ends a transaction that an earlier owner left open.

    The broker needs some milliseconds for that and answers "not now" until then. The client by itself asks again after
    half a second, but at once if the call is repeated. Raises RetryError or StopError.
    """
    deadline = time.monotonic() + TRANSACTION_TIMEOUT_S
    wait_s, longest_s = _ASK_AGAIN_S
    while True:
        try:
            producer.init_transactions(wait_s)
        except KafkaException as error:
            if not error.args[0].retriable() or time.monotonic() >= deadline:
                failure = classified(error.args[0], doing)
                if isinstance(failure, StopError):
                    raise failure from error
                raise RetryError(str(failure), lasting=failure.lasting) from error
        else:
            return
        wait_s = min(wait_s * 2, longest_s)
