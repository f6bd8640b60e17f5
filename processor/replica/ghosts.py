"""Whether the group has a member of this replica's name, which another process or a ghost of this one may hold."""

import time
from typing import Final

from processor.errors import RetryError, StopError
from processor.kafka.clients import session_timeout_s
from processor.kafka.cluster import Cluster
from processor.settings import Settings

_BREAK_S: Final = 3.0  # a fenced member asks for the group's members at least every two seconds
_SESSIONS: Final = 3  # a ghost has one; each reload of the group by its coordinator, seen or not, gives it another


class NameTaken:
    """The sightings of a name. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._seen_s: tuple[float, float] | None = None  # first and last

    def for_s(self, now_s: float) -> float:
        """Note a sighting; return for how long there was no break: after one a ghost has another session."""
        since, last = self._seen_s or (now_s, now_s)
        if now_s - last > _BREAK_S:
            since = now_s
        self._seen_s = since, now_s
        return now_s - since

    def require_free(self, cluster: Cluster, settings: Settings) -> None:
        """Require that no other process runs with a fenced member's instance id.

        If the answer to a join is lost with a broker, the member is fenced by its own second attempt. That ghost sends
        no heartbeats: it is gone from the group after a session, while another process stays. Raises RetryError until
        that is known, and StopError for another process.
        """
        name = settings.instance_id
        try:
            members = cluster.instances(settings.group_id)
        except RetryError:
            self._seen_s = None  # the coordinator may be loading the group
            raise
        if name not in members:
            return
        if self.for_s(time.monotonic()) > _SESSIONS * session_timeout_s(settings):
            raise StopError(f"another process runs with this instance_id, {name}: give each replica its own")
        raise RetryError(f"fenced as {name}: waiting to see whether another process runs with this instance_id")
