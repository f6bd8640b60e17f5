"""A room for deployments in containers: a network of its own with one Kafka and one Redis, in Docker on this machine.

The addresses of containers lead to them from this machine too, as on Linux: producers and readers here use the same
ones as the replicas. In a room without IPv4 each container lives in the network of a holder, as in a pod, from which
all IPv4 addresses but the loopback's were taken; that needs root, `nsenter` and `ip`.
"""

import json
import secrets
import subprocess
from contextlib import contextmanager

from deploy.local.containers import REDIS_COMMAND
from deploy.local.embedded_kafka import cluster_id_of, single_broker_settings
from tests.support.deployment import await_condition

JVM = "JAVA_TOOL_OPTIONS=-XX:+UseSerialGC -XX:TieredStopAtLevel=1"  # a light start, as of the embedded broker
START_S = 180.0
HOLD = ("-c", "import signal; signal.pause()")
PYTHON = "/opt/order-facts/bin/python"


class Room:
    """The network, the broker and Redis, and every container that was started beside them."""

    def __init__(self, images, *, is_ipv6_only=False):
        self.images = images
        self.name = f"order-facts-rollouts-{secrets.token_hex(3)}"
        self._is_ipv6_only = is_ipv6_only
        self._containers = []

    @property
    def bootstrap_servers(self):
        """Where the broker answers."""
        return f"{self._literal('kafka')}:9092"

    @property
    def redis_url(self):
        """Where Redis answers."""
        return f"redis://{self._literal('redis')}:6379/0"

    def open(self):
        """Start the broker and Redis, and wait for both."""
        subnet = f"10.213.{secrets.randbelow(256)}.0/24"
        six = ("--ipv6", "--subnet", f"fd00:{secrets.token_hex(2)}::/64") if self._is_ipv6_only else ()
        docker("network", "create", "--subnet", subnet, *six, self.name)
        self.start("redis", self.images.valkey, REDIS_COMMAND)
        self.hold("kafka")
        broker = single_broker_settings() | {
            "node.id": "1",
            "listeners": "BROKER://:9092,CONTROLLER://:9093",
            "advertised.listeners": f"BROKER://{self.bootstrap_servers}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": "1@localhost:9093",
            "group.min.session.timeout.ms": "6000",  # a broker's own default
        }
        variables = (f"KAFKA_{name.upper().replace('.', '_')}={value}" for name, value in broker.items())
        options = [part for variable in (*variables, JVM) for part in ("--env", variable)]
        self.start("kafka", self.images.kafka, options=options)
        await_condition(lambda: cluster_id_of(self.bootstrap_servers), "the broker answers", START_S)

    def close(self):
        """Remove everything."""
        for container in reversed(self._containers):
            docker("rm", "--force", "--volumes", container)
        docker("network", "rm", self.name)

    def start(self, name, image, arguments=(), options=()):
        """Start a container; it is known by its name in this room."""
        held = self.container(f"{name}-net")
        if self._is_ipv6_only and held not in self._containers:
            self.hold(name)
        network = f"container:{held}" if held in self._containers else self.name
        self._containers.append(self.container(name))
        docker("run", "--detach", "--name", self.container(name), "--network", network, *options, image, *arguments)

    def hold(self, name):
        """Start what only holds the network of a container to come, so that its address is known before."""
        held = self.container(f"{name}-net")
        self._containers.append(held)
        docker(
            "run", "--detach", "--name", held, "--network", self.name, "--entrypoint", PYTHON, self.images.new, *HOLD
        )
        if self._is_ipv6_only:
            process = docker("inspect", "--format", "{{.State.Pid}}", held).strip()
            command = ("nsenter", "--target", process, "--net", "ip", "-4", "address", "flush", "dev", "eth0")
            subprocess.run(command, check=True)

    def remove(self, name):
        """Remove a container, whatever it does, with the holder of its network."""
        for container in (self.container(name), self.container(f"{name}-net")):
            if container in self._containers:
                docker("rm", "--force", "--volumes", container)
                self._containers.remove(container)

    def container(self, name):
        """Give the name by which the engine knows a container."""
        return f"{self.name}-{name}"

    def address(self, name):
        """Give a container's address."""
        held = self.container(f"{name}-net")
        owner = held if held in self._containers else self.container(name)
        (network,) = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", owner)).values()
        return network["GlobalIPv6Address"] if self._is_ipv6_only else network["IPAddress"]

    def _literal(self, name):
        address = self.address(name)
        return f"[{address}]" if ":" in address else address


@contextmanager
def opened(images, *, is_ipv6_only=False):
    """Give a room, and remove it with all that is in it."""
    room = Room(images, is_ipv6_only=is_ipv6_only)
    try:
        room.open()
        yield room
    finally:
        room.close()


def docker(*arguments):
    """Run a command of Docker and give its output. Fails with what it said."""
    run = subprocess.run(("docker", *arguments), capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"docker {' '.join(arguments)[:300]}: code {run.returncode}\n{run.stderr[-3000:]}"
    return run.stdout
