"""What operators see of any process that runs until a signal: health and metrics over HTTP, and what it waits for."""

import time

from prometheus_client import Gauge

from processor.monitoring.health import Health
from processor.monitoring.health_server import Expose, serve
from processor.monitoring.waits import Wait


class ProcessView:
    """The health and the wait of one process, and the server that tells them, unless the port is 0.

    `blocked` shows the wait, as for `Wait`; `expose` gives all metrics. Raises UsageError if the port is not free.
    """

    def __init__(self, host: str | None, port: int, blocked: Gauge, expose: Expose) -> None:
        self._health = Health()
        self._server = serve(self._health, port, host, expose) if port else None
        self._wait = Wait(blocked)

    @property
    def attempts(self) -> int:
        """How many times in a row it could not continue."""
        return self._wait.attempts

    @property
    def _is_waiting(self) -> bool:
        return self._wait.waiting_for is not None

    def waiting(self, waiting_for: str, error: str) -> int:
        """Note what it waits for; return how many times in a row it has had to wait."""
        self._health.lacks(f"waiting for {waiting_for}: {error}")
        return self._wait.begin(waiting_for)

    def _stop_answering(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def age_s(since_s: float | None, *, is_done: bool = False) -> float | None:
    """Return how old what is not done is at most, by when (wall clock) all was; 0 if all is, None if nobody knows."""
    if since_s is None:
        return None
    return 0.0 if is_done else round(time.time() - since_s, 1)
