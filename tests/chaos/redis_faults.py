"""The faults of each kind of Redis, beside those that every kind has; each ends with all servers well."""

import time

from tests.chaos.redis_setups import Cluster, MovedRedis, OneRedis, RestrictedRedis, Sentinels


def redis_read_only(world):
    """Make the server a replica of nobody for some seconds, and a primary again: connections live on."""
    (server,) = world.redis.primaries()
    assert server.ask("REPLICAOF", "127.0.0.1", "1")
    time.sleep(world.random.uniform(1, 6))
    server.promote()


def redis_demoted(world):
    """Make the server a replica of another one, to which the address leads a little later: connections live on."""
    world.redis.demote(world.random.uniform(0, 3))


def redis_rights_taken(world):
    """Take all rights from the program's user for some seconds: its processes end, and are started again."""
    world.redis.take_rights(world.random.uniform(1, 4))


def redis_password_changed(world):
    """Give the program's user another password, and close its connections."""
    world.redis.change_password()


def primary_killed(world):
    """SIGKILL the primary: a replica takes over; it comes back as a replica, and empty."""
    group = world.redis.group
    left = group.kill_primary()
    group.await_failover(left)
    time.sleep(world.random.uniform(0, 4))
    group.restart(left)


def primary_frozen(world):
    """SIGSTOP the primary: a replica takes over; it goes on later, as a primary until a Sentinel has seen it."""
    group = world.redis.group
    left = group.freeze_primary()
    group.await_failover(left)
    time.sleep(world.random.uniform(0, 8))
    left.resume()
    group.await_whole()


def failed_over(world):
    """Have the Sentinels promote a replica by command."""
    group = world.redis.group
    group.await_failover(group.failover())
    group.await_whole()


def sentinel_killed(world):
    """SIGKILL one of the Sentinels for a while; every other time a replica has to take over meanwhile."""
    group = world.redis.group
    sentinel = world.random.choice(group.sentinels)
    sentinel.kill()
    if world.random.random() < 0.5:
        left = group.kill_primary()
        group.await_failover(left)
        sentinel.start()
        group.restart(left)
    else:
        time.sleep(world.random.uniform(1, 4))
        sentinel.start()
    group.await_whole()


def node_killed(world):
    """SIGKILL the primary of one of the program's keys: its replica takes over; it comes back as that one's replica."""
    cluster, key = world.redis.cluster, world.redis.some_key(world.random)
    left = cluster.kill_primary_of(key)
    cluster.await_failover(key, left)
    time.sleep(world.random.uniform(0, 4))
    cluster.restart(left)


def node_frozen(world):
    """SIGSTOP the primary of one of the program's keys until its replica has taken over, or longer."""
    cluster, key = world.redis.cluster, world.redis.some_key(world.random)
    left = cluster.node_of(key)
    left.pause()
    cluster.await_failover(key, left)
    time.sleep(world.random.uniform(0, 8))
    left.resume()
    cluster.await_whole()


def node_failed_over(world):
    """Have the replica of one of the program's keys take over by command: connections live on."""
    cluster, key = world.redis.cluster, world.redis.some_key(world.random)
    cluster.await_failover(key, cluster.failover(key))
    cluster.await_whole()


def slot_migrated(world):
    """Move the slot of one of the program's keys at once."""
    _migrate(world, lambda: 0.0)


def slot_migrated_slowly(world):
    """Move the slot of one of the program's keys, and stop for seconds before the keys go, and before the slot does."""
    _migrate(world, lambda: world.random.uniform(1, 5))


def _migrate(world, pause_s):
    cluster, key = world.redis.cluster, world.redis.some_key(world.random)
    source = cluster.node_of(key)
    target = world.random.choice([node for node in cluster.primaries() if node is not source])
    moving = cluster.begin_to_migrate(key, target)
    time.sleep(pause_s())
    moving.move()
    time.sleep(pause_s())
    moving.move()  # what has come to the old place meanwhile
    moving.finish()
    cluster.await_whole()


OF_KIND = {
    OneRedis: (redis_read_only,),
    MovedRedis: 3 * (redis_demoted, redis_read_only),
    RestrictedRedis: 2 * (redis_rights_taken, redis_password_changed, redis_read_only),
    Sentinels: 2 * (primary_killed, primary_frozen, failed_over) + (sentinel_killed,),
    Cluster: 2 * (node_killed, node_frozen, node_failed_over, slot_migrated, slot_migrated_slowly),
}
SETUPS = {kind.name: (kind, own) for kind, own in OF_KIND.items()}
