"""The copier: sessions one after the other, until its work is done or a stop. The one place that retries.

Any failure ends a session, and after a wait the next one begins with what the broker says. Two works are there: to
follow the old topic, and to finish. To finish, nothing may have come for a while; then the rest is copied, and if still
nothing came, that is committed as the end.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from processor.errors import OrderFactsError, ProducerLostError, RetryError, StopError
from processor.kafka.cluster import Cluster
from processor.monitoring.waits import backoff_s
from processor.state.event_copies import Copied, Place
from processor.widening.copy_ledger import CopyLedger
from processor.widening.copy_options import Job
from processor.widening.copy_session import CopySession, Size, late_events, require_count
from processor.widening.copy_view import CopyView
from processor.widening.patience import patiently

_BACKOFF_S: Final = (2.0, 5.0)  # so long that who took over has said so
_LOOK_EVERY_S: Final = 0.2
Work = Callable[[CopySession, threading.Event], bool]


class Copier:
    """Copies for one job. Close it."""

    def __init__(self, job: Job, cluster: Cluster) -> None:
        self._job, self._cluster = job, cluster
        self._view = CopyView(job.names)
        self._ledger = CopyLedger(job, cluster)
        self._size = Size(job.former.name)

    def take_over(self) -> Copied | None:
        """End every earlier copier; return how far the copy is, None if it never began.

        Raises UnreachableError or StopError.
        """

        def taken() -> Copied | None:
            try:
                self._ledger.take_over()
                return self._ledger.claim()
            except (RetryError, ProducerLostError) as error:
                self._ledger.abort()
                if isinstance(error, ProducerLostError):
                    self._ledger.forget()
                    raise RetryError(str(error)) from error
                raise

        found = patiently(self._job.names.former, taken)
        self._view.started(self._job.new.partitions)
        return found

    def late(self, copied: Copied) -> int:
        """Return how many events came to the old topic that are not copied."""
        return patiently(self._job.names.former, lambda: late_events(self._job, self._cluster, copied))

    def places(self) -> dict[int, Place]:
        """Return where the copy ends in the old topic."""
        found = patiently(self._job.names.former, self._ledger.copied)
        return dict(found.places) if found is not None else {}

    def follow(self, stop: threading.Event) -> None:
        """Copy until a stop. Raises StopError if an operator must act."""

        def work(session: CopySession, stop: threading.Event) -> bool:
            session.follow(stop)
            return True

        self._persist(work, stop)

    def finish(self, stop: threading.Event) -> bool:
        """Copy the rest and commit that it is the end; return whether that was done, and not stopped.

        Raises StopError if events still come, or an operator must act otherwise.
        """

        def work(session: CopySession, stop: threading.Event) -> bool:
            ends = self._quiet_ends(stop)
            if ends is None or not session.copy_up_to(ends, stop):
                return False
            if self._log_ends() != ends:
                raise self._restless()
            session.finish()
            return True

        return self._persist(work, stop)

    def close(self) -> None:
        """Close both clients."""
        self._ledger.close()
        self._view.stopped()

    def _persist(self, work: Work, stop: threading.Event) -> bool:
        """Do some work in one session, or in as many as it takes; return what it returns, False if stopped before."""
        while not stop.is_set():
            try:
                self._ledger.take_over()
                opened = CopySession.open(self._job, self._cluster, self._ledger, self._view, self._size)
                with closing(opened) as session:
                    return work(session, stop)
            except (RetryError, ProducerLostError) as error:
                self._ledger.abort()
                if isinstance(error, ProducerLostError):
                    self._ledger.forget()
                self._size.failed(error)
                self._block(error, stop)
        return False

    def _block(self, error: OrderFactsError, stop: threading.Event) -> None:
        pause_s = backoff_s(self._view.attempts, *_BACKOFF_S)
        self._view.blocked(str(error), pause_s)
        stop.wait(pause_s)

    def _log_ends(self) -> dict[int, int]:
        former = self._job.former
        require_count(self._cluster, former)
        return self._cluster.ends(former.name, range(former.partitions), committed=False)

    def _quiet_ends(self, stop: threading.Event) -> dict[int, int] | None:
        """Return the ends of the old topic after nothing came for `quiet_s`; None at a stop."""
        ends, since_s = self._log_ends(), time.monotonic()
        while time.monotonic() - since_s < self._job.quiet_s:
            if stop.wait(_LOOK_EVERY_S):
                return None
            if self._log_ends() != ends:
                raise self._restless()
        former = self._job.former
        if self._cluster.held_back(former.name, range(former.partitions)):
            raise self._restless("a producer's transaction is open")
        return ends

    def _restless(self, what: str = "events still come") -> StopError:
        return StopError(
            f"{self._job.former.name}: {what}; stop its producers first, `rejected replay --follow` too, then run this "
            "again with --finish: nothing that was copied is lost"
        )
