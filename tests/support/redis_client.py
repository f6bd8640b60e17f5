"""redis-py's own client, with which tests look into Redis and meddle with it; the program has another way."""

from typing import Any

from redis import Redis, RedisCluster
from redis.cluster import ClusterNode
from redis.sentinel import Sentinel

from processor.settings.redis_address import parse_redis_url

TIMEOUT_S = 5.0


def raw_client(settings):
    """Give a client of the Redis that settings name: of a server, of Sentinels' primary, or of a Cluster."""
    address = parse_redis_url(settings.redis_url)
    if address.kind == "server":
        return Redis.from_url(settings.redis_url, socket_timeout=TIMEOUT_S)
    login: dict[str, Any] = {"username": address.username, "password": address.password, "socket_timeout": TIMEOUT_S}
    if address.kind == "sentinel":
        own = {"username": address.sentinel_username, "password": address.sentinel_password}
        sentinel = Sentinel(address.hosts, sentinel_kwargs=own | {"socket_timeout": TIMEOUT_S})
        return sentinel.master_for(address.primary, db=address.db, **login)
    return RedisCluster(startup_nodes=[ClusterNode(*host) for host in address.hosts], **login)
