"""A Redis Cluster of the tests' own: three primaries, each with a replica, and how keys come to another node.

A node that was killed comes back empty, since none writes to a disk, but knows its place: as a replica of who took
over, or as the primary that it was, if nobody did.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from redis.crc import key_slot
from redis.exceptions import RedisError

from deploy.local.embedded_redis import EmbeddedRedis
from deploy.local.servers import HOST
from tests.support.redis_nodes import RedisNode, await_formed

PRIMARIES = 3
SLOTS = 16_384
NODE_TIMEOUT_MS = 2_000
MOVE_S = 10.0
KEYS_AT_ONCE = 10
SETTINGS = {
    "cluster-enabled": "yes",
    "cluster-node-timeout": str(NODE_TIMEOUT_MS),
    "cluster-replica-validity-factor": "0",  # any replica may take over, however old its data
    "cluster-allow-replica-migration": "no",  # each replica stays with its primary
}


class ClusterNode(RedisNode):
    """One node; its second port is the cluster's own. Its file of nodes is its memory, so a restart keeps it."""

    port_count = 2

    def __init__(self, folder, *, password="", abandoned=None):
        super().__init__(folder, overrides=SETTINGS, password=password, abandoned=abandoned)
        self._node_id = ""

    @property
    def node_id(self):
        """Its name in the cluster; the node must answer the first time."""
        self._node_id = self._node_id or self.ask("CLUSTER", "MYID").decode()
        return self._node_id

    def _prepare(self):
        command = super()._prepare()
        with (self.folder / "redis.conf").open("a") as file:
            file.write(f"cluster-port {self._ports[1]}\n")
        return command

    @property
    def met_at(self):
        """Host, port and the cluster's own port, as CLUSTER MEET takes them."""
        return (HOST, *self._ports)

    def sees(self):
        """Give what CLUSTER NODES says: by node id the flags, the node that it follows ("-" for none), its slots."""
        try:
            with self.asked() as client:
                nodes = client.cluster("NODES")
        except RedisError:
            return {}
        return {
            node["node_id"]: (frozenset(node["flags"].split(",")) - {"myself"}, node["master_id"], node["slots"])
            for node in nodes.values()
        }


