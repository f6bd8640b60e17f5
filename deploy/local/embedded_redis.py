"""A real Redis-compatible server as a child process, without persistence: it is empty after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from deploy.local.programs import redis_server
from deploy.local.servers import HOST, EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWER_S = 2.0
SETTINGS = {
    "bind": HOST,
    "daemonize": "no",
    "save": '""',
    "appendonly": "no",
    "maxmemory-policy": "noeviction",  # the only policy that never loses state silently
}


class EmbeddedRedis(EmbeddedServer):
    """One server; read `url` only after the first start. Overrides must not require a password."""

    port_count = 1

    def __init__(
        self, folder: Path, *, overrides: Mapping[str, str] | None = None, abandoned: Path | None = None
    ) -> None:
        """Take a folder of its own, and server settings (as in redis.conf) that replace the ones here.

        `abandoned` is a folder to remove if this process ends without stopping the server.
        """
        super().__init__(folder, self.port_count, abandoned)
        self._overrides = dict(overrides or {})

    @property
    def url(self) -> str:
        """The address for clients, with database 0."""
        return f"redis://{HOST}:{self._ports[0]}/0"

    def _prepare(self) -> list[str]:
        settings = SETTINGS | {"port": str(self._ports[0])} | self._overrides
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        (self.folder / "redis.conf").write_text("".join(lines))
        return [redis_server(), "redis.conf"]

    def _answers(self) -> bool:
        return process_id_of(self.url) == self.pid


def process_id_of(url: str) -> int | None:
    """Return the process id of the server that answers there, None if none does."""
    retry_never = Retry(NoBackoff(), 0)
    client = Redis.from_url(url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, retry=retry_never)
    try:
        with client:
            return int(client.info("server")["process_id"])
    except (RedisConnectionError, RedisTimeoutError):
        return None
