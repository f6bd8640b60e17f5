"""One Redis server of several: a data server of a Sentinel group or a cluster, or a Sentinel. Keeps nothing on a disk.

Each has its own short-lived connections: a server that is frozen or gone must not disturb the next question.
"""

from contextlib import contextmanager

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from deploy.local.embedded_redis import ANSWER_S, EmbeddedRedis, process_id_of
from deploy.local.servers import HOST
from tests.support.deployment import await_condition

FORMED_S = 60.0  # a bound, not a wait


class RedisNode(EmbeddedRedis):
    """A server that may ask for a password."""

    def __init__(self, folder, *, overrides=None, password="", abandoned=None):
        own = {"requirepass": password, "masterauth": password} if password else {}
        # Without the delay a replica would wait five seconds for others that may want the same data.
        super().__init__(
            folder, overrides={"repl-diskless-sync-delay": "0", **own, **(overrides or {})}, abandoned=abandoned
        )
        self.password = password

    @property
    def port(self):
        """The port that clients use."""
        return self._ports[0]

    @property
    def address(self):
        """Host and port."""
        return f"{HOST}:{self.port}"

    @property
    def secret(self):
        """The password, as it stands before the hosts of an address."""
        return f":{self.password}@" if self.password else ""

    @property
    def is_running(self):
        """Whether it was started, and neither stopped nor killed since; frozen, it is running."""
        return self._process is not None

    @contextmanager
    def asked(self, answer_s=ANSWER_S):
        """Give a client of this very server, for the block."""
        with Redis(
            host=HOST,
            port=self.port,
            password=self.password or None,
            socket_timeout=answer_s,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            yield client

    def ask(self, *command):
        """Give the answer to a command, None where the server does not answer or refuses."""
        try:
            with self.asked() as client:
                return client.execute_command(*command)
        except RedisError:
            return None

    def replication(self):
        """Give the section `replication` of INFO; empty where the server does not answer."""
        return self.ask("INFO", "replication") or {}

    def is_primary(self):
        """Tell whether it answers, as a primary."""
        return self.replication().get("role") == "master"

    def follows(self, primary):
        """Tell whether it is a replica of another server, and has its data."""
        found = self.replication()
        return (found.get("master_port"), found.get("master_link_status")) == (primary.port, "up")

    def follow(self, primary):
        """Make it a replica of another server, whose data it then has; its clients' connections live on."""
        assert self.ask("REPLICAOF", *primary.address.split(":"))
        await_formed(lambda: self.follows(primary), "the replica has the data")

    def promote(self):
        """Make it a primary."""
        assert self.ask("REPLICAOF", "NO", "ONE")

    def _answers(self):
        return process_id_of(f"redis://{self.secret}{self.address}/0") == self.pid


def await_formed(condition, what):
    """Wait until servers have found each other."""
    return await_condition(condition, what, FORMED_S)
