"""A Sentinel group of the tests' own: a primary, two replicas and three Sentinels, and the ways to a fail-over.

A server that was killed comes back as a replica, and empty, since none writes to a disk.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from redis.exceptions import RedisError

from deploy.local.embedded_redis import EmbeddedRedis
from deploy.local.programs import redis_server
from tests.support.redis_nodes import RedisNode, await_formed

SERVICE = "orders"
DATA_SERVERS = SENTINELS = 3
QUORUM = 2
DOWN_AFTER_MS = 1_000
FAILOVER_TIMEOUT_MS = 3_000
# By themselves, Sentinels say who they are every two seconds, and ask servers who they are every ten.
FORMING = ("PUBLISH-PERIOD", "100", "INFO-PERIOD", "100")
FORMED = ("PUBLISH-PERIOD", "2000", "INFO-PERIOD", "1000")


class DataServer(RedisNode):
    """A data server; set what it follows before it starts."""

    primary: "DataServer | None" = None

    def _prepare(self):
        command = super()._prepare()
        if self.primary is not None:
            with (self.folder / "redis.conf").open("a") as file:
                file.write(f"replicaof {self.primary.address.replace(':', ' ')}\n")
        return command


class Sentinel(RedisNode):
    """One Sentinel; its file is its memory, so a restart keeps it."""

    def __init__(self, folder, primary, *, password="", abandoned=None):
        super().__init__(folder, password=password, abandoned=abandoned)
        self._primary = primary

    def _prepare(self):
        file = self.folder / "sentinel.conf"
        if not (self._keeps_ports and file.exists()):
            address, secret = self._primary.address.replace(":", " "), self._primary.password
            lines = [
                "bind 127.0.0.1",
                f"port {self.port}",
                *([f"requirepass {self.password}"] if self.password else []),
                f"sentinel monitor {SERVICE} {address} {QUORUM}",
                *([f"sentinel auth-pass {SERVICE} {secret}"] if secret else []),
                f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
                f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}",
                f"sentinel parallel-syncs {SERVICE} {DATA_SERVERS}",
            ]
            file.write_text("".join(f"{line}\n" for line in lines))
        return [redis_server(), file.name, "--sentinel"]

    def named(self):
        """Give the port of the server that it names as the primary, None where it does not answer."""
        found = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(found[1]) if found else None

    def sees(self):
        """Give the ports of the primary and the replicas that it sees alive, and how many Sentinels with itself."""
        try:
            with self.asked() as client:
                servers = [client.sentinel_master(SERVICE), *client.sentinel_slaves(SERVICE)]
                others = client.sentinel_sentinels(SERVICE)
        except RedisError:
            return set(), 0
        alive = [server for server in servers if not (server["is_sdown"] or server["is_disconnected"])]
        return {server["port"] for server in alive}, 1 + sum(not other["is_sdown"] for other in others)


class SentinelGroup:
    """The servers; `url` names all Sentinels. Not for several threads at once."""

    def __init__(self, folder, *, password="", sentinel_password="", abandoned=None):
        self.servers = [
            DataServer(folder / f"redis-{number}", password=password, abandoned=abandoned)
            for number in range(DATA_SERVERS)
        ]
        for server in self.servers[1:]:
            server.primary = self.servers[0]
        self.sentinels = [
            Sentinel(folder / f"sentinel-{number}", self.servers[0], password=sentinel_password, abandoned=abandoned)
            for number in range(SENTINELS)
        ]

    @property
    def url(self):
        """The address for clients, with database 0, and with the passwords."""
        secret = self.sentinels[0].password
        return self.url_of(self.servers[0].secret, f"sentinel_password={secret}" if secret else "")

    def url_of(self, user, query):
        """Give the address with another user before the hosts, and another query."""
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        return f"redis+sentinel://{user}{hosts}/{SERVICE}/0{query and '?'}{query}"

    def start(self):
        """Start all servers, and wait until they know each other."""
        try:
            self.servers[0].start()
            _start(self.servers[1:] + self.sentinels)
            for sentinel in self.sentinels:
                assert sentinel.ask("SENTINEL", "DEBUG", *FORMING)
            self.await_whole()
            for sentinel in self.sentinels:
                assert sentinel.ask("SENTINEL", "DEBUG", *FORMED)
        except BaseException:
            self.kill()
            raise

    def kill(self):
        """End all servers."""
        for server in (*self.sentinels, *self.servers):
            server.kill()

    def primary(self):
        """Give the server that all Sentinels name, once it answers as a primary."""
        return await_formed(self._primary, "the Sentinels name a primary that is one")

    def await_whole(self):
        """Wait until all servers that run follow the primary, and each Sentinel sees them; none may be frozen."""
        await_formed(self._is_whole, "the group is whole")

    def kill_primary(self):
        """SIGKILL the primary; give it."""
        server = self.primary()
        server.kill()
        return server

    def freeze_primary(self):
        """SIGSTOP the primary; give it. After its `resume` it is a primary still, until a Sentinel sees it."""
        server = self.primary()
        server.pause()
        return server

    def failover(self):
        """Have the Sentinels promote a replica; give the one before, a primary still until a Sentinel has seen it.

        Then it becomes a replica, and a Sentinel closes its clients' connections.
        """
        server = self.primary()
        await_formed(lambda: self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE), "a Sentinel begins a fail-over")
        return server

    def await_failover(self, left):
        """Wait until the Sentinels name another primary than this server; give it."""
        return await_formed(
            lambda: (found := self._primary()) not in {None, left} and found, "the Sentinels name another primary"
        )

    def restart(self, server):
        """Start a killed server as a replica of the primary, and wait until all is well."""
        server.primary = self.primary()
        server.start()
        self.await_whole()

    def restart_empty(self, away_s=0.0):
        """SIGKILL all data servers, and start them again after a while: nothing of the data is left."""
        primary = self.primary()
        for server in self.servers:
            server.kill()
            server.primary = None if server is primary else primary
        time.sleep(away_s)
        primary.start()
        _start([server for server in self.servers if server is not primary])
        self.await_whole()

    def _primary(self):
        named = {sentinel.named() for sentinel in self.sentinels if sentinel.is_running}
        found = next((server for server in self.servers if {server.port} == named), None)
        return found if found is not None and found.is_running and found.is_primary() else None

    def _is_whole(self):
        primary = self._primary()
        running = [server for server in self.servers if server.is_running]
        return (
            primary is not None
            and all(server is primary or server.follows(primary) for server in running)
            and {(frozenset(ports), count) for ports, count in map(Sentinel.sees, self.sentinels)}
            == {(frozenset(server.port for server in running), SENTINELS)}
        )


def _start(servers):
    """Start servers together."""
    with ThreadPoolExecutor(len(servers)) as starters:
        list(starters.map(EmbeddedRedis.start, servers))
