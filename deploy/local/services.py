"""A real Kafka and a real Redis for development and tests.

It takes the first of:

1. those that ORDER_FACTS_TEST_BOOTSTRAP_SERVERS and ORDER_FACTS_TEST_REDIS_URL name;
2. containers, if a Docker engine answers and the images are local or arrive within seconds;
3. embedded servers: child processes with data in a temporary folder.

Services that this module starts end at the end of the `with`, at an exception, at Ctrl-C, and when the process is
killed. It neither stops others nor calls them disposable.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.containers import start_containers
from deploy.local.embedded_kafka import EmbeddedKafka, cluster_id_of
from deploy.local.embedded_redis import EmbeddedRedis, process_id_of
from deploy.local.servers import ServicesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["EmbeddedKafka", "EmbeddedRedis", "Services", "ServicesError", "start_services"]

BOOTSTRAP_SERVERS = "ORDER_FACTS_TEST_BOOTSTRAP_SERVERS"
REDIS_URL = "ORDER_FACTS_TEST_REDIS_URL"


@dataclass(frozen=True, slots=True)
class Services:
    """Where the services are."""

    bootstrap_servers: str
    redis_url: str
    disposable: bool
    """True only if this process started them: then tests that destroy data may run."""


@contextmanager
def start_services(broker: Mapping[str, str] | None = None) -> Iterator[Services]:
    """Yield services that answer; afterwards stop what was started here.

    `broker` are settings of Kafka, used where it is started here.
    Raises `ServicesError`: what is missing, with the command that installs it, or which address does not answer.
    """
    with ExitStack() as stack:
        yield _from_environment() or _from_containers(stack, broker or {}) or _embedded(stack, broker or {})


def _from_environment() -> Services | None:
    bootstrap_servers, redis_url = os.environ.get(BOOTSTRAP_SERVERS), os.environ.get(REDIS_URL)
    if not bootstrap_servers and not redis_url:
        return None
    if not bootstrap_servers or not redis_url:
        raise ServicesError(f"set both {BOOTSTRAP_SERVERS} and {REDIS_URL}, or neither")
    if cluster_id_of(bootstrap_servers) is None:
        raise ServicesError(f"no Kafka answers at {bootstrap_servers} ({BOOTSTRAP_SERVERS})")
    if process_id_of(redis_url) is None:
        raise ServicesError(f"no Redis answers at the address in {REDIS_URL}")
    return Services(bootstrap_servers, redis_url, disposable=False)


def _from_containers(stack: ExitStack, broker: Mapping[str, str]) -> Services | None:
    addresses = start_containers(stack, broker)
    return Services(*addresses, disposable=True) if addresses else None


def _embedded(stack: ExitStack, broker: Mapping[str, str]) -> Services:
    folder = Path(tempfile.mkdtemp(prefix="order-facts-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    redis = EmbeddedRedis(folder / "redis", abandoned=folder)
    kafka = EmbeddedKafka(folder / "kafka", overrides=broker, abandoned=folder)
    for server in (redis, kafka):
        stack.callback(server.kill)  # nothing that they could still write is needed
        server.start()
    return Services(kafka.bootstrap_servers, redis.url, disposable=True)
