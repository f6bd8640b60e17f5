"""What the chaos suite has as its Redis: one server, one behind an address that moves, a Sentinel group, a cluster.

All have the same verbs for the faults, and the world asks them for what the program is to be given: an address, other
settings, and files that hold settings. A user with few rights is one server again.
"""

import re
import secrets
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.deployment import PROJECT, await_condition
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_nodes import RedisNode
from tests.support.redis_sentinels import SentinelGroup

ANSWER_S = 5.0
OURS = "order-facts:*"
FORBIDDEN = "check the setting redis_url and the server's access rules"
UNLISTED = {"+info", "+client|setname", "+client|setinfo"}  # of the rights in deploy/README.md


class OneRedis:
    """One server."""

    name = "one"

    def __init__(self, folder):
        self.server = RedisNode(folder / "redis")
        self.settings: dict[str, object] = {}
        self.files: dict[str, Path] = {}

    @property
    def url(self):
        """The address, for the program and for the comparison."""
        return f"redis://{self.server.address}/0"

    def start(self):
        """Start everything."""
        self.server.start()

    def kill(self):
        """Leave nothing behind."""
        self.server.kill()

    def primaries(self):
        """Give the servers that hold the data now."""
        return [self.server]

    def servers(self):
        """Give all servers that have data."""
        return [self.server]

    def lose(self, away_s):
        """SIGKILL all; after a while they come back empty."""
        self.server.kill()
        time.sleep(away_s)
        self.server.start()

    def await_ready(self):
        """Wait until each primary answers."""
        await_condition(lambda: all(server.ask("PING") for server in self.primaries()), "Redis answers")

    def may_end(self, _process, _code):
        """Tell whether a process may end by itself so."""
        return False

    @contextmanager
    def asked(self):
        """Give a client of each server that holds data now, for the block."""
        with ExitStack() as stack:
            yield [stack.enter_context(server.asked(ANSWER_S)) for server in self.primaries()]

    def some_key(self, random):
        """Give one of the program's keys; waits until there is one."""

        def found():
            with self.asked() as clients:
                return sorted(key for client in clients for key in client.scan_iter(OURS))

        return random.choice(await_condition(found, "there are keys"))


class MovedRedis(OneRedis):
    """Two servers behind an address that leads to one of them, as a name or a proxy does: a socket that is a link."""

    name = "moved"

    def __init__(self, folder):
        super().__init__(folder)
        self._place = Path(tempfile.mkdtemp(prefix="of-", dir="/tmp"))  # short, as sockets' paths are
        self.server, self.spare = (
            RedisNode(folder / f"redis-{number}", overrides={"unixsocket": str(self._place / str(number))})
            for number in range(2)
        )

    @property
    def url(self):
        """The address, for the program and for the comparison."""
        return f"unix://{self._place / 'redis'}"

    def start(self):
        """Start everything."""
        super().start()
        self.spare.start()
        self._point()

    def kill(self):
        """Leave nothing behind."""
        super().kill()
        self.spare.kill()
        shutil.rmtree(self._place, ignore_errors=True)

    def demote(self, unnoticed_s):
        """Have the spare server take over; the address leads there after a while. Connections live on."""
        self.spare.follow(self.server)
        self.spare.promote()
        self.server.follow(self.spare)
        time.sleep(unnoticed_s)
        self.server, self.spare = self.spare, self.server
        self._point()

    def _point(self):
        moved = self._place / "moved"
        moved.symlink_to(self._place / self.server.folder.name.removeprefix("redis-"))
        moved.rename(self._place / "redis")


class RestrictedRedis(OneRedis):
    """One server with a user for the program that may neither ask for its settings nor name itself."""

    name = "restricted"
    USER = "order-facts"

    def __init__(self, folder):
        super().__init__(folder)
        self.settings = {"redis_eviction": "trusted"}
        self.files = {"redis_url": folder / "redis-url"}
        (found,) = re.findall(
            r"^ACL SETUSER (.*?)```", (PROJECT / "deploy" / "README.md").read_text(), re.DOTALL | re.MULTILINE
        )
        words = found.split()
        assert words[:3] == [self.USER, "on", ">password"]
        self._rights = [word for word in words[3:] if word not in UNLISTED]
        self._password = secrets.token_hex(8)

    def start(self):
        """Start everything."""
        super().start()
        self._grant()
        self._write_file()

    def lose(self, away_s):
        """SIGKILL; it comes back empty after a while, and knows the user only then."""
        super().lose(away_s)
        self._grant()

    def may_end(self, process, code):
        """Tell whether a process may end by itself so: without rights, or without a user."""
        return code == 1 and FORBIDDEN in process.tail("")

    def change_password(self):
        """Give the user another password, let the file hold it, take the old one away, and close all connections."""
        before, self._password = self._password, secrets.token_hex(8)
        self._set_user(f">{self._password}")
        self._write_file()
        self._set_user(f"<{before}")
        self.server.ask("CLIENT", "KILL", "USER", self.USER)

    def take_rights(self, seconds):
        """Take all rights away, and give them back."""
        self._set_user("-@all")
        time.sleep(seconds)
        self._grant()

    def _grant(self):
        self._set_user("on", f">{self._password}", *self._rights)

    def _set_user(self, *rules):
        assert self.server.ask("ACL", "SETUSER", self.USER, *rules)

    def _write_file(self):
        """Replace the file as a whole, as those that mount secrets do."""
        path = self.files["redis_url"]
        fresh = path.with_suffix(".new")
        fresh.write_text(f"redis://{self.USER}:{self._password}@{self.server.address}/0\n")
        fresh.rename(path)


class Sentinels(OneRedis):
    """A Sentinel group, with passwords."""

    name = "sentinel"

    def __init__(self, folder):
        super().__init__(folder)
        self.group = SentinelGroup(folder / "redis", password="data", sentinel_password="asked")

    @property
    def url(self):
        """The address, for the program and for the comparison."""
        return self.group.url

    def start(self):
        """Start everything."""
        self.group.start()

    def kill(self):
        """Leave nothing behind."""
        self.group.kill()

    def primaries(self):
        """Give the servers that hold the data now."""
        return [self.group.primary()]

    def servers(self):
        """Give all servers that have data."""
        return self.group.servers

    def lose(self, away_s):
        """SIGKILL all; after a while they come back empty."""
        self.group.restart_empty(away_s)


class Cluster(OneRedis):
    """A Redis Cluster, with a password."""

    name = "cluster"

    def __init__(self, folder):
        super().__init__(folder)
        self.cluster = RedisCluster(folder / "redis", password="data")

    @property
    def url(self):
        """The address, for the program and for the comparison."""
        return self.cluster.url

    def start(self):
        """Start everything."""
        self.cluster.start()

    def kill(self):
        """Leave nothing behind."""
        self.cluster.kill()

    def primaries(self):
        """Give the servers that hold the data now."""
        return self.cluster.primaries()

    def servers(self):
        """Give all servers that have data."""
        return self.cluster.nodes

    def lose(self, away_s):
        """SIGKILL all; after a while they come back empty."""
        self.cluster.restart_empty(away_s)
