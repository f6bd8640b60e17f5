"""`rejected replay --follow`: sends a rejected event back as soon as its contact is there, by itself.

One process heals; others of the same group wait as standbys (`leadership`). Whoever heals holds the replay's ledger,
and `rejected replay` by hand takes that over: then this waits until that one has ended, and begins anew. Any failure
ends a hold (`healing`), and after a wait the next one begins; nothing is retried elsewhere. While the contact index is
not ready, or Redis is away, it waits where it is (C4).
"""

import threading
import time
from contextlib import closing
from typing import Final

from processor.contacts.lookup import IndexNotReadyError
from processor.errors import OrderFactsError, ProducerLostError, RedisError, RetryError
from processor.kafka.repeats import Repeats
from processor.logs import get_logger
from processor.monitoring.waits import backoff_s
from processor.replay.healer_view import HealerView
from processor.replay.healing import Deployment, Healing, Plan
from processor.replay.leadership import Leadership
from processor.replay.replay_ledger import OvertakenError, ReplayLedger
from processor.settings import Settings

log = get_logger()
_POLL_S: Final = 0.1  # also how late a stop is seen, and that it is this process's turn
_BACKOFF_S: Final = (0.1, 5.0)
_QUIET_S: Final = 20.0  # a replay by hand that notes nothing for so long has ended
_LOOK_EVERY_S: Final = 2.0


class Healer:
    """The process that heals, or waits to."""

    def __init__(self, settings: Settings, deployment: Deployment, plan: Plan) -> None:
        self._settings, self._at, self._plan = settings, deployment, plan
        self._view = HealerView(settings)
        self._repeats = Repeats(settings.rejected_topic)

    def run(self, stop: threading.Event) -> None:
        """Heal until `stop` is set. Raises StopError if an operator must act."""
        log.info("healer.started", topic=self._at.rejected.name, within_s=self._plan.within_ms // 1000)
        try:
            while not stop.is_set():
                try:
                    with closing(Leadership(self._settings)) as leadership:
                        self._lead(leadership, stop)
                except (RetryError, ProducerLostError) as error:
                    self._repeats.failed(error)
                    self._block(error, stop)
        finally:
            self._view.stopped()

    def _lead(self, leadership: Leadership, stop: threading.Event) -> None:
        """Be a standby, and heal whenever it is this process's turn."""
        while not stop.is_set():
            is_leader = leadership.poll(_POLL_S)
            self._view.active(is_active=is_leader)
            if not is_leader:
                continue
            try:
                self._heal(leadership, stop)
            except OvertakenError as error:
                log.warning("healer.overtaken")
                self._view.blocked("replay", str(error), _QUIET_S)
                self._await_quiet(leadership, stop)

    def _heal(self, leadership: Leadership, stop: threading.Event) -> None:
        """Take over, and heal until the stop, or until another process leads."""
        self._view.reading()
        ledger = ReplayLedger(self._settings, self._at.cluster, self._at.rejected, self._at.healed)
        with closing(ledger):
            ledger.take_over()
            with closing(Healing(self._settings, self._at, self._plan, ledger, self._view)) as healing:
                while not stop.is_set() and leadership.poll(0):
                    healing.read(_POLL_S)
                    if healing.feed.is_caught_up:
                        self._look_up(healing, stop)
                        for _ in healing.send_back():
                            leadership.poll(0)
                    else:
                        healing.look_at_lag()
                    self._view.turned(healing.waiting.records)

    def _look_up(self, healing: Healing, stop: threading.Event) -> None:
        """Look up what waits; what Redis cannot say now is asked again after a wait."""
        try:
            healing.look_up()
        except (IndexNotReadyError, RedisError) as error:
            if isinstance(error, IndexNotReadyError):  # the contacts topic may have been recreated, and accepted
                name = self._settings.contacts_topic
                self._at.index.adopt(self._at.cluster.required([name])[name])
            self._block(error, stop)
        else:
            self._view.resumed()
            self._repeats.worked()
            healing.look_at_lag()

    def _block(self, error: OrderFactsError, stop: threading.Event) -> None:
        """Report that it cannot continue, and wait for a while; the next attempt asks anew where Redis is."""
        self._at.redis.ask_anew()
        pause_s = backoff_s(self._view.attempts, *_BACKOFF_S)
        self._view.blocked(getattr(error, "waiting_for", "kafka"), str(error), pause_s)
        stop.wait(pause_s)

    def _await_quiet(self, leadership: Leadership, stop: threading.Event) -> None:
        """Wait until the replay that took over has ended: until its ledger has not moved for a while."""
        ledger = ReplayLedger(self._settings, self._at.cluster, self._at.rejected, self._at.healed)
        with closing(ledger):
            last = ledger.noted()
            moved_s = looked_s = time.monotonic()
            while not stop.is_set() and leadership.poll(_POLL_S):
                now_s = time.monotonic()
                if now_s - looked_s < _LOOK_EVERY_S:
                    continue
                found, looked_s = ledger.noted(), time.monotonic()
                self._view.active(is_active=True)
                if found is None or found != last:
                    last, moved_s = found, looked_s
                elif looked_s - moved_s >= _QUIET_S:
                    break
        self._view.resumed()


def heal_once(settings: Settings, deployment: Deployment, plan: Plan) -> tuple[int, int]:
    """Send back what is found now; return how many events were sent back, and how many still wait.

    Raises StopError if another replay's transaction is open, IndexNotReadyError if the index is not ready (C4).
    """
    ledger = ReplayLedger(settings, deployment.cluster, deployment.rejected, deployment.healed)
    with closing(ledger):
        ledger.swept()
        ledger.take_over()
        with closing(Healing(settings, deployment, plan, ledger, HealerView(settings))) as healing:
            while not healing.feed.is_caught_up:
                healing.read(_POLL_S)
            healing.look_all_up()
            sent = sum(healing.send_back())
            ledger.settle()
            return sent, healing.waiting.records
