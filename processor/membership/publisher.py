"""`segments publish --every`: exports, asks and publishes, again and again, until a stop.

A round is what `facts export` and `segments publish` do, as of its own time. One that fails for a while is tried again
after a wait; nothing is retried elsewhere. Whatever is not done, the next round does, since it asks for everything.
"""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from processor.errors import OrderFactsError, ProducerLostError, RetryError, UnreachableError
from processor.kafka.cluster import Cluster
from processor.kafka.repeats import Repeats
from processor.membership.members_ledger import MembersLedger
from processor.membership.publisher_view import PublisherView
from processor.membership.publishing import Segment, members_of, write_difference
from processor.monitoring.waits import backoff_s
from processor.registry.wire import Wire
from processor.settings import Settings
from processor.snapshots.exporting import export
from processor.snapshots.snapshot import FolderInUseError, current_snapshot

_BACKOFF_S: Final = (0.1, 5.0)
_ANSWER_S: Final = 3.0  # within which a service answers in a round
_TURN_S: Final = 5.0  # how often it shows that it is alive while it rests


class _StoppedError(Exception):
    """A stop was requested while something was read: what was begun is dropped."""


class Publisher:
    """The process that publishes segments, round after round."""

    def __init__(self, settings: Settings, folder: Path, segments: tuple[Segment, ...], every_s: float) -> None:
        self._settings, self._folder, self._segments, self._every_s = settings, folder, segments, every_s
        self._view = PublisherView(settings)
        self._repeats = Repeats(settings.segment_members_topic)
        # Within a round nothing waits for long by itself: it fails, says so, and is tried again.
        self._at_work = replace(settings, startup_timeout_s=min(_ANSWER_S, settings.startup_timeout_s))
        self._cluster = Cluster(self._at_work)

    def run(self, stop: threading.Event) -> None:
        """Publish until `stop` is set.

        Raises UnreachableError if Kafka does not answer at the start; StopError if an operator must act, or another
        publisher took over; UsageError for a query that is wrong, or a folder that is none of snapshots.
        """
        Cluster(self._settings).wait()
        names = [segment.name for segment in self._segments]
        self._view.started(self._settings.segment_members_topic, names, self._every_s)
        try:
            with (
                closing(Wire(self._settings, self._settings.startup_timeout_s)) as wire,
                closing(MembersLedger(self._settings, self._cluster, wire)) as ledger,
            ):
                while not stop.is_set():
                    self._turn(ledger, wire, stop)
        except _StoppedError:
            pass
        finally:
            self._view.stopped()

    def _turn(self, ledger: MembersLedger, wire: Wire, stop: threading.Event) -> None:
        """Do a round, and rest until the next one is due; or wait, if the round failed."""
        due_s = time.monotonic() + self._every_s
        try:
            self._round(ledger, wire, stop)
        except (RetryError, ProducerLostError, UnreachableError, FolderInUseError) as error:
            ledger.abort()
            if isinstance(error, ProducerLostError):
                ledger.forget()
            self._repeats.failed(error)
            self._block(error, stop)
            return
        self._repeats.worked()
        self._view.worked()
        while not stop.is_set() and (left_s := due_s - time.monotonic()) > 0:
            self._view.turned()
            stop.wait(min(left_s, _TURN_S))

    def _round(self, ledger: MembersLedger, wire: Wire, stop: threading.Event) -> None:
        def tell(*_: object) -> None:
            self._view.turned()
            if stop.is_set():
                raise _StoppedError

        self._cluster.wait()  # while Kafka is away, this says so soon
        times_s = [time.monotonic()]
        before = current_snapshot(self._folder)
        is_personal = before is not None and before.manifest.personal
        exported = export(self._at_work, self._folder, tell, full=False, personal=is_personal)
        if exported.may_have_missed:
            self._view.may_have_missed(exported.may_have_missed)
        times_s.append(time.monotonic())
        as_of = datetime.now(UTC)
        members = members_of(self._settings, self._folder, self._segments, as_of)
        times_s.append(time.monotonic())
        tell()
        done = write_difference(ledger, wire, members, as_of, tell)
        times_s.append(time.monotonic())
        export_s, ask_s, publish_s = (after - begun for begun, after in pairwise(times_s))
        self._view.published(done, as_of, export_s, ask_s, publish_s)

    def _block(self, error: OrderFactsError, stop: threading.Event) -> None:
        """Report that it cannot continue, and wait for a while."""
        pause_s = backoff_s(self._view.attempts, *_BACKOFF_S)
        self._view.blocked(getattr(error, "waiting_for", "kafka"), str(error), pause_s)
        stop.wait(pause_s)
