"""Kafka and Redis as containers, through testcontainers, if a Docker engine answers.

Used only if the images are local too, or arrive within seconds: a slow or missing image registry must not cost more
than the embedded servers do. testcontainers' reaper removes the containers if this process is killed, so its image is
needed too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

from deploy.local.embedded_kafka import cluster_id_of, single_broker_settings
from deploy.local.programs import kafka_version
from deploy.local.servers import ServicesError, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

KAFKA_IMAGE = "ORDER_FACTS_TEST_KAFKA_IMAGE"  # variables that name others, such as those of `make stand-ins`
REDIS_IMAGE = "ORDER_FACTS_TEST_REDIS_IMAGE"
REDIS_COMMAND = (
    *("valkey-server", "--save", "", "--appendonly", "no"),
    *("--maxmemory-policy", "noeviction", "--protected-mode", "no"),
)
REDIS_PORT = 6379
KAFKA_PORT = 9092
CONTROLLER_PORT = 9093
BROKER_PORT = 9094
ENGINE_S = 3.0
PULL_S = 20.0  # for all images together
START_S = 60.0


def start_containers(stack: ExitStack, broker: Mapping[str, str]) -> tuple[str, str] | None:
    """Start both, to be stopped with the stack; return Kafka's bootstrap servers and Redis' URL.

    `broker` are settings of Kafka besides ours. Return None if no engine answers or an image does not arrive in time:
    then the embedded servers are next.
    """
    kafka_image = os.environ.get(KAFKA_IMAGE, f"apache/kafka:{kafka_version()}")
    redis_image = os.environ.get(REDIS_IMAGE, "valkey/valkey:9-alpine")
    if not _images_are_here([kafka_image, redis_image]):
        return None
    return _start_kafka(stack, kafka_image, broker), _start_redis(stack, redis_image)


def _images_are_here(images: list[str]) -> bool:
    # Ask the engine through its own command: the Python client leaves its socket open if none answers.
    if not _docker("version", timeout_s=ENGINE_S):
        return False
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - slow, for development only

    reaper = [] if testcontainers_config.ryuk_disabled else [testcontainers_config.ryuk_image]
    deadline = time.monotonic() + PULL_S
    return all(
        _docker("image", "inspect", image, timeout_s=ENGINE_S)
        or _docker("pull", "--quiet", image, timeout_s=deadline - time.monotonic())
        for image in [*images, *reaper]
    )


def _docker(*arguments: str, timeout_s: float) -> bool:
    """Return whether the command succeeds in time; False if there is no such command."""
    program = shutil.which("docker")
    if program is None or timeout_s <= 0:
        return False
    try:
        result = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def _start_kafka(stack: ExitStack, image: str, broker: Mapping[str, str]) -> str:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415

    # A broker tells clients its own address, so choose the host's port before it starts. That address leads nowhere
    # inside the container: the broker speaks with itself (it ends transactions so) by a listener of its own.
    (port,) = free_ports(1)
    address = f"{DockerClient().host()}:{port}"
    settings = single_broker_settings() | {
        "node.id": "1",
        "listeners": f"CLIENT://:{KAFKA_PORT},BROKER://localhost:{BROKER_PORT},CONTROLLER://:{CONTROLLER_PORT}",
        "advertised.listeners": f"CLIENT://{address},BROKER://localhost:{BROKER_PORT}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@localhost:{CONTROLLER_PORT}",
    }
    container = DockerContainer(image).with_bind_ports(KAFKA_PORT, port)
    for name, value in (settings | dict(broker)).items():
        container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
    stack.enter_context(container)
    deadline = time.monotonic() + START_S
    while cluster_id_of(address) is None:
        if time.monotonic() > deadline:
            raise ServicesError(f"the container of {image} does not answer at {address}")
    return address


def _start_redis(stack: ExitStack, image: str) -> str:
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

    container = (
        DockerContainer(image)
        .with_exposed_ports(REDIS_PORT)
        .with_command([*REDIS_COMMAND])
        .waiting_for(LogMessageWaitStrategy("Ready to accept connections"))
    )
    stack.enter_context(container)
    return f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(REDIS_PORT)}/0"