class RedisCluster:
    """The nodes; `url` names them all. Not for several threads at once."""

    def __init__(self, folder, *, password="", replicas=1, abandoned=None):
        self.nodes = [
            ClusterNode(folder / f"redis-{number}", password=password, abandoned=abandoned)
            for number in range(PRIMARIES * (1 + replicas))
        ]

    @property
    def url(self):
        """The address for clients, with the password."""
        return self.url_of(self.nodes[0].secret)

    def url_of(self, user):
        """Give the address with another user before the hosts."""
        return f"redis+cluster://{user}{','.join(node.address for node in self.nodes)}"

    def start(self):
        """Start all nodes, and make them one cluster."""
        try:
            _start(self.nodes)
            self._form()
            self.await_whole()
        except BaseException:
            self.kill()
            raise

    def kill(self):
        """End all nodes."""
        for node in self.nodes:
            node.kill()

    def primaries(self):
        """Give the nodes that have slots, once all that run agree who that is."""
        return await_formed(self._primaries, "the nodes agree who has which slots")

    def node_of(self, key):
        """Give the primary that has a key's slot, or a slot itself."""
        return await_formed(lambda: self._owner(slot_of(key)), "a primary has the slot")

    def await_whole(self):
        """Wait until every node sees all alive, each primary with its replica in step; none may be dead or frozen."""
        await_formed(self._is_whole, lambda: f"the cluster is whole: {self.nodes[0].sees()}")

    def kill_primary_of(self, key):
        """SIGKILL the primary of a key; give it. Its replica takes over after the nodes' time-out."""
        node = self.node_of(key)
        node.kill()
        return node

    def failover(self, key):
        """Have the replica of a key's primary take over; give the demoted primary, which keeps its connections."""
        node = self.node_of(key)
        await_formed(lambda: self._replica_of(node).ask("CLUSTER", "FAILOVER"), "the replica begins to take over")
        return node

    def await_failover(self, key, left):
        """Wait until another node than this one has a key's slot; give it."""
        return await_formed(
            lambda: (found := self._owner(slot_of(key))) not in {None, left} and found, "another node has the slot"
        )

    def restart(self, node):
        """Start a killed node, and wait until all is well."""
        node.start()
        self.await_whole()

    def restart_empty(self, away_s=0.0):
        """SIGKILL all nodes, and start them again after a while: nothing of the data is left."""
        self.kill()
        time.sleep(away_s)
        _start(self.nodes)
        self.await_whole()

    def migrate(self, key, target=None):
        """Move a key's slot with all its keys; give the new primary. Clients may go on meanwhile."""
        moving = self.begin_to_migrate(key, target)
        moving.move()
        return moving.finish()

    def begin_to_migrate(self, key, target=None):
        """Begin to move a key's slot to another primary: from now on, what is not there yet is answered by ASK."""
        source = self.node_of(key)
        target = target or next(node for node in self.primaries() if node is not source)
        return Migration(self, slot_of(key), source, target)

    def _form(self):
        first, *others = self.nodes
        share = -(-SLOTS // PRIMARIES)
        for number, node in enumerate(self.nodes):
            # Nodes of one epoch would have to find out who gives way.
            assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < PRIMARIES:
                slots = (number * share, min((number + 1) * share, SLOTS) - 1)
                assert node.ask("CLUSTER", "ADDSLOTSRANGE", *slots)
        for node in others:
            assert first.ask("CLUSTER", "MEET", *node.met_at)
        everyone = {node.node_id for node in self.nodes}
        await_formed(
            lambda: all(_settled(node.sees()).keys() == everyone for node in self.nodes), "the nodes know each other"
        )
        for number, replica in enumerate(self.nodes[PRIMARIES:]):
            primary = self.nodes[number % PRIMARIES]
            assert replica.ask("CLUSTER", "REPLICATE", primary.node_id)

    def _primaries(self):
        views = [node.sees() for node in self.nodes if node.is_running]
        found = [
            {node_id for node_id, (flags, _, slots) in view.items() if "master" in flags and slots}
            for view in views
            if view
        ]
        if not found or any(ids != found[0] for ids in found):
            return None
        return [node for node in self.nodes if node.node_id in found[0]]

    def _owner(self, slot):
        """Give the node which says itself that it is the primary of a slot, None while no node or several do."""
        owners = [
            node
            for node in self.nodes
            if node.is_running
            and any(
                int(low) <= slot <= int(high)
                for low, high in map(_bounds, node.sees().get(node.node_id, ((), "", ()))[2])
            )
        ]
        return owners[0] if len(owners) == 1 else None

    def _replica_of(self, primary):
        return await_formed(
            lambda: next((node for node in self.nodes if node.is_running and node.follows(primary)), None),
            "the primary has a replica in step",
        )

    def _is_whole(self):
        views = [node.sees() for node in self.nodes]
        if any(_settled(view) != views[0] or len(view) != len(self.nodes) for view in views):
            return False
        by_id = {node.node_id: node for node in self.nodes}
        return all(b"cluster_state:ok" in (node.ask("CLUSTER", "INFO") or b"") for node in self.nodes) and all(
            by_id[node_id].follows(by_id[followed]) for node_id, (_, followed, _) in views[0].items() if followed != "-"
        )


class Migration:
    """A slot on its way from one primary to another, as `redis-cli --cluster reshard` moves it, step by step."""

    def __init__(self, cluster, slot, source, target):
        """Let the slot be open on both sides; its keys are where they were."""
        self._cluster, self.slot, self.source, self.target = cluster, slot, source, target
        assert target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.node_id)
        assert source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.node_id)

    def move(self, count=None):
        """Move keys, all or as many as named; those that come to the old place meanwhile too. Give how many moved."""
        moved = 0
        with self.source.asked() as client:
            while count is None or moved < count:
                wanted = KEYS_AT_ONCE if count is None else min(KEYS_AT_ONCE, count - moved)
                names = client.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, wanted)
                if not names:
                    break
                self._move(client, names)
                moved += len(names)
        return moved

    def finish(self):
        """Give the slot to its new primary, first there, then everywhere; give that node."""
        primaries = self._cluster.primaries()
        others = [node for node in primaries if node not in {self.target, self.source}]
        for node in (self.target, self.source, *others):
            assert node.ask("CLUSTER", "SETSLOT", self.slot, "NODE", self.target.node_id)
        return self._cluster.await_failover(self.slot, self.source)

    def _move(self, client, names):
        password = self.target.password
        secret = ("AUTH", password) if password else ()
        host, port = self.target.address.split(":")
        client.execute_command("MIGRATE", host, port, "", 0, int(MOVE_S * 1_000), *secret, "KEYS", *names)


def slot_of(key):
    """Give the slot of a key; a slot is given back."""
    return key if isinstance(key, int) else key_slot(key.encode() if isinstance(key, str) else key)


def _bounds(slots):
    """Give the first and the last of the slots that one entry of CLUSTER NODES names."""
    return slots if len(slots) == 2 else (slots[0], slots[0])


def _settled(view):
    """Give what a node sees, without the nodes that it has not met or not heard from."""
    return {node_id: seen for node_id, seen in view.items() if seen[0] in ({"master"}, {"slave"})}


def _start(nodes):
    """Start nodes together."""
    with ThreadPoolExecutor(len(nodes)) as starters:
        list(starters.map(EmbeddedRedis.start, nodes))
